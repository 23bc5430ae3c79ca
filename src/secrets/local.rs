//! Secrets in a file: a JSON object, name → value. It is read at every call, which are few, so that an edit counts at once.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;

use super::{SecretError, SecretStore};
use crate::domain::Secret;

/// The file that `CROSSWALK_SECRETS_FILE` names.
#[derive(Clone, Debug)]
pub struct LocalSecrets {
    path: PathBuf,
}

impl LocalSecrets {
    /// # Errors
    /// The file cannot be read now; the text names it and the problem.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let text = std::fs::read(&path).map_err(|error| error.to_string());
        text.and_then(|text| parse(&text)).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Self { path })
    }
}

#[async_trait]
impl SecretStore for LocalSecrets {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let text = tokio::fs::read(&self.path).await.map_err(|error| error.to_string());
        let mut values = text.and_then(|text| parse(&text)).map_err(|problem| SecretError::Unavailable {
            reason: format!("{}: {problem}", self.path.display()),
            retry_after: None,
        })?;
        Ok(values.remove(name).map(Secret::new))
    }
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
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
        std::fs::write(&path, r#"{"psa-api-key": "old"}"#).unwrap();
        let secrets = LocalSecrets::open(&path).unwrap();
        assert_eq!(secrets.get("psa-api-key").await.unwrap().unwrap().expose(), "old");
        assert!(secrets.get("psa").await.unwrap().is_none());
        // Of the same length, and within the same tick of the file system's clock.
        std::fs::write(&path, r#"{"psa-api-key": "new"}"#).unwrap();
        assert_eq!(secrets.get("psa-api-key").await.unwrap().unwrap().expose(), "new");
        std::fs::remove_file(&path).unwrap();
        let SecretError::Unavailable { reason, .. } = secrets.get("psa-api-key").await.unwrap_err();
        assert!(reason.contains("secrets.json"), "{reason}");
    }

    #[test]
    fn errors_name_the_file_and_the_place_and_show_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        for wrong in [r#""s3cret""#, r#"{"a": 53, "b": ["s3cret"]}"#, r#"{"a": "s3cret""#, r#"{"a": s3cret}"#, ""] {
            std::fs::write(&path, wrong).unwrap();
            let problem = LocalSecrets::open(&path).unwrap_err();
            assert!(problem.contains("secrets.json: line 1, column "), "{problem}");
            assert!(!problem.contains("s3cret") && !problem.contains("53"), "{problem}");
        }
        assert!(LocalSecrets::open(folder.path().join("nothing")).unwrap_err().contains("nothing: "));
    }
}
