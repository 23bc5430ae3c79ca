//! The servers under test, each a process of its own: the service as it is released, and a warp route that returns a
//! constant.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use warp::Filter;

use super::http::request;

/// The service, as `cargo bench` has built it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_crosswalk");
/// What this benchmark is started with to be the server of a constant.
pub const CONSTANT: &str = "--constant";
/// Ticks of processor time in a second, on every Linux.
const TICKS: u64 = 100;

/// A server that answers. It is killed with SIGKILL when the value goes.
pub struct Process {
    child: Child,
    pub port: u16,
    /// From before the start of the process to the last byte of its first answer.
    pub first_answer: Duration,
}

impl Process {
    /// The service on a store that the settings name, once it has answered a request for `path`.
    pub fn service(settings: &[(&str, String)], path: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(PROGRAM);
        // Without the environment of this process, which may say how to log or where rows are kept.
        command
            .env_clear()
            .env("CROSSWALK_AUTH", "development")
            .env("CROSSWALK_PORT", port.to_string())
            .envs(settings.iter().map(|(name, value)| (name, value)));
        Self::start(command, port, path)
    }

    /// The service on the embedded store in that folder.
    pub fn embedded(folder: &Path, path: &str) -> anyhow::Result<Self> {
        let folder = folder.to_str().context("a folder's name that is no UTF-8")?;
        Self::service(&[("CROSSWALK_DATA_DIR", folder.to_owned())], path)
    }

    /// A warp route in the place of the service's own that returns that many bytes.
    pub fn constant(size: usize, path: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CONSTANT, &port.to_string(), &size.to_string()]);
        Self::start(command, port, path)
    }

    fn start(mut command: Command, port: u16, path: &str) -> anyhow::Result<Self> {
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        let mut process = Self { child, port, first_answer: Duration::ZERO };
        let request = request("GET", path, "Connection: close\r\n", "");
        while began.elapsed() < Duration::from_secs(20) {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                ask_once(stream, &request)?;
                process.first_answer = began.elapsed();
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                bail!("the server ended before it answered: {status}");
            }
            sleep(Duration::from_micros(200));
        }
        bail!("the server did not answer within 20 seconds")
    }

    /// Bytes of memory that are resident. None where the system has no `/proc`.
    pub fn resident(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    /// The most that ever was.
    pub fn peak(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// Processor time used so far. None where the system has no `/proc`.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // Fields 14 and 15; the second one ends with the last parenthesis.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
        Some(Duration::from_millis((fields.next()? + fields.next()?) * 1000 / TICKS))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask_once(mut stream: TcpStream, request: &[u8]) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("the first answer was {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Serves a constant of that size where the service would serve a mapping or a list, until the process is killed.
pub fn serve_constant(port: u16, size: usize) -> anyhow::Result<()> {
    let body: &'static str = "x".repeat(size).leak();
    let mapping = warp::path!("api" / "organizations" / String / "integrations" / String / String)
        .and(warp::get())
        .map(|_, _, _| ());
    let discover = warp::path!("api" / "integrations" / String / "discover").and(warp::get()).map(|_| ());
    let route = mapping.or(discover).map(move |_| warp::reply::with_header(body, "content-type", "application/json"));
    // As many threads as the service has.
    tokio::runtime::Runtime::new()?.block_on(warp::serve(route).run((Ipv4Addr::LOCALHOST, port)));
    Ok(())
}
