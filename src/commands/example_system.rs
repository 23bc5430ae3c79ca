//! External systems to try things out with, played on this machine by `crosswalk dev`: Example PSA, which the manifest in
//! `examples/integrations/` describes, and Example RMM, whose manifest is left to the reader of `integrations/README.md`.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use warp::{
    Filter, Reply,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    path::FullPath,
    reply::Response,
};

/// The hosts it plays; `.test` is never a real one (RFC 2606).
pub const HOSTS: [&str; 2] = ["psa.example.test", "rmm.example.test"];
/// What Example PSA lets in: an id and a secret.
pub const CLIENT: (&str, &str) = ("crosswalk-dev", "example-psa-secret");
/// What Example RMM lets in.
pub const API_KEY: &str = "example-rmm-key";
/// Clients of Example PSA, and sites of Example RMM.
pub const ORGANIZATIONS: usize = 1200;

/// The id of the first.
const FIRST: usize = 1001;
/// Records on a page, at most.
const PAGE: usize = 100;
/// Requests a second; what is more gets status 429.
const RATE: u32 = 100;

/// Answers until the process ends.
pub async fn serve(listener: TcpListener) {
    // Made anew at each start: a token of an earlier run is refused, as a real system refuses it after a while.
    let token = Uuid::new_v4().simple().to_string();
    let rate = NonZeroU32::new(RATE).unwrap_or(NonZeroU32::MIN);
    let limiter: Arc<DefaultDirectRateLimiter> = Arc::new(RateLimiter::direct(Quota::per_second(rate)));
    let query = warp::query::<HashMap<String, String>>().or(warp::any().map(HashMap::new)).unify();
    let answers = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .map(move |method, path: FullPath, query, headers: HeaderMap, body| {
            if limiter.check().is_err() {
                let mut response = reply(StatusCode::TOO_MANY_REQUESTS, &json!({"error": "too many requests"}));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                return response;
            }
            answer(&token, &method, path.as_str(), &query, &headers, &body)
        });
    warp::serve(answers).incoming(listener).run().await;
}

fn answer(
    token: &str,
    method: &Method,
    path: &str,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = || reply(StatusCode::UNAUTHORIZED, &json!({"error": "the credentials are wrong"}));
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["oauth", "token"]) => log_in(token, body),
        ("GET", ["v1", ..]) if sent("authorization") != format!("Bearer {token}") => refused(),
        ("GET", ["v1", "clients"]) => {
            let size = number("page_size").unwrap_or(50).clamp(1, PAGE);
            let begin = (number("page").unwrap_or(1).max(1) - 1).saturating_mul(size);
            let clients: Vec<_> = (begin..ORGANIZATIONS).take(size).map(|at| client(FIRST + at)).collect();
            reply(StatusCode::OK, &json!({"total": ORGANIZATIONS, "clients": clients}))
        }
        ("GET", ["v1", "clients", id]) => one(id, client),
        ("GET", ["api", ..]) if sent("x-api-key") != API_KEY => refused(),
        ("GET", ["api", "sites"]) => {
            let begin = number("after").map_or(0, |after| (after + 1).saturating_sub(FIRST));
            let size = number("limit").unwrap_or(20).clamp(1, PAGE);
            reply(StatusCode::OK, &(begin..ORGANIZATIONS).take(size).map(|at| site(FIRST + at)).collect::<Value>())
        }
        ("GET", ["api", "sites", id]) => one(id, site),
        _ => reply(StatusCode::NOT_FOUND, &json!({"error": "no such path"})),
    }
}

/// RFC 6749, section 4.4.
fn log_in(token: &str, body: &[u8]) -> Response {
    let form: HashMap<_, _> = url::form_urlencoded::parse(body).into_owned().collect();
    let sent = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if sent("grant_type") == "client_credentials" && (sent("client_id"), sent("client_secret")) == CLIENT {
        reply(StatusCode::OK, &json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}))
    } else {
        reply(StatusCode::BAD_REQUEST, &json!({"error": "invalid_client"}))
    }
}

fn one(id: &str, record: fn(usize) -> Value) -> Response {
    match id.parse::<usize>() {
        Ok(id) if (FIRST..FIRST + ORGANIZATIONS).contains(&id) => reply(StatusCode::OK, &record(id)),
        _ => reply(StatusCode::NOT_FOUND, &json!({"error": "not found"})),
    }
}

fn client(id: usize) -> Value {
    json!({"id": id, "name": name(id), "address": {"city": CITIES[id % CITIES.len()]}, "status": "active"})
}

fn site(id: usize) -> Value {
    json!({"site_id": id, "display_name": name(id), "devices": id % 90})
}

/// 30 times 40 names, each once.
fn name(id: usize) -> String {
    let at = id - FIRST;
    format!("{} {}", NAMES[at % NAMES.len()], TRADES[at / NAMES.len() % TRADES.len()])
}

fn reply(status: StatusCode, body: &Value) -> Response {
    warp::reply::with_status(warp::reply::json(body), status).into_response()
}

const NAMES: [&str; 40] = [
    "Fabrikam",
    "Northwind",
    "Tailspin",
    "Contoso",
    "Adatum",
    "Alpine",
    "Bellows",
    "Blue Yonder",
    "Coho",
    "Cedar",
    "Dover",
    "Elm Street",
    "First Up",
    "Fourth",
    "Graphic",
    "Harbor",
    "Humongous",
    "Juniper",
    "Kestrel",
    "Lakeside",
    "Litware",
    "Lucerne",
    "Margie",
    "Munson",
    "Nod",
    "Oak Hill",
    "Parnell",
    "Pine",
    "Proseware",
    "Quarry",
    "Relecloud",
    "River Bend",
    "Southridge",
    "Summit",
    "Trey",
    "Union",
    "VanArsdel",
    "Wide World",
    "Wingtip",
    "Woodgrove",
];
const TRADES: [&str; 30] = [
    "Dental Group",
    "Traders",
    "Toys",
    "Pharmaceuticals",
    "Bakery",
    "Ski House",
    "College",
    "Airlines",
    "Winery",
    "Insurance",
    "Library",
    "Architects",
    "Builders",
    "Coffee",
    "Design Institute",
    "Shipping",
    "Legal",
    "Vets",
    "Optics",
    "Plumbing",
    "Realty",
    "Farms",
    "Logistics",
    "Hotels",
    "Motors",
    "Media",
    "Bank",
    "Clinic",
    "Foods",
    "Security",
];
const CITIES: [&str; 5] = ["Springfield", "Riverton", "Ashford", "Milton", "Greenville"];
