//! `PATCH`: what is left out stays, what is null goes, what is unknown is refused.

use std::{collections::BTreeSet, future::IntoFuture};

use serde_json::{Value, json};

use super::{COLLECTION, HALO, ONE, with_mapping};
use crate::documents::{named_mapping, stable};

#[tokio::test]
async fn only_what_is_given_changes() {
    let (server, created) = with_mapping().await;
    let mut expected = created.json();
    for (patch, field, value) in [
        (json!({}), "id", json!("mapping_1")),
        (json!({"external_org_name": "New"}), "external_org_name", json!("New")),
        (json!({"external_org_id": "101"}), "external_org_id", json!("101")),
        (json!({"mapping_data": {"other": [1, null]}}), "mapping_data", json!({"other": [1, null]})),
        (json!({"mapping_data": {}}), "mapping_data", json!({})),
        (json!({"is_active": true}), "is_active", json!(true)),
        (json!({"external_org_name": null}), "external_org_name", Value::Null),
        (json!({"external_org_name": "Again"}), "external_org_name", json!("Again")),
        (json!({"external_org_name": ""}), "external_org_name", Value::Null),
        (json!({"mapping_data": null}), "mapping_data", Value::Null),
    ] {
        expected[field] = value;
        let call = server.api.patch(ONE, &patch).header("x-dev-user", "editor");
        let changed = call.await.is(200).json();
        for time_or_user in ["updated_at", "updated_by"] {
            expected[time_or_user] = changed[time_or_user].clone();
        }
        assert_eq!(changed, expected, "{patch}");
        assert_eq!(server.api.get(ONE).await.json(), expected, "{patch}");
    }
    assert_eq!((&expected["created_by"], &expected["updated_by"]), (&json!("dev-admin"), &json!("editor")));
    server.settled().await;
}

#[tokio::test]
async fn every_mistake_is_told_at_once_and_nothing_changes() {
    let (server, created) = with_mapping().await;
    let body = json!({
        "external_org_id": null, "external_org_name": 7, "mapping_data": "text", "is_active": "yes",
        "id": "mapping_2", "last_tested_at": null, "created_by": "me"
    });
    insta::assert_snapshot!(stable(&server.api.patch(ONE, &body).await.is(400).json()), @r#"
    {
      "details": {
        "created_by": [
          "is no field of this request; its fields are external_org_id, external_org_name, mapping_data, is_active"
        ],
        "external_org_id": [
          "must not be null"
        ],
        "external_org_name": [
          "must be a string"
        ],
        "id": [
          "is no field of this request; its fields are external_org_id, external_org_name, mapping_data, is_active"
        ],
        "is_active": [
          "must be true or false"
        ],
        "last_tested_at": [
          "is no field of this request; its fields are external_org_id, external_org_name, mapping_data, is_active"
        ],
        "mapping_data": [
          "must be a JSON object"
        ]
      },
      "error": "Validation failed",
      "message": "7 fields are invalid"
    }
    "#);
    for field in created.json().as_object().unwrap().keys() {
        if ["external_org_id", "external_org_name", "mapping_data", "is_active"].contains(&field.as_str()) {
            continue;
        }
        let answer = server.api.patch(ONE, &json!({field: created.json()[field]})).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from([field.clone()]));
    }
    for wrong in [json!(null), json!(0), json!("false")] {
        let answer = server.api.patch(ONE, &json!({"is_active": wrong, "external_org_name": "x"})).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from(["is_active".to_owned()]), "{wrong}");
    }
    assert_eq!(server.api.get(ONE).await.body, created.body);
    assert_eq!(server.audit("acme").await.len(), 1);
}

#[tokio::test]
async fn another_mappings_external_organization_is_refused() {
    let (server, _) = with_mapping().await;
    server.api.post(COLLECTION, &named_mapping("halo", "200", "mapping_2")).await.is(201);
    let answer = server.api.patch(ONE, &json!({"external_org_id": "200"})).await.is(409);
    assert_eq!(answer.json()["details"], json!({"mapping_ids": ["mapping_2"]}));
    // Once it is free it can be taken, and what was given up can be taken by the other.
    server.api.patch(&format!("{HALO}/mapping_2"), &json!({"external_org_id": "300"})).await.is(200);
    server.api.patch(ONE, &json!({"external_org_id": "200"})).await.is(200);
    server.api.patch(&format!("{HALO}/mapping_2"), &json!({"external_org_id": "100"})).await.is(200);
    server.settled().await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed() {
    let (server, _) = with_mapping().await;
    let body = json!({"external_org_name": "x"});
    for path in [
        format!("{HALO}/mapping_2"),
        "/organizations/globex/integrations/halo/mapping_1".into(),
        "/organizations/acme/integrations/halo_psa/mapping_1".into(),
        "/organizations/acme/integrations/hallo/mapping_1".into(),
        "/organizations/nobody/integrations/halo/mapping_1".into(),
    ] {
        server.api.patch(&path, &body).await.is(404);
        server.api.delete(&path).await.is(404);
    }
    assert_eq!(server.audit("acme").await.len(), 1);
}

#[tokio::test]
async fn two_writers_of_different_fields_both_win() {
    let (server, _) = with_mapping().await;
    for round in 0..20 {
        let name = server.api.patch(ONE, &json!({"external_org_name": format!("name {round}")})).into_future();
        let data = server.api.patch(ONE, &json!({"mapping_data": {"round": round}})).into_future();
        let id = server.api.patch(ONE, &json!({"external_org_id": format!("id {round}")})).into_future();
        for answer in futures::future::join_all([name, data, id]).await {
            answer.is(200);
        }
        let read = server.api.get(ONE).await.json();
        assert_eq!(read["external_org_name"], format!("name {round}"));
        assert_eq!(read["external_org_id"], format!("id {round}"));
        assert_eq!(read["mapping_data"], json!({"round": round}));
    }
    assert_eq!(server.audit("acme").await.len(), 61);
    server.settled().await;
}
