//! Declared fields of `mapping_data` against hostile callers, rows that others wrote, manifests that change and stores of
//! secrets that come and go.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use async_trait::async_trait;
use crosswalk::{
    context::ClientError,
    domain::{IntegrationName, MappingId, MappingKey, OrgId, Secret},
    integrations::{Integration, IntegrationError, manifest::FieldKind},
    mappings::REPAIR_GRACE,
    secrets::{NoSecrets, SecretError, SecretStore},
    tables::{EmbeddedTables, Key, Put, Table},
};
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{external::Vault, mapping_data::*, server::Server};

/// Copies the row of the mapping elsewhere, as somebody with the storage account may.
async fn copy(server: &Server, org_id: &str, id: &str) {
    let row = server.tables.get(Table::OrgIntegrationMappings, &Key::new("acme", "psa_mapping_1")).await.unwrap();
    let mut row = row.unwrap().row;
    row.key = Key::new(org_id, format!("psa_{id}"));
    for (name, value) in [("OrgId", org_id), ("MappingId", id), ("ExternalOrgId", id)] {
        row.properties.insert(name.to_owned(), value.into());
    }
    server.tables.put(Table::OrgIntegrationMappings, &row, &Put::Upsert).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_given_twice_is_refused() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    for twice in [
        r#"{"api_key": "hunter-a", "api_key": "hunter-b"}"#,
        r#"{"api_key": "hunter-a", "api\u005fkey": "hunter-b"}"#,
        r#"{"api_key": null, "api_key": "hunter-b"}"#,
        r#"{"api_key": "********", "api_key": "hunter-b"}"#,
    ] {
        let body = format!(r#"{{"integration_name": "psa", "external_org_id": "1", "mapping_data": {twice}}}"#);
        let refused = server.api.call(Method::POST, COLLECTION).text(body).await.is(400);
        assert_eq!(refused.json()["details"], json!({"mapping_data.api_key": ["must be given once"]}), "{twice}");
    }
    // The first one is no reference either.
    let hidden = r#"{"mapping_data": {"site": {"\u0024secret": "psa-api-key"}, "site": "1", "api_key": "hunter-a"}}"#;
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    let refused = server.api.call(Method::PATCH, ONE).text(hidden).await.is(400);
    assert!(refused.text().contains("not the reference to a secret"), "{}", refused.text());
    server.settled().await;
    assert_eq!(vault.all().len(), 1);
}

#[tokio::test]
async fn a_copied_row_takes_no_secret_with_it() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    server.idle().await;
    let kept = vault.all();
    for (org_id, id) in [("globex", "mapping_1"), ("globex", "mapping_2"), ("acme", "mapping_3")] {
        copy(&server, org_id, id).await;
        let path = format!("/organizations/{org_id}/integrations/psa/{id}");
        server.api.patch(&path, &patch(&json!({"api_key": "hunter-of-its-own"}))).await.is(200);
        server.idle().await;
        assert!(kept.iter().all(|secret| vault.all().contains(secret)), "{org_id} {id}");
        copy(&server, org_id, id).await;
        server.api.delete(&path).await.is(204);
        server.idle().await;
        assert!(kept.iter().all(|secret| vault.all().contains(secret)), "{org_id} {id}");
    }
    let tested = server.api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["success"], true);
}

