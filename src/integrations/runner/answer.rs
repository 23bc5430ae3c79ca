//! What an external system answered: reading the body, and telling a good answer from an error whatever its status says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use url::Url;

use super::{redact::Secrets, xml};
use crate::{
    integrations::{
        Failure, FailureClass,
        manifest::{Action, Decoder, FilterClass, ResponseFilter},
    },
    outbound::Incoming,
};

/// Longest part of a vendor's message that is shown, in characters.
const MESSAGE: usize = 200;

/// A good answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: Url,
    /// What answered: another place where the one that was asked redirected.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    /// The manifest says that there is nothing in it.
    pub ignored: bool,
}

/// What an answer means.
#[derive(Debug)]
pub enum Verdict {
    Good(Value),
    /// Nothing there, on purpose: an answer without records.
    Empty,
    /// Once more with a new token, if there can be one.
    RefreshToken(Failure),
    /// Later.
    Retry(Failure),
    Fail(Failure),
}

/// What an answer is judged by.
pub struct Judge<'a> {
    pub decoder: Decoder,
    pub filters: &'a [ResponseFilter],
    /// What failing means where a filter does not say.
    pub class: FailureClass,
    /// What the request had in it that no message may repeat.
    pub secrets: &'a Secrets,
}

/// The filters come first; then the status; then whether the body can be read.
pub fn judge(incoming: &Incoming, judge: &Judge<'_>) -> Verdict {
    let Judge { decoder, filters, .. } = *judge;
    let status = incoming.status;
    let body = decode(&incoming.body, decoder);
    for filter in filters {
        let found = filter.path.as_ref().and_then(|path| path.find(body.as_ref().ok()?));
        let fits_status = filter.http_codes.is_empty() || filter.http_codes.contains(&status);
        let fits_body = match (&filter.path, &filter.equals) {
            (None, _) => true,
            (Some(_), Some(wanted)) => found == Some(wanted),
            (Some(_), None) => found.is_some_and(says_something),
        };
        if fits_status && fits_body {
            return filtered(filter, incoming, body.as_ref().ok(), judge);
        }
    }
    let failure = |class, what: &str| Failure::new(class, format!("status {status}: {what}")).status(status);
    match status {
        200..=299 => match body {
            Ok(body) => Verdict::Good(body),
            Err(problem) => Verdict::Fail(Failure::new(FailureClass::BadResponse, problem).status(status)),
        },
        401 => Verdict::RefreshToken(failure(FailureClass::Authentication, "the credentials were refused")),
        403 => Verdict::Fail(failure(FailureClass::Permission, "the credentials may not do this")),
        404 | 410 => Verdict::Fail(failure(FailureClass::NotFound, "there is no such thing")),
        429 => Verdict::Retry(limited(failure(FailureClass::RateLimited, "too many requests"), &incoming.headers)),
        408 | 500 | 502..=504 => {
            Verdict::Retry(limited(failure(FailureClass::BadResponse, "the system has a problem"), &incoming.headers))
        }
        _ => Verdict::Fail(failure(FailureClass::BadResponse, "not what its documentation says")),
    }
}

fn filtered(filter: &ResponseFilter, incoming: &Incoming, body: Option<&Value>, judge: &Judge<'_>) -> Verdict {
    let class = match filter.class {
        Some(FilterClass::Authentication) => FailureClass::Authentication,
        Some(FilterClass::Permission) => FailureClass::Permission,
        Some(FilterClass::NotFound) => FailureClass::NotFound,
        Some(FilterClass::RateLimited) => FailureClass::RateLimited,
        Some(FilterClass::BadResponse) => FailureClass::BadResponse,
        None => match filter.action {
            Action::Retry => FailureClass::RateLimited,
            Action::RefreshToken => FailureClass::Authentication,
            Action::Fail | Action::Ignore => judge.class,
        },
    };
    let said = filter.message_path.as_ref().and_then(|path| path.find_value(body?));
    let said = said.map(|said| message(said, judge.secrets));
    let message = match (&filter.error_message, said) {
        (Some(told), Some(said)) => format!("{told} (the system says: {said})"),
        (Some(told), None) => told.clone(),
        (None, Some(said)) => format!("the system says: {said}"),
        (None, None) => format!("the system answered with an error (status {})", incoming.status),
    };
    let failure = Failure::new(class, message).status(incoming.status);
    match filter.action {
        Action::Fail => Verdict::Fail(failure),
        Action::Ignore => Verdict::Empty,
        Action::Retry => Verdict::Retry(limited(failure, &incoming.headers)),
        Action::RefreshToken => Verdict::RefreshToken(failure),
    }
}

