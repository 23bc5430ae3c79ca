//! Azure Key Vault, and the fence around `azure_security_keyvault` 0.21.
//!
//! The crate takes no transport, no retry options and no timeout, so what a caller could set elsewhere is done around it:
//!
//! - It asks up to nine times within 82 seconds, and waits as long as `Retry-After` says before the next time. Every call
//!   here ends at a deadline. A 429 or 5xx therefore mostly shows as that deadline: the crate keeps them to itself.
//! - It pastes names into the path, where `../keys/x` would lead to the keys: only checked names get that far.
//! - Its builders, answers and errors print values, bodies and headers: none of them is ever formatted, and only the
//!   status inside an error decides. `telemetry.rs` keeps out of the log what the crates say themselves.
//! - Its client keeps no connections; the callers' caches spare the handshakes.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{Url, auth::TokenCredential, error::ErrorKind};
use azure_security_keyvault::SecretClient;
use url::Host;

use super::{SecretError, SecretStore, check_name, check_value};
use crate::{
    azure::{IdentityEnvironment, managed_identity},
    domain::Secret,
};

/// Of a read with all its attempts: it has to leave time for an answer within five seconds.
const READ_DEADLINE: Duration = Duration::from_secs(3);
/// Of a write or delete with all its attempts.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Key Vault counts requests against its limits in windows of this length ("transactions per 10 seconds per vault").
const WINDOW: Duration = Duration::from_secs(10);

/// One key vault. Clones share its client.
#[derive(Clone)]
pub struct KeyVaultSecrets {
    url: Url,
    client: SecretClient,
}

impl fmt::Debug for KeyVaultSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyVaultSecrets").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl KeyVaultSecrets {
    /// The key vault at that address, reached with the managed identity: with a client id the user-assigned one, else the
    /// system-assigned one.
    ///
    /// # Errors
    /// What was expected.
    pub fn with_managed_identity(
        url: &str,
        client_id: Option<String>,
        environment: IdentityEnvironment,
    ) -> Result<Self, String> {
        let url = parse(url)?;
        Self::build(url, managed_identity(client_id, environment)?)
    }

    /// The key vault at that address, reached with that credential.
    ///
    /// # Errors
    /// What was expected.
    pub fn with_credential(url: &str, credential: Arc<dyn TokenCredential>) -> Result<Self, String> {
        Self::build(parse(url)?, credential)
    }

    fn build(url: Url, credential: Arc<dyn TokenCredential>) -> Result<Self, String> {
        let client = SecretClient::new(url.as_str(), credential).map_err(|_| EXPECTED.to_owned())?;
        Ok(Self { url, client })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

#[async_trait]
impl SecretStore for KeyVaultSecrets {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        check_name(name)?;
        match in_time(READ_DEADLINE, self.client.get(name).into_future()).await {
            Ok(answer) => Ok(Some(Secret::new(answer.value))),
            Err(Fault::Status(404)) => Ok(None),
            Err(fault) => Err(fault.into_error("reading", "Key Vault Secrets User")),
        }
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        check_name(name)?;
        check_value(value)?;
        match in_time(WRITE_DEADLINE, self.client.set(name, value.expose()).into_future()).await {
            // "A secret with the name … is currently in a deleted but recoverable state, and its name cannot be reused."
            Err(Fault::Status(409)) => Err(SecretError::Deleted { name: name.to_owned() }),
            Err(Fault::Status(400 | 413)) => Err(SecretError::Value("is none that the Key Vault takes".to_owned())),
            other => other.map_err(|fault| fault.into_error("writing", "Key Vault Secrets Officer")),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        check_name(name)?;
        match in_time(WRITE_DEADLINE, self.client.delete(name).into_future()).await {
            Err(Fault::Status(404)) => Ok(()),
            other => other.map_err(|fault| fault.into_error("deleting", "Key Vault Secrets Officer")),
        }
    }
}

/// What is left of an error of the SDK: nothing that anybody else wrote.
enum Fault {
    Status(u16),
    Token,
    Unreadable,
    Broken,
    Late(Duration),
}

impl Fault {
    fn into_error(self, doing: &str, role: &str) -> SecretError {
        let (reason, retry_after) = match self {
            Self::Status(status @ (401 | 403)) => {
                let reason = format!(
                    "status {status}; give the service's identity the role {role} on the Key Vault, let its firewall admit \
                     this app, and see that the secret is not disabled"
                );
                (reason, None)
            }
            Self::Status(status @ (429 | 503)) => (format!("status {status}: it is busy"), Some(WINDOW)),
            Self::Status(status) => (format!("status {status}"), None),
            Self::Token => {
                let reason = "the managed identity gave no token; check that it is assigned to this app, and \
                              AzureWebJobsStorage__clientId";
                (reason.to_owned(), None)
            }
            Self::Unreadable => ("an answer that is none of a Key Vault; check AZURE_KEY_VAULT_URL".to_owned(), None),
            Self::Broken => ("no connection, or it broke".to_owned(), None),
            Self::Late(deadline) => {
                let reason = format!(
                    "no good answer within {} seconds: it is slow, throttling, failing, or not there; check \
                     AZURE_KEY_VAULT_URL",
                    deadline.as_secs()
                );
                (reason, Some(WINDOW))
            }
        };
        SecretError::Unavailable { reason: format!("Key Vault, {doing} a secret: {reason}"), retry_after }
    }
}

impl From<azure_core::Error> for Fault {
    fn from(error: azure_core::Error) -> Self {
        match error.kind() {
            // Tokens are fetched inside the SDK's pipeline: a 404 of the identity endpoint must not look like no secret.
            ErrorKind::Credential => Self::Token,
            ErrorKind::HttpResponse { status, .. } => Self::Status(u16::from(*status)),
            ErrorKind::Io => Self::Broken,
            ErrorKind::DataConversion | ErrorKind::MockFramework | ErrorKind::Other => Self::Unreadable,
        }
    }
}

async fn in_time<T>(deadline: Duration, call: impl Future<Output = azure_core::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, call).await {
        Ok(outcome) => outcome.map_err(Fault::from),
        Err(_) => Err(Fault::Late(deadline)),
    }
}

const EXPECTED: &str = "expected https:// and the host of the Key Vault, as in https://NAME.vault.azure.net (http:// on \
                        loopback only)";

/// The token and every value go there: in the clear to this machine alone.
fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| EXPECTED.to_owned())?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(EXPECTED.to_owned()),
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let is_origin = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_safe && is_origin { Ok(url) } else { Err(EXPECTED.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_vault_is_an_origin_on_https() {
        for good in
            ["https://acme.vault.azure.net", "https://acme.vault.azure.net/", "http://127.0.0.1:8200", "http://[::1]"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "acme",
            "acme.vault.azure.net",
            "http://acme.vault.azure.net",
            "ftp://127.0.0.1",
            "https://a.example/secrets",
            "https://u@a.example",
            "https://u:p@a.example",
            "https://a.example?x",
            "https://a.example#x",
            "http://localhost.example",
        ] {
            assert_eq!(parse(bad).unwrap_err(), EXPECTED, "{bad}");
        }
    }
}
