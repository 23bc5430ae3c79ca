//! Set: what a workflow writes. Creates the mapping, or changes the one there is.

use std::{collections::BTreeSet, future::IntoFuture};

use serde_json::{Value, json};

use super::{COLLECTION, HALO, with_mapping};
use crate::{
    documents::{is_generated, named_mapping, stable},
    server::Server,
};

#[tokio::test]
async fn without_an_id_it_creates_and_then_changes_the_one_there_is() {
    let server = Server::start().await;
    let created = server.api.put(HALO, &json!({"external_org_id": "1", "mapping_data": {"a": 1}})).await.is(201).json();
    assert!(is_generated(created["id"].as_str().unwrap()));
    let changed =
        server.api.put(HALO, &json!({"external_org_id": "2", "external_org_name": "Two"})).await.is(200).json();
    assert_eq!(changed["id"], created["id"]);
    assert_eq!(changed["mapping_data"], json!({"a": 1}), "what is left out stays");
    // The name of another external organization goes; the same one keeps it.
    let same = server.api.put(HALO, &json!({"external_org_id": "2"})).await.is(200).json();
    assert_eq!(same["external_org_name"], "Two");
    let other = server.api.put(HALO, &json!({"external_org_id": "3"})).await.is(200).json();
    assert_eq!(other["external_org_name"], Value::Null);
    assert_eq!(server.api.get(COLLECTION).await.column("external_org_id"), ["3"]);
    server.settled().await;
}

#[tokio::test]
async fn several_need_an_id() {
    let (server, _) = with_mapping().await;
    server.api.post(COLLECTION, &named_mapping("halo", "200", "mapping_2")).await.is(201);
    let answer = server.api.put(HALO, &json!({"external_org_id": "300"})).await.is(409);
    assert_eq!(answer.json()["details"]["mapping_ids"], json!(["mapping_1", "mapping_2"]));
    let set = async |id: &str, external: &str| {
        server.api.put(HALO, &json!({"external_org_id": external, "mapping_id": id})).await
    };
    assert_eq!(set("mapping_2", "201").await.is(200).json()["id"], "mapping_2");
    let third = set("mapping_3", "300").await.is(201);
    assert_eq!(third.header("location"), "/api/organizations/acme/integrations/halo/mapping_3");
    let duplicate = set("mapping_3", "100").await.is(409);
    assert_eq!(duplicate.json()["details"]["mapping_ids"], json!(["mapping_1"]));
    // A deactivated one that is named comes back; one that is not named is not considered.
    for id in ["mapping_1", "mapping_2", "mapping_3"] {
        server.api.delete(&format!("{HALO}/{id}")).await.is(204);
    }
    assert_eq!(set("mapping_1", "100").await.is(200).json()["is_active"], true);
    server.api.delete(&format!("{HALO}/mapping_1")).await.is(204);
    let fresh = server.api.put(HALO, &json!({"external_org_id": "100"})).await.is(201).json();
    assert!(is_generated(fresh["id"].as_str().unwrap()));
    server.settled().await;
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let server = Server::start().await;
    let body = json!({"external_org_name": [], "mapping_data": 1, "mapping_id": "x", "is_active": true, "integration_name": "halo"});
    let answer = server.api.put(HALO, &body).await;
    let expected =
        ["external_org_id", "external_org_name", "mapping_data", "mapping_id", "is_active", "integration_name"];
    assert_eq!(answer.invalid_fields(), BTreeSet::from(expected.map(str::to_owned)));
}

#[tokio::test]
async fn the_wrong_names_are_said() {
    let server = Server::start().await;
    let to = async |org: &str, integration: &str, status| {
        let path = format!("/organizations/{org}/integrations/{integration}");
        stable(&server.api.put(&path, &json!({"external_org_id": "1"})).await.is(status).json())
    };
    insta::assert_snapshot!(to("acme", "hallo", 404).await, @r#"
    {
      "details": {
        "known": [
          "chat",
          "halo",
          "halo_mapping",
          "halo_psa"
        ]
      },
      "error": "Integration not found",
      "message": "Integration 'hallo' is unknown; known are: chat, halo, halo_mapping, halo_psa; a manifest that was added counts after a restart"
    }
    "#);
    insta::assert_snapshot!(to("acme", "chat", 404).await, @r#"
    {
      "details": {
        "known": [
          "halo",
          "halo_mapping",
          "halo_psa"
        ]
      },
      "error": "Integration not found",
      "message": "Integration 'chat' is not one that organizations can be mapped to; known are: halo, halo_mapping, halo_psa"
    }
    "#);
    to("nobody", "halo", 404).await;
    to("hooli", "halo", 409).await;
    for org in ["acme", "nobody", "hooli"] {
        assert_eq!(server.audit(org).await, [], "{org}");
    }
    server.settled().await;
}

#[tokio::test]
async fn concurrent_sets_without_an_id_make_one_mapping() {
    let server = Server::start().await;
    let body = |number: u32| json!({"external_org_id": "same", "external_org_name": number.to_string()});
    let calls = (0..20).map(|number| server.api.put(HALO, &body(number)).racing().into_future());
    let answers = futures::future::join_all(calls).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!((created, answers.iter().filter(|answer| answer.status == 200).count()), (1, 19));
    assert_eq!(server.api.get(COLLECTION).await.column("id").len(), 1);
    assert_eq!(server.audit("acme").await.len(), 20, "every change has an event");
    server.settled().await;
}
