//! Calls to external systems: https to public addresses, no redirect followed, a deadline and a bounded answer.
//!
//! Which host may get which credential is the caller's to know; that no host is an address inside is known here.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method,
    header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING},
};
use url::{Host, Position, Url};

mod address;
mod failure;
mod host_map;
mod resolver;
#[cfg(test)]
mod tests;

pub use host_map::HostMap;
use resolver::Resolver;

/// Longest answer in bytes. A page of 1,000 large records has about 4 MiB; parsed, JSON takes up to ten times its length.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// To get a connection: name, address and TLS. Room for two lost packets, sent again after one second and two more.
const CONNECT: Duration = Duration::from_secs(5);
/// Shorter than the keep-alive of Node and Apache (5 s), the shortest in common use: a request on a connection that the
/// other side is closing is lost, and a lost write can't be repeated. Pages follow each other faster than that.
const IDLE: Duration = Duration::from_secs(4);

/// One request.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    /// `Host`, `Content-Length` and `Transfer-Encoding` are left out: URL and body decide them.
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// From now until the last byte of the answer.
    pub timeout: Duration,
}

/// Its answer, whatever the status.
#[derive(Clone)]
pub struct Incoming {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Without path, query, headers and body, any of which may hold a credential.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str();
        f.debug_struct("Outgoing").field("method", &self.method).field("host", &host).finish_non_exhaustive()
    }
}

/// Without headers and body: it may be the answer of a token endpoint.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("status", &self.status).finish_non_exhaustive()
    }
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
    /// And the client that speaks plain HTTP to it.
    host_map: Option<(Arc<HostMap>, reqwest::Client)>,
}

impl Outbound {
    /// # Errors
    /// The TLS set-up of the machine is unusable.
    pub fn new() -> Result<Self, String> {
        let client = built(secure(Resolver::system()))?;
        Ok(Self { client, host_map: None })
    }

    /// For development: the hosts of the map are played by servers on loopback.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_host_map(host_map: HostMap) -> Result<Self, String> {
        let plain = built(bounded())?;
        Ok(Self { host_map: Some((Arc::new(host_map), plain)), ..Self::new()? })
    }

    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, request: Outgoing) -> Result<Incoming, SendError> {
        let host = request.url.host_str().unwrap_or("no host").to_owned();
        if let Some(reason) = address::refusal(&request.url) {
            return Err(SendError::Forbidden { host, reason });
        }
        let timeout = request.timeout;
        match tokio::time::timeout(timeout, self.exchange(&host, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::Timeout { host }),
        }
    }

    async fn exchange(&self, host: &str, request: Outgoing) -> Result<Incoming, SendError> {
        let failed = |error: &reqwest::Error| failure::classify(host.to_owned(), error);
        let too_large = || SendError::TooLarge { host: host.to_owned() };

        let mut answer = self.prepared(host, request)?.send().await.map_err(|error| failed(&error))?;
        if answer.content_length().is_some_and(|length| length > BODY_LIMIT as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status: answer.status().as_u16(), headers: answer.headers().clone(), body: body.into() })
    }

    /// The request, to its host or to whoever plays it.
    fn prepared(&self, host: &str, request: Outgoing) -> Result<reqwest::RequestBuilder, SendError> {
        let Outgoing { method, url, mut headers, body, .. } = request;
        for decided in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(decided);
        }
        let body = body.unwrap_or_default();
        // Else an empty body goes without a length, which some servers refuse with 411.
        if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(CONTENT_LENGTH, 0.into());
        }
        let played = self.host_map.as_ref().and_then(|(map, plain)| Some((map.target(host)?, plain)));
        let outgoing = match played {
            None => self.client.request(method, url).headers(headers),
            Some(_) if !matches!(url.host(), Some(Host::Domain(_))) => {
                let reason = "the host map has names only, so this address is not called";
                return Err(SendError::Forbidden { host: host.to_owned(), reason });
            }
            Some((target, plain)) => plain
                .request(method, format!("http://{target}{}", &url[Position::BeforePath..Position::AfterQuery]))
                .headers(headers)
                .header(HOST, &url[Position::BeforeHost..Position::AfterPort]),
        };
        Ok(outgoing.body(body))
    }
}

/// For the internet. `https_only`, though `address` has seen to it: a client that can't send in the clear never will.
fn secure(resolver: Resolver) -> reqwest::ClientBuilder {
    bounded().use_rustls_tls().https_only(true).dns_resolver(Arc::new(resolver))
}

fn bounded() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("crosswalk/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        // A proxy would resolve names itself, and nobody would check the addresses.
        .no_proxy()
        // A redirect may lead to a host that must not have the credential; the caller decides.
        .redirect(reqwest::redirect::Policy::none())
        // A kilobyte can unpack to a gigabyte. Said aloud, since a feature that any crate asks for would turn it on.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    builder.build().map_err(|error| format!("the HTTP client can't be set up: {error}"))
}