/// Not null, and not an empty text or collection.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A vendor's own words: one line, not long, without credentials.
fn message(value: &Value, secrets: &Secrets) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    secrets.redact(&text, MESSAGE).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a token endpoint says of a refused request (RFC 6749, section 5.2).
pub fn oauth_error(incoming: &Incoming, secrets: &Secrets) -> Option<String> {
    let body = decode(&incoming.body, Decoder::Json).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (error, description) = (text("error")?, text("error_description").unwrap_or_default());
    Some(message(&Value::from(format!("{error} {description}").trim()), secrets))
}

/// Whether an answer that should be a document has none.
pub fn is_blank(incoming: &Incoming) -> bool {
    /// No Content.
    const NOTHING_MEANT: u16 = 204;
    incoming.status != NOTHING_MEANT && incoming.body.trim_ascii().is_empty()
}

/// The body as JSON. What is declared as its type is not looked at: some systems send JSON as `text/plain`.
fn decode(bytes: &[u8], decoder: Decoder) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Ok(Value::Null);
    }
    match decoder {
        Decoder::Xml => xml::decode(text),
        Decoder::Json => serde_json::from_slice(text).map_err(|error| {
            if text.starts_with(b"<") {
                "the answer is a web page, not JSON: perhaps a login page, or the wrong host".to_owned()
            } else if error.is_eof() {
                "the answer is JSON that breaks off".to_owned()
            } else {
                "the answer is not JSON".to_owned()
            }
        }),
    }
}

fn limited(mut failure: Failure, headers: &HeaderMap) -> Failure {
    failure.retry_after = retry_after(headers, SystemTime::now());
    failure
}

/// How long to wait: whole or broken seconds, an HTTP date, or seconds since 1970.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    /// No one asks to wait for 30 years: a larger number is a time.
    const EPOCH: f64 = 1e9;
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let text = header(RETRY_AFTER.as_str()).or_else(|| header("x-ratelimit-retryafter"))?;
    let until = |at: SystemTime| at.duration_since(now).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(seconds) if seconds >= EPOCH => {
            UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).map(until)
        }
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => httpdate::parse_http_date(text).ok().map(until),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_has_three_spellings() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs_f64())
        };
        for (value, expected) in [
            ("7", Some(7.0)),
            ("0.5", Some(0.5)),
            ("1700000030", Some(30.0)),
            ("1600000000", Some(0.0)),
            ("Tue, 14 Nov 2023 22:13:25 GMT", Some(5.0)),
            ("Tue, 14 Nov 2000 22:13:25 GMT", Some(0.0)),
            ("soon", None),
            ("-1", None),
            ("NaN", None),
            ("1e19", None),
            ("1e400", None),
        ] {
            assert_eq!(wait("retry-after", value), expected, "{value}");
        }
        assert_eq!(wait("x-ratelimit-retryafter", "1700000012"), Some(12.0));
    }

    #[test]
    fn a_byte_order_mark_and_a_wrong_content_type_do_no_harm() {
        assert_eq!(decode(b"\xef\xbb\xbf {\"a\": 1}\r\n", Decoder::Json).unwrap(), serde_json::json!({"a": 1}));
        assert!(decode(b"<!DOCTYPE html><title>Sign in</title>", Decoder::Json).unwrap_err().contains("web page"));
        assert!(decode(b"{\"a\": [1, 2", Decoder::Json).unwrap_err().contains("breaks off"));
        assert_eq!(decode(b"", Decoder::Json).unwrap(), Value::Null);
    }
}
