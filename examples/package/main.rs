//! `cargo run --example package`: lays out the folder that runs on Azure Functions.
//!
//! A table of contents: get a program ([`build`], or `--binary`), refuse one that can't run there ([`elf`]), lay out
//! the folder ([`layout`]), say what to do next. An example and not a part of the product, so that its tools are
//! dev-dependencies and nobody's service carries them.

mod build;
mod elf;
mod layout;
mod nested;

use std::{
    fs,
    io::{IsTerminal, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;

/// Lay out the folder that `func start` and `func azure functionapp publish` take as it is
///
/// Builds the program for the service's images (x86-64 Linux, glibc 2.31 or newer), whatever this machine runs, then
/// lays out host.json, one folder per function, the manifests and the program. A program that could not run on the
/// service is refused here, since the publishing tools upload anything and the service then only answers 500.
///
/// Needs, the first time: Python 3 with pip. The cross linker (zig, through cargo-zigbuild) is a Python package that goes
/// into target/packaging; nothing is installed outside this repository.
#[derive(Parser)]
#[command(name = "package", after_help = EXAMPLES)]
struct Arguments {
    /// Where to lay out the folder; an earlier one is replaced
    #[arg(long, value_name = "DIR", default_value = "dist/functionapp")]
    out: PathBuf,
    /// Package this program instead of building one; it is checked all the same
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Package a program for this machine, unchecked: for `func start` here, not for publishing
    #[arg(long)]
    local: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo run --example package                            build, check, lay out dist/functionapp
  cargo run --example package -- --local                 the same for `func start` on a Mac or an ARM machine
  cargo run --example package -- --binary ./crosswalk    what CI built elsewhere";

fn main() -> ExitCode {
    match package(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", paint("31;1", "error:"));
            ExitCode::FAILURE
        }
    }
}

fn package(arguments: &Arguments) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = match &arguments.binary {
        Some(program) => program.clone(),
        None if arguments.local => build::for_this_machine(repository)?,
        None => build::for_the_service(repository)?,
    };
    let checked = if arguments.local { "not checked".to_owned() } else { check(&program)? };

    step(&format!("Laying out {}", arguments.out.display()));
    let entries = layout::lay_out(repository, &program, &arguments.out)?;
    println!();
    for entry in &entries {
        println!("  {:<44} {:>9}", entry.path.display().to_string(), size(entry.bytes));
    }
    println!("\n  {} files, {} ({checked})", entries.len(), size(entries.iter().map(|entry| entry.bytes).sum()));
    println!("\nNext:\n  cd {}", arguments.out.display());
    println!("  func start                              # serve it here, behind the Functions host");
    if !arguments.local {
        println!("  func azure functionapp publish NAME     # upload it to the function app NAME");
    }
    Ok(())
}

/// Refuses a program that the service could not run; says in a few words what was found.
fn check(program: &Path) -> Result<String> {
    step(&format!("Checking {}", program.display()));
    let bytes = fs::read(program).with_context(|| format!("{}: can't be read", program.display()))?;
    let checked = elf::check_target(&bytes).and_then(|glibc| elf::check_size(bytes.len() as u64).map(|()| glibc));
    let libc = match checked.with_context(|| program.display().to_string())? {
        Some(glibc) => format!("glibc {glibc}"),
        None => "no C library".to_owned(),
    };
    Ok(format!("x86-64 Linux, needs {libc}; the service has {} or newer", elf::OLDEST_GLIBC))
}

fn step(text: &str) {
    eprintln!("{} {text}", paint("32;1", "==>"));
}

/// Coloured on a terminal, plain in a log.
fn paint(colour: &str, text: &str) -> String {
    if stderr().is_terminal() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// To one decimal, in whole numbers.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
