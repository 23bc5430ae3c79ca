//! The folder that `func start` and `func azure functionapp publish` take as it is.
//!
//! Owns: which files are in it and where. Must not know: how the program was built. `tests/functions_host` lays out
//! the debug binary with the same function.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The program's file name in the folder. `publish` makes executable only the zip entry whose name equals
/// `customHandler.description.defaultExecutablePath` literally, so `host.json` says this and not `./crosswalk`.
pub const PROGRAM: &str = "crosswalk";

const FILES: [&str; 3] = [".funcignore", "host.json", "local.settings.json"];
const MANIFESTS: &str = "integrations";

/// One file of the folder.
#[derive(Debug)]
pub struct Entry {
    /// Its path inside the folder.
    pub path: PathBuf,
    pub bytes: u64,
}

/// Lays out `out` anew from the repository's files and `program`; answers what is in it, sorted by path.
pub fn lay_out(repository: &Path, program: &Path, out: &Path) -> Result<Vec<Entry>> {
    fs::create_dir_all(out).with_context(|| format!("{}: can't be created", out.display()))?;
    ensure!(
        out.canonicalize()? != repository.canonicalize()?,
        "{}: is the repository itself; choose another folder with --out",
        out.display()
    );
    remove_previous(out)?;

    let mut folder = Folder { root: out, entries: Vec::new() };
    for name in FILES {
        folder.copy(&repository.join(name), Path::new(name))?;
    }
    for function in subfolders(&repository.join("functions"))? {
        // The host looks for `<Name>/function.json` exactly one level below host.json.
        let inside = Path::new(&function).join("function.json");
        let source = repository.join("functions").join(&inside);
        if source.exists() {
            folder.copy(&source, &inside)?;
        }
    }
    if repository.join(MANIFESTS).is_dir() {
        folder.copy_manifests(&repository.join(MANIFESTS), Path::new(MANIFESTS))?;
    }
    folder.copy(program, Path::new(PROGRAM))?;
    make_executable(&out.join(PROGRAM))?;

    folder.entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(folder.entries)
}

/// Removes what an earlier run laid out, and only that: a function that is gone from the repository must not live on,
/// and a folder of someone else's files must not be emptied because of a mistyped `--out`.
fn remove_previous(out: &Path) -> Result<()> {
    let names = fs::read_dir(out)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    let ours = FILES.iter().all(|file| out.join(file).exists());
    ensure!(
        names.is_empty() || ours,
        "{}: is not empty and not a folder that this command made; choose another with --out",
        out.display()
    );
    for folder in subfolders(out)? {
        let path = out.join(&folder);
        if folder == MANIFESTS || path.join("function.json").exists() {
            fs::remove_dir_all(&path).with_context(|| format!("{}: can't be removed", path.display()))?;
        }
    }
    // Removed, not overwritten: a program that is running can't be written to.
    if out.join(PROGRAM).exists() {
        fs::remove_file(out.join(PROGRAM))?;
    }
    Ok(())
}

struct Folder<'a> {
    root: &'a Path,
    entries: Vec<Entry>,
}

impl Folder<'_> {
    fn copy(&mut self, source: &Path, inside: &Path) -> Result<()> {
        let target = self.root.join(inside);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{}: can't be created", parent.display()))?;
        }
        let bytes = fs::copy(source, &target)
            .with_context(|| format!("{}: can't be copied to {}", source.display(), target.display()))?;
        self.entries.push(Entry { path: inside.to_owned(), bytes });
        Ok(())
    }

    /// What the program reads; their README and schema are for people and editors.
    fn copy_manifests(&mut self, source: &Path, inside: &Path) -> Result<()> {
        for entry in fs::read_dir(source).with_context(|| format!("{}: can't be read", source.display()))? {
            let path = entry?.path();
            if let (Some(name), Some("yaml" | "yml")) = (path.file_name(), path.extension().and_then(OsStr::to_str)) {
                self.copy(&path, &inside.join(name))?;
            }
        }
        Ok(())
    }
}

fn subfolders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}: can't be read", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(unix)]
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{}: can't be made executable", program.display()))
}

#[cfg(not(unix))]
fn make_executable(_program: &Path) -> Result<()> {
    Ok(()) // There is no such bit here; `publish` sets it in the zip.
}
