//! The managed identity of the place this program runs in.
//!
//! Owns: which credential fits the settings, and the one for a user-assigned identity, which `azure_identity` 0.21 has
//! as dead code only. Must not know: what the tokens are for, or where the settings come from.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use azure_core::{
    HttpClient, Method, Request, Url,
    auth::{AccessToken, TokenCredential},
    error::{Error, ErrorKind, ResultExt},
};
use azure_identity::{
    AppServiceManagedIdentityCredential, TokenCredentialOptions, VirtualMachineManagedIdentityCredential,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::Transport;

/// Where virtual machines and container instances ask for tokens.
const MACHINE_ENDPOINT: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// Of both endpoints.
const API_VERSION: &str = "2019-08-01";
/// A token is renewed when it has less than this left, so that a hiccup of the endpoint is not yet an outage.
const RENEW_BEFORE: Duration = Duration::minutes(5);
/// A token with less than this left may be refused when it arrives.
const USELESS_BEFORE: Duration = Duration::seconds(20);

/// What Azure puts into the environment of an app that has a managed identity.
#[derive(Clone, Default)]
pub struct IdentityEnvironment {
    /// `IDENTITY_ENDPOINT`; absent on virtual machines.
    pub endpoint: Option<String>,
    /// `IDENTITY_HEADER`: proves to the endpoint that the request comes from the app itself.
    pub header: Option<String>,
}

impl fmt::Debug for IdentityEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header.as_ref().map(|_| "[redacted]");
        f.debug_struct("IdentityEnvironment").field("endpoint", &self.endpoint).field("header", &header).finish()
    }
}

/// The credential of the system-assigned identity, or, with a client id, of that user-assigned one.
///
/// The error says which setting is wrong and what was expected.
pub fn managed_identity(
    client_id: Option<String>,
    environment: IdentityEnvironment,
) -> Result<Arc<dyn TokenCredential>, String> {
    let transport = Transport::local()?;
    if let Some(client_id) = client_id {
        return Ok(Arc::new(UserAssigned::new(client_id, environment, transport.shared())?));
    }
    let options = TokenCredentialOptions::from(transport.shared());
    if environment.endpoint.is_none() {
        return Ok(Arc::new(VirtualMachineManagedIdentityCredential::new(options)));
    }
    // It reads IDENTITY_ENDPOINT and IDENTITY_HEADER from the process by itself, and takes no other values.
    let credential = AppServiceManagedIdentityCredential::create(options)
        .map_err(|_| "IDENTITY_ENDPOINT: expected the URL that Azure sets for an app with a managed identity")?;
    Ok(Arc::new(credential))
}

/// Tokens of one user-assigned identity: cached by resource, fetched once for all who wait.
struct UserAssigned {
    endpoint: Url,
    header: Option<String>,
    client_id: String,
    http: Arc<dyn HttpClient>,
    tokens: Mutex<HashMap<String, AccessToken>>,
    /// Held while fetching. Apart from `tokens`, so that a token that still has minutes is used meanwhile.
    fetching: tokio::sync::Mutex<()>,
}

impl UserAssigned {
    fn new(client_id: String, environment: IdentityEnvironment, http: Arc<dyn HttpClient>) -> Result<Self, String> {
        let endpoint = environment.endpoint.as_deref().unwrap_or(MACHINE_ENDPOINT);
        let endpoint = Url::parse(endpoint)
            .map_err(|_| "IDENTITY_ENDPOINT: expected the URL that Azure sets for an app with a managed identity")?;
        Ok(Self {
            endpoint,
            header: environment.header,
            client_id,
            http,
            tokens: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// The token in the cache, if it is good for that long.
    fn cached(&self, resource: &str, left: Duration) -> Option<AccessToken> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(resource).filter(|token| token.expires_on > OffsetDateTime::now_utc() + left).cloned()
    }

    async fn fetch(&self, resource: &str) -> azure_core::Result<AccessToken> {
        let mut url = self.endpoint.clone();
        url.query_pairs_mut().extend_pairs([
            ("api-version", API_VERSION),
            ("resource", resource),
            ("client_id", &self.client_id),
        ]);
        let mut request = Request::new(url, Method::Get);
        // Required by the machine endpoint: what makes a server follow a foreign URL can't add a header.
        request.insert_header("metadata", "true");
        if let Some(header) = &self.header {
            request.insert_header("x-identity-header", header.clone());
        }
        let answer = self.http.execute_request(&request).await?;
        let answer: Value = answer.json().await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        // A text with Unix seconds as documented; some hosts send the number.
        let expires =
            text("expires_on").and_then(|text| text.parse().ok()).or_else(|| answer.get("expires_on")?.as_i64());
        let expires = expires.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        match (text("access_token"), expires) {
            (Some(token), Some(expires)) => Ok(AccessToken::new(token.to_owned(), expires)),
            _ => Err(Error::message(ErrorKind::Credential, "an answer of the identity endpoint without a token")),
        }
    }
}

#[async_trait]
impl TokenCredential for UserAssigned {
    async fn get_token(&self, scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let [scope] = scopes else {
            return Err(Error::message(
                ErrorKind::Credential,
                "a managed identity gives tokens for one scope at a time",
            ));
        };
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        if let Some(token) = self.cached(resource, RENEW_BEFORE) {
            return Ok(token);
        }
        let usable = self.cached(resource, USELESS_BEFORE);
        let _fetching = match (&usable, self.fetching.try_lock()) {
            (_, Ok(guard)) => guard,
            (Some(token), Err(_)) => return Ok(token.clone()),
            (None, Err(_)) => self.fetching.lock().await,
        };
        if let Some(token) = self.cached(resource, RENEW_BEFORE) {
            return Ok(token);
        }
        match self.fetch(resource).await {
            Ok(token) => {
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.insert(resource.to_owned(), token.clone());
                Ok(token)
            }
            Err(error) => usable.ok_or(error).context(ErrorKind::Credential, "no token of the managed identity"),
        }
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

impl fmt::Debug for UserAssigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAssigned").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
