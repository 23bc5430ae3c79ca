//! Resolve: what a workflow asks. One answer or none, never a guess.

use std::collections::BTreeSet;

use serde_json::json;

use super::{COLLECTION, HALO, with_mapping};
use crate::documents::{named_mapping, stable};

#[tokio::test]
async fn none_one_and_several() {
    let (server, created) = with_mapping().await;
    assert_eq!(server.api.get(HALO).await.is(200).body, created.body);
    let none = server.api.get("/organizations/acme/integrations/halo_psa").await.is(404);
    insta::assert_snapshot!(stable(&none.json()), @r#"
    {
      "error": "Mapping not found",
      "message": "No active mapping for integration 'halo_psa' in organization 'acme'; create one, or set it"
    }
    "#);

    server.api.post(COLLECTION, &named_mapping("halo", "200", "mapping_2")).await.is(201);
    insta::assert_snapshot!(stable(&server.api.get(HALO).await.is(409).json()), @r#"
    {
      "details": {
        "mapping_ids": [
          "mapping_1",
          "mapping_2"
        ]
      },
      "error": "Multiple mappings",
      "message": "Organization 'acme' has 2 active mappings for integration 'halo'; name one with mapping_id"
    }
    "#);
    let named = async |id: &str| server.api.get(HALO).query(&[("mapping_id", id)]).await;
    assert_eq!(named("mapping_1").await.is(200).json()["external_org_id"], "100");
    assert_eq!(named("mapping_2").await.is(200).json()["external_org_id"], "200");
    insta::assert_snapshot!(stable(&named("mapping_3").await.is(404).json()), @r#"
    {
      "error": "Mapping not found",
      "message": "No active mapping 'mapping_3' for integration 'halo' in organization 'acme'; activeOnly=false shows deactivated ones"
    }
    "#);
    for wrong in ["", "1", "mapping_1'", "mapping_1/"] {
        assert_eq!(named(wrong).await.invalid_fields(), BTreeSet::from(["mapping_id".to_owned()]), "{wrong}");
    }
    // Deactivated ones do not count.
    server.api.delete(&format!("{HALO}/mapping_1")).await.is(204);
    assert_eq!(server.api.get(HALO).await.is(200).json()["id"], "mapping_2");
}

#[tokio::test]
async fn the_wrong_names_are_said() {
    let (server, _) = with_mapping().await;
    let of = async |org: &str, integration: &str, status| {
        let path = format!("/organizations/{org}/integrations/{integration}");
        stable(&server.api.get(&path).await.is(status).json())
    };
    insta::assert_snapshot!(of("nobody", "halo", 404).await, @r#"
    {
      "error": "Organization not found",
      "message": "Organization 'nobody' is unknown; GET /api/organizations lists the known ones"
    }
    "#);
    insta::assert_snapshot!(of("hooli", "halo", 409).await, @r#"
    {
      "error": "Organization inactive",
      "message": "Organization 'hooli' is inactive; its mappings cannot be used until the platform activates it again"
    }
    "#);
    insta::assert_snapshot!(of("acme", "hallo", 404).await, @r#"
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
    // As a workflow in Rust is told: it is of no use to create one.
    insta::assert_snapshot!(of("acme", "chat", 404).await, @r#"
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
}

#[tokio::test]
async fn a_header_that_names_another_organization_is_refused_on_every_route() {
    let (server, _) = with_mapping().await;
    let body = json!({"external_org_id": "1", "integration_name": "halo"});
    for route in crosswalk::http::ROUTES.iter().filter(|route| route.template.contains("{orgId}")) {
        for (method, ..) in route.methods {
            let path = crate::routes::sample(route);
            for other in ["globex", "ACME", "", "acme,acme", "é"] {
                let call = server.api.call(method.as_str().parse().unwrap(), &path).json(&body);
                let answer = call.header("x-organization-id", other).await;
                assert_eq!(answer.invalid_fields(), BTreeSet::from(["X-Organization-Id".to_owned()]), "{other}");
            }
        }
    }
    server.api.get(HALO).header("x-organization-id", "acme").await.is(200);
    // A second header is no way around the first.
    let both = server.api.get(HALO).header("x-organization-id", "acme").header("x-organization-id", "globex");
    both.await.is(400);
    let answer = server.api.get(HALO).header("x-organization-id", "globex").await.is(400);
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "details": {
        "X-Organization-Id": [
          "names 'globex', the path names 'acme'; send one of them"
        ]
      },
      "error": "Validation failed",
      "message": "1 field is invalid"
    }
    "#);
    assert_eq!(server.audit("acme").await.len(), 1);
}

#[tokio::test]
async fn an_organization_that_becomes_inactive_can_only_be_looked_at() {
    let (server, _) = with_mapping().await;
    server.organization("acme", &[("IsActive", false.into())]).await;
    server.api.get(HALO).await.is(409);
    server.api.get(&format!("{HALO}?mapping_id=mapping_1")).await.is(409);
    server.api.put(HALO, &json!({"external_org_id": "1"})).await.is(409);
    server.api.get(super::ONE).await.is(200);
    assert_eq!(server.api.get(COLLECTION).await.column("id"), ["mapping_1"]);
    server.api.delete(super::ONE).await.is(204);
}
