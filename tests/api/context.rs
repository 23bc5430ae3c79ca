//! `OrganizationContext`: what a workflow in Rust holds. The same answers as the routes, as types.

use crosswalk::{domain::Mapping, mappings::MappingError};
use serde_json::json;

use crate::{documents::named_mapping, server::Server, valve::Flow, valve::Valve};

const COLLECTION: &str = "/organizations/acme/integrations";

fn external(mapping: &Mapping) -> &str {
    mapping.external_org_id.as_str()
}

#[tokio::test]
async fn it_sets_gets_lists_and_deletes() {
    let server = Server::start().await;
    let context = server.context("acme");
    assert_eq!(context.org_id().as_str(), "acme");
    let data = r#"{"n": 1.10}"#;
    let made = context.set_integration_mapping("halo", "1", Some("One"), Some(data), None).await.unwrap();
    let got = context.get_integration_mapping("halo", None).await.unwrap();
    assert_eq!((&got, got.data.as_ref().unwrap().as_str()), (&made, data));
    let id = made.key.id.as_str();
    assert_eq!(context.get_integration_mapping("halo", Some(id)).await.unwrap(), made);
    // The routes see the same.
    assert_eq!(server.api.get("/organizations/acme/integrations/halo").await.is(200).json()["id"], id);

    let second = context.set_integration_mapping("halo", "2", None, None, Some("mapping_2")).await.unwrap();
    context.set_integration_mapping("halo_psa", "3", None, None, None).await.unwrap();
    let all = context.get_org_mappings(None).await.unwrap();
    assert_eq!(all.iter().map(external).collect::<Vec<_>>().len(), 3);
    let halo = context.get_org_mappings(Some("halo")).await.unwrap();
    assert!(halo.contains(&made) && halo.contains(&second) && halo.len() == 2);

    context.delete_integration_mapping("halo", Some(id)).await.unwrap();
    context.delete_integration_mapping("halo_psa", None).await.unwrap();
    let left = context.get_org_mappings(None).await.unwrap();
    assert_eq!(left, [second]);
    let history = server.history("acme").await;
    assert_eq!((history.lines().count(), history.matches("workflow-7 workflow").count()), (5, 5), "{history}");
    server.settled().await;
}

#[tokio::test]
async fn every_error_is_a_type_with_what_the_caller_needs() {
    let server = Server::start().await;
    for (external, id) in [("1", "mapping_1"), ("2", "mapping_2")] {
        server.api.post(COLLECTION, &named_mapping("halo", external, id)).await.is(201);
    }
    let acme = server.context("acme");
    let mut told = Vec::new();
    for (context, integration, id) in [
        (&acme, "halo", None),
        (&acme, "halo", Some("mapping_3")),
        (&acme, "halo_psa", None),
        (&acme, "hallo", None),
        (&acme, "chat", None),
        (&acme, "halo", Some("3")),
        (&server.context("hooli"), "halo", None),
        (&server.context("nobody"), "halo", None),
    ] {
        let get = context.get_integration_mapping(integration, id).await.unwrap_err();
        let delete = context.delete_integration_mapping(integration, id).await.unwrap_err();
        assert_eq!(get.to_string(), delete.to_string());
        let fits = match (context.org_id().as_str(), integration, id) {
            ("hooli", ..) => matches!(&get, MappingError::OrganizationInactive(_)),
            ("nobody", ..) => matches!(&get, MappingError::OrganizationNotFound(_)),
            (_, "hallo" | "chat", _) => {
                matches!(&get, MappingError::IntegrationNotFound { known, .. } if *known == ["halo", "halo_mapping", "halo_psa"])
            }
            (_, _, Some("3")) => matches!(&get, MappingError::Invalid { field: "mapping_id", .. }),
            (_, "halo", None) => matches!(&get, MappingError::MultipleMappings { ids, .. } if ids.len() == 2),
            _ => matches!(&get, MappingError::MappingNotFound { .. }),
        };
        assert!(fits, "{get:?}");
        told.push(get.to_string());
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    Organization 'acme' has 2 active mappings for integration 'halo'; name one with mapping_id
    No active mapping 'mapping_3' for integration 'halo' in organization 'acme'; activeOnly=false shows deactivated ones
    No active mapping for integration 'halo_psa' in organization 'acme'; create one, or set it
    Integration 'hallo' is not one that organizations can be mapped to; known are: halo, halo_mapping, halo_psa
    Integration 'chat' is not one that organizations can be mapped to; known are: halo, halo_mapping, halo_psa
    mapping_id must be `mapping_` and 1 to 64 letters, digits or hyphens
    Organization 'hooli' is inactive; its mappings cannot be used until the platform activates it again
    Organization 'nobody' is unknown; GET /api/organizations lists the known ones
    ");
}

#[tokio::test]
async fn set_refuses_what_the_route_refuses() {
    let server = Server::start().await;
    let acme = server.context("acme");
    acme.set_integration_mapping("halo", "1", None, None, Some("mapping_1")).await.unwrap();
    let duplicate = acme.set_integration_mapping("halo", "1", None, None, Some("mapping_2")).await.unwrap_err();
    assert!(matches!(duplicate, MappingError::Duplicate { existing, .. } if existing.as_str() == "mapping_1"));
    for (external, name, data, id, field) in [
        ("", None, None, None, "external_org_id"),
        ("1", Some("a\nb"), None, None, "external_org_name"),
        ("1", None, Some("[]"), None, "mapping_data"),
        ("1", None, None, Some("x"), "mapping_id"),
    ] {
        let error = acme.set_integration_mapping("halo", external, name, data, id).await.unwrap_err();
        assert!(matches!(error, MappingError::Invalid { field: found, .. } if found == field), "{error:?}");
    }
    let error = server.context("hooli").set_integration_mapping("halo", "1", None, None, None).await.unwrap_err();
    assert!(matches!(error, MappingError::OrganizationInactive(_)));
    let error = server.context("nobody").get_org_mappings(None).await.unwrap_err();
    assert!(matches!(error, MappingError::OrganizationNotFound(_)));
    let error = acme.get_org_mappings(Some("hallo")).await.unwrap_err();
    assert!(matches!(error, MappingError::IntegrationNotFound { .. }));
    assert_eq!(server.audit("acme").await.len(), 1);
    assert_eq!(server.api.get("/organizations/hooli/integrations").await.json()["mappings"], json!([]));
}

/// The mapping of somebody else is no answer, and neither is an old one.
#[tokio::test]
async fn it_never_falls_back_to_another_organization_or_state() {
    let valve = Valve::new();
    let server = Server::on(valve.clone()).await;
    server.context("globex").set_integration_mapping("halo", "1", None, None, None).await.unwrap();
    let acme = server.context("acme");
    let error = acme.get_integration_mapping("halo", None).await.unwrap_err();
    assert!(matches!(error, MappingError::MappingNotFound { .. }));
    acme.set_integration_mapping("halo", "2", None, None, None).await.unwrap();
    valve.turn(Flow::Down);
    assert!(matches!(acme.get_integration_mapping("halo", None).await, Err(MappingError::Storage(_))));
    valve.turn(Flow::Open);
    acme.delete_integration_mapping("halo", None).await.unwrap();
    let error = acme.get_integration_mapping("halo", None).await.unwrap_err();
    assert!(matches!(error, MappingError::MappingNotFound { .. }));
}
