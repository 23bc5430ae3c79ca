//! Correlation: one trace id for each request, in its audit events, its log lines and its answer; and its one log line.
//!
//! The id is that of W3C `traceparent`, which is the operation id in Application Insights when the Functions host made the
//! request. A caller without a valid one gets an id of their own.

use std::time::Duration;

use tracing::{Span, debug, error_span, field::display, info, warn};
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue, Method};

use super::{error::ApiError, response::Response};

const TRACEPARENT: &str = "traceparent";

/// What a request is found by in other logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: Uuid,
    /// As the Functions host numbers it.
    invocation: Option<Uuid>,
}

impl Trace {
    /// Reads the headers. A `traceparent` that is missing or invalid is replaced by a new one, so that whoever looks at the
    /// headers later finds the same id.
    pub fn begin(headers: &mut HeaderMap) -> Self {
        let id = trace_id(headers).unwrap_or_else(|| {
            let id = Uuid::new_v4();
            let text = format!("00-{}-{:016x}-00", id.simple(), id.as_u64_pair().1);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(TRACEPARENT, value);
            }
            id
        });
        Self { id, invocation: invocation_id(headers) }
    }

    /// Surrounds everything that is done for the request. An error span, so that no filter takes the ids from a line it
    /// lets through.
    pub fn span(self) -> Span {
        let (trace_id, invocation_id) = (self.id.as_simple(), self.invocation.map(display));
        error_span!("request", trace_id = %trace_id, invocation_id)
    }

    /// The id as a header.
    pub fn header(self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.id.as_simple().encode_lower(&mut Uuid::encode_buffer())).ok()
    }
}

/// The trace id of a valid `traceparent` of version 00.
pub fn trace_id(headers: &HeaderMap) -> Option<Uuid> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split('-');
    let mut part = |length| {
        let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(|part| part.len() == length).filter(is_hex)
    };
    let (version, trace, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_set = |id: &str| id.bytes().any(|byte| byte != b'0');
    let valid = parts.next().is_none() && version == "00" && is_set(trace) && is_set(parent);
    Uuid::try_parse(trace).ok().filter(|_| valid)
}

/// The host adds its own behind whatever a caller sent. Only an id is taken: what a caller may write freely has no place in
/// a log.
fn invocation_id(headers: &HeaderMap) -> Option<Uuid> {
    let last = headers.get_all("x-azure-functions-invocationid").iter().next_back()?.to_str().ok()?;
    Uuid::try_parse(last.rsplit(',').next()?.trim()).ok()
}

/// The line of a request: nothing that a caller can choose freely, and so no secret that is put in the wrong place.
pub fn log(method: &Method, route: &str, outcome: &Result<Response, ApiError>, took: Duration, caller: Option<&str>) {
    let status = outcome.as_ref().map_or_else(|error| error.status, Response::status);
    let method = if is_common(method) { method.as_str() } else { "other" };
    let millis = took.as_secs_f64() * 1000.0;
    match (outcome, status.as_u16()) {
        (Err(error), code @ (401 | 403)) => {
            warn!(method, route, status = code, millis, caller, reason = error.message(), "denied");
        }
        (_, code) if route == "health" => debug!(method, route, status = code, millis, "request"),
        (_, code) => info!(method, route, status = code, millis, caller, "request"),
    }
}

fn is_common(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .contains(method)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;
    use warp::http::StatusCode;

    use super::*;
    use crate::telemetry;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_traceparent_is_taken_over() {
        let mut headers = headers(TRACEPARENT, &[&format!("00-{TRACE}-b7ad6b7169203331-01")]);
        let before = headers.clone();
        let trace = Trace::begin(&mut headers);
        assert_eq!(trace.header().unwrap(), TRACE);
        assert_eq!(headers, before);
    }

    #[test]
    fn whatever_is_not_valid_is_replaced_by_an_id_that_stays() {
        let parent = "b7ad6b7169203331";
        let good = format!("00-{TRACE}-{parent}-01");
        let zero = "0".repeat(32);
        let invalid: [&[&str]; 15] = [
            &[],
            &[""],
            &["00"],
            &["é"],
            &[&format!("01-{TRACE}-{parent}-01")],
            &[&format!("ff-{TRACE}-{parent}-01")],
            &[&format!("00-{}-{parent}-01", TRACE.to_uppercase())],
            &[&format!("00-{zero}-{parent}-01")],
            &[&format!("00-{TRACE}-0000000000000000-01")],
            &[&format!("00-{}-{parent}-01", &TRACE[1..])],
            &[&format!("00-{TRACE}-{parent}-1")],
            &[&format!("{good}-more")],
            &[&format!(" {good}")],
            &[&format!("00-{}g-{parent}-01", &TRACE[1..])],
            &[&good, &good],
        ];
        for values in invalid {
            let mut headers = headers(TRACEPARENT, values);
            let id = Trace::begin(&mut headers).id;
            assert_eq!((id.is_nil(), trace_id(&headers)), (false, Some(id)), "{values:?}");
            assert_ne!(id.simple().to_string(), TRACE, "{values:?}");
        }
    }

    #[test]
    fn the_hosts_invocation_id_is_the_last_and_nothing_else_is_taken() {
        let id = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
        let read = |values: &[&str]| invocation_id(&headers("x-azure-functions-invocationid", values));
        for good in [&[id][..], &["evil", id], &[&format!("evil, {id}")]] {
            assert_eq!(read(good), Some(Uuid::try_parse(id).unwrap()), "{good:?}");
        }
        for bad in [&[][..], &[""], &["evil"], &[id, "evil"], &["é"]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    /// What `log` writes, as JSON.
    fn logged(method: &str, route: &str, outcome: &Result<Response, ApiError>, caller: Option<&str>) -> Value {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = file.reopen().unwrap();
        let subscriber = telemetry::subscriber(Some("debug"), false, Mutex::new(writer)).unwrap();
        let method = method.parse().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            log(&method, route, outcome, Duration::from_millis(7), caller);
        });
        serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap()
    }

    #[test]
    fn who_is_refused_is_logged_with_the_reason() {
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let refused = Err(ApiError::new(status, "Refused", "the reason"));
            let line = logged("PUT", "organizations/{orgId}/audit", &refused, Some("ann"));
            for (name, value) in [
                ("level", "WARN"),
                ("message", "denied"),
                ("reason", "the reason"),
                ("method", "PUT"),
                ("route", "organizations/{orgId}/audit"),
                ("caller", "ann"),
            ] {
                assert_eq!(line[name], value, "{line}");
            }
            assert_eq!((&line["status"], line["millis"].as_f64()), (&status.as_u16().into(), Some(7.0)));
        }
        let failed = Err(ApiError::new(StatusCode::NOT_FOUND, "Not found", "nobody knows s3cret"));
        let line = logged("BREW", "-", &failed, None);
        assert_eq!((&line["level"], &line["method"]), (&"INFO".into(), &"other".into()));
        assert!(line.get("caller").is_none() && line.get("reason").is_none(), "{line}");
        assert_eq!(logged("GET", "health", &Ok(Response::default()), None)["level"], "DEBUG");
    }
}
