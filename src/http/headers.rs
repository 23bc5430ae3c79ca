//! Headers that every answer has, and CORS: which web pages may call from a browser.
//!
//! Caching: most answers are `no-store`, since they hold names of customers, history or failures, and nothing is gained by
//! keeping them. A single mapping has an entity tag and is `private, no-cache`: `no-store` would forbid a browser to keep
//! what a 304 refers to; with `no-cache` it asks every time, and is authorized every time, before it may use its copy.
//!
//! HTTPS and its `Strict-Transport-Security` are the platform's business: this process is reached over loopback alone.

use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    response::{Response, empty},
    trace::Trace,
};
use crate::app::App;

const CORRELATION_ID: header::HeaderName = header::HeaderName::from_static("x-correlation-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, If-Match, If-None-Match, X-Organization-Id, traceparent");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("ETag, Location, Retry-After, X-Correlation-Id");
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// What CORS says about one request.
pub struct Cors {
    is_on: bool,
    is_development: bool,
    /// The page's origin, if its pages may call.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Cors {
    /// Without origins that are allowed there is no CORS.
    pub fn of(app: &App, method: &Method, headers: &HeaderMap) -> Self {
        let origins = &app.cors_origins;
        let is_allowed = |origin: &&HeaderValue| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        let origin = headers.get(header::ORIGIN).filter(is_allowed).cloned();
        let asks = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self {
            is_on: !origins.is_empty(),
            is_development: app.auth.is_development(),
            is_preflight: asks && origin.is_some(),
            origin,
        }
    }

    /// The answer to a browser that asks whether a page may call. It comes before anything else: the question carries no
    /// token, and says nothing about the path.
    pub fn preflight(&self) -> Option<Response> {
        self.is_preflight.then(|| {
            let mut response = empty(StatusCode::NO_CONTENT);
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
            headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            if self.is_development {
                headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("X-Dev-User"));
            }
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            response
        })
    }

    /// Adds what every answer has.
    pub fn finish(self, mut response: Response, trace: Trace) -> Response {
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Some(id) = trace.header() {
            headers.insert(CORRELATION_ID, id);
        }
        if self.is_on {
            // Also where the origin is not allowed: a kept copy must not serve another one.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if !self.is_preflight {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            }
        }
        response
    }
}
