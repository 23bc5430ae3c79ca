//! Makes tokens: good ones, and whatever else somebody might send.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding, RsaKeyPair},
};
use serde_json::{Value, json};

use crate::provider::{Provider, START};

pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub const AUDIENCE: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";
pub const USER: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
pub const APPLICATION: &str = "02223b6b-aa1d-42d4-9ec0-1b2bb9194438";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    First,
    Second,
}

impl Key {
    pub const fn pem(self) -> &'static str {
        match self {
            Self::First => include_str!("first.pem"),
            Self::Second => include_str!("second.pem"),
        }
    }

    fn pair(self) -> RsaKeyPair {
        let (_, rest) = self.pem().split_once("-----BEGIN PRIVATE KEY-----").unwrap();
        let (body, _) = rest.split_once("-----END").unwrap();
        let der = STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap();
        RsaKeyPair::from_pkcs8(&der).unwrap()
    }

    pub fn modulus(self) -> Vec<u8> {
        PublicKeyComponents::<Vec<u8>>::from(self.pair().public()).n
    }

    /// As Entra ID publishes it.
    pub fn jwk(self, kid: &str) -> Value {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.pair().public());
        json!({"kty": "RSA", "use": "sig", "kid": kid, "n": encode(&n), "e": encode(&e)})
    }

    pub fn sign(self, encoding: &'static dyn RsaEncoding, text: &str) -> Vec<u8> {
        let pair = self.pair();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        signature
    }
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a token says, before it is signed.
#[derive(Clone)]
pub struct Parts {
    pub header: Value,
    pub claims: Value,
    pub key: Key,
}

impl Parts {
    /// A user's version 2 token, good for an hour.
    pub fn user(provider: &Provider) -> Self {
        Self {
            header: json!({"typ": "JWT", "alg": "RS256", "kid": "first"}),
            claims: json!({
                "aud": AUDIENCE, "iss": provider.issuer(), "iat": START, "nbf": START, "exp": START + 3600,
                "azp": "75dbe77f-10a3-4e59-85fd-8c127544f17c", "azpacr": "0", "name": "Abe Lincoln", "oid": USER,
                "preferred_username": "abeli@contoso.com", "scp": "access_as_user",
                "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT, "uti": "fqiBqXLPj0eQa82S-IYFAA",
                "ver": "2.0",
            }),
            key: Key::First,
        }
    }

    /// An application's.
    pub fn application(provider: &Provider) -> Self {
        Self::user(provider)
            .without("scp")
            .without("name")
            .without("preferred_username")
            .with("oid", APPLICATION)
            .with("sub", APPLICATION)
            .with("roles", json!(["Workflows.Execute"]))
    }

    /// What a client gets who signs a user in, with this service's registration.
    pub fn id_token(provider: &Provider) -> Self {
        Self::user(provider).without("scp").without("azp").without("azpacr").with("nonce", "12345").with("at_hash", "x")
    }

    pub fn with(mut self, claim: &str, value: impl Into<Value>) -> Self {
        self.claims[claim] = value.into();
        self
    }

    pub fn without(mut self, claim: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(claim);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    pub fn signed_by(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    pub fn token(&self) -> String {
        signed(&self.header.to_string(), &self.claims.to_string(), self.key)
    }
}

/// With that header and payload, whatever they are.
pub fn signed(header: &str, payload: &str, key: Key) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let encoding: &dyn RsaEncoding = if header.contains("RS384") { &RSA_PKCS1_SHA384 } else { &RSA_PKCS1_SHA256 };
    let signature = key.sign(encoding, &message);
    format!("{message}.{}", encode(&signature))
}

/// The same, with a signature that is none.
pub fn signed_with(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(&signature))
}
