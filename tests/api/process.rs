//! The real program as a child process that never outlives its test.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::client::Client;

/// For everything that a child does: far more than it needs, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program in a folder, with these settings and no others, on a free port.
pub fn crosswalk(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosswalk"));
    command.args(arguments).current_dir(folder).env_clear().env("CROSSWALK_PORT", "0").envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command left behind that ran to its end.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the program to its end.
pub fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Ended {
    let mut running = Running::start(crosswalk(folder, arguments, settings));
    let status = running.ended();
    Ended { code: status.code(), out: running.rest(), err: running.errors() }
}

/// A child that is killed when its test ends in any way.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = follow(child.stdout.take().unwrap());
        let errors = follow(child.stderr.take().unwrap());
        Self { child, lines, errors }
    }

    /// Serves; the address comes from what it prints, and so does the text up to there.
    pub fn serving(command: Command) -> (Self, SocketAddr, String) {
        let mut running = Self::start(command);
        let mut text = String::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(line) = running.lines.recv_timeout(PATIENCE) else { break };
            text.push_str(&line);
            if line.contains("listening") {
                let (_, address) = text.split_once("http://").unwrap();
                let end = address.find(|one: char| !one.is_ascii_digit() && !".:".contains(one)).unwrap();
                return (running, address[..end].parse().unwrap(), text);
            }
        }
        let _ = running.child.kill();
        panic!("it does not serve: {text}{}", running.errors());
    }

    /// As [`Self::serving`], with a client.
    pub fn dev(folder: &Path) -> (Self, Client, String) {
        let (running, address, text) = Self::serving(crosswalk(folder, &["dev"], &[]));
        (running, Client::new(format!("http://{address}")), text)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.rest_so_far());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn rest_so_far(&self) -> String {
        self.lines.try_iter().collect()
    }

    /// What it printed and nobody has read, once it has ended.
    pub fn rest(&self) -> String {
        self.lines.iter().collect()
    }

    /// What it wrote to standard error, once it has ended.
    pub fn errors(&self) -> String {
        self.errors.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that the child never waits for a reader.
fn follow(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if send.send(line + "\n").is_err() {
                return;
            }
        }
    });
    lines
}
