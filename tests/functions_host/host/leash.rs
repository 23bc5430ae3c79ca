//! Kills a handler when the process that tests it is gone, in whatever way it went.
//!
//! A child that is killed on drop outlives a test run that is itself killed. The leash is a shell that waits on a pipe
//! held by the test process: when that process ends, the kernel closes the pipe and the shell kills the handler.

use std::{
    io,
    process::{Child, Command, Stdio},
};

/// Dropping it unties it: the handler has ended, and its process id may be someone else's soon.
#[derive(Debug)]
pub struct Leash(Child);

impl Leash {
    pub fn tie(pid: u32) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$1\"", "leash", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(shell))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // Both fail only when the shell is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_closed_pipe_kills() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep starts");
    let mut leash = Leash::tie(sleeper.id()).expect("a shell starts");
    drop(leash.0.stdin.take()); // As the kernel does when the test process dies.
    let status = sleeper.wait().expect("it can be waited for");
    assert!(!status.success(), "it slept to its end: {status}");
}

#[test]
fn an_untied_process_lives() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep starts");
    drop(Leash::tie(sleeper.id()).expect("a shell starts"));
    let ended = sleeper.try_wait().expect("it can be asked");
    sleeper.kill().expect("it can be killed");
    sleeper.wait().expect("it can be waited for");
    assert_eq!(ended, None, "it was killed");
}
