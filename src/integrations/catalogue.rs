//! A folder of manifests. Owns which files count and that one that is wrong takes no other down; must not know what is in
//! them, or who runs them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Integration,
    manifest::{MAX_BYTES, Manifest, Problem, problem_in},
};

/// What a folder holds, in the order of the files' names.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub manifests: Vec<(PathBuf, Manifest)>,
    pub broken: Vec<Broken>,
}

/// A file that cannot be used.
#[derive(Clone, Debug)]
pub struct Broken {
    pub file: PathBuf,
    pub problems: Vec<Problem>,
}

impl Catalogue {
    /// Reads all manifests of a folder, not of those in it. No folder, no manifests.
    pub fn read(folder: &Path) -> Self {
        let mut files = match files(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::default();
            }
            Err(error) => {
                return Self { broken: vec![Broken::new(folder.to_owned(), unreadable(&error))], ..Self::default() };
            }
        };
        files.sort();
        let mut catalogue = Self::default();
        for file in files {
            match read(&file) {
                Ok(manifest) => catalogue.manifests.push((file, manifest)),
                Err(problems) => catalogue.broken.push(Broken { file, problems }),
            }
        }
        catalogue.refuse_shared_settings();
        catalogue
    }

    /// `halo` with the key `psa_key` and `halo_psa` with the key `key` would read one setting, and send one system's
    /// credential to the other. The one with the longer key has to give way, so that it is never the order that decides.
    fn refuse_shared_settings(&mut self) {
        let mut owners = BTreeMap::new();
        for (_, manifest) in &self.manifests {
            for field in &manifest.config {
                let owner = owners.entry(format!("{}_{}", manifest.id, field.key)).or_insert(&manifest.id);
                if owner.len() < manifest.id.len() {
                    *owner = &manifest.id;
                }
            }
        }
        let shared = |file: &Path, manifest: &Manifest| {
            manifest.config.iter().enumerate().find_map(|(index, field)| {
                let setting = format!("{}_{}", manifest.id, field.key);
                let owner = owners.get(&setting).filter(|owner| **owner != &manifest.id)?;
                let message = format!("the setting {setting} belongs to integration {owner}; choose another key");
                let text = fs::read_to_string(file).unwrap_or_default();
                Some(problem_in(&text, &format!("config[{index}].key"), message))
            })
        };
        let found = self.manifests.iter().map(|(file, manifest)| shared(file, manifest)).collect();
        self.refuse(found);
    }

    /// Leaves out what is named like one of those that are compiled in.
    pub fn refuse_names(&mut self, taken: &[Arc<dyn Integration>]) {
        let problem = |file: &Path, id: &str| {
            let message = format!("an integration {id} is built in; choose another id");
            problem_in(&fs::read_to_string(file).unwrap_or_default(), "id", message)
        };
        let is_taken = |id: &str| taken.iter().any(|one| one.name().as_str() == id);
        let found = self.manifests.iter().map(|(file, Manifest { id, .. })| is_taken(id).then(|| problem(file, id)));
        self.refuse(found.collect());
    }

    /// Those with a problem, of which there is one or none for each manifest.
    fn refuse(&mut self, found: Vec<Option<Problem>>) {
        let mut kept = Vec::new();
        for ((file, manifest), problem) in std::mem::take(&mut self.manifests).into_iter().zip(found) {
            match problem {
                Some(problem) => self.broken.push(Broken::new(file, problem)),
                None => kept.push((file, manifest)),
            }
        }
        self.manifests = kept;
        self.broken.sort_by(|a, b| a.file.cmp(&b.file));
    }
}

impl Broken {
    fn new(file: PathBuf, problem: Problem) -> Self {
        Self { file, problems: vec![problem] }
    }
}

