//! Audit events, read from their table: one for every change, none for what was refused or changed nothing.

use crosswalk::tables::{Range, Table, scan_all};
use serde_json::json;

use crate::{documents::named_mapping, server::Server};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";
const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";
const TRACE: &str = "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn every_change_has_one_event_that_says_who_did_what_from_what_to_what() {
    let server = Server::start().await;
    let api = &server.api;
    let body = json!({
        "integration_name": "halo", "external_org_id": "100", "external_org_name": "Acme", "mapping_data": {"a":1},
        "mapping_id": "mapping_1"
    });
    api.post(COLLECTION, &body).header("x-dev-user", "ann").header("traceparent", TRACE).await.is(201);
    api.patch(ONE, &json!({"external_org_name": null, "external_org_id": "101"}))
        .header("x-dev-user", "bob")
        .await
        .is(200);
    api.put(HALO, &json!({"external_org_id": "102", "mapping_data": {}})).header("x-dev-user", "flow").await.is(200);
    api.delete(ONE).header("traceparent", TRACE).await.is(204);
    api.patch(ONE, &json!({"is_active": true, "external_org_name": "Back"})).await.is(200);
    api.patch(ONE, &json!({"is_active": false})).await.is(200);
    api.put(HALO, &json!({"external_org_id": "102", "mapping_id": "mapping_1"})).await.is(200);
    insta::assert_snapshot!(server.history("acme").await, @r#"
    integration_mapping.created halo mapping_1 ann api 0af7651916cd43dd8448eb211c80319c {"AfterExternalOrgId": "100", "AfterExternalOrgName": "Acme", "AfterIsActive": "true", "AfterMappingData": "{\"a\":1}"}
    integration_mapping.updated halo mapping_1 bob api - {"AfterExternalOrgId": "101", "BeforeExternalOrgId": "100", "BeforeExternalOrgName": "Acme"}
    integration_mapping.updated halo mapping_1 flow api - {"AfterExternalOrgId": "102", "AfterMappingData": "{}", "BeforeExternalOrgId": "101", "BeforeMappingData": "{\"a\":1}"}
    integration_mapping.deactivated halo mapping_1 dev-admin api 0af7651916cd43dd8448eb211c80319c {"AfterIsActive": "false", "BeforeIsActive": "true"}
    integration_mapping.restored halo mapping_1 dev-admin api - {"AfterExternalOrgName": "Back", "AfterIsActive": "true", "BeforeIsActive": "false"}
    integration_mapping.deactivated halo mapping_1 dev-admin api - {"AfterIsActive": "false", "BeforeIsActive": "true"}
    integration_mapping.restored halo mapping_1 dev-admin api - {"AfterIsActive": "true", "BeforeIsActive": "false"}
    "#);
    assert_eq!(server.audit("globex").await, []);
    server.settled().await;
}

#[tokio::test]
async fn what_changes_nothing_has_no_event() {
    let server = Server::start().await;
    let api = &server.api;
    api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    let before = api.get(ONE).await;
    api.patch(ONE, &json!({})).await.is(200);
    api.patch(ONE, &json!({"external_org_id": "1", "external_org_name": null, "is_active": true})).await.is(200);
    api.put(HALO, &json!({"external_org_id": "1"})).await.is(200);
    api.put(HALO, &json!({"external_org_id": "1", "mapping_id": "mapping_1"})).await.is(200);
    api.post(COLLECTION, &named_mapping("halo", "1", "mapping_2")).await.is(409);
    api.post(COLLECTION, &named_mapping("halo", "2", "mapping_1")).await.is(409);
    api.patch(ONE, &json!({"external_org_id": ""})).await.is(400);
    api.patch(ONE, &json!({"external_org_id": "2"})).header("if-match", "\"old\"").await.is(412);
    api.delete(ONE).header("if-match", "\"old\"").await.is(412);
    api.delete(&format!("{HALO}/mapping_2")).await.is(404);
    let after = api.get(ONE).await;
    assert_eq!((after.etag(), after.body), (before.etag(), before.body), "nor does it count as an update");
    assert_eq!(server.audit("acme").await.len(), 1);
    server.settled().await;
}

#[tokio::test]
async fn events_are_stored_newest_first_with_time_and_id() {
    let server = Server::start().await;
    for number in 0..5 {
        let body = named_mapping("halo", &number.to_string(), &format!("mapping_{number}"));
        server.api.post(COLLECTION, &body).await.is(201);
    }
    let rows = scan_all(&*server.tables, Table::AuditEvents, &Range::new("acme", "", "~")).await.unwrap();
    assert_eq!(rows.len(), 5);
    for stored in &rows {
        let text = |name: &str| stored.row.properties[name].text().unwrap();
        let (reverse, id) = stored.row.key.row.split_once('_').unwrap();
        let at = chrono::DateTime::parse_from_rfc3339(&text("At")).unwrap();
        assert_eq!(reverse.len(), 15);
        assert_eq!(reverse.parse::<i64>().unwrap(), 999_999_999_999_999 - at.timestamp_millis());
        assert_eq!(id, text("EventId"));
    }
    let times: Vec<_> = rows.iter().map(|stored| stored.row.properties["At"].text().unwrap()).rev().collect();
    assert!(times.is_sorted(), "{times:?}");
    // A trace id that is none is not taken over.
    for header in ["00-zz-b7ad6b7169203331-01", "", "00", "é"] {
        server.api.delete(&format!("{HALO}/mapping_0")).header("traceparent", header).await.is(204);
        assert!(!server.audit("acme").await.last().unwrap().contains_key("CorrelationId"), "{header}");
        server.api.patch(&format!("{HALO}/mapping_0"), &json!({"is_active": true})).await.is(200);
    }
}

#[tokio::test]
async fn who_cannot_be_named_cannot_change_anything() {
    let server = Server::start().await;
    let long = "x".repeat(201);
    let calls = || {
        [
            server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")),
            server.api.put(HALO, &json!({"external_org_id": "1"})),
            server.api.patch(ONE, &json!({"external_org_name": "x"})),
            server.api.delete(ONE),
        ]
    };
    // The last ones are bytes that HTTP allows in a header and that are no ASCII: they must not pass for the default user.
    for user in ["", " ", "a b", "a\tb", &long, "J\u{fc}rgen", "\u{202e}nimda"] {
        for call in calls() {
            let answer = call.header("x-dev-user", user).await;
            assert_eq!(answer.invalid_fields(), ["X-Dev-User".to_owned()].into(), "{user:?}");
        }
    }
    for call in calls() {
        call.header("x-dev-user", "ann").header("x-dev-user", "bob").await.is(400);
    }
    assert_eq!(server.audit("acme").await, []);
    let longest = "x".repeat(200);
    let call = server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).header("x-dev-user", &longest);
    assert_eq!(call.await.is(201).json()["created_by"], longest);
}
