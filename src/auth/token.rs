//! Access tokens of Microsoft Entra ID: whether one is to be trusted, and whose it is.
//!
//! Owns: the format, the signature, the claims. Must not know: what the caller may do. Start with [`Tokens::caller`].
//!
//! ring checks the signature and serde reads the claims; there is no JWT crate between them. `jsonwebtoken` 11 was read
//! and left out: its cryptography is a process-wide setting that panics where it was not made, it takes no other clock
//! than the system's, and what makes a token one of this tenant (issuer and tenant together, what kind of caller, no
//! claim twice) has to be checked beside it anyway. One algorithm and one type of key leave nothing to negotiate.
//!
//! Reasons are constants, so that nothing of a token can get into a log or an answer. Claims as in
//! <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use url::Url;
use uuid::Uuid;

use super::{
    Caller,
    keys::{Keys, NoKey, is_plain_loopback},
    permissions::is_key,
};
use crate::cache::Clock;

/// Longest token in bytes. Entra ID keeps its own below 8 KiB, since they travel in a header.
const TOKEN_LIMIT: usize = 16 * 1024;
/// How far clocks may differ, in seconds.
const LEEWAY: i64 = 60;

/// What tokens must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entra {
    pub tenant_id: Uuid,
    /// This service as the `aud` of its tokens: its client id, or its Application ID URI.
    pub audience: String,
    /// Where the tenant signs in: `https://login.microsoftonline.com`, or a sovereign cloud.
    pub authority: Url,
}

impl Entra {
    /// A host and nothing else, over https: what comes from there decides who is let in. Plain http on loopback only.
    pub fn authority(text: &str) -> Option<Url> {
        let safe = |url: &Url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let anonymous = url.username().is_empty() && url.password().is_none();
            (url.scheme() == "https" || is_plain_loopback(url)) && bare && anonymous
        };
        Url::parse(text).ok().filter(safe)
    }
}

/// A GUID as the portal shows it, 36 characters with hyphens; `Uuid` alone takes other spellings, URNs among them.
pub fn guid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|guid| guid.to_string().eq_ignore_ascii_case(text))
}

/// Why there is no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no bearer token")]
    Missing,
    /// With a reason that names claims at most.
    #[error("{0}")]
    Invalid(&'static str),
    /// Whether the token is good can't be found out now.
    #[error("the keys of the identity provider can't be read")]
    Unavailable,
}

impl TokenError {
    /// What `WWW-Authenticate` says (RFC 6750, section 3), if the caller can do something about it.
    pub fn challenge(self) -> Option<String> {
        match self {
            // "If the request lacks any authentication information", there is no error code (section 3.1).
            Self::Missing => Some("Bearer".to_owned()),
            Self::Invalid(reason) => Some(format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"")),
            Self::Unavailable => None,
        }
    }
}

/// A claim that is there twice is an error, as serde has it for every field of these two types (RFC 7519, section 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    tid: Option<String>,
    aud: Option<Audience>,
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    oid: Option<String>,
    sub: Option<String>,
    idtyp: Option<String>,
    scp: Option<String>,
    roles: Option<Vec<String>>,
    azp: Option<String>,
    appid: Option<String>,
    cnf: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Checks tokens of one tenant for one audience.
pub struct Tokens {
    keys: Arc<Keys>,
    tenant: String,
    audiences: Vec<String>,
    v1_issuer: Option<String>,
    clock: Clock,
}

impl Tokens {
    /// # Errors
    /// The HTTP client can't be set up.
    pub fn new(entra: &Entra, clock: Clock) -> Result<Self, String> {
        let keys = Arc::new(Keys::new(&entra.authority, entra.tenant_id, Arc::clone(&clock))?);
        let mut audiences = vec![entra.audience.clone()];
        // Version 2 tokens carry the client id, version 1 tokens the Application ID URI, by default `api://` and that
        // id.
        if let Some(client_id) = guid(&entra.audience) {
            audiences = vec![client_id.to_string(), format!("api://{client_id}")];
        }
        let tenant = entra.tenant_id.to_string();
        let v1_issuer = v1_issuer(&entra.authority, &tenant);
        Ok(Self { keys, tenant, audiences, v1_issuer, clock })
    }

