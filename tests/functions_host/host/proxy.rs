//! How a request reaches the handler and its answer comes back, in the two ways that the host has.
//!
//! Written on hyper and not on the HTTP client of the product: that one tidies URLs, and untidy ones are under test.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::{Body, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::rewriting::{forwarded_path, forwarded_query, proxied_path};

pub type AnyBody = BoxBody<Bytes, hyper::Error>;
/// Why the handler could not be asked. The host logs it and answers 500 with nothing in it.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

pub const VERSION: &str = "4.1052.200";

/// The two settings of `customHandler` for functions that are one HTTP trigger and one HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enableProxyingHttpRequest`: streamed both ways by YARP.
    Proxy,
    /// `enableForwardingHttpRequest`: taken apart, put together again, buffered.
    Forward,
}

/// Where a request goes and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    pub handler: SocketAddr,
    pub client: SocketAddr,
    /// The path as Kestrel decoded it.
    pub decoded: &'a str,
}

/// The proxy tries again whatever fails, ten times in all: even a request whose answer was lost, when it has no body.
const ATTEMPTS: u32 = 10;
/// Headers of the connection and not of the message (YARP's `_headersToExclude`).
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-features",
    "te",
    "upgrade-insecure-requests",
    "alt-svc",
];
/// What System.Net.Http takes for headers of the content; forwarding loses them.
const CONTENT_HEADERS: [&str; 9] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-md5",
    "content-range",
    "expires",
    "last-modified",
];

pub async fn send(mode: Mode, request: Request<Incoming>, route: Route<'_>) -> Result<Response<AnyBody>, Failed> {
    match mode {
        Mode::Proxy => through_proxy(request, route).await,
        Mode::Forward => forwarded(request, route).await,
    }
}

async fn through_proxy(request: Request<Incoming>, route: Route<'_>) -> Result<Response<AnyBody>, Failed> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers.clone();
    // `AddXForwarded` sets and does not append: what a client or a front end wrote is lost.
    set(&mut headers, "x-forwarded-for", &route.client.ip().to_string());
    set(&mut headers, "x-forwarded-proto", "http");
    match headers.remove(header::HOST) {
        Some(host) => headers.insert("x-forwarded-host", host),
        None => headers.remove("x-forwarded-host"),
    };
    headers.remove("forwarded");
    headers.remove("x-forwarded-prefix");
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let invocation = Uuid::new_v4().to_string();
    set(&mut headers, "host", &route.handler.to_string());
    set(&mut headers, "x-azure-functions-hostversion", VERSION);
    set(&mut headers, "x-azure-functions-invocationid", &invocation);
    set(&mut headers, "x-ms-invocation-id", &invocation);
    add_trace(&mut headers);

    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{query}", proxied_path(route.decoded));
    let outgoing = |body| outgoing(&parts.method, &target, headers.clone(), body);

    let mut response = if body.is_end_stream() {
        let mut attempt = 1;
        loop {
            match call(connect(route.handler).await?, outgoing(empty())?).await {
                Err(_) if attempt < ATTEMPTS => tokio::time::sleep(Duration::from_millis(50)).await,
                answered => break answered?,
            }
            attempt += 1;
        }
    } else {
        call(connect(route.handler).await?, outgoing(body.boxed())?).await?
    };
    for name in HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    Ok(response.map(BodyExt::boxed))
}

async fn forwarded(request: Request<Incoming>, route: Route<'_>) -> Result<Response<AnyBody>, Failed> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers.clone();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // The body is copied only when there is a Content-Length, the header is copied all the same, and HttpClient
        // refuses to send "chunked" without content.
        return Err("'Transfer-Encoding: chunked' can not be used when no content is provided.".into());
    }
    for name in CONTENT_HEADERS {
        headers.remove(name);
    }
    append(&mut headers, "x-azure-functions-hostversion", VERSION);
    append(&mut headers, "x-azure-functions-invocationid", &Uuid::new_v4().to_string());
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = format!("{} Azure-Functions-Host/{VERSION}", agent.unwrap_or_default());
    set(&mut headers, "user-agent", agent.trim());
    add_trace(&mut headers);

    let query = parts.uri.query().filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{}", forwarded_query(query))).unwrap_or_default();
    let target = format!("{}{query}", forwarded_path(route.decoded));
    let body = Full::new(body.collect().await?.to_bytes()).map_err(|never| match never {}).boxed();
    let request = outgoing(&parts.method, &target, headers, body)?;
    let stream = TcpStream::connect(route.handler).await?;
    let (mut parts, body) = call(stream, request).await?.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    let body = Full::new(body.collect().await?.to_bytes());
    Ok(Response::from_parts(parts, body.map_err(|never| match never {}).boxed()))
}

/// A call in the host's own envelope: `POST /<Name>` with JSON. Answers status, content type and body.
pub async fn post_envelope(handler: SocketAddr, name: &str, json: String) -> Result<(u16, String, Bytes), Failed> {
    let mut headers = HeaderMap::new();
    set(&mut headers, "host", &handler.to_string());
    set(&mut headers, "content-type", "application/json; charset=utf-8");
    set(&mut headers, "user-agent", &format!("Azure-Functions-Host/{VERSION}"));
    set(&mut headers, "x-azure-functions-hostversion", VERSION);
    set(&mut headers, "x-azure-functions-invocationid", &Uuid::new_v4().to_string());
    let body = Full::new(Bytes::from(json)).map_err(|never| match never {}).boxed();
    let request = outgoing(&Method::POST, &format!("/{name}"), headers, body)?;
    let response = call(TcpStream::connect(handler).await?, request).await?;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    Ok((response.status().as_u16(), kind, response.into_body().collect().await?.to_bytes()))
}

/// `GET /`, as the host asks until a handler answers.
pub async fn ping(stream: TcpStream) -> Result<(), Failed> {
    let mut headers = HeaderMap::new();
    set(&mut headers, "host", &stream.peer_addr()?.to_string());
    call(stream, outgoing(&Method::GET, "/", headers, empty())?).await?;
    Ok(())
}

fn outgoing(method: &Method, target: &str, headers: HeaderMap, body: AnyBody) -> Result<Request<AnyBody>, Failed> {
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.parse::<Uri>()?;
    *request.headers_mut() = headers;
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

async fn connect(handler: SocketAddr) -> std::io::Result<TcpStream> {
    let mut attempt = 1;
    loop {
        match TcpStream::connect(handler).await {
            Err(_) if attempt < ATTEMPTS => tokio::time::sleep(Duration::from_millis(50)).await,
            connected => return connected,
        }
        attempt += 1;
    }
}

/// One request on a connection of its own. Redirects are answers like any other.
async fn call(stream: TcpStream, request: Request<AnyBody>) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection); // It ends with the answer's body; its errors come out of that.
    sender.send_request(request).await
}

fn empty() -> AnyBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn append(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(HeaderName::from_static(name), value);
    }
}

/// .NET's `HttpClient` adds the host's own trace context only when the client sent none.
fn add_trace(headers: &mut HeaderMap) {
    if !headers.contains_key("traceparent") {
        let (trace, span) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
        set(headers, "traceparent", &format!("00-{trace}-{}-00", &span[..16]));
    }
}
