//! The packaging command: what is in the folder, what it refuses.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    elf::{MOST_BYTES, OLDEST_GLIBC, check_size, check_target},
    host::ScriptRoot,
    layout::{PROGRAM, lay_out},
};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.append(&mut self::files(&path));
        } else {
            files.insert(path);
        }
    }
    files
}

#[test]
fn the_folder_holds_what_the_service_needs_and_nothing_else() {
    let out = TempDir::new().expect("a temporary folder");
    let program = out.path().join("built");
    fs::write(&program, "a program").expect("it can be written");
    let out = out.path().join("functionapp");
    let entries = lay_out(repository(), &program, &out).unwrap_or_else(|error| panic!("{error:#}"));

    let listed: BTreeSet<PathBuf> = entries.iter().map(|entry| out.join(&entry.path)).collect();
    assert_eq!(listed, files(&out), "the list is what is there");
    for entry in &entries {
        let bytes = fs::metadata(out.join(&entry.path)).expect("it is there").len();
        assert_eq!(entry.bytes, bytes, "{}", entry.path.display());
    }
    let mut others = BTreeSet::new();
    for path in &listed {
        let inside = path.strip_prefix(&out).expect("it is inside");
        let function = inside.components().count() == 2 && inside.ends_with("function.json");
        let manifest = inside.starts_with("integrations") && inside.extension().is_some_and(|end| end == "yaml");
        if !function && !manifest {
            others.insert(inside.to_string_lossy().into_owned());
        }
    }
    assert_eq!(
        others.iter().map(String::as_str).collect::<Vec<_>>(),
        [".funcignore", "crosswalk", "host.json", "local.settings.json"]
    );
    let manifests = files(&repository().join("integrations"));
    let manifests = manifests.iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")).count();
    assert_eq!(files(&out.join("integrations")).len(), manifests, "all of them, without README and schema");
    let mode = fs::metadata(out.join(PROGRAM)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let root = ScriptRoot::read(&out).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(root.program, PROGRAM, "literally, or publishing makes nothing executable");
    assert_eq!(root.functions.len(), files(&repository().join("functions")).len() - 1, "all but the README");
}

#[test]
fn a_second_run_replaces_the_first_and_keeps_what_is_not_its_own() {
    let temporary = TempDir::new().expect("a temporary folder");
    let program = temporary.path().join("built");
    fs::write(&program, "a program").expect("it can be written");
    let out = temporary.path().join("functionapp");
    lay_out(repository(), &program, &out).unwrap_or_else(|error| panic!("{error:#}"));
    let first = files(&out);
    for (folder, file) in [("Gone", "function.json"), ("data", "crosswalk.redb")] {
        fs::create_dir(out.join(folder)).expect("it can be made");
        fs::write(out.join(folder).join(file), "{}").expect("it can be written");
    }
    fs::write(&program, "a newer program").expect("it can be written");
    lay_out(repository(), &program, &out).unwrap_or_else(|error| panic!("{error:#}"));

    let mut expected = first;
    expected.insert(out.join("data/crosswalk.redb"));
    assert_eq!(files(&out), expected);
    assert_eq!(fs::read_to_string(out.join(PROGRAM)).expect("it is there"), "a newer program");
}

#[test]
fn a_folder_of_someone_else_is_left_alone() {
    let temporary = TempDir::new().expect("a temporary folder");
    let precious = temporary.path().join("precious");
    fs::write(&precious, "mine").expect("it can be written");
    let error = lay_out(repository(), &precious, temporary.path()).expect_err("it is refused").to_string();
    assert!(error.contains("choose another"), "{error}");
    let error = lay_out(repository(), &precious, repository()).expect_err("it is refused").to_string();
    assert!(error.contains("the repository itself"), "{error}");
    assert_eq!(files(temporary.path()).len(), 1);
}

/// The debug program, a real one; what the checks look at is changed in copies of it.
fn program() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_crosswalk")).expect("cargo built it")
}

fn refusal(program: &[u8]) -> String {
    check_target(program).expect_err("it is refused").to_string()
}

/// What the loader reads stands at the beginning of the file, and a search of all of it would take seconds.
const BEGINNING: usize = 1 << 18;

fn occurrences(program: &[u8], text: &[u8]) -> Vec<usize> {
    (0..BEGINNING).filter(|at| program[*at..].starts_with(text)).collect()
}

/// Replaces every occurrence by a text of the same length.
fn replace(program: &mut [u8], old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let found = occurrences(program, old.as_bytes());
    assert!(!found.is_empty(), "{old:?} is not in the program");
    for at in found {
        program[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
}

#[test]
fn only_x86_64_programs_are_taken() {
    assert!(refusal(b"#!/bin/sh\n").contains("no ELF header"));
    assert!(refusal(&program()[..40]).contains("cut short"));
    for (at, byte, reason) in [(4, 1, "64-bit"), (18, 183, "another processor"), (16, 1, "not executable")] {
        let mut changed = program();
        changed[at] = byte;
        assert!(refusal(&changed).contains(reason), "{}", refusal(&changed));
    }
    let mut musl = program();
    replace(&mut musl, "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1\0\0\0");
    assert!(refusal(&musl).contains("the loader"), "{}", refusal(&musl));
}

#[test]
fn a_newer_c_library_or_a_further_library_is_refused() {
    let mut newer = program();
    replace(&mut newer, "\0GLIBC_2.2.5\0", "\0GLIBC_2.999\0");
    assert!(refusal(&newer).contains("needs glibc 2.999, the service's images have 2.31"), "{}", refusal(&newer));

    let mut private = program();
    replace(&mut private, "\0GLIBC_2.2.5\0", "\0GLIBC_PRIVA\0");
    assert!(refusal(&private).contains("needs GLIBC_PRIVA"), "{}", refusal(&private));

    let mut further = program();
    replace(&mut further, "\0libc.so.6\0", "\0libz.so.6\0");
    assert!(refusal(&further).contains("needs the library libz.so.6"), "{}", refusal(&further));
}

#[test]
fn the_newest_symbol_decides() {
    let mut old = program();
    // This machine's own C library may be newer than the service's: every version above is made an old one.
    for minor in 32..100 {
        let (newer, older) = (format!("\0GLIBC_2.{minor}\0"), "\0GLIBC_2.31\0");
        if !occurrences(&old, newer.as_bytes()).is_empty() {
            replace(&mut old, &newer, older);
        }
    }
    let found = check_target(&old).expect("it is taken").expect("it is linked with the C library");
    assert!(found <= OLDEST_GLIBC, "{found}");
}

#[test]
fn a_large_program_is_refused() {
    assert_eq!(check_size(MOST_BYTES), Ok(()));
    let error = check_size(MOST_BYTES + 1).expect_err("it is refused").to_string();
    assert!(error.contains(&format!("{} bytes", MOST_BYTES + 1)), "{error}");
}
