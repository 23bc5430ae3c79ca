//! A real Azurite for the tests: fetched from npm the first time, one process for each test binary, an account for each
//! test. Included by path from several test binaries, so it depends on nothing but the standard library.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    env, fs,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Azurite reads its accounts once, at the start; an account costs nothing until it is used.
const ACCOUNTS: usize = 1000;
/// Of every account; only Azurite knows it.
const KEY: &str = "Y3Jvc3N3YWxrLXRlc3Rz";

/// The table service. It ends when this process does, however that happens: it reads a pipe that then closes.
pub struct Azurite {
    port: u16,
    given: AtomicUsize,
    /// Holds the pipe open.
    _process: Child,
}

impl Azurite {
    /// The service of this test process, started by whoever asks first.
    ///
    /// # Panics
    /// When it can't be fetched or started, with one line that says what to do.
    pub fn start() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(|| {
            install();
            launch()
        })
    }

    /// The connection string of an account that nobody else has.
    pub fn account(&self) -> String {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        assert!(number < ACCOUNTS, "more than {ACCOUNTS} tests want an account of Azurite: raise ACCOUNTS");
        let port = self.port;
        format!(
            "DefaultEndpointsProtocol=http;AccountName=t{number};AccountKey={KEY};\
             TableEndpoint=http://127.0.0.1:{port}/t{number};"
        )
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "azurite"].iter().collect()
}

/// Runs `npm ci` unless what is installed came from this very lock file. Parallel test binaries wait for one another.
fn install() {
    let folder = folder();
    let wanted =
        fs::read(folder.join("package-lock.json")).expect("tests/azurite/package-lock.json is part of the source");
    // Written last, so that an installation that was interrupted does not count.
    let installed = folder.join("node_modules").join(".installed-from");
    let lock = File::create(folder.join(".install.lock")).expect("tests/azurite can be written to");
    lock.lock().expect("tests/azurite is on a file system with locks");
    if fs::read(&installed).is_ok_and(|from| from == wanted) {
        return;
    }
    eprintln!("fetching Azurite from npm, once ...");
    let output =
        Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => panic!("the table tests need npm, to fetch Azurite: install Node.js 20 or newer ({error})"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`npm ci` in tests/azurite failed, is the npm registry reachable? {}",
        said.trim()
    );
    fs::write(&installed, &wanted).expect("tests/azurite can be written to");
}

fn launch() -> Azurite {
    let accounts: Vec<String> = (0..ACCOUNTS).map(|number| format!("t{number}:{KEY}")).collect();
    let mut process = Command::new("node")
        .arg("run.mjs")
        .current_dir(folder())
        .env("AZURITE_ACCOUNTS", accounts.join(";"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("the table tests need node, to run Azurite: install Node.js 20 or newer ({error})")
        });
    let stdout = process.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let port = lines.find_map(|line| line.strip_prefix("ready ")?.parse().ok());
    let port = port.expect("Azurite ended before it was ready, see above for what it said");
    Azurite { port, given: AtomicUsize::new(0), _process: process }
}
