//! The handler's process: start, readiness, what it prints, what its exit codes mean, its end by SIGKILL.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{leash::Leash, proxy, script_root::ScriptRoot};

/// How often the host asks whether a new handler answers, and for how long.
const POLL: Duration = Duration::from_millis(25);
const INITIALIZATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The third failure, each within this time of the one before, ends the host.
const FAILURES_APART: Duration = Duration::from_mins(30);
const MOST_FAILURES: usize = 3;
/// How long the lines of a handler that has ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What can be said about the handler now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready {
        pid: u32,
        address: SocketAddr,
    },
    /// It exited with 0. The host takes that for intended and never restarts it; calls fail.
    Exited,
    /// The host has given up, or was stopped.
    ShutDown(String),
}

/// One line that the handler printed, with the severity that the host gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub severity: Severity,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Information,
    Warning,
    Error,
}

/// A handler that is started again when it fails, until it is dropped or stopped.
#[derive(Debug)]
pub struct Handler {
    state: watch::Receiver<State>,
    console: watch::Receiver<Vec<Line>>,
    supervisor: JoinHandle<()>,
}

impl Handler {
    pub fn start(root: &ScriptRoot, environment: Vec<(String, String)>) -> Self {
        let (print, console) = watch::channel(Vec::new());
        let program = Program {
            path: program_path(root),
            arguments: root.arguments.iter().map(|argument| expand(argument, &environment)).collect(),
            folder: root.folder.clone(),
            environment,
            print,
        };
        let (announce, state) = watch::channel(State::Starting);
        let supervisor = tokio::spawn(supervise(program, announce));
        Self { state, console, supervisor }
    }

    /// Waits while the handler is being started, as the host lets calls wait.
    pub async fn settled(&self) -> State {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Starting).await {
            Ok(state) => state.clone(),
            Err(_) => State::ShutDown("its supervisor is gone".to_owned()),
        }
    }

    /// Waits until `wanted` is true of the state.
    pub async fn wait_for(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.clone();
        match tokio::time::timeout(INITIALIZATION_TIMEOUT, state.wait_for(wanted)).await {
            Ok(Ok(state)) => state.clone(),
            _ => panic!("still {:?} after {INITIALIZATION_TIMEOUT:?}", self.state.borrow()),
        }
    }

    pub fn console(&self) -> Vec<Line> {
        self.console.borrow().clone()
    }

    /// Waits for a line that contains `text`.
    pub async fn line(&self, text: &str) -> Line {
        let find = |lines: &Vec<Line>| lines.iter().find(|line| line.text.contains(text)).cloned();
        let mut console = self.console.clone();
        match tokio::time::timeout(INITIALIZATION_TIMEOUT, console.wait_for(|lines| find(lines).is_some())).await {
            Ok(Ok(lines)) => find(&lines).unwrap_or_else(|| unreachable!("it was there")),
            _ => panic!("no line contains {text:?}: {:?}", self.console.borrow()),
        }
    }

    /// Ends the handler as the host does: SIGKILL at once, no warning.
    pub fn kill(&self) {
        self.supervisor.abort(); // Drops the process, which is killed on drop.
    }
}

struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    print: watch::Sender<Vec<Line>>,
}

async fn supervise(program: Program, announce: watch::Sender<State>) {
    let mut failures: Vec<Instant> = Vec::new();
    loop {
        announce.send_replace(State::Starting);
        match program.run(&announce).await {
            Ok(status) => match exit_code(status) {
                0 => {
                    announce.send_replace(State::Exited);
                    return;
                }
                200 => {} // "Restart me", not counted.
                _ => {
                    failures.retain(|failure| failure.elapsed() < FAILURES_APART);
                    failures.push(Instant::now());
                    if failures.len() >= MOST_FAILURES {
                        let reason = format!("Exceeded http worker restart retry count, the last one: {status}");
                        announce.send_replace(State::ShutDown(reason));
                        return;
                    }
                }
            },
            Err(reason) => {
                announce.send_replace(State::ShutDown(reason));
                return;
            }
        }
    }
}

