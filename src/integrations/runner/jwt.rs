//! Signed assertions (RFC 7523): who asks, for a few minutes.

use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use ring::{rand::SystemRandom, signature};
use serde_json::{Value, json};

use crate::integrations::{Failure, FailureClass, manifest::JwtAlgorithm};

/// # Errors
/// The key is none; the message does not show it.
pub fn assertion(
    algorithm: JwtAlgorithm,
    key: &str,
    claims: &BTreeMap<String, String>,
    lifetime: u64,
    now: DateTime<Utc>,
) -> Result<String, Failure> {
    let name = match algorithm {
        JwtAlgorithm::RS256 => "RS256",
        JwtAlgorithm::HS512 => "HS512",
    };
    let issued = now.timestamp();
    let mut payload: serde_json::Map<_, _> =
        claims.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    payload.insert("iat".to_owned(), json!(issued));
    payload.insert("exp".to_owned(), json!(issued.saturating_add_unsigned(lifetime)));
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": name, "typ": "JWT"})), encode(&Value::Object(payload)));
    let signature = match algorithm {
        JwtAlgorithm::HS512 => {
            ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA512, key.as_bytes()), signed.as_bytes())
                .as_ref()
                .to_vec()
        }
        JwtAlgorithm::RS256 => rs256(key, signed.as_bytes())?,
    };
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn rs256(pem: &str, text: &[u8]) -> Result<Vec<u8>, Failure> {
    let unusable = || {
        let message = "the private key is no RSA key in PEM (PKCS #8): paste it whole, from -----BEGIN PRIVATE KEY----- \
                       to -----END PRIVATE KEY-----";
        Failure::new(FailureClass::Configuration, message)
    };
    // Copied out of a JSON file, its line breaks are two characters each.
    let pem = pem.replace("\\n", "\n");
    let body = pem.split_once("-----BEGIN PRIVATE KEY-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let (body, _) = body.ok_or_else(unusable)?;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).map_err(|_| unusable())?;
    let key = signature::RsaKeyPair::from_pkcs8(&der).map_err(|_| unusable())?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).map_err(|_| unusable())?;
    Ok(signature)
}
