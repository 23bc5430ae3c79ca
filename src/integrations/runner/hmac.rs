//! Requests signed with a shared key. Duo's two ways: the signature is the password of Basic authentication, over the
//! `Date` header, method, host, path and parameters.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};
use sha2::{Digest, Sha512};

use super::call::{Body, Call};
use crate::integrations::{Failure, FailureClass, manifest::HmacVariant};

/// Parameters are signed as RFC 3986 encodes them, whatever the form encoding does.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub fn sign(
    variant: HmacVariant,
    key_id: &str,
    secret: &str,
    call: &mut Call,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let date = now.format("%a, %d %b %Y %H:%M:%S -0000").to_string();
    let mut parameters: Vec<(String, String)> = call.url.query_pairs().into_owned().collect();
    let mut body = String::new();
    match &call.body {
        Some(Body::Form(fields)) => parameters.extend(fields.clone()),
        Some(Body::Json(json)) => body = json.to_string(),
        Some(Body::Multipart(_)) | None => {}
    }
    parameters.sort();
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let host = call.url.host_str().unwrap_or_default().to_ascii_lowercase();
    let mut lines =
        vec![date.clone(), call.method.as_str().to_owned(), host, call.url.path().to_owned(), parameters.join("&")];
    let algorithm = match variant {
        HmacVariant::DuoV2 => ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacVariant::DuoV5 => {
            lines.push(hex(&Sha512::digest(body)));
            // Of the headers, those named x-duo-*: none is sent.
            lines.push(hex(&Sha512::digest("")));
            ring::hmac::HMAC_SHA512
        }
    };
    let key = ring::hmac::Key::new(algorithm, secret.as_bytes());
    let signature = hex(ring::hmac::sign(&key, lines.join("\n").as_bytes()).as_ref());
    let authorization = format!("Basic {}", STANDARD.encode(format!("{key_id}:{signature}")));
    set(call, DATE, &date)?;
    set(call, AUTHORIZATION, &authorization)
}

fn set(call: &mut Call, name: HeaderName, text: &str) -> Result<(), Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::new(FailureClass::Configuration, "the key id has characters that cannot be sent"))?;
    value.set_sensitive(true);
    call.headers.insert(name, value);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn signs_as_the_vendor_documents() {
        let form = [("realname", "First Last"), ("username", "root")];
        let form: BTreeMap<_, _> = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut call = Call {
            method: reqwest::Method::POST,
            url: url::Url::parse("https://api-xxxxxxxx.duosecurity.com/accounts/v1/account/list").unwrap(),
            headers: HeaderMap::new(),
            body: Some(Body::Form(form)),
            repeatable: true,
            needs_body: true,
        };
        let now = "2012-08-21T17:29:18Z".parse().unwrap();
        let (id, secret) = ("DIWJ8X6AEYOR5OMC6TQ1", "Zh5eGmUq9zpfQnyUIu5OL9iWoMMv5ZNmk3zLJ4Ep");
        sign(HmacVariant::DuoV2, id, secret, &mut call, now).unwrap();
        assert_eq!(call.headers[DATE], "Tue, 21 Aug 2012 17:29:18 -0000");
        let expected = STANDARD.encode(format!("{id}:2d97d6166319781b5a3a07af39d366f491234edc"));
        assert_eq!(call.headers[AUTHORIZATION], format!("Basic {expected}"));
    }
}
