//! An external system on a free port of this machine: answers as a closure says, and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use crosswalk::outbound::{HostMap, Outbound};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Response,
    body::{Frame, Incoming},
    header::{HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The host that was meant.
    pub host: String,
    /// As it was sent, percent-encoded.
    pub path: String,
    /// Decoded, in the order they were sent.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.query(name)?.parse().ok()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// What to answer.
pub struct Reply {
    status: u16,
    headers: HeaderMap,
    /// Sent one after the other; an `Err` breaks the connection off.
    chunks: stream::BoxStream<'static, Result<Bytes, std::io::Error>>,
    after: Duration,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self::text(body.to_string()).header("content-type", "application/json")
    }

    pub fn text(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::chunks(stream::iter([Ok(body)]).boxed())
    }

    pub fn chunks(chunks: stream::BoxStream<'static, Result<Bytes, std::io::Error>>) -> Self {
        Self { status: 200, headers: HeaderMap::new(), chunks, after: Duration::ZERO }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// How long the system thinks.
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

/// The system; stops when dropped.
pub struct System {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl System {
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, remember) = (Arc::new(answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, remember) = (Arc::clone(&answer), Arc::clone(&remember));
                let service = service_fn(move |request| serve(request, Arc::clone(&answer), Arc::clone(&remember)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, asked, task }
    }

    /// Leads every host here.
    pub fn outbound(&self) -> Outbound {
        Outbound::with_host_map(HostMap::parse(&format!("*={}", self.address)).unwrap()).unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often that path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    request: hyper::Request<Incoming>,
    answer: Arc<impl Fn(&Asked) -> Reply>,
    remember: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<BoxBody<Bytes, std::io::Error>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        host: parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body,
    };
    remember.lock().unwrap().push(asked.clone());
    let reply = answer(&asked);
    tokio::time::sleep(reply.after).await;
    let mut response =
        Response::new(BodyExt::boxed(StreamBody::new(sync(reply.chunks).map(|chunk| chunk.map(Frame::data)))));
    *response.status_mut() = reply.status.try_into().unwrap();
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// A body has to be `Sync`; a stream behind a lock is.
fn sync<T: Send + 'static>(stream: stream::BoxStream<'static, T>) -> impl futures::Stream<Item = T> + Send + Sync {
    let stream = Mutex::new(stream);
    stream::poll_fn(move |context| stream.lock().unwrap().poll_next_unpin(context))
}
