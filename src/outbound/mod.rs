//! Calls to external systems: https to public addresses, no redirect followed, a deadline and a bounded answer.
//!
//! Which host may get which credential is the caller's to know; that no host is an address inside is known here.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, header::HeaderMap};
use url::Url;

/// Longest answer in bytes. A page of 1,000 large records has about 4 MiB; parsed, JSON takes up to ten times its length.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// One request.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// From now until the last byte of the answer.
    pub timeout: Duration,
}

/// Its answer, whatever the status.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. Holds nothing of the request but its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was sent: the address is not one that credentials may go to.
    #[error("{host}: {reason}")]
    Forbidden { host: String, reason: &'static str },
    #[error("{host} did not answer in time")]
    Timeout { host: String },
    #[error("{host}: {reason}")]
    Unreachable { host: String, reason: &'static str },
    #[error("{host}: no secure connection: {reason}")]
    Tls { host: String, reason: String },
    #[error("{host} answered with more than {BODY_LIMIT} bytes")]
    TooLarge { host: String },
    #[error("{host}: the answer broke off")]
    Broken { host: String },
}

/// Sends. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
}

impl Outbound {
    /// # Errors
    /// The TLS set-up of the machine is unusable.
    pub fn new() -> Result<Self, String> {
        let client = reqwest::Client::builder().build().map_err(|error| error.to_string())?;
        Ok(Self { client })
    }

    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let mut outgoing =
            self.client.request(request.method, request.url).headers(request.headers).timeout(request.timeout);
        if let Some(body) = request.body {
            outgoing = outgoing.body(body);
        }
        let answer = outgoing.send().await.map_err(|_| SendError::Timeout { host: host.clone() })?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|_| SendError::Broken { host })?;
        Ok(Incoming { status, headers, body })
    }
}
