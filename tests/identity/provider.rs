//! Plays the identity provider, well or badly, and counts what is asked of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use crosswalk::auth::{Caller, Entra, TokenError, Tokens};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::tokens::{AUDIENCE, Key, Parts, TENANT};

/// When every test begins, in Unix seconds.
pub const START: i64 = 1_800_000_000;

/// How the provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It hangs up without an answer.
    HangsUp,
    /// It takes requests and never answers.
    Silent,
    /// Status 500.
    Broken,
    /// No JSON.
    Garbage,
    /// JSON, but none of discovery or keys.
    OtherJson,
    /// Endless spaces before the JSON.
    Huge,
    /// To where everything is well.
    Redirects,
    /// Keys over plain http from another host.
    ElsewhereInTheClear,
    /// No key at all.
    NoKeys,
}

#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    pub mood: Arc<Mutex<Mood>>,
    /// What is published, as JWK.
    pub keys: Arc<Mutex<Vec<Value>>>,
    /// How often the discovery document was asked for, and how often the keys.
    pub discoveries: Arc<AtomicUsize>,
    pub reads: Arc<AtomicUsize>,
    pub now: Arc<AtomicI64>,
}

impl Provider {
    /// Well, and publishing the first key as `first`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            mood: Arc::new(Mutex::new(Mood::Well)),
            keys: Arc::new(Mutex::new(vec![Key::First.jwk("first")])),
            discoveries: Arc::default(),
            reads: Arc::default(),
            now: Arc::new(AtomicI64::new(START)),
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/{TENANT}/v2.0", self.address)
    }

    pub fn tokens(&self) -> Tokens {
        self.tokens_for(AUDIENCE)
    }

    pub fn tokens_for(&self, audience: &str) -> Tokens {
        let entra = Entra {
            tenant_id: TENANT.parse().unwrap(),
            audience: audience.to_owned(),
            authority: Entra::authority(&format!("http://{}", self.address)).unwrap(),
        };
        let now = Arc::clone(&self.now);
        Tokens::new(&entra, Arc::new(move || now.load(Ordering::SeqCst))).unwrap()
    }

    /// Whose a token of these parts is.
    pub async fn caller(&self, tokens: &Tokens, parts: &Parts) -> Result<Caller, TokenError> {
        tokens.caller(Some(&format!("Bearer {}", parts.token()))).await
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn publishes(&self, keys: Vec<Value>) {
        *self.keys.lock().unwrap() = keys;
    }

    pub fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn discoveries(&self) -> usize {
        self.discoveries.load(Ordering::SeqCst)
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let well = path.starts_with("/well");
        let discovery = path.ends_with("/.well-known/openid-configuration");
        let count = if discovery { &self.discoveries } else { &self.reads };
        count.fetch_add(1, Ordering::SeqCst);

        let mood = if well { Mood::Well } else { *self.mood.lock().unwrap() };
        let host = if mood == Mood::ElsewhereInTheClear { "keys.invalid".to_owned() } else { self.address.to_string() };
        let keys = if mood == Mood::NoKeys { Vec::new() } else { self.keys.lock().unwrap().clone() };
        let body = if discovery {
            json!({"issuer": self.issuer(), "jwks_uri": format!("http://{host}/{TENANT}/discovery/v2.0/keys")})
        } else {
            json!({ "keys": keys })
        };
        let (status, body) = match mood {
            Mood::HangsUp => return,
            Mood::Silent => {
                let _ = stream.read_u8().await;
                return;
            }
            Mood::Broken => ("500 Internal Server Error", body.to_string()),
            Mood::Garbage => ("200 OK", "<!DOCTYPE html>".to_owned()),
            Mood::OtherJson => ("200 OK", "[{}]".to_owned()),
            Mood::Huge => ("200 OK", format!("{}{body}", " ".repeat(300 * 1024))),
            Mood::Redirects => ("302 Found", String::new()),
            Mood::Well | Mood::ElsewhereInTheClear | Mood::NoKeys => ("200 OK", body.to_string()),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nlocation: /well{path}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}
