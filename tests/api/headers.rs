//! Headers that every answer has, how long answers may be kept, and which web pages may call.

use std::sync::Arc;

use crosswalk::{app::App, auth::Auth, http::ROUTES, secrets::NoSecrets, tables::EmbeddedTables};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName},
};

use crate::{
    client::{Answer, Call},
    documents::named_mapping,
    provider::Provider,
    routes::sample,
    server::{Server, registry},
};

const PAGE: &str = "https://admin.example.com";
const COLLECTION: &str = "/organizations/acme/integrations";

async fn with_cors() -> Server {
    Server::with(app_with_cors()).await
}

fn app_with_cors() -> App {
    let mut app = App::new(Arc::new(EmbeddedTables::in_memory().unwrap()), registry(), Arc::new(NoSecrets));
    app.cors_origins = vec!["http://localhost:3000".to_owned(), PAGE.to_owned()];
    app
}

fn preflight(server: &Server, path: &str, origin: &str) -> Call {
    server.api.call(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", "PATCH")
}

/// The CORS headers of an answer.
fn cors(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn every_answer_is_taken_for_what_it_is_and_can_be_found_again() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_x")).await.is(201);
    let mut paths: Vec<_> = ROUTES.iter().map(sample).collect();
    paths.extend(["/nothing".to_owned(), "/organizations/a_b/integrations".to_owned()]);
    for path in paths {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let answer = server.api.call(method, &path).await;
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{}", answer.what);
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{}", answer.what);
            assert_eq!(answer.header("x-correlation-id").len(), 32, "{}", answer.what);
            assert!(!answer.headers.contains_key("vary") && cors(&answer.headers).is_empty(), "{}", answer.what);
        }
    }
}

#[tokio::test]
async fn only_what_has_a_version_or_is_public_may_be_kept() {
    let server = Server::start().await;
    let created = server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_x")).await.is(201);
    assert_eq!(created.header("cache-control"), "private, no-cache");
    for route in ROUTES.iter().filter(|route| route.methods.iter().any(|(method, ..)| method == "GET")) {
        let answer = server.api.get(&sample(route)).await.is(200);
        let expected = match route.function {
            "Health" | "OpenApi" => "no-cache",
            "Mapping" | "IntegrationMapping" => "private, no-cache",
            _ => "no-store",
        };
        assert_eq!(answer.header("cache-control"), expected, "{}", answer.what);
    }
    let one = format!("{COLLECTION}/halo/mapping_x");
    let same = server.api.get(&one).header("if-none-match", created.etag()).await.is(304);
    assert_eq!(same.header("cache-control"), "private, no-cache");
    assert_eq!(server.api.get("/nothing").await.is(404).header("cache-control"), "no-store");
    assert_eq!(server.api.delete(&one).await.is(204).header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_page_that_may_call_is_told_so_before_and_after() {
    let server = with_cors().await;
    let mut app = app_with_cors();
    app.auth = Auth::entra(Provider::start().await.tokens(), app.tables.clone());
    let entra = Server::with(app).await;
    let paths = [COLLECTION, "/health", "/organizations/acme/integrations/halo/mapping_x"];
    for (server, path) in paths.map(|path| (&server, path)).into_iter().chain([(&entra, COLLECTION)]) {
        let url = format!("http://{}/api{path}", server.address);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = http.request(Method::OPTIONS, url).header("origin", PAGE);
        let answer = asked.header("access-control-request-method", "PATCH").send().await.unwrap();
        assert_eq!(answer.status(), 204, "{path}");
        let said = |name: &str| answer.headers()[name].to_str().unwrap();
        assert_eq!(said("access-control-allow-origin"), PAGE);
        assert_eq!(said("access-control-allow-methods"), "GET, POST, PUT, PATCH, DELETE");
        let allowed = answer.headers().get_all("access-control-allow-headers").iter();
        let allowed: Vec<_> = allowed.map(|value| value.to_str().unwrap()).collect();
        let mut expected = vec!["Authorization, Content-Type, If-Match, If-None-Match, X-Organization-Id, traceparent"];
        // Where a caller's name counts.
        expected.extend(server.app.auth.is_development().then_some("X-Dev-User"));
        assert_eq!(allowed, expected);
        assert_eq!((said("access-control-max-age"), said("vary")), ("3600", "Origin"));
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        assert_eq!(answer.bytes().await.unwrap(), "");
    }
    let told = |answer: Answer| {
        assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{}", answer.what);
        assert_eq!(answer.header("access-control-expose-headers"), "ETag, Location, Retry-After, X-Correlation-Id");
        assert_eq!(answer.header("vary"), "Origin");
    };
    let create = server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_x"));
    told(create.header("origin", PAGE).await.is(201));
    told(server.api.get(COLLECTION).header("origin", PAGE).await.is(200));
    told(server.api.get("/organizations/nobody/integrations").header("origin", PAGE).await.is(404));
}

#[tokio::test]
async fn other_pages_are_told_nothing() {
    let server = with_cors().await;
    for origin in [
        "https://evil.example",
        "https://admin.example.com.evil.example",
        "https://admin.example.com:8443",
        "http://admin.example.com",
        "https://ADMIN.example.com",
        "http://localhost",
        "null",
        "*",
        "",
    ] {
        let refused = preflight(&server, COLLECTION, origin).await.is(405);
        assert_eq!(refused.header("allow"), "GET, POST", "{origin}");
        for answer in [refused, server.api.get(COLLECTION).header("origin", origin).await.is(200)] {
            assert_eq!(cors(&answer.headers), [""; 0], "{origin}");
            assert_eq!(answer.header("vary"), "Origin", "a copy must not serve another origin");
        }
    }
    // A page that may call, and no question: OPTIONS is a method like any other.
    server.api.call(Method::OPTIONS, COLLECTION).header("origin", PAGE).await.is(405);
}

#[tokio::test]
async fn without_the_setting_no_page_may_call() {
    let server = Server::start().await;
    let refused = preflight(&server, COLLECTION, PAGE).await.is(405);
    assert_eq!(refused.header("allow"), "GET, POST");
    let read = server.api.get(COLLECTION).header("origin", PAGE).await.is(200);
    for answer in [refused, read] {
        assert!(cors(&answer.headers).is_empty() && !answer.headers.contains_key("vary"), "{}", answer.what);
    }
}
