//! What callers of the HTTP API see while the store fails: an answer within 5 seconds, 503 with `Retry-After`, and no half
//! state afterwards. The real emulator, with a wire in between that breaks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crosswalk::{app::App, http, tables::Tables};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    azurite::Azurite,
    harness::*,
    invariants,
    wire::{Fault, Wire},
};

/// The service on a store behind a wire.
struct Service {
    address: String,
    app: Arc<App>,
    wire: Wire,
    /// The same store without the wire.
    tables: Tables,
    client: Client,
    _stop: oneshot::Sender<()>,
}

impl Service {
    async fn start() -> Self {
        let account = Azurite::start().account();
        let tables = azure(&account);
        organization(&*tables, ORG).await;
        let port = Azurite::start().port();
        let wire = Wire::to(port).await;
        let behind = account.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", wire.port));
        let app = Arc::new(app(azure(&behind)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/api", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(http::serve(Arc::clone(&app), listener, async move { drop(stopped.await) }));
        Self { address, app, wire, tables, client: Client::new(), _stop: stop }
    }

    async fn create(&self, id: &str) -> reqwest::Response {
        let body =
            json!({"integration_name": INTEGRATION, "external_org_id": id, "mapping_id": format!("mapping_{id}")});
        let url = format!("{}/organizations/{ORG}/integrations", self.address);
        self.client.post(url).json(&body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.address)).send().await.unwrap()
    }

    /// The wire is whole again and nothing is half there.
    async fn recover(self) {
        self.wire.set(Fault::None);
        assert_eq!(self.get("/health").await.status(), StatusCode::OK);
        assert_eq!(self.create("afterwards").await.status(), StatusCode::CREATED);
        self.app.drain(Duration::from_secs(30)).await;
        invariants::hold(&self.tables, &[]).await;
    }
}

/// Every route answers in time and says when to try again.
async fn answers_503_within_5_seconds(fault: Fault) {
    let service = Service::start().await;
    assert_eq!(service.create("before").await.status(), StatusCode::CREATED);
    service.wire.set(fault);
    let began = Instant::now();
    let (health, resolve, list, lookup, organizations, create) = tokio::join!(
        service.get("/health"),
        service.get("/organizations/acme/integrations/halo"),
        service.get("/organizations/acme/integrations"),
        service.get("/integrations/halo/mappings"),
        service.get("/organizations"),
        service.create("during"),
    );
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{fault:?}: answered after {took:?}");
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json::<serde_json::Value>().await.unwrap()["storage"]["reachable"], false);
    for answer in [resolve, list, lookup, organizations, create] {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault:?}: {}", answer.url());
        assert!(answer.headers().contains_key("retry-after"));
        let body = answer.json::<serde_json::Value>().await.unwrap();
        assert_eq!(body["error"], "Storage unavailable");
        assert!(!body.to_string().contains("127.0.0.1"), "the store's own words are not for callers: {body}");
    }
    service.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn down() {
    answers_503_within_5_seconds(Fault::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent() {
    answers_503_within_5_seconds(Fault::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing() {
    answers_503_within_5_seconds(Fault::Status(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable() {
    answers_503_within_5_seconds(Fault::Status(503)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling() {
    answers_503_within_5_seconds(Fault::Status(429)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_slow() {
    answers_503_within_5_seconds(Fault::Slow(Duration::from_secs(10))).await;
}

/// Every answer is lost, of reads and of writes: the change may have happened, and nobody is told otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost() {
    let service = Service::start().await;
    assert_eq!(service.create("before").await.status(), StatusCode::CREATED);
    service.wire.set(Fault::LoseAnswer);
    let began = Instant::now();
    let answer = service.create("during").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    service.recover().await;
}

/// Slow, but not too slow: it works.
#[tokio::test(flavor = "multi_thread")]
async fn slow() {
    let service = Service::start().await;
    service.wire.set(Fault::Slow(Duration::from_millis(300)));
    assert_eq!(service.create("during").await.status(), StatusCode::CREATED);
    service.recover().await;
}

/// The connection breaks once, at any moment of a create: 201, or 503 before anything happened; never 409 to its author.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_at_any_moment() {
    let service = Service::start().await;
    for round in 0..20 {
        let id = format!("round{round}");
        let create = service.create(&id);
        let breaks = async {
            tokio::time::sleep(Duration::from_millis(round * 2)).await;
            service.wire.set(Fault::LoseAnswer);
            tokio::time::sleep(Duration::from_millis(10)).await;
            service.wire.set(Fault::None);
        };
        let (answer, ()) = tokio::join!(create, breaks);
        let status = answer.status();
        assert!([StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{id}: {status}");
    }
    service.recover().await;
}
