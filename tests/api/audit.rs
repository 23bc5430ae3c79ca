//! Audit events, in their table: one for every change, none for what was refused or changed nothing. And the route that
//! reads them back.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crosswalk::tables::{Property, Range, Table, scan_all};
use serde_json::{Value, json};

use crate::{documents::named_mapping, server::Server};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";
const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const AUDIT: &str = "/organizations/acme/audit";

/// A `traceparent` with that trace id.
fn traced() -> String {
    format!("00-{TRACE}-b7ad6b7169203331-01")
}

#[tokio::test]
async fn every_change_has_one_event_that_says_who_did_what_from_what_to_what() {
    let server = Server::start().await;
    let api = &server.api;
    let body = json!({
        "integration_name": "halo", "external_org_id": "100", "external_org_name": "Acme", "mapping_data": {"a":1},
        "mapping_id": "mapping_1"
    });
    api.post(COLLECTION, &body).header("x-dev-user", "ann").header("traceparent", traced()).await.is(201);
    api.patch(ONE, &json!({"external_org_name": null, "external_org_id": "101"}))
        .header("x-dev-user", "bob")
        .await
        .is(200);
    api.put(HALO, &json!({"external_org_id": "102", "mapping_data": {}})).header("x-dev-user", "flow").await.is(200);
    api.delete(ONE).header("traceparent", traced()).await.is(204);
    api.patch(ONE, &json!({"is_active": true, "external_org_name": "Back"})).await.is(200);
    api.patch(ONE, &json!({"is_active": false})).await.is(200);
    api.put(HALO, &json!({"external_org_id": "102", "mapping_id": "mapping_1"})).await.is(200);
    insta::assert_snapshot!(server.history("acme").await, @r#"
    integration_mapping.created halo mapping_1 ann api {"AfterExternalOrgId": "100", "AfterExternalOrgName": "Acme", "AfterIsActive": "true", "AfterMappingData": "{\"a\":1}"}
    integration_mapping.updated halo mapping_1 bob api {"AfterExternalOrgId": "101", "BeforeExternalOrgId": "100", "BeforeExternalOrgName": "Acme"}
    integration_mapping.updated halo mapping_1 flow api {"AfterExternalOrgId": "102", "AfterMappingData": "{}", "BeforeExternalOrgId": "101", "BeforeMappingData": "{\"a\":1}"}
    integration_mapping.deactivated halo mapping_1 dev-admin api {"AfterIsActive": "false", "BeforeIsActive": "true"}
    integration_mapping.restored halo mapping_1 dev-admin api {"AfterExternalOrgName": "Back", "AfterIsActive": "true", "BeforeIsActive": "false"}
    integration_mapping.deactivated halo mapping_1 dev-admin api {"AfterIsActive": "false", "BeforeIsActive": "true"}
    integration_mapping.restored halo mapping_1 dev-admin api {"AfterIsActive": "true", "BeforeIsActive": "false"}
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
}

#[tokio::test]
async fn an_event_has_the_correlation_id_of_its_answer() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    let mut seen = BTreeSet::new();
    let valid = traced();
    for (header, active) in
        [(&*valid, false), ("", true), ("00", false), ("é", true), ("00-zz-b7ad6b7169203331-01", false)]
    {
        let answer = server.api.patch(ONE, &json!({"is_active": active})).header("traceparent", header).await.is(200);
        let id = server.audit("acme").await.last().unwrap()["CorrelationId"].text().unwrap();
        assert_eq!(answer.header("x-correlation-id"), id, "{header}");
        assert_eq!(id == TRACE, header == valid, "{header}");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        seen.insert(id);
    }
    assert_eq!(seen.len(), 5, "one for each request");
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

/// The events of a page.
fn events(body: &Value) -> &[Value] {
    body["events"].as_array().unwrap()
}

#[tokio::test]
async fn the_route_tells_what_changed_newest_first() {
    let server = Server::start().await;
    let api = &server.api;
    let body = json!({
        "integration_name": "halo", "external_org_id": "100", "mapping_data": {"big": 1},
        "mapping_id": "mapping_1"
    });
    let text = body.to_string().replace(":1}", ":123456789012345678901234567890}");
    api.call(reqwest::Method::POST, COLLECTION).text(text).header("traceparent", traced()).await.is(201);
    api.put(HALO, &json!({"external_org_id": "101", "external_org_name": "Acme"}))
        .header("x-dev-user", "flow")
        .await
        .is(200);
    api.delete(ONE).await.is(204);
    let answer = api.get(AUDIT).await.is(200);
    assert!(answer.text().contains(r#""mapping_data":{"before":null,"after":{"big":123456789012345678901234567890}}"#));
    let body = answer.json();
    let [gone, set, created] = events(&body) else { panic!("{body}") };
    assert_eq!(gone["changes"], json!({"is_active": {"before": true, "after": false}}));
    assert_eq!(set["changes"]["external_org_id"], json!({"before": "100", "after": "101"}));
    assert_eq!(set["changes"]["external_org_name"], json!({"before": null, "after": "Acme"}));
    assert_eq!(set["changes"].as_object().unwrap().len(), 2);
    assert_eq!((&set["actor"], &set["source"]), (&json!("flow"), &json!("api")));
    assert_eq!(created["changes"]["is_active"], json!({"before": null, "after": true}));
    for (field, value) in [
        ("type", "integration_mapping.created"),
        ("org_id", "acme"),
        ("integration_name", "halo"),
        ("mapping_id", "mapping_1"),
        ("actor", "dev-admin"),
        ("source", "api"),
        ("correlation_id", TRACE),
    ] {
        assert_eq!(created[field], value);
    }
    assert_eq!(body["next"], Value::Null);
    assert_eq!(api.get("/organizations/globex/audit").await.is(200).json(), json!({"events": [], "next": null}));
    assert_eq!(
        api.get("/organizations/hooli/audit").await.is(200).json()["next"],
        Value::Null,
        "inactive, yet it has a history"
    );
}

/// Whatever is written between two pages, and however long they are.
#[tokio::test]
async fn pages_hold_every_event_once_although_others_are_written_meanwhile() {
    let server = Server::start().await;
    for number in 0..9 {
        server
            .api
            .post(COLLECTION, &named_mapping("halo", &number.to_string(), &format!("mapping_{number}")))
            .await
            .is(201);
    }
    let ids = |body: &Value| -> Vec<String> {
        events(body).iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    for limit in ["1", "2", "3", "4", "8", "9", "10", "200"] {
        let all = ids(&server.api.get(AUDIT).query(&[("limit", "200")]).await.is(200).json());
        let (mut read, mut next) = (Vec::new(), None::<String>);
        loop {
            assert!(read.len() <= all.len(), "{limit}: there is no end");
            let mut query = vec![("limit", limit)];
            query.extend(next.as_deref().map(|next| ("before", next)));
            let page = server.api.get(AUDIT).query(&query).await.is(200).json();
            assert!(events(&page).len() <= limit.parse().unwrap());
            read.extend(ids(&page));
            let name = json!({"external_org_name": format!("{limit} {}", read.len())});
            server.api.patch(&format!("{HALO}/mapping_3"), &name).await.is(200);
            match page["next"].as_str() {
                Some(text) => next = Some(text.to_owned()),
                None => break,
            }
        }
        assert_eq!(read, all, "{limit}");
    }
    assert_eq!(events(&server.api.get(AUDIT).query(&[("limit", "5")]).await.json()).len(), 5);
}

#[tokio::test]
async fn rows_of_other_programs_are_read_as_far_as_they_go() {
    let server = Server::start().await;
    let time = Property::Typed { edm: "Edm.DateTime".into(), text: "2025-10-11T10:00:00.1234567Z".into() };
    let key = |number: u32| format!("{:015}_{number}", 998_239_822_799_999_u64 + u64::from(number));
    let add = async |row: &str, properties: &[(&str, Property)]| {
        server.row(Table::AuditEvents, "acme", row, properties).await;
    };
    add(&key(1), &[("EventType", "x.y".into())]).await;
    add(
        &key(2),
        &[
            ("EventType", "integration_mapping.updated".into()),
            ("At", time),
            ("OrgId", "globex".into()),
            ("ActorId", Property::Int64(7)),
            ("BeforeExternalOrgId", Property::Int32(12)),
            ("AfterExternalOrgId", Property::Double(0.5)),
            ("BeforeIsActive", "yes".into()),
            ("AfterMappingData", "s3cret, and no JSON".into()),
            ("AfterLastTestedAt", "2025-10-11T10:00:00".into()),
            ("AfterLastTestResult", true.into()),
            ("Extra", "anything".into()),
        ],
    )
    .await;
    add(&key(3), &[("At", "2025-10-11T10:00:00".into())]).await;
    add(&key(4), &[]).await;
    add("no-time", &[("EventType", "x".into())]).await;
    add("99999999999999999999_x", &[("EventType", "x".into()), ("At", "yesterday".into())]).await;
    let answer = server.api.get(AUDIT).await.is(200);
    assert!(!answer.text().contains("s3cret"), "what cannot be read cannot be masked");
    let body = answer.json();
    let [bare, odd] = events(&body) else { panic!("{body}") };
    assert_eq!((&bare["id"], &bare["actor"], &bare["changes"]), (&json!("1"), &Value::Null, &json!({})));
    assert!(bare["at"].as_str().unwrap().starts_with("20"), "the key says when");
    assert_eq!(
        (&odd["at"], &odd["org_id"], &odd["actor"]),
        (&json!("2025-10-11T10:00:00.123Z"), &json!("acme"), &json!("7"))
    );
    assert_eq!(
        odd["changes"],
        json!({
            "external_org_id": {"before": "12", "after": "0.5"},
            "is_active": {"before": "yes", "after": null},
            "last_tested_at": {"before": null, "after": "2025-10-11T10:00:00.000Z"},
            "last_test_result": {"before": null, "after": "true"}
        })
    );
    // Rows that are left out are no end.
    let mut read = 0;
    let mut next = None::<String>;
    loop {
        assert!(read <= 2, "there is no end");
        let mut query = vec![("limit", "1")];
        query.extend(next.as_deref().map(|next| ("before", next)));
        let page = server.api.get(AUDIT).query(&query).await.is(200).json();
        read += events(&page).len();
        match page["next"].as_str() {
            Some(text) => next = Some(text.to_owned()),
            None => break,
        }
    }
    assert_eq!(read, 2);
}

#[tokio::test]
async fn what_the_route_refuses() {
    let server = Server::start().await;
    for limit in ["0", "201", "-1", "x", "", "1.5"] {
        assert_eq!(
            server.api.get(AUDIT).query(&[("limit", limit)]).await.invalid_fields(),
            ["limit".to_owned()].into()
        );
    }
    let encoded = |bound: &str| URL_SAFE_NO_PAD.encode(bound);
    for before in ["!", "a", "é", &encoded("x' or PartitionKey ne '"), &encoded("a\0b"), &encoded(&"x".repeat(600))] {
        assert_eq!(
            server.api.get(AUDIT).query(&[("before", before)]).await.invalid_fields(),
            ["before".to_owned()].into(),
            "{before}"
        );
    }
    server.api.get("/organizations/nobody/audit").await.is(404);
    server.api.get("/organizations/a_b/audit").await.is(400);
    server.api.get(AUDIT).header("x-organization-id", "globex").await.is(400);
}
