//! Key Vault's REST API on loopback, as far as secrets go, and the ways it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::{
    Filter,
    http::{Method, Response, StatusCode},
    path::FullPath,
};

/// What the vault gives out to those who have the token.
pub const TOKEN: &str = "bearer-token-that-nobody-may-see";

#[derive(Clone)]
pub enum Does {
    Works,
    /// Status, `Retry-After` if any, body.
    Answers(u16, Option<u64>, String),
    Waits(Duration),
}

#[derive(Default)]
struct State {
    does: Option<Does>,
    values: BTreeMap<String, String>,
    deleted: BTreeSet<String>,
    seen: Vec<String>,
}

/// A vault, while it lives.
pub struct Vault {
    pub url: String,
    state: Arc<Mutex<State>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Vault {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let all = warp::method()
            .and(warp::path::full())
            .and(warp::query::raw())
            .and(warp::header::optional("authorization"))
            .and(warp::body::bytes())
            .then(move |method: Method, path: FullPath, query: String, token: Option<String>, body: bytes::Bytes| {
                let state = Arc::clone(&shared);
                async move {
                    let does = {
                        let mut state = state.lock().unwrap();
                        state.seen.push(format!("{method} {}", path.as_str()));
                        state.does.clone().unwrap_or(Does::Works)
                    };
                    match does {
                        Does::Works => {}
                        Does::Waits(time) => tokio::time::sleep(time).await,
                        Does::Answers(status, retry_after, body) => {
                            let mut answer = Response::builder().status(status);
                            if let Some(seconds) = retry_after {
                                answer = answer.header("retry-after", seconds.to_string());
                            }
                            return answer.body(body).unwrap();
                        }
                    }
                    assert_eq!(query, "api-version=7.0");
                    if token != Some(format!("Bearer {TOKEN}")) {
                        return answer(StatusCode::UNAUTHORIZED, &json!({"error": {"code": "Unauthorized"}}));
                    }
                    state.lock().unwrap().answer(&method, path.as_str(), &body)
                }
            });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(warp::serve(all).incoming(listener).graceful(async move { drop(stopped.await) }).run());
        Self { url, state, _stop: stop }
    }

    pub fn does(&self, does: Does) {
        self.state.lock().unwrap().does = Some(does);
    }

    /// Method and path of every request.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> Response<String> {
        // Reading asks for a version, the empty one.
        let name = path.strip_prefix("/secrets/").unwrap().trim_end_matches('/').to_ascii_lowercase();
        assert!(!name.contains('/'), "{path}");
        if *method == Method::PUT {
            if self.deleted.contains(&name) {
                return answer(StatusCode::CONFLICT, &json!({"error": {"code": "Conflict"}}));
            }
            let body: Value = serde_json::from_slice(body).unwrap();
            self.values.insert(name.clone(), body["value"].as_str().unwrap().to_owned());
        }
        let found = self.values.get(&name).map(|value| {
            json!({
                "value": value, "id": format!("https://vault/secrets/{name}/1"),
                "attributes": {"enabled": true, "created": 1_700_000_000, "updated": 1_700_000_000, "recoveryLevel": "Recoverable"}
            })
        });
        let Some(found) = found else {
            return answer(StatusCode::NOT_FOUND, &json!({"error": {"code": "SecretNotFound"}}));
        };
        if *method == Method::DELETE {
            self.values.remove(&name);
            self.deleted.insert(name);
        }
        answer(StatusCode::OK, &found)
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<String> {
    Response::builder().status(status).header("content-type", "application/json").body(body.to_string()).unwrap()
}
