//! Bodies as such: their type, their length, their pace.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    documents::{named_mapping, stable},
    server::Server,
    wire,
};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";
const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";
const WRITES: [(&str, &str); 3] = [("POST", COLLECTION), ("PUT", HALO), ("PATCH", ONE)];
const LIMIT: usize = 64 * 1024;

async fn with_one() -> Server {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    server
}

#[tokio::test]
async fn only_json_is_taken() {
    let server = with_one().await;
    let body = r#"{"external_org_id": "1"}"#;
    for content_type in [
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "application/json5",
        "json",
        "é",
        "text/json, application/json",
    ] {
        for (method, path) in WRITES {
            let call = server.api.call(method.parse().unwrap(), path).header("content-type", content_type).body(body);
            call.await.is(415);
        }
    }
    let none = server.api.call(Method::PUT, HALO).body(body).await.is(415);
    insta::assert_snapshot!(stable(&none.json()), @r#"
    {
      "error": "Unsupported media type",
      "message": "Content-Type is ''; send the body as application/json"
    }
    "#);
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;x",
        "application/merge-patch+json",
    ] {
        server.api.call(Method::PATCH, ONE).header("content-type", content_type).body(body).await.is(200);
    }
    // DELETE takes no body, so it may say anything of one.
    server.api.delete(ONE).header("content-type", "text/plain").body("ignored").await.is(204);
}

#[tokio::test]
async fn a_body_may_be_64_kib_and_not_a_byte_more() {
    let server = with_one().await;
    for (method, path) in WRITES {
        let sized = |size: usize| {
            let body = json!({"external_org_id": "1", "integration_name": "halo_psa"});
            let mut body = if method == "POST" { body.to_string() } else { r#"{"external_org_id":"1"}"#.to_owned() };
            body.extend(std::iter::repeat_n(' ', size - body.len()));
            body
        };
        let at_most = server.api.call(method.parse().unwrap(), path).text(sized(LIMIT)).await;
        assert!(matches!(at_most.status, 200 | 201), "{}", at_most.text());
        for size in [LIMIT + 1, LIMIT + 1000, 10_000_000] {
            let answer = server.api.call(method.parse().unwrap(), path).text(sized(size)).await.is(413);
            if size == LIMIT + 1 && method == "PUT" {
                insta::assert_snapshot!(stable(&answer.json()), @r#"
                {
                  "error": "Body too large",
                  "message": "A body may have at most 65536 bytes"
                }
                "#);
            }
        }
    }
    // A body that nobody asked for is no way around.
    for path in ["/health", "/nothing", "/organizations/nobody/integrations"] {
        let answer = server.api.call(Method::PUT, path).text("x".repeat(10_000_000)).await;
        assert!(matches!(answer.status, 404 | 405 | 413), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_chunked_body_has_the_same_limit() {
    let server = with_one().await;
    let head = format!("PATCH /api{ONE} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    let mut body = br#"{"external_org_name":"chunked"}"#.to_vec();
    let answer = wire::send(&server, &head, &wire::chunked(&body, 7)).await.is(200);
    assert_eq!(answer.json()["external_org_name"], "chunked");
    body.resize(LIMIT, b' ');
    wire::send(&server, &head, &wire::chunked(&body, 1000)).await.is(200);
    body.push(b' ');
    wire::send(&server, &head, &wire::chunked(&body, 1000)).await.is(413);
    body.resize(10_000_000, b' ');
    wire::send(&server, &head, &wire::chunked(&body, 60_000)).await.is(413);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_to_stop() {
    let server = with_one().await;
    let body = r#"{"external_org_name":"asked"}"#;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PATCH /api{ONE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(std::str::from_utf8(&go_on).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    wire::receive(&mut stream, "asked first").await.is(200);
    // Too long by its own word: not a byte of it is read.
    let head = format!("PATCH /api{ONE} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n");
    wire::send(&server, &head, b"").await.is(413);
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let server = with_one().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PATCH /api{ONE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(br#"{"external_org_name":"half"}"#).await.unwrap();
    stream.shutdown().await.unwrap();
    // Whatever it answers, or nothing.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.api.get(ONE).await.json()["external_org_name"], json!(null));
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up_and_holds_up_nobody() {
    let server = with_one().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PATCH /api{ONE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        server.api.get(ONE).await.is(200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "other callers waited");
    let answer =
        tokio::time::timeout(Duration::from_secs(20), wire::receive(&mut stream, "slow")).await.unwrap().is(408);
    answer.distrust(&Method::PATCH, &format!("/api{ONE}"));
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "error": "Body too slow",
      "message": "The body took longer than 10 seconds; send it faster"
    }
    "#);
}

#[tokio::test]
async fn what_http_itself_forbids_is_answered_and_hurts_nobody() {
    let server = with_one().await;
    let mut long = format!("GET /api{ONE} HTTP/1.1\r\nX-Long: ").into_bytes();
    long.extend(std::iter::repeat_n(b'x', 1_000_000));
    for bytes in [
        &b"GET /api/health\r\n\r\n"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET /api/organizations/a b/integrations HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Dev-User: a\0b\r\n\r\n",
        b"PUT /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"PUT /api/health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long,
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may have hung up before all was sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let status = answer.get(9..10).map(|digit| digit[0]);
        assert!(
            matches!(status, None | Some(b'4')) || !answer.starts_with(b"HTTP"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    server.api.get(ONE).await.is(200);
}

#[tokio::test]
async fn targets_that_clients_would_tidy_up_reach_the_server_as_they_are() {
    let server = with_one().await;
    for (target, status) in [
        ("/api/organizations/../integrations", 400),
        ("/api/organizations/./integrations", 400),
        ("/api/organizations/%2E%2E/integrations", 400),
        ("/api/organizations/acme%2F..%2Fglobex/integrations", 400),
        ("/api/organizations/acme/../acme/integrations", 404),
        ("/api/../api/health", 404),
        ("/api/organizations/acme'/integrations", 400),
        ("/api/organizations/acme/integrations?integration='", 400),
        ("/api/organizations/acme/integrations?", 200),
        ("/api/organizations/acme/integrations?&&=&x", 200),
        ("/api/health#fragment", 400),
        ("/api/organizations/%/integrations", 400),
        ("/api/organizations/%zz/integrations", 400),
        ("/api/health?x=%", 200),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = wire::receive(&mut stream, target).await;
        assert!(
            answer.status == status || (target.contains('#') && matches!(answer.status, 200 | 404)),
            "{target}: {}",
            answer.status
        );
    }
    // The whole address as target, as to a proxy.
    wire::send(&server, format!("GET http://crosswalk/api{ONE} HTTP/1.1\r\n"), b"").await.is(200);
    wire::send(&server, "OPTIONS * HTTP/1.1\r\n", b"").await.is(404);
}
