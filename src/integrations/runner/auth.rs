//! How requests prove who sends them: the schemes of the manifest, each as what is added to a request, and where its token
//! comes from.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::Value;

use super::{
    address,
    call::{self, Body, Call},
    hmac, jwt,
    scope::{Saved, Scope},
    token::{Token, TokenKey},
};
use crate::integrations::{
    Failure, FailureClass,
    manifest::{Auth, ClientAuthentication, Decoder, Pointer, Template, TokenBodyFormat},
};

/// Longest token, or other value of a login, in bytes: more than servers take as a header. It is kept, and every message is
/// searched for it, so it must not be of any length.
const LONGEST: usize = 32 * 1024;

/// Where a client for one organization gets its token, if elsewhere.
#[derive(Clone, Copy, Default)]
pub struct TokenOverrides<'a> {
    pub token_url: Option<&'a Template>,
    pub token_params: Option<&'a BTreeMap<String, Template>>,
}

/// How to get the token that a scheme needs.
pub enum TokenSource {
    /// Nothing to get.
    None,
    /// Made here, not fetched.
    Made {
        key: TokenKey,
        token: Token,
    },
    Fetched(Box<Fetch>),
}

/// A request whose answer holds a token.
pub struct Fetch {
    pub key: TokenKey,
    pub call: Call,
    reading: Reading,
}

/// Where the token is in the answer.
enum Reading {
    OAuth2,
    Session {
        token: Pointer,
        expires_in_path: Option<Pointer>,
        expires_at_path: Option<Pointer>,
        expires_in: Option<u64>,
        save: BTreeMap<String, Pointer>,
    },
}

/// Whether a request may hold what only a login tells.
pub fn login_saves(auth: &Auth) -> bool {
    matches!(auth, Auth::SessionToken { save, .. } if !save.is_empty())
}

/// What a request for a token looks like.
pub fn token_source(auth: &Auth, overrides: TokenOverrides<'_>, scope: &Scope<'_>) -> Result<TokenSource, Failure> {
    let fetched = |key: TokenKey, call: Call, reading| Ok(TokenSource::Fetched(Box::new(Fetch { key, call, reading })));
    match auth {
        Auth::None | Auth::ApiKey { .. } | Auth::Bearer { .. } | Auth::Basic { .. } | Auth::HmacSignature { .. } => {
            Ok(TokenSource::None)
        }
        Auth::OAuth2ClientCredentials {
            token_url,
            client_id,
            client_secret,
            scopes,
            token_query,
            token_params,
            client_authentication,
            body_format,
        } => {
            let mut fields = call::texts(token_params, scope)?;
            if let Some(more) = overrides.token_params {
                fields.extend(call::texts(more, scope)?);
            }
            fields.insert("grant_type".to_owned(), "client_credentials".to_owned());
            if !scopes.is_empty() {
                fields.insert("scope".to_owned(), scopes.join(" "));
            }
            let (id, secret) = (client_id.text(scope)?, client_secret.text(scope)?);
            let mut call = token_call(overrides.token_url.unwrap_or(token_url), scope)?;
            call::add_query(&mut call.url, token_query, scope)?;
            match client_authentication {
                ClientAuthentication::Body => {
                    fields.extend([("client_id".to_owned(), id), ("client_secret".to_owned(), secret)]);
                }
                ClientAuthentication::Basic => {
                    call.headers.insert(AUTHORIZATION, basic(&id, &secret)?);
                }
            }
            call.body = Some(match body_format {
                TokenBodyFormat::Form => Body::Form(fields),
                TokenBodyFormat::Json => {
                    Body::Json(fields.into_iter().map(|(name, text)| (name, Value::from(text))).collect())
                }
            });
            fetched(TokenKey::of(&call), call, Reading::OAuth2)
        }
        Auth::SessionToken { login, token_path, expires_in_path, expires_at_path, expires_in, save, .. } => {
            let mut call = token_call(&login.url, scope)?;
            call.method = call::method(login.method);
            call::add_headers(&mut call.headers, &login.headers, scope)?;
            if let Some(credentials) = &login.basic {
                let value = basic(&credentials.username.text(scope)?, &credentials.password.text(scope)?)?;
                call.headers.insert(AUTHORIZATION, value);
            }
            call.body = call::body(login.body.as_ref(), login.body_format, scope)?;
            let reading = Reading::Session {
                token: token_path.clone(),
                expires_in_path: expires_in_path.clone(),
                expires_at_path: expires_at_path.clone(),
                expires_in: *expires_in,
                save: save.clone(),
            };
            fetched(TokenKey::of(&call), call, reading)
        }
        Auth::JwtBearer { token_url, algorithm, key, claims, lifetime } => {
            let claims = call::texts(claims, scope)?;
            let key = key.text(scope)?;
            let made = jwt::assertion(*algorithm, &key, &claims, *lifetime, Utc::now())?;
            // The assertion differs each second; what it is made of does not.
            let identity = format!("{algorithm:?} {claims:?} {key}");
            let Some(token_url) = token_url else {
                let token = Token::new(made, Saved::new(), Some(Duration::from_secs(*lifetime)));
                return Ok(TokenSource::Made { key: TokenKey::of_text(&identity), token });
            };
            let mut call = token_call(token_url, scope)?;
            let token_key = TokenKey::of_text(&format!("{identity} {}", call.url));
            call.body = Some(Body::Form(BTreeMap::from([
                ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                ("assertion".to_owned(), made),
            ])));
            fetched(token_key, call, Reading::OAuth2)
        }
    }
}