/// Reads one manifest.
///
/// # Errors
/// It cannot be read, or what is wrong with it.
pub fn read(file: &Path) -> Result<Manifest, Vec<Problem>> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if let Some(stem) = name.strip_suffix(".yml") {
        return Err(vec![Problem::new(1, "", format!("manifests end in .yaml; call the file {stem}.yaml"))]);
    }
    let text = match fs::metadata(file) {
        // Before it is read: it may be anything.
        Ok(about) if about.len() > MAX_BYTES as u64 => Err(io::Error::other("too large to be a manifest")),
        Ok(about) if !about.is_file() => Err(io::Error::other("not a file")),
        Ok(_) => fs::read_to_string(file),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => Manifest::load(&name, &text),
        Err(error) => Err(vec![unreadable(&error)]),
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A link to nothing counts: it was meant to be a manifest.
        if !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml")) && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(files)
}

fn unreadable(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::InvalidData => Problem::new(1, "", "not UTF-8; save it in that encoding"),
        _ => Problem::new(1, "", format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(id: &str, key: &str) -> String {
        format!(
            "id: {id}\nname: A\ndocs_url: https://example.com\nconfidence: high\nbase_url: https://api.example.com\n\
             config: [{{key: {key}, title: A, type: secret, help: A}}]\n\
             auth: {{type: bearer, token: \"{{{{config.{key}}}}}\"}}\ncheck: {{request: {{path: /me}}}}\n"
        )
    }

    /// Ids that can be used, then what is told of the others.
    fn told(files: &[(&str, String)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("folder.yaml")).unwrap();
        let Catalogue { manifests, broken } = Catalogue::read(folder.path());
        let good = manifests.iter().map(|(_, manifest)| manifest.id.clone());
        let broken = broken.iter().flat_map(|broken| {
            let file = broken.file.file_name().unwrap().to_string_lossy().into_owned();
            broken.problems.iter().map(move |problem| format!("{file}:{problem}"))
        });
        good.chain(broken).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_that_is_wrong_takes_no_other_down() {
        let told = told(&[
            ("b.yaml", manifest("b", "key")),
            ("a.yaml", manifest("a", "key")),
            ("c.yaml", "id: [".to_owned()),
            ("d.yml", manifest("d", "key")),
            ("e.yaml", manifest("a", "key")),
            ("f.yaml", "#".repeat(MAX_BYTES + 1)),
            (".g.yaml", String::new()),
            ("README.md", String::new()),
        ]);
        insta::assert_snapshot!(told, @r"
        a
        b
        c.yaml:1: a bracket that opens here is never closed; close it, or quote the value
        d.yml:1: manifests end in .yaml; call the file d.yaml
        e.yaml:1: id: 'a' is not the name of the file; call the file a.yaml
        f.yaml:1: cannot be read: too large to be a manifest
        ");
    }

    #[test]
    fn two_never_share_a_setting() {
        let shared = [("halo.yaml", manifest("halo", "psa_key")), ("halo_psa.yaml", manifest("halo_psa", "key"))];
        insta::assert_snapshot!(told(&shared), @r"
    halo_psa
    halo.yaml:6: config[0].key: the setting halo_psa_key belongs to integration halo_psa; choose another key
    ");
    }

    #[test]
    fn a_name_that_is_built_in_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["example_psa", "other"] {
            fs::write(folder.path().join(format!("{id}.yaml")), format!("# Mine\n{}", manifest(id, "key"))).unwrap();
        }
        let mut catalogue = Catalogue::read(folder.path());
        catalogue.refuse_names(&super::super::examples().unwrap());
        let good: Vec<_> = catalogue.manifests.iter().map(|(_, manifest)| &manifest.id).collect();
        assert_eq!(good, ["other"]);
        insta::assert_snapshot!(catalogue.broken[0].problems[0], @"2: id: an integration example_psa is built in; choose another id");
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        let catalogue = Catalogue::read(Path::new("no/such/folder"));
        assert!(catalogue.manifests.is_empty() && catalogue.broken.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        link("gone.yaml", "nowhere");
        link("device.yaml", "/dev/zero");
        fs::write(folder.path().join("bytes.yaml"), b"\xff\xfe").unwrap();
        let broken = Catalogue::read(folder.path()).broken;
        let told: Vec<_> = broken.iter().map(|broken| broken.problems[0].to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
    1: not UTF-8; save it in that encoding
    1: cannot be read: not a file
    1: cannot be read: No such file or directory (os error 2)
    ");
    }
}
