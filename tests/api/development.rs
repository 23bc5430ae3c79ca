//! Which names development mode answers to, which web pages it believes, and the program with identity of Entra ID.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crosswalk::{app::App, secrets::NoSecrets, tables::EmbeddedTables};
use reqwest::Method;
use serde_json::json;

use crate::{
    client::Client,
    documents::named_mapping,
    entra::Entra,
    matrix::operations,
    process::{Running, crosswalk},
    provider::Provider,
    routes::sample,
    server::{Server, registry},
    tokens::{AUDIENCE, Parts, TENANT},
    wire::receive,
};

/// The status of a request with these lines as headers.
async fn status(server: &Server, target: &str, headers: &str) -> u16 {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    receive(&mut stream, headers).await.status
}

#[tokio::test]
async fn development_mode_answers_under_names_of_this_machine_alone() {
    let server = Server::start().await;
    for host in ["localhost", "LOCALHOST:7071", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:7071", "localhost:65535"] {
        assert_eq!(status(&server, "/api/organizations", &format!("Host: {host}\r\n")).await, 200, "{host}");
    }
    for host in [
        "rebound.example",
        "rebound.example:7071",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "localhost@rebound.example",
        "rebound.example@localhost",
        "127.0.0.2",
        "0.0.0.0",
        "::1",
        "localhost.",
        "",
    ] {
        for path in ["/api/organizations", "/api/health", "/api/openapi.json", "/api/nothing"] {
            assert_eq!(status(&server, path, &format!("Host: {host}\r\n")).await, 403, "{host}");
        }
    }
    assert_eq!(status(&server, "/api/organizations", "").await, 403);
    assert_eq!(status(&server, "/api/organizations", "Host: localhost\r\nHost: rebound.example\r\n").await, 403);
    let refused = server.api.get("/organizations").header("host", "rebound.example").await.is(403);
    insta::assert_snapshot!(refused.text(), @r#"{"error":"Forbidden","message":"Development mode answers under localhost, 127.0.0.1 and [::1] alone, and the Host header is 'rebound.example'; under another name, any web page could get in (DNS rebinding)"}"#);
}

/// The headers of a browser whose page is of another origin, for requests that it sends without asking beforehand.
const FOREIGN: [&[(&str, &str)]; 8] = [
    &[("origin", "https://evil.example")],
    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    &[("origin", "null")],
    &[("origin", "")],
    // Another port of this machine is another origin.
    &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("origin", "https://admin.example.com"), ("origin", "https://evil.example")],
];
const ACME: &str = "/organizations/acme/integrations";

#[tokio::test]
async fn development_mode_takes_no_changes_from_other_peoples_pages() {
    let mut app = App::new(Arc::new(EmbeddedTables::in_memory().unwrap()), registry(), Arc::new(NoSecrets));
    app.cors_origins = vec!["https://admin.example.com".to_owned()];
    let server = Server::with(app).await;
    let mapping = named_mapping("halo", "1", "mapping_x");
    server.api.post(ACME, &mapping).header("origin", "https://admin.example.com").await.is(201);
    for headers in FOREIGN {
        for (route, method) in operations().map(|(route, method, _)| (route, method)) {
            // As a form sends it: no preflight asks for text, and an empty body says nothing.
            for body in ["", r#"{"value": "1", "scope": "global"}"#] {
                let call =
                    server.api.call(method.clone(), &sample(route)).header("content-type", "text/plain").body(body);
                let answer = headers.iter().fold(call, |call, (name, value)| call.header(name, value)).await;
                let is_read = method == Method::GET || method == Method::HEAD;
                assert_eq!(answer.status == 403, !is_read, "{headers:?}: {} {}", answer.what, answer.status);
            }
        }
        let timer = reqwest::Client::builder().no_proxy().build().unwrap();
        let timer = timer.post(format!("http://{}/RepairTimer", server.address));
        let timer = headers.iter().fold(timer, |timer, (name, value)| timer.header(*name, *value));
        assert_eq!(timer.send().await.unwrap().status(), 403, "{headers:?}");
    }
    assert_eq!(server.audit("acme").await.len(), 1);

    // Those who are no page, the page of an allowed origin, and one that this service would serve itself.
    let own = format!("http://{}", server.address);
    let patch = async |headers: &[(&str, &str)]| {
        let call = server.api.patch(&format!("{ACME}/halo/mapping_x"), &json!({"external_org_id": "2"}));
        headers.iter().fold(call, |call, (name, value)| call.header(name, value)).await.is(200);
    };
    patch(&[]).await;
    patch(&[("sec-fetch-site", "none")]).await;
    patch(&[("origin", "https://admin.example.com"), ("sec-fetch-site", "cross-site")]).await;
    patch(&[("origin", &own), ("sec-fetch-site", "same-origin")]).await;
    let refused = server.api.delete(&format!("{ACME}/halo/mapping_x")).header("origin", "null").await.is(403);
    insta::assert_snapshot!(refused.text(), @r#"{"error":"Forbidden","message":"Development mode trusts every caller, so it takes no changes from web pages of other origins; add the page's origin to CROSSWALK_CORS_ORIGINS if it is yours"}"#);
}

/// A token is no cookie: no browser adds it by itself, so a page that sends one was given it.
#[tokio::test]
async fn with_tokens_the_origin_of_a_page_decides_nothing() {
    let entra = Entra::start().await;
    for headers in FOREIGN {
        let put = entra.of("technician").put(&format!("{ACME}/halo"), &json!({"external_org_id": "1"})).racing();
        let answer = headers.iter().fold(put, |call, (name, value)| call.header(name, value)).await;
        assert!(matches!(answer.status, 200 | 201), "{headers:?}: {}", answer.status);
        let put = entra.server.api.put(&format!("{ACME}/halo"), &json!({"external_org_id": "1"}));
        headers.iter().fold(put, |call, (name, value)| call.header(name, value)).await.is(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_checks_tokens_unless_it_is_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start().await;
    let authority = format!("http://{}", provider.address);
    let settings =
        [("AZURE_TENANT_ID", TENANT), ("CROSSWALK_AUDIENCE", AUDIENCE), ("AZURE_AUTHORITY_HOST", &*authority)];
    let (mut running, address, _) = Running::serving(crosswalk(folder.path(), &["serve"], &settings));
    assert!(address.ip().is_loopback());

    let base = format!("http://{address}");
    let nobody = Client::new(&*base);
    nobody.get("/health").await.is(200);
    nobody.get("/organizations").header("x-dev-user", "dev-admin").await.is(401);
    // Under whatever name callers know it.
    nobody.get("/health").header("host", "crosswalk.example").await.is(200);

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let token = Parts::user(&provider).with("iat", now).with("nbf", now).with("exp", now + 600).token();
    let user = Client::showing(&*base, &format!("Bearer {token}"));
    assert_eq!(user.get("/organizations").await.is(200).json(), json!({"organizations": [], "count": 0}));
    let integrations = user.get("/integrations").await.is(200).json();
    assert_eq!(integrations, json!({"integrations": [], "count": 0}), "the examples are for development");
    user.get("/organizations/acme/integrations").await.is(403);

    running.signal("TERM");
    running.ended();
    let log = running.rest();
    assert!(log.contains(TENANT) && !log.contains("trusts") && !log.contains(&token), "{log}");
}
