//! The secret port: credentials by name. Must not know what they are for, or whose they are.
//!
//! Adapters: [`KeyVaultSecrets`], [`LocalSecrets`], a file for a developer's machine, and [`NoSecrets`]. None of them caches.
//! Names are those of Key Vault: 1 to 127 letters, digits and hyphens, and case makes no difference.

mod key_vault;
mod local;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{key_vault::KeyVaultSecrets, local::LocalSecrets};
use crate::domain::Secret;

/// Longest name.
pub const NAME_LIMIT: usize = 127;
/// Longest value in bytes. Key Vault: "maximum size of 25k bytes"; some is left for how JSON writes it.
pub const VALUE_LIMIT: usize = 24_000;

/// A store of credentials. Every call ends within a few seconds, whatever the store does.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// The value of that name, if there is one.
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError>;

    /// Stores the value under that name, in place of the one before. After an error it may be stored all the same.
    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError>;

    /// Removes the value of that name, if there is one.
    async fn delete(&self, name: &str) -> Result<(), SecretError>;
}

/// What a caller can act on. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The store is down, slow, throttling, or refuses the service; or its file is no such file. `reason` is for the log:
    /// it names the store.
    #[error("the secret store is unavailable: {reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// No secret can have that name.
    #[error("'{0}' is no name of a secret: expected 1 to 127 letters, digits and hyphens")]
    Name(String),
    /// The store does not take that value.
    #[error("the value {0}")]
    Value(String),
    /// There is no store to write to.
    #[error(
        "there is no store for secrets: set AZURE_KEY_VAULT_URL, or CROSSWALK_SECRETS_FILE on a developer's machine, and \
         start again"
    )]
    ReadOnly,
    /// A deleted secret still has the name.
    #[error(
        "a deleted secret '{name}' can still be recovered, and keeps its name until then: recover it (az keyvault secret \
         recover) or purge it (az keyvault secret purge), then store the value again"
    )]
    Deleted { name: String },
}

/// Refuses what no secret can be called. Before a name gets into a path: `../keys/x` would lead out of the secrets.
fn check_name(name: &str) -> Result<(), SecretError> {
    let is_name =
        (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name {
        Ok(())
    } else {
        Err(SecretError::Name(name.chars().take(NAME_LIMIT + 1).flat_map(char::escape_debug).collect()))
    }
}

/// The same limit for every store, so that what works on a developer's machine works in Azure.
fn check_value(value: &Secret) -> Result<(), SecretError> {
    let length = value.expose().len();
    if length <= VALUE_LIMIT {
        return Ok(());
    }
    Err(SecretError::Value(format!("has {length} bytes; at most {VALUE_LIMIT} fit into a Key Vault")))
}

/// A store without a single secret.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn get(&self, _name: &str) -> Result<Option<Secret>, SecretError> {
        Ok(None)
    }

    async fn set(&self, _name: &str, _value: &Secret) -> Result<(), SecretError> {
        Err(SecretError::ReadOnly)
    }

    /// A mapping may refer to it, so it is in the store that there was before: its removal has to wait.
    async fn delete(&self, _name: &str) -> Result<(), SecretError> {
        Err(SecretError::ReadOnly)
    }
}
