//! The secret port: credentials by name. Must not know what they are for, or whose they are.
//!
//! Adapters: [`LocalSecrets`], a file for a developer's machine, and [`NoSecrets`].

mod local;

use std::time::Duration;

use async_trait::async_trait;

pub use self::local::LocalSecrets;
use crate::domain::Secret;

/// A store of credentials. Every call ends within a few seconds, whatever the store does.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// The value of that name, if there is one. Names are letters, digits and hyphens.
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError>;
}

/// What a caller can act on. `reason` is for the log: it names the store, and never holds a value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// The store is down, slow, throttling, or refuses the service; or its file is no such file.
    #[error("the secret store is unavailable: {reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
}

/// A store without a single secret.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn get(&self, _name: &str) -> Result<Option<Secret>, SecretError> {
        Ok(None)
    }
}
