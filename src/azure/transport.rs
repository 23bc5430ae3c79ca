//! The HTTP client that the SDK's pipelines send with.
//!
//! It replaces the SDK's own, which keeps no connection (`pool_max_idle_per_host(0)`), waits for ever, and hands every
//! refusal on with its whole body and headers, to be printed by whoever shows the error. Here a refusal becomes a
//! [`Failure`]: the status, the code and how long to wait, nothing else.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    Body, BytesStream, HttpClient, Request, Response, StatusCode,
    error::{Error, ErrorKind, ResultExt},
    headers::{HeaderName, HeaderValue, Headers},
};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// To get a connection. One attempt, so that two fit into the five seconds in which an outage has to be answered.
const CONNECT: Duration = Duration::from_millis(1500);
/// From the first byte sent to the last one received, connecting included.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Shorter than the keep-alive of Azurite (5 s): a request on a connection that the other side is closing is lost, and
/// a lost write can't be repeated.
const IDLE_PLAIN: Duration = Duration::from_secs(4);
/// Shorter than the four minutes after which Azure's load balancers drop a silent connection.
const IDLE_TLS: Duration = Duration::from_secs(90);

/// Why a request got no good answer. Safe to log: it holds nothing that the other side wrote but its error code.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("status {status}")]
    Refused { status: u16, code: Option<String>, retry_after: Option<Duration> },
    /// The request may or may not have been carried out.
    #[error("{0}")]
    Broken(&'static str),
}

impl Failure {
    /// The failure inside an error of the SDK, however often that was wrapped on its way.
    pub(crate) fn inside(error: &Error) -> Option<&Self> {
        let mut error: &(dyn std::error::Error + 'static) = error;
        loop {
            match error.downcast_ref::<Self>() {
                Some(failure) => return Some(failure),
                None => error = error.source()?,
            }
        }
    }
}

/// A pool of connections; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
}

impl Transport {
    /// For services on the internet: https, through the proxy that the environment names, if any.
    pub(crate) fn remote() -> Result<Self, String> {
        Self::build(reqwest::Client::builder().pool_idle_timeout(IDLE_TLS))
    }

    /// For services on this machine or link (the emulator, the endpoint of the managed identity), which no proxy reaches.
    pub(crate) fn local() -> Result<Self, String> {
        Self::build(reqwest::Client::builder().pool_idle_timeout(IDLE_PLAIN).no_proxy())
    }

    fn build(builder: reqwest::ClientBuilder) -> Result<Self, String> {
        builder
            .connect_timeout(CONNECT)
            .timeout(ATTEMPT)
            // No service called here redirects, and a redirected request would carry its credentials elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map(|client| Self { client })
            .map_err(|error| format!("the HTTP client can't be set up: {error}"))
    }

    /// As the SDK takes it.
    pub(crate) fn shared(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<Response> {
        let method =
            reqwest::Method::from_bytes(request.method().as_ref().as_bytes()).map_kind(ErrorKind::DataConversion)?;
        let mut outgoing = self.client.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body() else {
            return Err(Error::message(ErrorKind::Other, "no adapter here streams a body"));
        };
        let answer = outgoing.body(body.clone()).send().await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer.bytes().await.map_err(|error| broken(&error))?;
        if status.is_success() {
            let status = StatusCode::try_from(status.as_u16())
                .map_err(|_| Error::message(ErrorKind::DataConversion, "a status that is none"))?;
            return Ok(Response::new(status, sdk_headers(&headers), Box::pin(BytesStream::new(body))));
        }
        let failure = Failure::Refused {
            status: status.as_u16(),
            code: error_code(&headers, &body),
            retry_after: retry_after(&headers),
        };
        let status = StatusCode::try_from(status.as_u16()).unwrap_or(StatusCode::InternalServerError);
        Err(Error::new(ErrorKind::http_response(status, None), failure))
    }
}

fn broken(error: &reqwest::Error) -> Error {
    let failure = Failure::Broken(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    });
    Error::new(ErrorKind::Io, failure)
}

fn sdk_headers(headers: &HeaderMap) -> Headers {
    let mut all = Headers::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            all.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_owned()));
        }
    }
    all
}

/// Azure documents the header, yet its table service was seen to send only the body.
fn error_code(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    if let Some(code) = headers.get("x-ms-error-code").and_then(|value| value.to_str().ok()) {
        return Some(code.to_owned());
    }
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(body.get("odata.error")?.get("code")?.as_str()?.to_owned())
}

/// Whole seconds; Azure sends no dates here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
