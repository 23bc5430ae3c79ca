//! Secrets in a file: a JSON object, name → value. It is read at every call, which are few, so that an edit counts at once.
//! A change is written to another file that then takes its place: whoever reads meanwhile sees the one or the other.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{SecretError, SecretStore, check_name, check_value};
use crate::domain::Secret;

type Values = BTreeMap<String, String>;

/// The file that `CROSSWALK_SECRETS_FILE` names.
#[derive(Clone, Debug)]
pub struct LocalSecrets {
    path: PathBuf,
    /// Held while writing. Other programs that write at the same time are not kept out.
    writing: Arc<Mutex<()>>,
}

impl LocalSecrets {
    /// # Errors
    /// The file cannot be read now; the text names it and the problem.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        read(&path)?;
        Ok(Self { path, writing: Arc::default() })
    }

    /// Does that to the file, where nothing that blocks is in the way; it goes on when nobody waits for it any more.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, String> + Send + 'static,
    ) -> Result<T, SecretError> {
        let this = self.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&this)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("{}: the work on it broke off", self.path.display())));
        outcome.map_err(|reason| SecretError::Unavailable { reason, retry_after: None })
    }

    fn change(&self, change: impl FnOnce(&mut Values)) -> Result<(), String> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = read(&self.path)?;
        change(&mut values);
        write(&self.path, &values).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

#[async_trait]
impl SecretStore for LocalSecrets {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        check_name(name)?;
        let name = name.to_owned();
        self.with(move |this| {
            let values = read(&this.path)?;
            let found = values.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
            Ok(found.map(|(_, value)| Secret::new(value)))
        })
        .await
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        check_name(name)?;
        check_value(value)?;
        let (name, value) = (name.to_owned(), value.clone());
        self.with(move |this| {
            this.change(|values| {
                values.retain(|known, _| !known.eq_ignore_ascii_case(&name));
                values.insert(name, value.expose().to_owned());
            })
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        check_name(name)?;
        let name = name.to_owned();
        self.with(move |this| this.change(|values| values.retain(|known, _| !known.eq_ignore_ascii_case(&name)))).await
    }
}

fn read(path: &Path) -> Result<Values, String> {
    let text = fs::read(path).map_err(|error| error.to_string());
    text.and_then(|text| parse(&text)).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Puts a new file, complete and on the disk, in the place of the old one.
fn write(path: &Path, values: &Values) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let new = path.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&new).and_then(|mut out| {
        serde_json::to_writer_pretty(&mut out, values)?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&new, &path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn parse(text: &[u8]) -> Result<Values, String> {
    // The parser's own message quotes what it found instead, which may be a secret.
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("line {line}, column {column}: expected a JSON object of names and texts")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_edit_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        fs::write(&path, r#"{"psa-api-key": "old"}"#).unwrap();
        let secrets = LocalSecrets::open(&path).unwrap();
        assert_eq!(secrets.get("psa-api-key").await.unwrap().unwrap().expose(), "old");
        assert!(secrets.get("psa").await.unwrap().is_none());
        // Of the same length, and within the same tick of the file system's clock.
        fs::write(&path, r#"{"psa-api-key": "new"}"#).unwrap();
        assert_eq!(secrets.get("psa-api-key").await.unwrap().unwrap().expose(), "new");
        fs::remove_file(&path).unwrap();
        let error = secrets.get("psa-api-key").await.unwrap_err();
        assert!(
            matches!(&error, SecretError::Unavailable { reason, .. } if reason.contains("secrets.json")),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_change_keeps_the_rest_and_leaves_one_private_file() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("secrets.json"), folder.path().join("link"));
        fs::write(&path, r#"{"Kept": "1", "Psa-Api-Key": "old"}"#).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let secrets = LocalSecrets::open(&link).unwrap();
        secrets.set("psa-api-key", &Secret::new("new")).await.unwrap();
        let names: Vec<_> = (0..20).map(|number| format!("name-{number}")).collect();
        let value = Secret::new("x");
        futures::future::try_join_all(names.iter().map(|name| secrets.set(name, &value))).await.unwrap();
        futures::future::try_join_all(names.iter().map(|name| secrets.delete(name))).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\n  \"Kept\": \"1\",\n  \"psa-api-key\": \"new\"\n}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file was left behind");
        assert!(link.is_symlink());
    }

    #[tokio::test]
    async fn a_file_that_can_not_be_read_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        fs::write(&path, "{}").unwrap();
        let secrets = LocalSecrets::open(&path).unwrap();
        fs::write(&path, r#"{"half": "a fil"#).unwrap();
        secrets.set("psa", &Secret::new("x")).await.unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"half": "a fil"#);
    }

    #[test]
    fn errors_name_the_file_and_the_place_and_show_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        for wrong in [r#""s3cret""#, r#"{"a": 53, "b": ["s3cret"]}"#, r#"{"a": "s3cret""#, r#"{"a": s3cret}"#, ""] {
            fs::write(&path, wrong).unwrap();
            let problem = LocalSecrets::open(&path).unwrap_err();
            assert!(problem.contains("secrets.json: line 1, column "), "{problem}");
            assert!(!problem.contains("s3cret") && !problem.contains("53"), "{problem}");
        }
        assert!(LocalSecrets::open(folder.path().join("nothing")).unwrap_err().contains("nothing: "));
    }
}
