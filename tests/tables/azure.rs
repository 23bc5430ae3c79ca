//! The Azure adapter: the suite on Azurite, and what it does when the network or the service fails.

use std::time::{Duration, Instant};

use azure_core::auth::Secret;
use azure_data_tables::clients::{TableServiceClient, TableServiceClientBuilder};
use azure_storage::{CloudLocation, StorageCredentials};
use crosswalk::{
    azure::IdentityEnvironment,
    tables::{
        AzureAccount, AzureTables, Etag, Key, Operation, Properties, Property, Put, Range, Row, Table, TableError,
        TableStore, When,
    },
};
use futures::{TryStreamExt, future::join_all};
use serde_json::{Value, json};

use crate::{
    azurite::Azurite,
    conformance,
    stub::{Action, Counter, Stub},
};

conformance::run_on!(on_azurite());

const TABLE: Table = Table::OrgIntegrationMappings;

fn open(connection: &str) -> AzureTables {
    AzureTables::new(&AzureAccount::from_connection_string(connection).unwrap())
}

/// A store of its own, and its connection string.
fn on_azurite() -> (AzureTables, String) {
    let connection = Azurite::start().account();
    (open(&connection), connection)
}

/// The same account, reached through another port.
fn through(port: u16, connection: &str) -> AzureTables {
    let azurite = format!(":{}/", Azurite::start().port());
    open(&connection.replace(&azurite, &format!(":{port}/")))
}

fn row(name: &str) -> Row {
    Row { key: Key::new("p", "r"), properties: [("Name".to_owned(), Property::from(name))].into() }
}

fn key() -> Key {
    Key::new("p", "r")
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, TableError>) -> (String, Option<Duration>) {
    match result {
        Err(TableError::Unavailable { reason, retry_after }) => (reason, retry_after),
        other => panic!("not unavailable: {other:?}"),
    }
}

/// The SDK as any other program uses it.
fn another_program(connection: &str) -> TableServiceClient {
    let part = |name: &str| connection.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let account = part("AccountName").to_owned();
    let credentials = StorageCredentials::access_key(account.clone(), Secret::new(part("AccountKey").to_owned()));
    let uri = part("TableEndpoint").to_owned();
    TableServiceClientBuilder::with_location(CloudLocation::Custom { account, uri }, credentials).build()
}

