//! The HTTP API: the only place that knows warp and status codes. One file per resource; `routes.rs` lists every path.
//!
//! A request goes: warp → [`handle`] → route → caller (`access.rs`) → body (at most 64 KiB) → right → handler, within the
//! deadline of the route → one log line. Some reads begin beside the look at the right, see [`Admission::may_begin`].

mod access;
mod audit;
mod connection;
mod discovery;
mod error;
mod fields;
mod headers;
mod health;
mod integrations;
mod mappings;
mod openapi;
mod organizations;
mod paging;
mod repair_timer;
mod request;
mod response;
mod routes;
mod secrets;
mod trace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use tokio::net::TcpListener;
use tracing::{Instrument, debug};
use warp::{
    Filter,
    http::{HeaderMap, Method, StatusCode},
    path::FullPath,
};

use self::{
    access::Admission,
    error::ApiError,
    headers::Cors,
    request::{Query, Request},
    response::Response,
    routes::{Matched, Router, STORAGE_DEADLINE},
    trace::Trace,
};
pub use self::{
    openapi::openapi,
    routes::{ROUTES, Route},
};
use crate::{app::App, auth::Grant};

/// Longest body in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// A longer body is read and thrown away up to this many bytes, so that its sender gets to read the answer.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Serves the API until `shutdown`, then until the requests that are under way have been answered.
///
/// # Errors
/// Two routes have the same path.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), matchit::InsertError> {
    let router = Arc::new(Router::new()?);
    let raw_query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let filter = warp::method()
        .and(warp::path::full())
        .and(raw_query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query: String, mut headers, body| {
            let (app, router) = (Arc::clone(&app), Arc::clone(&router));
            let cors = Cors::of(&app, &method, &headers);
            let trace = Trace::begin(&mut headers);
            let answer = async move {
                match cors.preflight() {
                    Some(answer) => cors.finish(answer, trace),
                    None => {
                        cors.finish(handle(app, &router, method, path.as_str(), &query, headers, body).await, trace)
                    }
                }
            };
            answer.instrument(trace.span())
        });
    warp::serve(filter).incoming(listener).graceful(shutdown).run().await;
    Ok(())
}

async fn handle<B: Buf>(
    app: Arc<App>,
    router: &Router,
    method: Method,
    path: &str,
    query: &str,
    headers: HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Response {
    match path {
        // The Functions host asks this until it gets an answer, and later to see whether the process lives.
        "/" => return response::ok(&serde_json::json!({"service": "crosswalk", "api": "/api/openapi.json"})),
        // Timers come outside of /api, where nobody outside of the host can send anything.
        repair_timer::PATH => {
            let checked = access::check_host(&app, &headers).and_then(|()| access::check_page(&app, &method, &headers));
            return match checked {
                Ok(()) => repair_timer::run(app, &method).await,
                Err(error) => error.into_response(),
            };
        }
        _ => {}
    }
    let began = Instant::now();
    let matched = router.find(path);
    let template = matched.as_ref().map_or("-", |matched| matched.route.template);
    let mut caller_id = None;
    let outcome = answer(app, matched, method.clone(), query, headers, body, &mut caller_id).await;
    trace::log(&method, template, &outcome, began.elapsed(), caller_id.as_deref());
    outcome.unwrap_or_else(ApiError::into_response)
}

async fn answer<B: Buf>(
    app: Arc<App>,
    matched: Result<Matched, ApiError>,
    method: Method,
    query: &str,
    headers: HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
    caller_id: &mut Option<String>,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let query = Query::parse(query);
    let identified = in_storage_time(async {
        access::check_host(&app, &headers)?;
        let matched = matched?;
        let (right, handler) = matched.handler(&method)?;
        access::check_page(&app, &method, &headers)?;
        let caller = access::identify(&app, right, &headers).await?;
        *caller_id = caller.as_ref().map(|caller| caller.id().to_owned());
        Ok((matched, right, handler, caller))
    })
    .await;
    let waited = began.elapsed();
    // Refused or not: the connection can be used again only after its body.
    let body = read_body(&headers, body).await;
    let (matched, right, handler, caller) = identified?;
    let admission = Admission::new(caller.clone(), right, &matched, &query);
    let (side_by_side, deadline) = (admission.may_begin(&app, &method).await, matched.route.deadline);
    let admitted = in_time(STORAGE_DEADLINE.saturating_sub(waited), admission.decide(&app));
    let handled = async |grant| {
        let request = Request { method, params: matched.params?, query, headers, body: body?, caller, grant, began };
        handler(Arc::clone(&app), request).await
    };
    let outcome = async {
        if !side_by_side {
            return handled(admitted.await?).await;
        }
        // Side by side, which saves a round trip. What is found is shown only if the right is still there.
        let (_, outcome) = tokio::try_join!(biased; admitted, async { Ok(handled(Grant::default()).await) })?;
        outcome
    };
    in_time(deadline.saturating_sub(waited), outcome).await
}

/// The part of a longer handler that needs the store: an outage is answered in time here, too.
fn in_storage_time<T>(part: impl Future<Output = Result<T, ApiError>>) -> impl Future<Output = Result<T, ApiError>> {
    in_time(STORAGE_DEADLINE, part)
}

/// No `async fn`, which would hold `part` twice.
fn in_time<T>(
    deadline: Duration,
    part: impl Future<Output = Result<T, ApiError>>,
) -> impl Future<Output = Result<T, ApiError>> {
    let late = |_| Err(ApiError::storage_unavailable(None));
    tokio::time::timeout(deadline, part).map(move |outcome| outcome.unwrap_or_else(late))
}

/// The body, if it is not too long and arrives in time.
async fn read_body<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>> + Send,
) -> Result<Bytes, ApiError> {
    let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > DRAIN_LIMIT) {
        return Err(too_large());
    }
    let read = async {
        futures::pin_mut!(body);
        let (mut bytes, mut length) = (BytesMut::new(), 0);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                debug!(%error, "a body broke off");
                ApiError::new(StatusCode::BAD_REQUEST, "Incomplete body", "The body broke off; send the request again")
            })?;
            length += chunk.remaining();
            if length > DRAIN_LIMIT {
                break;
            }
            if length <= BODY_LIMIT {
                let mut chunk = chunk;
                while chunk.has_remaining() {
                    let part = chunk.chunk();
                    bytes.extend_from_slice(part);
                    let part = part.len();
                    chunk.advance(part);
                }
            }
        }
        if length > BODY_LIMIT { Err(too_large()) } else { Ok(bytes.freeze()) }
    };
    tokio::time::timeout(BODY_DEADLINE, read).await.unwrap_or_else(|_| {
        let message = format!("The body took longer than {} seconds; send it faster", BODY_DEADLINE.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "Body too slow", message))
    })
}

fn too_large() -> ApiError {
    let message = format!("A body may have at most {BODY_LIMIT} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", message)
}