    /// What tells these tokens the time.
    pub fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    /// Whose the token in this `Authorization` header is.
    ///
    /// # Errors
    /// There is none, it is not to be trusted, or whether it is cannot be found out.
    pub async fn caller(&self, authorization: Option<&str>) -> Result<Caller, TokenError> {
        let token = bearer(authorization.unwrap_or_default()).ok_or(TokenError::Missing)?;
        if token.len() > TOKEN_LIMIT {
            return Err(TokenError::Invalid("the token is too long"));
        }
        let malformed = TokenError::Invalid("the token is not three parts of base64url and JSON");
        let (message, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;

        let kid = key_id(decode(header).ok_or(malformed)?)?;
        let keys = self.keys.with(&kid).await.map_err(|no_key| match no_key {
            NoKey::Unknown => TokenError::Invalid("the signing key is not among those that the tenant publishes"),
            NoKey::Unavailable => TokenError::Unavailable,
        })?;
        if !keys.verifies(&kid, message.as_bytes(), &signature) {
            return Err(TokenError::Invalid("the signature is wrong"));
        }
        // Only now is what it says more than somebody's text.
        let claims = decode(payload).ok_or(TokenError::Invalid("a claim is there twice, or not of its type"))?;
        self.accept(claims, &keys.issuer)
    }

    fn accept(&self, claims: Claims, issuer: &str) -> Result<Caller, TokenError> {
        let refuse = |reason| Err(TokenError::Invalid(reason));
        let now = (self.clock)();
        if !claims.iss.as_ref().is_some_and(|iss| iss == issuer || Some(iss) == self.v1_issuer.as_ref()) {
            return refuse("iss is not the tenant's issuer");
        }
        if !claims.tid.as_ref().is_some_and(|tid| tid.eq_ignore_ascii_case(&self.tenant)) {
            return refuse("tid is another tenant");
        }
        if !claims.aud.as_ref().is_some_and(|aud| match aud {
            Audience::One(aud) => self.audiences.contains(aud),
            Audience::Several(all) => all.iter().any(|aud| self.audiences.contains(aud)),
        }) {
            return refuse("aud is another service");
        }
        let Some(exp) = claims.exp else {
            return refuse("exp is missing");
        };
        // "MUST be before the expiration": RFC 7519, section 4.1.4.
        if now.saturating_sub(LEEWAY) >= exp {
            return refuse("exp has passed");
        }
        let ahead = now.saturating_add(LEEWAY);
        if claims.nbf.is_some_and(|nbf| nbf > ahead) {
            return refuse("nbf is still to come");
        }
        if claims.iat.is_some_and(|iat| iat > ahead) {
            return refuse("iat is still to come");
        }
        // Whoever shows such a token has to prove that the key is theirs (RFC 7800); a bearer proves nothing.
        if claims.cnf.is_some() {
            return refuse("cnf binds the token to a key, so it is no bearer token");
        }
        claims.caller()
    }
}

impl Claims {
    /// Whether this is a user's token or an application's. An ID token is neither, though this service may well be its
    /// audience: it tells a client who signed in there, and gives nobody access to anything.
    ///
    /// - `scp` is "only included for user tokens" and not in ID tokens at all. Which scope it is does not matter: this
    ///   API is its audience, and what the user may do stands in the permission tables.
    /// - `idtyp` "is the most accurate way for an API to determine if a token is an app token or an app+user token"; it
    ///   is `app` there, only in access tokens, and optional.
    /// - Without it an application is who has `roles` (those of an ID token are its user's), names a client as access
    ///   tokens do (`azp`, `appid`) and is its own subject: a user's `sub` is "a pairwise identifier", never the `oid`.
    /// - An application without roles is refused: any application of the tenant gets such a token unless this one
    ///   requires assignment.
    fn caller(self) -> Result<Caller, TokenError> {
        let scp = self.scp.is_some_and(|scp| !scp.trim().is_empty());
        let roles = self.roles.unwrap_or_default();
        let client = self.azp.or(self.appid);
        let own_subject = self.oid.is_some() && self.oid == self.sub;
        match (self.idtyp.as_deref(), scp) {
            (None | Some("user"), true) => Ok(Caller::User { id: id(self.oid.or(self.sub))? }),
            (Some("app"), false) if !roles.is_empty() => {
                Ok(Caller::Application { id: id(self.oid.or(client))?, roles })
            }
            (None, false) if !roles.is_empty() && own_subject && client.is_some() => {
                Ok(Caller::Application { id: id(self.oid)?, roles })
            }
            _ => Err(TokenError::Invalid(
                "neither scp of a user nor roles of an application: not an access token for this API",
            )),
        }
    }
}

/// An id that audit events and keys of tables can hold: a GUID, or a `sub` of base64url.
fn id(claim: Option<String>) -> Result<String, TokenError> {
    claim.filter(|id| is_key(id)).ok_or(TokenError::Invalid("oid and sub hold no id"))
}

/// Refuses whatever is not signed the one way that Entra ID signs, before any key is looked for.
fn key_id(header: Header) -> Result<String, TokenError> {
    if header.alg != "RS256" {
        return Err(TokenError::Invalid("alg is not RS256"));
    }
    // "String - always JWT". Others are for other uses, such as the proofs of possession.
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(TokenError::Invalid("typ is not JWT"));
    }
    // Extensions "that MUST be understood" (RFC 7515, section 4.1.11), and none is.
    if header.crit.is_some() {
        return Err(TokenError::Invalid("crit asks for extensions"));
    }
    header.kid.filter(|kid| !kid.is_empty()).ok_or(TokenError::Invalid("kid is missing"))
}