fn token_call(url: &Template, scope: &Scope<'_>) -> Result<Call, Failure> {
    let text = address::render(url, scope, &call::allowed_hosts(scope))?;
    Ok(Call {
        method: reqwest::Method::POST,
        url: address::parse(&text)?,
        headers: call::default_headers(Decoder::Json),
        body: None,
        repeatable: true,
        needs_body: true,
    })
}

impl Fetch {
    /// The token in the answer.
    pub fn read(&self, answer: &Value) -> Result<Token, Failure> {
        let bad = |message: String| Failure::new(FailureClass::BadResponse, message);
        let token_in = |found: Option<&Value>, place: &str| {
            let token = found.and_then(Value::as_str).filter(|token| !token.is_empty());
            let token = token.ok_or_else(|| bad(format!("the answer to the login has no token at {place}")))?;
            if token.len() <= LONGEST {
                Ok(token.to_owned())
            } else {
                Err(bad(format!("the token at {place} in the answer to the login has more than {LONGEST} bytes")))
            }
        };
        match &self.reading {
            Reading::OAuth2 => {
                let value = token_in(answer.get("access_token"), "/access_token")?;
                let lifetime = answer.get("expires_in").and_then(seconds).map(Duration::from_secs);
                Ok(Token::new(value, Saved::new(), lifetime))
            }
            Reading::Session { token, expires_in_path, expires_at_path, expires_in, save } => {
                let value = token_in(token.find(answer), token.as_str())?;
                let find = |path: &Option<Pointer>| path.as_ref().and_then(|path| path.find_value(answer));
                let lifetime = find(expires_in_path)
                    .and_then(seconds)
                    .or_else(|| find(expires_at_path).and_then(|at| until(at, Utc::now())))
                    .or(*expires_in);
                let saved = saved(save, answer)?;
                Ok(Token::new(value, saved, lifetime.map(Duration::from_secs)))
            }
        }
    }
}

/// Values of an answer that become `connection.x`.
pub fn saved(save: &BTreeMap<String, Pointer>, answer: &Value) -> Result<Saved, Failure> {
    let mut saved = Saved::new();
    for (name, pointer) in save {
        let value = pointer.find_value(answer).ok_or_else(|| {
            let message = format!("the answer has nothing at {pointer}, which connection.{name} is read from");
            Failure::new(FailureClass::BadResponse, message)
        })?;
        // It is kept as long as the token.
        if value.to_string().len() > LONGEST {
            let message =
                format!("what the answer has at {pointer}, for connection.{name}, has more than {LONGEST} bytes");
            return Err(Failure::new(FailureClass::BadResponse, message));
        }
        saved.insert(name.clone(), value.clone());
    }
    Ok(saved)
}

