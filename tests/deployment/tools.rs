//! The Python packages of `requirements.txt`, fetched once into the target folder and shared by all tests.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

use crate::root;

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// Runs a script or a module (`-m`) with the packages; fails with what it said unless it succeeds.
pub fn python<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    let mut command = Command::new(PYTHON);
    succeeds(command.args(arguments).env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Runs a program that came with the packages.
pub fn program(name: &str, arguments: &[&str]) -> Vec<u8> {
    succeeds(Command::new(packages().join("bin").join(name)).args(arguments).env("PYTHONPATH", packages()))
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    command.current_dir(root());
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| missing(command, &error));
    let said = [&stdout, &stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(status.success(), "{command:?}\n{}{}", said[0], said[1]);
    stdout
}

fn missing(command: &Command, error: &std::io::Error) -> ! {
    panic!("the tests of the deployment need Python 3 with pip, to read Bicep ({command:?}: {error})")
}

/// Where they are. The folder's name holds what is in it, and it gets that name only when it is complete.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let requirements = root().join("tests/deployment/requirements.txt");
        let name = format!("{:x}", Sha256::digest(fs::read(&requirements).unwrap()));
        let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deployment-tools");
        fs::create_dir_all(&tools).unwrap();
        // Other test processes wait.
        let lock = File::create(tools.join("lock")).unwrap();
        lock.lock().expect("the target folder is on a file system with locks");
        let (complete, partial) = (tools.join(&name), tools.join(format!("{name}.partial")));
        if !complete.exists() {
            let _ = fs::remove_dir_all(&partial);
            eprintln!("fetching the packages of tests/deployment/requirements.txt from PyPI, once ...");
            let mut pip = Command::new(PYTHON);
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary",
                ":all:",
                "--no-deps",
            ]);
            pip.arg("--target").arg(&partial).arg("--requirement").arg(&requirements);
            let output = pip.env("PIP_ROOT_USER_ACTION", "ignore").output();
            let output = output.unwrap_or_else(|error| missing(&pip, &error));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{pip:?} failed; is pip installed, is PyPI reachable? {said}");
            fs::rename(&partial, &complete).unwrap();
        }
        complete
    })
}
