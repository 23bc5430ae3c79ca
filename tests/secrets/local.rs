//! The suite on a file.

use crosswalk::{
    domain::Secret,
    secrets::{LocalSecrets, NoSecrets, SecretError, SecretStore},
};
use tempfile::TempDir;

use crate::conformance;

conformance::run_on!(on_a_file());

fn on_a_file() -> (LocalSecrets, TempDir) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("secrets.json");
    std::fs::write(&path, "{}").unwrap();
    (LocalSecrets::open(path).unwrap(), folder)
}

#[tokio::test]
async fn without_a_store_nothing_is_there_and_nothing_can_be_stored() {
    assert!(NoSecrets.get("psa-api-key").await.unwrap().is_none());
    // It may be in the store that there was before.
    assert_eq!(NoSecrets.delete("psa-api-key").await.unwrap_err(), SecretError::ReadOnly);
    let error = NoSecrets.set("psa-api-key", &Secret::new("x")).await.unwrap_err();
    assert_eq!(error, SecretError::ReadOnly);
    for setting in ["AZURE_KEY_VAULT_URL", "CROSSWALK_SECRETS_FILE"] {
        assert!(error.to_string().contains(setting), "{error}");
    }
}