#[tokio::test]
async fn a_row_of_another_program_keeps_its_types_when_it_is_replaced() {
    let (store, connection) = on_azurite();
    assert_eq!(store.get(TABLE, &key()).await.unwrap(), None);
    let theirs = another_program(&connection).table_client(TABLE.name());
    let entity = json!({
        "PartitionKey": "p", "RowKey": "r",
        "Name": "Acme", "IsActive": true, "Count": 7, "Nothing": null,
        "Total@odata.type": "Edm.Int64", "Total": "5000000000",
        "Small@odata.type": "Edm.Int64", "Small": "5",
        "Share@odata.type": "Edm.Double", "Share": 0.25,
        "Whole@odata.type": "Edm.Double", "Whole": 3.0,
        "Fraction": 1.5,
        "Made@odata.type": "Edm.DateTime", "Made": "2026-01-02T03:04:05.6780000Z",
        "Tenant@odata.type": "Edm.Guid", "Tenant": "4185404a-5818-48c3-b9be-f217df0dba6f",
        "Bytes@odata.type": "Edm.Binary", "Bytes": "AAEC/w==",
    });
    theirs.insert::<_, Value>(&entity).unwrap().await.unwrap();

    let stored = store.get(TABLE, &key()).await.unwrap().unwrap();
    let typed = |edm: &str, text: &str| Property::Typed { edm: edm.into(), text: text.into() };
    let expected: Properties = [
        ("Name", Property::from("Acme")),
        ("IsActive", true.into()),
        ("Count", Property::Int32(7)),
        ("Total", Property::Int64(5_000_000_000)),
        ("Small", Property::Int64(5)),
        ("Share", Property::Double(0.25)),
        ("Whole", Property::Double(3.0)),
        ("Fraction", Property::Double(1.5)),
        ("Made", typed("Edm.DateTime", "2026-01-02T03:04:05.6780000Z")),
        ("Tenant", typed("Edm.Guid", "4185404a-5818-48c3-b9be-f217df0dba6f")),
        ("Bytes", typed("Edm.Binary", "AAEC/w==")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    assert_eq!(stored.row.properties, expected);
    assert_eq!(store.scan(TABLE, &Range::new("p", "", "~"), 10).await.unwrap().rows, std::slice::from_ref(&stored));
    assert_eq!(store.scan_table(TABLE).try_collect::<Vec<_>>().await.unwrap(), std::slice::from_ref(&stored));

    store.put(TABLE, &stored.row, &Put::Replace(stored.etag)).await.unwrap();
    let entity = theirs.partition_key_client("p").entity_client("r").get::<Value>().await.unwrap().entity;
    for (name, edm, value) in [
        ("Total", "Edm.Int64", json!("5000000000")),
        ("Small", "Edm.Int64", json!("5")),
        ("Made", "Edm.DateTime", json!("2026-01-02T03:04:05.6780000Z")),
        ("Tenant", "Edm.Guid", json!("4185404a-5818-48c3-b9be-f217df0dba6f")),
        ("Bytes", "Edm.Binary", json!("AAEC/w==")),
    ] {
        assert_eq!((&entity[format!("{name}@odata.type")], &entity[name]), (&json!(edm), &value), "{name}");
    }
    assert_eq!(entity["Whole"].as_f64(), Some(3.0));
}

#[tokio::test]
async fn connections_are_used_again() {
    let (_, connection) = on_azurite();
    let counter = Counter::before(Azurite::start().port()).await;
    let store = through(counter.port, &connection);
    store.put(TABLE, &row("x"), &Put::Create).await.unwrap();
    let before = counter.accepted();
    assert!(before <= Table::ALL.len(), "{before} connections to make the tables");
    for _ in 0..50 {
        store.get(TABLE, &key()).await.unwrap();
        store.put(TABLE, &row("y"), &Put::Upsert).await.unwrap();
    }
    assert_eq!(counter.accepted(), before);
}

#[tokio::test]
async fn a_silent_service_is_given_up_in_time() {
    let stub = Stub::alone(|_, _| Action::Silence).await;
    let store = through(stub.port, &on_azurite().1);
    let begun = Instant::now();
    let (row, key, range) = (row("x"), key(), Range::new("p", "", "~"));
    let batch = [Operation::Put(row.clone(), Put::Create)];
    let (get, create, delete, scan, commit, all) = futures::join!(
        store.get(TABLE, &key),
        store.put(TABLE, &row, &Put::Create),
        store.delete(TABLE, &key, &When::Any),
        store.scan(TABLE, &range, 10),
        store.commit(TABLE, &batch),
        store.scan_table(TABLE).try_collect::<Vec<_>>(),
    );
    let reasons = [
        unavailable(get).0,
        unavailable(create).0,
        unavailable(delete).0,
        unavailable(scan).0,
        unavailable(commit).0,
        unavailable(all).0,
    ];
    assert!(reasons.iter().all(|reason| reason.ends_with("no answer in time")), "{reasons:?}");
    assert!(begun.elapsed() < Duration::from_millis(4500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = through(port, &on_azurite().1);
    let begun = Instant::now();
    assert_eq!(unavailable(store.get(TABLE, &key()).await).0, "get OrgIntegrationMappings: no connection");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// A conditional write whose answer was lost has happened, and its author must not be told of a conflict.
#[tokio::test]
async fn conditional_writes_are_sent_once() {
    let (direct, connection) = on_azurite();
    let etag = direct.put(TABLE, &row("old"), &Put::Create).await.unwrap();
    let writes: [(&str, Operation); 3] = [
        ("replace", Operation::Put(row("new"), Put::Replace(etag))),
        ("delete", Operation::Delete(key(), When::Any)), // the condition is put in below
        ("create", Operation::Put(row("newer"), Put::Create)),
    ];
    for (verb, mut write) in writes {
        if let Operation::Delete(key, when) = &mut write {
            *when = When::Matches(direct.get(TABLE, key).await.unwrap().unwrap().etag);
        }
        let stub = Stub::before(Azurite::start().port(), |_, _| Action::LoseAnswer).await;
        let store = through(stub.port, &connection);
        let result = match &write {
            Operation::Put(row, mode) => store.put(TABLE, row, mode).await.map(drop),
            Operation::Delete(key, when) => store.delete(TABLE, key, when).await,
        };
        assert_eq!(unavailable(result).0, format!("{verb} {TABLE}: the connection broke"));
        assert_eq!(stub.seen().len(), 1, "{verb}");
        let found = direct.get(TABLE, &key()).await.unwrap().map(|stored| stored.row);
        let expected = if let Operation::Put(row, _) = write { Some(row) } else { None };
        assert_eq!(found, expected, "{verb}: it has happened");
    }
    let stub = Stub::before(Azurite::start().port(), |_, _| Action::LoseAnswer).await;
    let batch = [Operation::Put(Row { key: Key::new("p", "batch"), ..row("x") }, Put::Create)];
    unavailable(through(stub.port, &connection).commit(TABLE, &batch).await);
    assert_eq!(stub.seen().len(), 1);
    assert!(direct.get(TABLE, batch[0].key()).await.unwrap().is_some());
}

#[tokio::test]
async fn conditional_writes_are_not_repeated_when_refused() {
    let (_, connection) = on_azurite();
    for status in [429, 500, 503] {
        let refuse = move |_: &_, _| Action::Answer(status, "Retry-After: 1\r\n".into(), String::new());
        let stub = Stub::before(Azurite::start().port(), refuse).await;
        let store = through(stub.port, &connection);
        let etag = Etag("W/\"datetime'2026-11-21T10%3A35%3A00.1234567Z'\"".into());
        let batch = [Operation::Put(row("x"), Put::Upsert)];
        let results = [
            store.put(TABLE, &row("x"), &Put::Create).await.map(drop),
            store.put(TABLE, &row("x"), &Put::Replace(etag.clone())).await.map(drop),
            store.delete(TABLE, &key(), &When::Matches(etag)).await,
            store.commit(TABLE, &batch).await.map(drop),
        ];
        for result in results {
            let (reason, retry_after) = unavailable(result);
            assert!(reason.ends_with(&format!("status {status}")), "{reason}");
            assert_eq!(retry_after, Some(Duration::from_secs(1)));
        }
        assert_eq!(stub.seen().len(), 4);
    }
}

#[tokio::test]
async fn what_may_happen_twice_is_tried_again() {
    let (direct, connection) = on_azurite();
    direct.put(TABLE, &row("old"), &Put::Create).await.unwrap();
    let fail = |number| match number {
        0 => Action::Drop,
        1 => Action::Answer(503, String::new(), String::new()),
        _ => Action::Pass,
    };
    let stub = async || Stub::before(Azurite::start().port(), move |_, number| fail(number)).await;

    let get = stub().await;
    let found = through(get.port, &connection).get(TABLE, &key()).await.unwrap();
    assert_eq!((found.unwrap().row, get.seen().len()), (row("old"), 3));

    let scan = stub().await;
    let page = through(scan.port, &connection).scan(TABLE, &Range::new("p", "", "~"), 10).await.unwrap();
    assert_eq!((page.rows.len(), scan.seen().len()), (1, 3));

    let all = stub().await;
    let rows: Vec<_> = through(all.port, &connection).scan_table(TABLE).try_collect().await.unwrap();
    assert_eq!((rows.len(), all.seen().len()), (1, 3));

    let upsert = stub().await;
    through(upsert.port, &connection).put(TABLE, &row("new"), &Put::Upsert).await.unwrap();
    assert_eq!((direct.get(TABLE, &key()).await.unwrap().unwrap().row, upsert.seen().len()), (row("new"), 3));

    let delete = stub().await;
    through(delete.port, &connection).delete(TABLE, &key(), &When::Any).await.unwrap();
    assert_eq!((direct.get(TABLE, &key()).await.unwrap(), delete.seen().len()), (None, 3));
}

#[tokio::test]
async fn an_upsert_never_answers_that_a_condition_failed() {
    let (direct, connection) = on_azurite();
    for status in [404, 409, 412] {
        let meet = move |_: &_, number| match number {
            0 => Action::Answer(status, String::new(), String::new()),
            _ => Action::Pass,
        };
        let stub = Stub::before(Azurite::start().port(), meet).await;
        through(stub.port, &connection).put(TABLE, &row("x"), &Put::Upsert).await.unwrap();
        assert_eq!(stub.seen().len(), 2);
        let always = move |_: &_, _| Action::Answer(status, String::new(), String::new());
        let stub = Stub::before(Azurite::start().port(), always).await;
        unavailable(through(stub.port, &connection).put(TABLE, &row("x"), &Put::Upsert).await);
    }
    assert_eq!(direct.get(TABLE, &key()).await.unwrap().unwrap().row, row("x"));
}

#[tokio::test]
async fn three_tries_are_the_most() {
    let stub = Stub::before(Azurite::start().port(), |_, _| Action::Drop).await;
    let store = through(stub.port, &on_azurite().1);
    assert_eq!(unavailable(store.get(TABLE, &key()).await).0, "get OrgIntegrationMappings: the connection broke");
    assert_eq!(stub.seen().len(), 3);
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_finds_nothing_the_second_time_and_is_done() {
    let (direct, connection) = on_azurite();
    direct.put(TABLE, &row("x"), &Put::Create).await.unwrap();
    let lose = |_: &_, number| if number == 0 { Action::LoseAnswer } else { Action::Pass };
    let stub = Stub::before(Azurite::start().port(), lose).await;
    let store = through(stub.port, &connection);
    store.delete(TABLE, &key(), &When::Any).await.unwrap();
    assert_eq!(stub.seen().len(), 2);
    assert!(matches!(store.delete(TABLE, &key(), &When::Any).await, Err(TableError::NotFound)));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let (direct, connection) = on_azurite();
    direct.put(TABLE, &row("x"), &Put::Create).await.unwrap();
    let throttle = |seconds: u32| {
        move |_: &_, number| match number {
            0 => Action::Answer(429, format!("Retry-After: {seconds}\r\n"), String::new()),
            _ => Action::Pass,
        }
    };
    let stub = Stub::before(Azurite::start().port(), throttle(1)).await;
    let begun = Instant::now();
    assert!(through(stub.port, &connection).get(TABLE, &key()).await.unwrap().is_some());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());

    // Longer than a call may take: the caller is told instead of kept waiting.
    let stub = Stub::before(Azurite::start().port(), throttle(60)).await;
    let begun = Instant::now();
    let (_, retry_after) = unavailable(through(stub.port, &connection).get(TABLE, &key()).await);
    assert_eq!((retry_after, stub.seen().len()), (Some(Duration::from_mins(1)), 1));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refusal_names_the_remedy_and_repeats_nothing_of_the_answer() {
    let (_, connection) = on_azurite();
    let body = r#"{"odata.error":{"code":"AuthorizationFailure","message":{"value":"SECRET"}}}"#;
    let refuse = move |_: &_, _| Action::Answer(403, "X-Header: SECRET\r\n".into(), body.into());
    let stub = Stub::before(Azurite::start().port(), refuse).await;
    let (reason, _) = unavailable(through(stub.port, &connection).get(TABLE, &key()).await);
    insta::assert_snapshot!(reason, @"get OrgIntegrationMappings: status 403; check the account key, or give the service's identity the role Storage Table Data Contributor on the storage account");
    assert_eq!(stub.seen().len(), 1);
    let wrong = connection.replace("AccountKey=", "AccountKey=AAAA");
    let (reason, _) = unavailable(open(&wrong).get(TABLE, &key()).await);
    assert!(reason.contains("status 403"), "{reason}");
}

#[tokio::test]
async fn an_answer_that_is_none_is_unavailable() {
    let (_, connection) = on_azurite();
    let page = |_: &_, _| Action::Answer(200, String::new(), "<html>a proxy says hello</html>".into());
    let stub = Stub::before(Azurite::start().port(), page).await;
    let store = through(stub.port, &connection);
    for result in [
        store.get(TABLE, &key()).await.map(drop),
        store.put(TABLE, &row("x"), &Put::Create).await.map(drop),
        store.put(TABLE, &row("x"), &Put::Upsert).await.map(drop),
        store.scan(TABLE, &Range::new("p", "", "~"), 1).await.map(drop),
        store.commit(TABLE, &[Operation::Put(row("x"), Put::Upsert)]).await.map(drop),
    ] {
        let (reason, _) = unavailable(result);
        assert!(!reason.contains("proxy"), "{reason}");
    }
}

#[tokio::test]
async fn a_table_that_vanished_is_no_missing_row() {
    let (store, connection) = on_azurite();
    store.put(TABLE, &row("x"), &Put::Create).await.unwrap();
    let theirs = another_program(&connection).table_client(TABLE.name());
    let vanish = async || theirs.delete().await.map(drop).unwrap();
    let batch = [Operation::Put(row("x"), Put::Upsert)];

    vanish().await;
    unavailable(store.get(TABLE, &key()).await);
    assert_eq!(store.get(TABLE, &key()).await.unwrap(), None, "made again");
    vanish().await;
    unavailable(store.put(TABLE, &row("x"), &Put::Upsert).await);
    store.put(TABLE, &row("x"), &Put::Upsert).await.unwrap();
    vanish().await;
    unavailable(store.scan(TABLE, &Range::new("p", "", "~"), 1).await);
    vanish_check(&store, &batch).await;
    vanish().await;
    unavailable(store.commit(TABLE, &batch).await);
    vanish_check(&store, &batch).await;
}

async fn vanish_check(store: &AzureTables, batch: &[Operation]) {
    store.commit(TABLE, batch).await.unwrap();
}

/// Tokens of a user-assigned identity: asked for as App Service wants it, once for all who wait.
#[tokio::test]
async fn a_user_assigned_identity_is_asked_once() {
    let expires = chrono::Utc::now().timestamp() + 3600;
    let stub = Stub::alone(move |seen, _| {
        if seen.line.starts_with("GET /msi/token?") {
            let token = json!({"access_token": "TOKEN", "expires_on": expires.to_string(), "token_type": "Bearer"});
            return Action::Answer(200, "Content-Type: application/json\r\n".into(), token.to_string());
        }
        let authorized = seen.head.to_lowercase().contains("authorization: bearer token\r\n");
        let exists = seen.line.contains("/t/Tables ");
        Action::Answer(
            if !authorized {
                401
            } else if exists {
                409
            } else {
                404
            },
            String::new(),
            String::new(),
        )
    })
    .await;
    let environment = IdentityEnvironment {
        endpoint: Some(format!("http://127.0.0.1:{}/msi/token", stub.port)),
        header: Some("proof".into()),
    };
    let endpoint = format!("http://127.0.0.1:{}/t", stub.port);
    let account = AzureAccount::with_managed_identity(&endpoint, Some("client".into()), environment).unwrap();
    let store = AzureTables::new(&account);
    let key = key();
    for result in join_all((0..20).map(|_| store.get(TABLE, &key))).await {
        assert_eq!(result.unwrap(), None);
    }
    let asked: Vec<_> = stub.seen().into_iter().filter(|seen| seen.line.contains("/msi/")).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].line,
        "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com&client_id=client HTTP/1.1"
    );
    assert!(asked[0].head.to_lowercase().contains("x-identity-header: proof\r\n"), "{}", asked[0].head);
}

#[tokio::test]
async fn an_identity_without_a_token_is_no_missing_row() {
    for status in [400, 404, 500] {
        let stub = Stub::alone(move |_, _| Action::Answer(status, String::new(), "SECRET".into())).await;
        let environment =
            IdentityEnvironment { endpoint: Some(format!("http://127.0.0.1:{}/", stub.port)), header: None };
        let account = AzureAccount::with_managed_identity(
            "https://acme.table.core.windows.net",
            Some("client".into()),
            environment,
        )
        .unwrap();
        let (reason, _) = unavailable(AzureTables::new(&account).get(TABLE, &key()).await);
        assert!(reason.contains("AzureWebJobsStorage__clientId") && !reason.contains("SECRET"), "{reason}");
    }
}