/// The token of `Bearer token`, whatever the case of the scheme (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The issuer of version 1 tokens, which discovery of version 2 does not tell: Microsoft's own, of one cloud each.
/// Another authority has none.
fn v1_issuer(authority: &Url, tenant: &str) -> Option<String> {
    let host = match authority.host_str()? {
        "login.microsoftonline.com"
        | "login.windows.net"
        | "login.microsoft.com"
        | "sts.windows.net"
        | "login.microsoftonline.us" => "sts.windows.net",
        "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => "sts.chinacloudapi.cn",
        _ => return None,
    };
    Some(format!("https://{host}/{tenant}/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::system_clock;

    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    /// A version 1 user token with that issuer, where that authority is set.
    fn version_1(authority: &str, iss: &str) -> Result<Caller, TokenError> {
        let entra = Entra {
            tenant_id: TENANT.parse().unwrap(),
            audience: "EF1DA9D4-FF77-4C3E-A005-840C3F830745".to_owned(),
            authority: Entra::authority(authority).unwrap(),
        };
        let claims = json!({
            "aud": "api://ef1da9d4-ff77-4c3e-a005-840c3f830745", "iss": iss, "exp": system_clock()() + 60, "ver": "1.0",
            "appid": "75dbe77f-10a3-4e59-85fd-8c127544f17c", "oid": "user", "tid": TENANT, "scp": "user_impersonation",
        });
        let tokens = Tokens::new(&entra, system_clock()).unwrap();
        tokens.accept(serde_json::from_value(claims).unwrap(), &format!("{authority}/{TENANT}/v2.0"))
    }

    #[test]
    fn version_1_tokens_have_the_issuer_of_their_cloud() {
        let (windows, china) =
            (format!("https://sts.windows.net/{TENANT}/"), format!("https://sts.chinacloudapi.cn/{TENANT}/"));
        for (authority, iss, good) in [
            ("https://login.microsoftonline.com", &windows, true),
            ("https://login.microsoftonline.us", &windows, true),
            ("https://login.partner.microsoftonline.cn", &china, true),
            ("https://login.microsoftonline.com", &china, false),
            ("https://login.partner.microsoftonline.cn", &windows, false),
            ("https://login.example.com", &windows, false),
            ("http://127.0.0.1:1", &windows, false),
            (
                "https://login.microsoftonline.com",
                &windows.replace(TENANT, "9188040d-6c67-4c5b-b112-36a304b66dad"),
                false,
            ),
        ] {
            assert_eq!(version_1(authority, iss).is_ok(), good, "{authority} {iss}");
        }
    }
}
