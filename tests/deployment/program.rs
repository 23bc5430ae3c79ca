//! The real program, serving as long as a test looks.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_crosswalk");

/// Killed when its test ends in any way.
pub struct Serving {
    pub url: String,
    child: Child,
    out: BufReader<ChildStdout>,
    printed: Vec<String>,
}

impl Serving {
    /// In that folder, with these settings and no others, on a free port.
    pub fn start(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(folder).env_clear().env("CROSSWALK_PORT", "0");
        let mut child = command.envs(settings.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Self { url: String::new(), child, out, printed: Vec::new() };
        while serving.url.is_empty() {
            let mut line = String::new();
            assert_ne!(serving.out.read_line(&mut line).unwrap(), 0, "it ended: {:?}", serving.printed);
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && event["message"] == "listening"
            {
                event["address"].as_str().unwrap().clone_into(&mut serving.url);
            }
            serving.printed.push(line);
        }
        serving
    }

    /// Stops it; every event that it has logged.
    pub fn stop(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.printed.extend(self.out.by_ref().lines().map_while(Result::ok));
        self.printed.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
