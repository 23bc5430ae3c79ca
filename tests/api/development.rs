//! Which names development mode answers to, and the program with identity of Entra ID.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::{
    client::Client,
    process::{Running, crosswalk},
    provider::Provider,
    server::Server,
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
