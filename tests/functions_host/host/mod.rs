//! A test double of the Azure Functions host: what `func start` does with a packaged folder, as far as a handler of HTTP
//! and timer functions can notice.
//!
//! Start reading at [`FunctionsHost::start`]. [`script_root`] reads the folder, [`routing`] and [`rewriting`] are the
//! host's rules as pure functions, [`handler`] runs the program, [`proxy`] and [`envelope`] call it.
//!
//! Not reproduced: keys (`func start` takes every caller for an admin), `functionTimeout`, throttling, the limit of
//! 100 MB, HTTP functions with further bindings (refused here, called by envelope there).

mod envelope;
mod handler;
mod leash;
mod proxy;
mod rewriting;
mod routing;
mod script_root;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use self::proxy::{AnyBody, Route};
pub use self::{
    handler::{Line, Severity, State},
    proxy::Mode,
    script_root::{ScriptRoot, Trigger},
};

/// A running host. Dropping it kills the handler.
#[derive(Debug)]
pub struct FunctionsHost {
    pub base_url: String,
    inner: Arc<Inner>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    root: ScriptRoot,
    mode: Mode,
    handler: handler::Handler,
    calls: Mutex<Vec<String>>,
}

impl FunctionsHost {
    /// Starts the packaged folder. `mode` stands for the setting in `host.json`, which can't ask for both.
    /// `environment` is that of the host: it wins over `local.settings.json`.
    pub async fn start(folder: &Path, mode: Mode, environment: &[(&str, &str)]) -> Result<Self, String> {
        let root = ScriptRoot::read(folder)?;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut settings = root.settings.clone();
        settings.extend(environment.iter().map(owned)); // Of two with one name the later counts.
        let handler = handler::Handler::start(&root, settings);
        if let failed @ (State::Exited | State::ShutDown(_)) = handler.settled().await {
            let console: Vec<String> = handler.console().into_iter().map(|line| line.text).collect();
            return Err(format!("the handler did not start: {failed:?}\n{}", console.join("\n")));
        }

        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let base_url = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
        let inner = Arc::new(Inner { root, mode, handler, calls: Mutex::default() });
        let listening = tokio::spawn(listen(listener, Arc::clone(&inner)));
        Ok(Self { base_url, inner, listening })
    }

    /// The functions that were called since the last time this was asked.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a timer function now and answers what it answered, read as the host reads it.
    pub async fn run_timer(&self, function: &str) -> Result<Value, String> {
        self.inner.run_timer(function).await
    }

    /// What the handler printed so far.
    pub fn console(&self) -> Vec<Line> {
        self.inner.handler.console()
    }

    /// Waits until the handler prints a line that contains `text`.
    pub async fn line(&self, text: &str) -> Line {
        self.inner.handler.line(text).await
    }

    /// Waits until `wanted` is true of the handler's state.
    pub async fn wait_for(&self, wanted: impl FnMut(&State) -> bool) -> State {
        self.inner.handler.wait_for(wanted).await
    }

    /// The handler's process id, once it answers.
    pub async fn handler_pid(&self) -> u32 {
        match self.inner.handler.settled().await {
            State::Ready { pid, .. } => pid,
            other => panic!("the handler is {other:?}"),
        }
    }
}

impl Drop for FunctionsHost {
    fn drop(&mut self) {
        self.listening.abort();
        self.inner.handler.kill();
    }
}

async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new(); // Dropped with this task, which ends them.
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => drop(connections.spawn(serve(stream, client, Arc::clone(&inner)))),
                Err(error) => panic!("the double can't accept: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, inner: Arc<Inner>) {
    let service = service_fn(|request| {
        let inner = Arc::clone(&inner);
        async move { Ok::<_, Infallible>(inner.answer(request, client).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is no concern of the host.
    let _ = connection.await;
}

impl Inner {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>, client: SocketAddr) -> Response<AnyBody> {
        let Some(decoded) = rewriting::decode(request.uri().path()) else {
            return answer(StatusCode::BAD_REQUEST, "");
        };
        let admin = decoded.split('/').nth(1).is_some_and(|first| first.eq_ignore_ascii_case("admin"));
        if admin {
            return self.answer_admin(request, &decoded).await;
        }
        let Some(function) = self.root.matching(request.method().as_str(), &decoded).next() else {
            return if decoded == "/" {
                answer(StatusCode::OK, "<html>Your Functions 4.0 app is up and running</html>")
            } else {
                // A wrong method too: the host never answers 405.
                answer(StatusCode::NOT_FOUND, "")
            };
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(function.name.clone());
        let handler = match self.handler.settled().await {
            State::Ready { address, .. } => address,
            State::ShutDown(_) => return answer(StatusCode::SERVICE_UNAVAILABLE, "Function host is not running."),
            // The proxy tries ten times to connect before it says so.
            State::Starting | State::Exited => return answer(StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        let route = Route { handler, client, decoded: &decoded };
        let Ok(mut response) = proxy::send(self.mode, request, route).await else {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        for (name, value) in &self.root.custom_headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                response.headers_mut().entry(name).or_insert(value);
            }
        }
        response
    }

    async fn answer_admin(self: &Arc<Self>, request: Request<Incoming>, decoded: &str) -> Response<AnyBody> {
        let path = decoded.trim_matches('/').to_lowercase();
        if path == "admin/host/status" && request.method() == Method::GET {
            return answer(StatusCode::OK, &json!({"state": "Running", "version": proxy::VERSION}).to_string());
        }
        let name = path.strip_prefix("admin/functions/").filter(|_| request.method() == Method::POST);
        let function = name.and_then(|name| self.root.functions.iter().find(|one| one.name.eq_ignore_ascii_case(name)));
        let Some(function) = function.map(|function| function.name.clone()) else {
            return answer(StatusCode::NOT_FOUND, "");
        };
        let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
        if serde_json::from_slice::<Value>(&body).ok().is_none_or(|body| body.get("input").is_none()) {
            return answer(StatusCode::BAD_REQUEST, "");
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move { inner.run_timer(&function).await });
        answer(StatusCode::ACCEPTED, "")
    }

    async fn run_timer(&self, function: &str) -> Result<Value, String> {
        let found = self.root.functions.iter().find(|one| one.name.eq_ignore_ascii_case(function));
        let Some((name, Trigger::Timer { binding })) = found.map(|found| (&found.name, &found.trigger)) else {
            return Err(format!("{function}: there is no timer function of that name"));
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let State::Ready { address, .. } = self.handler.settled().await else {
            return Err("the handler is not running".to_owned());
        };
        let envelope = envelope::timer(name, binding).to_string();
        let (status, kind, body) =
            proxy::post_envelope(address, name, envelope).await.map_err(|error| error.to_string())?;
        envelope::read(status, &kind, &body)
    }
}

fn answer(status: StatusCode, text: &str) -> Response<AnyBody> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
