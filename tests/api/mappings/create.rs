//! `POST /organizations/{orgId}/integrations`.

use std::{collections::BTreeSet, future::IntoFuture};

use serde_json::{Value, json};

use super::{COLLECTION, with_mapping};
use crate::{
    documents::{is_generated, named_mapping, new_mapping, stable},
    server::Server,
};

#[tokio::test]
async fn a_created_mapping_says_everything() {
    let (server, created) = with_mapping().await;
    assert_eq!(created.header("location"), "/api/organizations/acme/integrations/halo/mapping_1");
    insta::assert_snapshot!(stable(&created.json()), @r#"
    {
      "created_at": "<now>",
      "created_by": "dev-admin",
      "external_org_id": "100",
      "external_org_name": "Acme in Halo",
      "id": "mapping_1",
      "integration_name": "halo",
      "is_active": true,
      "last_test_result": null,
      "last_test_succeeded": null,
      "last_tested_at": null,
      "mapping_data": {
        "site": 7
      },
      "org_id": "acme",
      "updated_at": "<now>",
      "updated_by": "dev-admin"
    }
    "#);
    assert_eq!(created.json()["created_at"], created.json()["updated_at"]);
    server.settled().await;
}

#[tokio::test]
async fn what_is_left_out_null_or_empty_is_null_and_ids_are_generated() {
    let server = Server::start().await;
    let body = json!({
        "integration_name": "halo", "external_org_id": "1", "external_org_name": "", "mapping_data": null, "mapping_id": null
    });
    let first = server.api.post(COLLECTION, &body).await.is(201).json();
    let second = server.api.post(COLLECTION, &new_mapping("halo", "2")).await.is(201).json();
    assert_eq!((&first["external_org_name"], &first["mapping_data"]), (&Value::Null, &Value::Null));
    let ids = [&first, &second].map(|mapping| mapping["id"].as_str().unwrap().to_owned());
    assert!(ids.iter().all(|id| is_generated(id)), "{ids:?}");
    assert!(ids[0] < ids[1], "ids sort by the time they were made: {ids:?}");
}

#[tokio::test]
async fn every_mistake_is_told_at_once() {
    let server = Server::start().await;
    let body = json!({
        "integration_name": "hallo", "external_org_id": "O'Brien", "external_org_name": "tab\there", "mapping_data": [1],
        "mapping_id": "001", "external_org_nam": "x"
    });
    insta::assert_snapshot!(stable(&server.api.post(COLLECTION, &body).await.is(400).json()), @r#"
    {
      "details": {
        "external_org_id": [
          "must be 1 to 200 characters, none of < > \" ' and no control characters"
        ],
        "external_org_nam": [
          "is no field of this request; its fields are integration_name, external_org_id, external_org_name, mapping_data, mapping_id"
        ],
        "external_org_name": [
          "must be at most 300 characters and no control characters"
        ],
        "integration_name": [
          "is unknown; known are: chat, halo, halo_mapping, halo_psa; a manifest that was added counts after a restart"
        ],
        "mapping_data": [
          "must be a JSON object"
        ],
        "mapping_id": [
          "must be `mapping_` and 1 to 64 letters, digits or hyphens"
        ]
      },
      "error": "Validation failed",
      "message": "6 fields are invalid"
    }
    "#);
    let empty = server.api.post(COLLECTION, &json!({})).await;
    assert_eq!(empty.invalid_fields(), BTreeSet::from(["external_org_id", "integration_name"].map(str::to_owned)));
    assert_eq!(server.audit("acme").await, [], "what is refused leaves no event");
    server.settled().await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_a_mistake_of_its_field() {
    let server = Server::start().await;
    let good = json!({
        "integration_name": "halo", "external_org_id": "1", "external_org_name": "n", "mapping_data": {}, "mapping_id": "mapping_1"
    });
    let wrong =
        [json!(1), json!(1.5), json!(true), json!([]), json!(["x"]), json!({"a": 1}), json!("\u{0}"), json!("<b>\n")];
    for field in good.as_object().unwrap().keys() {
        for value in &wrong {
            if field == "mapping_data" && value.is_object() {
                continue;
            }
            let mut body = good.clone();
            body[field] = value.clone();
            let answer = server.api.post(COLLECTION, &body).await;
            assert_eq!(answer.invalid_fields(), BTreeSet::from([field.clone()]), "{body}");
        }
    }
    for field in ["integration_name", "external_org_id"] {
        let mut body = good.clone();
        body[field] = Value::Null;
        assert_eq!(server.api.post(COLLECTION, &body).await.invalid_fields(), BTreeSet::from([field.to_owned()]));
    }
    server.api.post(COLLECTION, &good).await.is(201);
}

#[tokio::test]
async fn ids_and_names_at_their_limits() {
    let server = Server::start().await;
    let house = "🏢";
    for (field, longest) in [
        ("external_org_id", house.repeat(200)),
        ("external_org_name", house.repeat(300)),
        ("mapping_id", format!("mapping_{}", "-".repeat(64))),
    ] {
        let mut body = new_mapping("halo", field);
        body[field] = longest.clone().into();
        let name = if field == "mapping_id" { "id" } else { field };
        assert_eq!(server.api.post(COLLECTION, &body).await.is(201).json()[name], longest);
        let one_more = format!("{longest}{}", longest.chars().last().unwrap());
        body[field] = one_more.into();
        assert_eq!(server.api.post(COLLECTION, &body).await.invalid_fields(), BTreeSet::from([field.to_owned()]));
    }
    for id in ["", "mapping_", "mapping_a_b", "mapping_é", "Mapping_1", "mapping_a/b", "mapping_1 "] {
        let answer = server.api.post(COLLECTION, &named_mapping("halo", "x", id)).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from(["mapping_id".to_owned()]), "{id}");
    }
    server.settled().await;
}

#[tokio::test]
async fn only_known_integrations_that_can_be_mapped() {
    let server = Server::start().await;
    let details =
        async |name| server.api.post(COLLECTION, &new_mapping(name, "1")).await.is(400).json()["details"].clone();
    insta::assert_snapshot!(details("hallo").await, @r#"{"integration_name":["is unknown; known are: chat, halo, halo_mapping, halo_psa; a manifest that was added counts after a restart"]}"#);
    insta::assert_snapshot!(details("chat").await, @r#"{"integration_name":["does not support mapping; these do: halo, halo_mapping, halo_psa"]}"#);
    insta::assert_snapshot!(details("Halo").await, @r#"{"integration_name":["is unknown; known are: chat, halo, halo_mapping, halo_psa; a manifest that was added counts after a restart"]}"#);
}

#[tokio::test]
async fn an_external_organization_is_mapped_once() {
    let (server, _) = with_mapping().await;
    let answer = server.api.post(COLLECTION, &new_mapping("halo", "100")).await.is(409);
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "details": {
        "mapping_ids": [
          "mapping_1"
        ]
      },
      "error": "Duplicate mapping",
      "message": "External organization '100' is already mapped by the active mapping 'mapping_1'; change or deactivate that one"
    }
    "#);
    // Another organization, or another integration, has its own.
    server.api.post("/organizations/globex/integrations", &new_mapping("halo", "100")).await.is(201);
    server.api.post(COLLECTION, &new_mapping("halo_psa", "100")).await.is(201);
    // Ids that only look alike are others.
    for other in ["0100", "100 ", " 100", "１００", "100\u{301}"] {
        server.api.post(COLLECTION, &new_mapping("halo", other)).await.is(201);
    }
    server.settled().await;
}

#[tokio::test]
async fn a_mapping_id_is_taken_for_ever() {
    let (server, _) = with_mapping().await;
    let again = named_mapping("halo", "200", "mapping_1");
    insta::assert_snapshot!(stable(&server.api.post(COLLECTION, &again).await.is(409).json()), @r#"
    {
      "details": {
        "mapping_ids": [
          "mapping_1"
        ]
      },
      "error": "Mapping id taken",
      "message": "Mapping id 'mapping_1' is taken; choose another, or restore a deactivated mapping by PATCH with is_active true"
    }
    "#);
    server.api.delete(super::ONE).await.is(204);
    server.api.post(COLLECTION, &again).await.is(409);
    server.api.post(COLLECTION, &named_mapping("halo_psa", "200", "mapping_1")).await.is(201);
    assert_eq!(server.audit("acme").await.len(), 3);
    server.settled().await;
}

#[tokio::test]
async fn only_active_organizations_that_exist() {
    let server = Server::start().await;
    let create = async |org: &str| {
        let answer = server.api.post(&format!("/organizations/{org}/integrations"), &new_mapping("halo", "1")).await;
        (answer.status, stable(&answer.json()))
    };
    let (status, body) = create("nobody").await;
    assert_eq!(status, 404);
    insta::assert_snapshot!(body, @r#"
    {
      "error": "Organization not found",
      "message": "Organization 'nobody' is unknown; GET /api/organizations lists the known ones"
    }
    "#);
    let (status, body) = create("hooli").await;
    assert_eq!(status, 409);
    insta::assert_snapshot!(body, @r#"
    {
      "error": "Organization inactive",
      "message": "Organization 'hooli' is inactive; its mappings cannot be used until the platform activates it again"
    }
    "#);
    for org in ["nobody", "hooli"] {
        assert_eq!(server.audit(org).await, []);
    }
    server.settled().await;
}

#[tokio::test]
async fn concurrent_creates_of_one_external_id_have_one_winner() {
    let server = Server::start().await;
    let calls = (0..20).map(|_| server.api.post(COLLECTION, &new_mapping("halo", "same")).into_future());
    let mut statuses: Vec<_> = futures::future::join_all(calls).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 19][..]));
    assert_eq!(server.audit("acme").await.len(), 1);
    server.settled().await;
}
