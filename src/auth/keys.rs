//! The keys that sign the tenant's tokens, as the identity provider publishes them.
//!
//! Owns: discovery, the keys, when they are read again. Must not know: what a token says. Keys that were read stay
//! good while the provider is down; a key that it no longer publishes is gone after the next read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use url::{Host, Url};
use uuid::Uuid;

use crate::cache::{Clock, is_over};

/// To get a connection.
const CONNECT: Duration = Duration::from_millis(1500);
/// For the discovery document and the keys together: a request that waits for them is answered within five seconds.
const DEADLINE: Duration = Duration::from_secs(3);
/// Long enough for the second request of a read. The next one is minutes away, and the connection closed by then.
const IDLE: Duration = Duration::from_secs(4);
/// Longest answer in bytes; the provider's own are below 20,000.
const BODY_LIMIT: usize = 256 * 1024;
/// Fewest bytes of a modulus: 2048 bits.
const MODULUS: usize = 256;
/// Seconds between two reads: an unknown `kid` costs its sender nothing, and must not cost the provider much.
const PAUSE: i64 = 60;
/// The same while there are no keys at all, when nobody can be let in.
const PAUSE_WITHOUT_KEYS: i64 = 5;
/// Seconds after which keys are read again though no token asks for it, so that withdrawn ones go.
const LIFETIME: i64 = 24 * 60 * 60;

/// Why there is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The provider does not publish it.
    Unknown,
    /// Nobody knows: the provider can't be reached.
    Unavailable,
}

/// What the provider published at one time.
pub(super) struct KeySet {
    /// Of the tokens that these keys sign.
    pub issuer: String,
    keys: Vec<Key>,
    read_at: i64,
}

/// A key with its `kid`. Several may have the same one: those "SHOULD use distinct values" (RFC 7517, section 4.5).
type Key = (String, RsaPublicKeyComponents<Vec<u8>>);

impl KeySet {
    /// Whether a key of that id signed the message: RSASSA-PKCS1-v1_5 with SHA-256 and at least 2048 bits.
    pub fn verifies(&self, kid: &str, message: &[u8], signature: &[u8]) -> bool {
        self.of(kid).any(|(_, key)| key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok())
    }

    fn of<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |(known, _)| known == kid)
    }
}

#[derive(Clone, Default)]
struct State {
    set: Option<Arc<KeySet>>,
    last: Option<LastRead>,
}

#[derive(Clone, Copy)]
struct LastRead {
    ended: i64,
    failed: bool,
}

impl State {
    fn with(&self, kid: &str) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|set| set.of(kid).next().is_some())
    }

    fn may_read(&self, now: i64) -> bool {
        let pause = if self.set.is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        self.last.is_none_or(|last| is_over(last.ended, pause, now))
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// An RSA key; others fail to parse, and are left out.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: String,
    n: String,
    e: String,
    issuer: Option<String>,
}

/// The keys of one tenant.
pub(super) struct Keys {
    tenant: String,
    discovery: Url,
    http: reqwest::Client,
    clock: Clock,
    state: Mutex<State>,
    /// Held while reading: one read at a time, and the others wait for it.
    reading: tokio::sync::Mutex<()>,
}

