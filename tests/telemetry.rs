//! The fence around the Azure crates' logs: a token that is really sent is in no log line, at any level, whatever the filter.

#[path = "support/captured.rs"]
mod captured;

use crosswalk::{
    azure::IdentityEnvironment,
    tables::{AzureAccount, AzureTables, Key, Put, Row, Table, TableStore},
    telemetry,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt};
use warp::Filter;

use self::captured::Captured;

const TOKEN: &str = "bearer-token-that-nobody-may-see";
const HEADER: &str = "identity-header-that-nobody-may-see";
const VALUE: &str = "row-value-that-nobody-may-see";

/// A managed identity and a table service in one: gives the token out, and wants it back.
async fn azure() -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let expires_on = chrono::Utc::now().timestamp() + 3600;
    let identity = warp::path("identity").and(warp::header::exact("x-identity-header", HEADER)).map(move || {
        warp::reply::json(&json!({
            "access_token": TOKEN, "expires_on": expires_on.to_string(), "resource": "storage", "token_type": "Bearer"
        }))
    });
    let bearer: &'static str = Box::leak(format!("Bearer {TOKEN}").into_boxed_str());
    let tables = warp::header::exact("authorization", bearer)
        .map(|| warp::reply::with_status("", warp::http::StatusCode::CONFLICT));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = warp::serve(identity.or(tables)).incoming(listener).graceful(async move { drop(stopped.await) });
    tokio::spawn(server.run());
    (address, stop)
}

/// Writes a row, with the token, under that subscriber.
async fn write_a_row(subscriber: impl tracing::Subscriber + Send + Sync + 'static) {
    let (address, _stop) = azure().await;
    let identity =
        IdentityEnvironment { endpoint: Some(format!("{address}/identity")), header: Some(HEADER.to_owned()) };
    let account = AzureAccount::with_managed_identity(&address, Some("client".to_owned()), identity).unwrap();
    let row = Row { key: Key::new("p", "r"), properties: [("Value".to_owned(), VALUE.into())].into() };
    let outcome = async move { AzureTables::new(&account).put(Table::Config, &row, &Put::Create).await }
        .with_subscriber(subscriber)
        .await;
    // The service answers 409 to whoever has the token.
    assert!(matches!(outcome, Err(crosswalk::tables::TableError::AlreadyExists)), "{outcome:?}");
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let filters =
        [None, Some("trace"), Some("trace,azure_core=trace,azure_data_tables=trace,hyper=trace,reqwest=trace")];
    for filter in filters {
        for for_a_person in [true, false] {
            let captured = Captured::default();
            write_a_row(telemetry::subscriber(filter, for_a_person, captured.clone()).unwrap()).await;
            for secret in [TOKEN, HEADER, VALUE] {
                assert!(!captured.text().contains(secret), "{filter:?}: {}", captured.text());
            }
        }
    }
}

/// What the fence is for; when this fails, the crates have stopped leaking and the fence may go.
#[tokio::test]
async fn without_the_fence_the_token_is_logged() {
    let captured = Captured::default();
    let layer = tracing_subscriber::fmt::layer().with_writer(captured.clone());
    write_a_row(tracing_subscriber::registry().with(EnvFilter::new("trace")).with(layer)).await;
    assert!(captured.text().contains(TOKEN), "{}", captured.text());
}

/// What is needed to find all lines of one request stands at the top of each of them.
#[test]
fn json_lines_are_flat() {
    let captured = Captured::default();
    let subscriber = telemetry::subscriber(Some("trace"), false, captured.clone()).unwrap();
    let text = "a \"quoted\" \\ text\nwith\tcontrol \u{1} and é 🏢";
    tracing::subscriber::with_default(subscriber, || {
        let outer =
            tracing::error_span!("outer", trace_id = "1", invocation_id = tracing::field::Empty, none = None::<&str>);
        outer.record("invocation_id", text);
        let _in = outer.entered();
        tracing::warn_span!("inner", number = 7).in_scope(|| {
            tracing::info!(text, debug = ?text, yes = true, whole = -1, real = 0.5, endless = f64::INFINITY, "said {}", text);
        });
    });
    tracing::subscriber::with_default(telemetry::subscriber(None, false, captured.clone()).unwrap(), || {
        tracing::error!("bare");
    });
    let lines: Vec<serde_json::Value> =
        captured.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let mut first = lines[0].clone();
    assert!(first.as_object_mut().unwrap().remove("timestamp").is_some());
    assert_eq!(
        first,
        json!({
            "level": "INFO", "target": "telemetry", "message": format!("said {text}"), "text": text, "debug": format!("{text:?}"),
            "yes": true, "whole": -1, "real": 0.5, "endless": null, "trace_id": "1", "invocation_id": text, "number": 7
        })
    );
    assert_eq!((lines.len(), &lines[1]["message"]), (2, &json!("bare")));
}