/// A region may be part of a host, since it is one of two: so it has to be one of two.
#[tokio::test]
async fn a_value_from_before_its_field_was_declared_is_checked_before_it_is_used() {
    let server = start(Vault::of(&[])).await;
    for (data, told) in [
        (r#"{"api_key": "hunter-plain", "region": "evil.test"}"#, "mapping_data.region must be one of eu, us"),
        (r#"{"api_key": "s3cret-plain"}"#, "mapping_data.api_key must match hunter.*"),
        (r#"{"api_key": ""}"#, "mapping_data.api_key is not set"),
        (r#"{"api_key": {"$secret": "psa-api-key"}}"#, "mapping_data.api_key is stored as something"),
        (
            r#"{"api_key": {"$secret": {"$secret": 1}, "more": ["s3cret"]}}"#,
            "mapping_data.api_key is stored as something",
        ),
    ] {
        let properties = [("ExternalOrgId", "1".into()), ("IsActive", true.into()), ("MappingData", data.into())];
        server.row(Table::OrgIntegrationMappings, "acme", "psa_mapping_1", &properties).await;
        let tested = server.api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
        assert_eq!(tested.json()["details"]["class"], "configuration", "{data}: {}", tested.text());
        assert!(tested.text().contains(told), "{data}: {}", tested.text());
        let shown = server.api.get(ONE).await.is(200).text().to_owned() + tested.text();
        assert!(!shown.contains("s3cret") && !shown.contains("hunter-plain") && !shown.contains("psa-api"), "{shown}");
    }
}

/// The field that is no secret any more, whose rows have references still.
#[tokio::test]
async fn a_mask_stands_for_what_is_stored_also_where_the_field_is_no_secret_any_more() {
    let (tables, vault) = (Arc::new(EmbeddedTables::in_memory().unwrap()), Vault::of(&[]));
    let before = on(tables.clone(), Psa::new(), vault.clone()).await;
    before.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    before.settled().await;
    let mut psa = Psa::new();
    psa.fields[0].kind = FieldKind::String;
    let server = on(tables, psa, vault.clone()).await;
    let shown = server.api.get(ONE).await.is(200).json()["mapping_data"].clone();
    assert_eq!(shown, json!({"api_key": MASK}));
    server.api.patch(ONE, &patch(&json!({"api_key": MASK, "site": "7"}))).await.is(200);
    let tested = server.api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    assert!(tested.text().contains("is stored as something that is no value of it"), "{}", tested.text());
    server.api.patch(ONE, &patch(&json!({"api_key": "hunter-open"}))).await.is(200);
    assert_eq!(server.api.get(ONE).await.is(200).json()["mapping_data"], json!({"api_key": "hunter-open"}));
    server.settled().await;
    assert_eq!(vault.all(), []);
}

#[tokio::test]
async fn without_a_store_a_secret_waits_for_its_removal_until_there_is_one() {
    let (tables, vault) = (Arc::new(EmbeddedTables::in_memory().unwrap()), Vault::of(&[]));
    let before = on(tables.clone(), Psa::new(), vault.clone()).await;
    before.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    before.settled().await;
    // Somebody forgets the setting, and starts the service without it.
    let without = on(tables.clone(), Psa::new(), Arc::new(NoSecrets)).await;
    without.api.delete(ONE).await.is(204);
    without.idle().await;
    let report = without.app.mappings.repair().run_once(SystemTime::now()).await.unwrap();
    assert_eq!((report.failed, vault.all().len()), (1, 1));
    let after = on(tables, Psa::new(), vault.clone()).await;
    let report = after.app.mappings.repair().run_once(SystemTime::now() + 2 * REPAIR_GRACE).await.unwrap();
    assert_eq!((report.failed, vault.all()), (0, Vec::new()));
    after.settled().await;
}

#[tokio::test]
async fn many_and_long_members_are_answered_and_stored_nowhere() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    let many: serde_json::Map<_, _> = (0..2000).map(|number| (format!("k{number}"), Value::from("x"))).collect();
    for data in [
        Value::Object(many),
        json!({"api_key": format!("hunter{}", "x".repeat(40_000))}),
        json!({"api_key": [VALUE]}),
        json!({"api_key": {"value": VALUE}}),
        json!({"api_key": VALUE, "site": ["s3cret"]}),
        json!({"api_key": VALUE, "\u{0}": 1}),
        json!({"api_key": VALUE, "": ""}),
        json!({"api_key": VALUE, "API_KEY": VALUE}),
        json!({"api_key": VALUE, "$secret": "psa-api-key"}),
        json!([{"api_key": VALUE}]),
        json!(VALUE),
    ] {
        let refused = server.api.post(COLLECTION, &wanted(&data)).await.is(400);
        assert!(
            !refused.text().contains("hunter") || refused.text().contains("must match hunter.*"),
            "{}",
            refused.text()
        );
        assert!(!refused.text().contains(VALUE) && !refused.text().contains("s3cret"), "{}", refused.text());
    }
    server.settled().await;
    assert_eq!(vault.all(), []);
}

/// A store where something else happens first, once.
#[derive(Default)]
struct Interrupted {
    vault: Arc<Vault>,
    before_get: First,
    before_set: First,
}

type First = Mutex<Option<BoxFuture<'static, Result<(), SecretError>>>>;

async fn happens(first: &First) -> Result<(), SecretError> {
    let first = first.lock().unwrap().take();
    match first {
        Some(first) => first.await,
        None => Ok(()),
    }
}

#[async_trait]
impl SecretStore for Interrupted {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        happens(&self.before_get).await?;
        SecretStore::get(&*self.vault, name).await
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        happens(&self.before_set).await?;
        SecretStore::set(&*self.vault, name, value).await
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        self.vault.delete(name).await
    }
}

#[tokio::test]
async fn a_client_gets_the_new_secret_where_the_old_one_was_replaced_meanwhile() {
    let store = Arc::new(Interrupted::default());
    let server = Arc::new(start(store.clone()).await);
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    let writer = Arc::clone(&server);
    let replaced = async move {
        writer.api.patch(ONE, &patch(&json!({"api_key": "hunter3"}))).await.is(200);
        writer.idle().await;
        Ok(())
    };
    *store.before_get.lock().unwrap() = Some(Box::pin(replaced));
    match server.context("acme").get_integration("psa", None).await {
        Err(ClientError::Integration(IntegrationError::Failed { failure, .. })) => {
            assert_eq!(failure.message, "7 of -, eu");
        }
        other => panic!("{:?}", other.map(drop)),
    }
    assert!(store.before_get.lock().unwrap().is_none());
}

/// The caller hears that it may not have happened; what is begun is finished, and nothing is left over.
#[tokio::test]
async fn a_slow_store_of_secrets_is_told_in_time_and_leaves_nothing_over() {
    let (store, go) = (Arc::new(Interrupted::default()), Arc::new(Notify::new()));
    let server = start(store.clone()).await;
    let waits = Arc::clone(&go);
    *store.before_set.lock().unwrap() = Some(Box::pin(async move {
        waits.notified().await;
        Ok(())
    }));
    let late = server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(503);
    assert_eq!(late.header("retry-after"), "5");
    server.api.get(ONE).await.is(404);
    go.notify_one();
    server.settled().await;
    assert_eq!(server.api.get(ONE).await.is(200).json()["mapping_data"], json!({"api_key": MASK}));
    assert_eq!(store.vault.all().len(), 1);
    server.api.delete(ONE).await.is(204);
    server.settled().await;
    assert_eq!(store.vault.all(), []);
}

/// So that messages hold neither: a value that is in the row still, and one in the store.
#[tokio::test]
async fn a_value_of_a_secret_field_is_secret_wherever_it_is_stored() {
    let server = start(Vault::of(&[])).await;
    let data = r#"{"api_key": "hunter-plain", "site": "7"}"#;
    let properties = [("ExternalOrgId", "1".into()), ("IsActive", true.into()), ("MappingData", data.into())];
    server.row(Table::OrgIntegrationMappings, "acme", "psa_mapping_1", &properties).await;
    let psa = Psa::new();
    let secrets = async || {
        let key = MappingKey {
            org_id: OrgId::parse("acme").unwrap(),
            integration: IntegrationName::parse("psa").unwrap(),
            id: MappingId::parse("mapping_1").unwrap(),
        };
        let mapping = server.app.mappings.get(&key, true).await.unwrap().mapping;
        let data = server.app.settings.mapping_data(&psa as &dyn Integration, &mapping).await.unwrap();
        data.secrets().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(secrets().await, ["hunter-plain"]);
    server.api.patch(ONE, &patch(&json!({"api_key": VALUE, "site": "7"}))).await.is(200);
    assert_eq!(secrets().await, [VALUE]);
}

#[tokio::test]
async fn a_reference_in_other_letters_is_one_and_a_text_about_it_is_none() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    server.idle().await;
    let (reference, _) = vault.all().pop().unwrap();
    let data = format!(r#"{{"api_key": {{"\u0024\u0073ecret": "{reference}"}}}}"#);
    let properties = [("ExternalOrgId", "1".into()), ("IsActive", true.into()), ("MappingData", data.as_str().into())];
    // Of an integration whose manifest is gone, and of one that has it.
    for name in ["chat", "psa"] {
        server.row(Table::OrgIntegrationMappings, "acme", &format!("{name}_mapping_1"), &properties).await;
    }
    let listed = server.api.get(&format!("{COLLECTION}?activeOnly=false")).await.is(200);
    assert!(listed.text().contains(MASK) && !listed.text().contains(&reference), "{}", listed.text());
    server.api.delete(ONE).await.is(204);
    server.idle().await;
    assert_eq!(vault.all(), []);

    let server = Server::start().await;
    let text = r#"{ "site": 1.10, "note": "no $secret\u0021", "a": {"$secrets": {"$secret": "x"}} }"#;
    let body = format!(r#"{{"integration_name": "halo", "external_org_id": "1", "mapping_data": {text}}}"#);
    let created = server.api.call(Method::POST, COLLECTION).text(body).await.is(201);
    assert!(created.text().contains(text), "{}", created.text());
}

#[tokio::test]
async fn a_value_that_the_store_does_not_take_is_told_as_part_of_the_data() {
    let store = Arc::new(Interrupted::default());
    let server = start(store.clone()).await;
    let refused = async { Err(SecretError::Value("is none that the Key Vault takes".into())) };
    *store.before_set.lock().unwrap() = Some(Box::pin(refused));
    let answer = server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(400);
    let told = "holds a secret whose value is none that the Key Vault takes";
    assert_eq!(answer.json()["details"], json!({"mapping_data": [told]}));
    server.settled().await;
    assert_eq!(store.vault.all(), []);
}