impl Keys {
    pub fn new(authority: &Url, tenant: Uuid, clock: Clock) -> Result<Self, String> {
        let tenant = tenant.to_string();
        let discovery = authority
            .join(&format!("/{tenant}/v2.0/.well-known/openid-configuration"))
            .map_err(|error| format!("no address of the identity provider: {error}"))?;
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            // The keys decide who is let in: they come from where discovery says, or not at all.
            .redirect(reqwest::redirect::Policy::none())
            // A kilobyte can unpack to a gigabyte. Said aloud, since a feature that any crate asks for would turn it
            // on.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        // No proxy reaches a provider on this machine.
        let builder = if is_plain_loopback(authority) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| format!("the HTTP client can't be set up: {error}"))?;
        Ok(Self { tenant, discovery, http, clock, state: Mutex::default(), reading: tokio::sync::Mutex::default() })
    }

    /// The keys that have one of that id among them.
    pub async fn with(self: &Arc<Self>, kid: &str) -> Result<Arc<KeySet>, NoKey> {
        let state = self.state();
        if let Some(set) = state.with(kid) {
            let now = (self.clock)();
            if is_over(set.read_at, LIFETIME, now) && state.may_read(now) && self.reading.try_lock().is_ok() {
                drop(self.read());
            }
            return Ok(Arc::clone(set));
        }
        let _ = self.read().await;
        let state = self.state();
        match state.with(kid) {
            Some(set) => Ok(Arc::clone(set)),
            None if state.last.is_some_and(|last| !last.failed) => Err(NoKey::Unknown),
            None => Err(NoKey::Unavailable),
        }
    }

    /// In a task of its own: a caller who hangs up must not stop a read that the others wait for.
    fn read(self: &Arc<Self>) -> JoinHandle<()> {
        let keys = Arc::clone(self);
        tokio::spawn(async move { keys.read_if_due().await })
    }

    async fn read_if_due(&self) {
        let _reading = self.reading.lock().await;
        // The state before the time: who waited here must not see an end that is later than now.
        let state = self.state();
        if !state.may_read((self.clock)()) {
            return;
        }
        let outcome = tokio::time::timeout(DEADLINE, self.fetch()).await.unwrap_or_else(|_| Err(SLOW.to_owned()));
        let ended = (self.clock)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Some(LastRead { ended, failed: outcome.is_err() });
        match outcome {
            Ok((issuer, keys)) => {
                info!(keys = keys.len(), "read the keys of the identity provider");
                state.set = Some(Arc::new(KeySet { issuer, keys, read_at: ended }));
            }
            Err(reason) => warn!(reason, "the keys of the identity provider can't be read"),
        }
    }

    async fn fetch(&self) -> Result<(String, Vec<Key>), String> {
        let Discovery { issuer, jwks_uri } = self.get(self.discovery.clone()).await?;
        let jwks_uri = Url::parse(&jwks_uri).map_err(|_| "jwks_uri of the discovery document is no URL")?;
        if jwks_uri.scheme() != "https" && !(is_plain_loopback(&self.discovery) && is_plain_loopback(&jwks_uri)) {
            return Err("jwks_uri of the discovery document is not https".to_owned());
        }
        let published: Published = self.get(jwks_uri).await?;
        let keys: Vec<_> =
            published.keys.into_iter().filter_map(|jwk| self.usable(Jwk::deserialize(jwk).ok()?, &issuer)).collect();
        if keys.is_empty() {
            Err("no key to check signatures with among those published".to_owned())
        } else {
            Ok((issuer, keys))
        }
    }

    /// A key for signatures of the tenant's tokens.
    ///
    /// "The application should use the `issuer` property returned from the keys endpoint to restrict the scope of
    /// keys": the key of personal accounts must not sign for a tenant.
    fn usable(&self, jwk: Jwk, issuer: &str) -> Option<Key> {
        let is = |value: Option<String>, wanted: &str| value.is_none_or(|value| value == wanted);
        let key_issuer = jwk.issuer.map(|issuer| issuer.replace("{tenantid}", &self.tenant));
        if jwk.kty != "RSA" || !is(jwk.usage, "sig") || !is(jwk.alg, "RS256") || !is(key_issuer, issuer) {
            return None;
        }
        let mut n = URL_SAFE_NO_PAD.decode(jwk.n).ok()?;
        // ring takes a modulus without leading zeros; some publish the sign byte of ASN.1.
        n.drain(..n.iter().take_while(|byte| **byte == 0).count());
        // What ring would refuse must not pass for a key and so take the place of good ones.
        if n.len() < MODULUS {
            return None;
        }
        Some((jwk.kid, RsaPublicKeyComponents { n, e: URL_SAFE_NO_PAD.decode(jwk.e).ok()? }))
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, String> {
        let mut answer = self.http.get(url).send().await.map_err(|error| broken(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(format!("an answer of more than {BODY_LIMIT} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| "an answer that is not what OpenID Connect Discovery says".to_owned())
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const SLOW: &str = "no answer in time";

fn broken(error: &reqwest::Error) -> String {
    let reason = if error.is_timeout() {
        SLOW
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    reason.to_owned()
}

/// Plain http, but to this machine alone.
pub(super) fn is_plain_loopback(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && loopback
}