impl Program {
    /// One life of the handler, from start to exit.
    async fn run(&self, announce: &watch::Sender<State>) -> Result<ExitStatus, String> {
        let address = free_address().await.map_err(|error| format!("no free port: {error}"))?;
        let mut process = Process(self.spawn(address).map_err(|error| format!("{}: {error}", self.path.display()))?);
        let child = &mut process.0;
        let pid = child.id();
        let _leash = Leash::tie(pid).map_err(|error| format!("sh: {error}"))?;
        let output = relay(child.stdout.take(), &self.print, |_| Severity::Information);
        let errors = relay(child.stderr.take(), &self.print, |text| {
            if text.to_lowercase().contains("warn") { Severity::Warning } else { Severity::Error }
        });

        let ready = tokio::time::timeout(INITIALIZATION_TIMEOUT, answers(address));
        let status = tokio::select! {
            status = ended(child) => status,
            started = ready => match started {
                Ok(()) => {
                    announce.send_replace(State::Ready { pid, address });
                    ended(child).await
                }
                Err(_) => return Err(format!("no answer to GET / within {INITIALIZATION_TIMEOUT:?}")),
            }
        };
        // Its last words belong before its end; but a grandchild may hold the pipes open for longer.
        let _ = tokio::time::timeout(LAST_WORDS, async { tokio::join!(output, errors) }).await;
        status.map_err(|error| error.to_string())
    }

    fn spawn(&self, address: SocketAddr) -> io::Result<Child> {
        let worker = Uuid::new_v4().to_string();
        let port = address.port().to_string();
        Command::new(&self.path)
            .args(&self.arguments)
            .current_dir(&self.folder)
            // The real host hands down its whole environment. Here a developer's settings must not decide a test.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &worker)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_ID", &worker)
            .env("FUNCTIONS_APP_ROOT_PATH", &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// A child that is gone when this is.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asked again and again: tokio's own processes would need a feature that nothing else does.
async fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// In the folder if it is there, else looked up on the path.
fn program_path(root: &ScriptRoot) -> PathBuf {
    let inside = root.folder.join(&root.program);
    if inside.is_file() { inside } else { PathBuf::from(&root.program) }
}

/// Replaces `%NAME%` by that setting, by nothing when there is none.
fn expand(argument: &str, environment: &[(String, String)]) -> String {
    let mut expanded = String::new();
    for (index, part) in argument.split('%').enumerate() {
        if index % 2 == 0 {
            expanded.push_str(part);
        } else if let Some((_, value)) = environment.iter().find(|(name, _)| name == part) {
            expanded.push_str(value);
        }
    }
    expanded
}

/// A new port for each life. The real host keeps one; here tests run beside each other, and one of them may take a port
/// between this moment and the handler's start, which then heals as a restart.
async fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").await?.local_addr()
}

/// Asks until any HTTP answer comes, whatever its status.
async fn answers(address: SocketAddr) {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await
            && proxy::ping(stream).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A process that a signal ended has the exit code that a shell would report.
#[cfg(unix)]
fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

#[cfg(not(unix))]
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// Passes on what the handler prints. The answer resolves when it can print no more.
fn relay(
    pipe: Option<impl Read + Send + 'static>,
    print: &watch::Sender<Vec<Line>>,
    severity: impl Fn(&str) -> Severity + Send + 'static,
) -> oneshot::Receiver<()> {
    let (open, closed) = oneshot::channel();
    let print = print.clone();
    thread::spawn(move || {
        let _open = open; // Dropped at the end, which the receiver notices.
        for text in pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok) {
            println!("[handler] {text}"); // Shown when the test fails.
            let line = Line { severity: severity(&text), text };
            print.send_modify(|lines| lines.push(line));
        }
    });
    closed
}
