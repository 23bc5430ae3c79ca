//! Builds the program, for the service's images or for this machine.
//!
//! The service's images are older than most build machines, and a program linked here may ask for a newer C library
//! than they have. zig links against any version of glibc; it and cargo-zigbuild are ordinary Python packages.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{elf::OLDEST_GLIBC, nested::as_if_by_hand, step};

const ZIGBUILD: &str = "0.24.0";
const ZIG: &str = "0.15.2";

/// A release build for x86-64 Linux with an old glibc.
pub fn for_the_service(repository: &Path) -> Result<PathBuf> {
    let tools = tools(&repository.join("target").join("packaging"))?;
    // zigbuild takes the oldest glibc to run on after a dot.
    let target = format!("x86_64-unknown-linux-gnu.{OLDEST_GLIBC}");
    step(&format!("Building crosswalk for {target} (some minutes the first time)"));
    let mut build = Command::new(executable(tools.join("bin").join("cargo-zigbuild")));
    build
        .env("CARGO_ZIGBUILD_ZIG_PATH", executable(tools.join("ziglang").join("zig")))
        .args(["zigbuild", "--target", &target]);
    run_build(build, repository)
}

/// A release build by plain cargo.
pub fn for_this_machine(repository: &Path) -> Result<PathBuf> {
    step("Building crosswalk for this machine");
    let mut build = Command::new(env!("CARGO"));
    build.arg("build");
    run_build(build, repository)
}

/// Runs a cargo build and answers the path of the program, as cargo itself reports it: the target folder may be
/// anywhere.
fn run_build(mut build: Command, repository: &Path) -> Result<PathBuf> {
    as_if_by_hand(&mut build)
        .current_dir(repository)
        .args(["--release", "--locked", "--bin", "crosswalk"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped());
    let program = build.get_program().to_owned();
    let program = program.display();
    let mut child = build.spawn().with_context(|| format!("{program}: can't be started"))?;

    let mut built = None;
    let messages = child.stdout.take().context("the output of the build is piped")?;
    for message in BufReader::new(messages).lines() {
        let message: serde_json::Value = serde_json::from_str(&message?).unwrap_or_default();
        if let Some(path) = message["executable"].as_str() {
            built = Some(PathBuf::from(path));
        }
    }
    ensure!(child.wait()?.success(), "{program}: the build failed, see above");
    built.with_context(|| format!("{program}: the build reported no program"))
}

/// The folder of the cross linker, fetched when it is not there yet. Its name holds the versions, so a new pin is
/// fetched anew; it gets that name only when it is complete.
fn tools(packaging: &Path) -> Result<PathBuf> {
    let name = format!("zigbuild-{ZIGBUILD}-zig-{ZIG}");
    let tools = packaging.join(&name);
    if tools.exists() {
        return Ok(tools);
    }
    let partial = packaging.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    step(&format!("Fetching cargo-zigbuild {ZIGBUILD} and zig {ZIG} from PyPI (once, about 100 MB)"));
    let python = if cfg!(windows) { "python" } else { "python3" };
    let status = Command::new(python)
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-warn-script-location", "--target"])
        .arg(&partial)
        .args([format!("cargo-zigbuild=={ZIGBUILD}"), format!("ziglang=={ZIG}")])
        .env("PIP_ROOT_USER_ACTION", "ignore")
        // Standard output carries the result of this command, progress goes beside it.
        .stdout(std::io::stderr())
        .status();
    match status {
        Err(_) => bail!("{python}: not found; zig comes from PyPI, so install Python 3 with pip, or pass --binary"),
        Ok(status) if !status.success() => {
            bail!("{python} -m pip: could not fetch the cross linker, see above; is pip installed, is PyPI reachable?")
        }
        Ok(_) => {}
    }
    fs::rename(&partial, &tools).with_context(|| format!("{}: can't be renamed", partial.display()))?;
    Ok(tools)
}

fn executable(path: PathBuf) -> PathBuf {
    if cfg!(windows) { path.with_extension("exe") } else { path }
}
