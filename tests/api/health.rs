//! `GET /health`, and what every route says while the store is down.

use std::time::{Duration, Instant};

use crosswalk::http::ROUTES;
use reqwest::Method;
use serde_json::json;

use crate::{
    documents::{named_mapping, stable},
    routes::sample,
    server::Server,
    valve::{Flow, Valve},
};

#[tokio::test]
async fn health_says_version_and_storage_and_nothing_else() {
    let server = Server::start().await;
    let health = server.api.get("/health").await.is(200);
    assert_eq!(
        health.json(),
        json!({"status": "ok", "version": env!("CARGO_PKG_VERSION"), "storage": {"reachable": true}})
    );
}

#[tokio::test]
async fn health_answers_503_in_the_same_shape_while_the_store_is_down() {
    let valve = Valve::new();
    let server = Server::on(valve.clone()).await;
    valve.turn(Flow::Down);
    let health = server.api.get("/health").await.is(503);
    insta::assert_snapshot!(stable(&health.json()["storage"]), @r#"
    {
      "reachable": false
    }
    "#);
    assert_eq!(health.json()["status"], "degraded");
    valve.turn(Flow::Open);
    server.api.get("/health").await.is(200);
}

#[tokio::test]
async fn while_the_store_is_down_every_request_that_needs_it_is_503_in_time() {
    let valve = Valve::new();
    let server = Server::on(valve.clone()).await;
    let body = named_mapping("halo", "1", "mapping_x");
    server.api.post("/organizations/acme/integrations", &body).await.is(201);
    server.settled().await;
    let before = server.history("acme").await;
    valve.turn(Flow::Down);
    for route in ROUTES.iter().filter(|route| !matches!(route.template, "openapi.json" | "integrations")) {
        for (method, ..) in route.methods {
            let body = match (method.as_str(), route.function) {
                ("POST", _) => json!({"integration_name": "halo", "external_org_id": "2"}),
                ("PUT", "Secrets") => json!({"value": "x", "scope": "acme"}),
                ("PUT", _) => json!({"external_org_id": "2"}),
                ("PATCH", _) => json!({"external_org_name": "other"}),
                _ => json!({}),
            };
            let began = Instant::now();
            let answer =
                server.api.call(method.as_str().parse::<Method>().unwrap(), &sample(route)).json(&body).await.is(503);
            assert!(began.elapsed() < Duration::from_secs(5), "{}", answer.what);
            assert!(!answer.text().contains("secret-host"), "{}", answer.text());
        }
    }
    insta::assert_snapshot!(stable(&server.api.get("/organizations").await.json()), @r#"
    {
      "error": "Storage unavailable",
      "message": "The table store cannot be reached or does not answer in time; nothing is half done, try again later"
    }
    "#);
    valve.turn(Flow::Open);
    assert_eq!(server.history("acme").await, before, "nothing that was refused may have happened");
    server.settled().await;
}