/// A number, also one in quotation marks.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Seconds until then: RFC 3339, the same without a zone (UTC), or seconds since 1970.
fn until(at: &Value, now: DateTime<Utc>) -> Option<u64> {
    let at = if let Some(seconds) = seconds(at) {
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?
    } else {
        let text = at.as_str()?;
        let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc));
        zoned.or_else(|_| text.parse::<NaiveDateTime>().map(|at| at.and_utc())).ok()?
    };
    u64::try_from((at - now).num_seconds().max(0)).ok()
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Failure> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret_header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::new(
            FailureClass::Configuration,
            "a credential has characters that cannot be sent: check for line breaks",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Adds what proves the sender. Last of all changes to a request: signatures cover the rest.
pub fn apply(auth: &Auth, token: Option<&Arc<Token>>, scope: &Scope<'_>, call: &mut Call) -> Result<(), Failure> {
    match auth {
        Auth::None => {}
        Auth::ApiKey { headers, query } => {
            call::add_headers(&mut call.headers, headers, scope)?;
            call::set_query(&mut call.url, query, scope)?;
        }
        Auth::Bearer { token } => {
            call.headers.insert(AUTHORIZATION, secret_header(&format!("Bearer {}", token.text(scope)?))?);
        }
        Auth::Basic { username, password } => {
            call.headers.insert(AUTHORIZATION, basic(&username.text(scope)?, &password.text(scope)?)?);
        }
        Auth::OAuth2ClientCredentials { .. } | Auth::JwtBearer { .. } => {
            if let Some(token) = token {
                call.headers.insert(AUTHORIZATION, secret_header(&format!("Bearer {}", token.value.expose()))?);
            }
        }
        Auth::SessionToken { inject, .. } => {
            if let Some(token) = token {
                let scope = scope.clone().with_token(token.value.expose());
                call::add_headers(&mut call.headers, &inject.headers, &scope)?;
                for (pointer, template) in &inject.body {
                    let value = template.json(&scope)?;
                    pointer
                        .set(call.json_body()?, value)
                        .map_err(|problem| Failure::new(FailureClass::Configuration, problem))?;
                }
            }
        }
        Auth::HmacSignature { variant, key_id, secret } => {
            hmac::sign(*variant, &key_id.text(scope)?, &secret.text(scope)?, call, Utc::now())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::token::UNKNOWN_LIFETIME, *};

    #[test]
    fn trap_23_ends_of_tokens_are_told_in_many_ways() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(until(&json!(1_700_000_060), now), Some(60));
        assert_eq!(until(&json!("1700000060"), now), Some(60));
        assert_eq!(until(&json!("2023-11-14T22:14:20Z"), now), Some(60));
        assert_eq!(until(&json!("2023-11-14T23:14:20+01:00"), now), Some(60));
        assert_eq!(until(&json!("2023-11-14T22:14:20.5"), now), Some(60));
        assert_eq!(until(&json!("2001-01-01T00:00:00Z"), now), Some(0));
        assert_eq!(until(&json!("soon"), now), None);
        assert_eq!(seconds(&json!("3600")), Some(3600));
    }

    #[test]
    fn a_login_tells_how_long_its_token_lasts() {
        let pointer = |text| Some(Pointer::parse(text).unwrap());
        let session = |expires_in| Reading::Session {
            token: Pointer::parse("/access_token").unwrap(),
            expires_in_path: pointer("/expires_in"),
            expires_at_path: pointer("/expires_at"),
            expires_in,
            save: BTreeMap::new(),
        };
        let at = |seconds| Utc::now() + chrono::TimeDelta::seconds(seconds);
        let unknown = UNKNOWN_LIFETIME.as_secs() - 30;
        for (answer, reading, used) in [
            (json!({"expires_in": 3600}), Reading::OAuth2, 3540),
            (json!({"expires_in": "3600"}), Reading::OAuth2, 3540),
            (json!({"expires_in": 100}), session(None), 90),
            (json!({"expires_in": 100, "expires_at": at(5000).timestamp()}), session(Some(7)), 90),
            (json!({"expires_at": at(5000).timestamp()}), session(Some(7)), 4940),
            (json!({"expires_at": at(5000).to_rfc3339()}), session(None), 4940),
            (json!({"expires_at": at(5000).format("%Y-%m-%dT%H:%M:%S%.f").to_string()}), session(None), 4940),
            (json!({}), session(Some(1000)), 940),
            (json!({}), session(None), unknown),
            (json!({"expires_at": "soon", "expires_in": -1}), session(None), unknown),
            (json!({"expires_in": -1}), Reading::OAuth2, unknown),
            (json!({"expires_in": u64::MAX}), Reading::OAuth2, UNKNOWN_LIFETIME.as_secs()),
            (json!({"expires_in": 0}), Reading::OAuth2, 5),
            (json!({"expires_at": at(-5000).timestamp()}), session(None), 5),
        ] {
            let call = Call {
                method: reqwest::Method::POST,
                url: url::Url::parse("https://id.example.com").unwrap(),
                headers: reqwest::header::HeaderMap::new(),
                body: None,
                repeatable: true,
                needs_body: true,
            };
            let mut answer = answer;
            answer["access_token"] = json!("t");
            let token = Fetch { key: TokenKey::of(&call), call, reading }.read(&answer).unwrap();
            let left = token.used_for().as_secs_f64();
            assert!((left - f64::from(u32::try_from(used).unwrap())).abs() < 3.0, "{answer}: {left}, not {used}");
        }
    }
}
