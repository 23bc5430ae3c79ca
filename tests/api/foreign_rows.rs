//! Rows that other programs wrote: read where they can be, kept as they are, and never guessed about.

use crosswalk::tables::{Key, Property, Table};
use serde_json::{Value, json};

use crate::{documents::stable, server::Server};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";

fn typed(edm: &str, text: &str) -> Property {
    Property::Typed { edm: edm.into(), text: text.into() }
}

/// A row in both tables, as a program would write them that knows nothing of guards.
async fn mapping_row(server: &Server, id: &str, properties: &[(&str, Property)]) {
    server.row(Table::OrgIntegrationMappings, "acme", &format!("halo_{id}"), properties).await;
    server.row(Table::IntegrationMappings, "halo", &format!("acme_{id}"), properties).await;
}

#[tokio::test]
async fn typed_properties_and_missing_optional_ones_are_read() {
    let server = Server::start().await;
    let properties = [
        ("ExternalOrgId", Property::Int64(9_007_199_254_740_993)),
        ("IsActive", true.into()),
        ("CreatedAt", typed("Edm.DateTime", "2025-10-11T10:00:00.1234567Z")),
        ("UpdatedAt", "2025-10-11T12:00:00+02:00".into()),
        ("CreatedBy", typed("Edm.Guid", "6f9619ff-8b86-d011-b42d-00c04fc964ff")),
        ("Priority", Property::Double(0.1)),
    ];
    mapping_row(&server, "mapping_1", &properties).await;
    let read = server.api.get(&format!("{HALO}/mapping_1")).await.is(200).json();
    assert_eq!(read["external_org_id"], "9007199254740993");
    assert_eq!(
        (&read["created_at"], &read["updated_at"]),
        (&json!("2025-10-11T10:00:00.123Z"), &json!("2025-10-11T10:00:00.000Z"))
    );
    for absent in
        ["external_org_name", "mapping_data", "updated_by", "last_tested_at", "last_test_result", "last_test_succeeded"]
    {
        assert_eq!(read[absent], Value::Null, "{absent}");
    }
    assert_eq!(server.api.get(HALO).await.is(200).json(), read);
    let lookup = server.api.get("/integrations/halo/mappings?externalOrgId=9007199254740993").await;
    assert_eq!(lookup.json()["mappings"][0], read);

    // A change keeps what is not the service's, and the types of what did not change.
    server.api.patch(&format!("{HALO}/mapping_1"), &json!({"external_org_name": "Named"})).await.is(200);
    let key = Key::new("acme", "halo_mapping_1");
    let row = server.tables.get(Table::OrgIntegrationMappings, &key).await.unwrap().unwrap().row;
    for (name, value) in properties.iter().filter(|(name, _)| *name != "UpdatedAt") {
        assert_eq!(row.properties.get(*name), Some(value), "{name}");
    }
    // The old row had no guard; it counts as taken all the same.
    let duplicate = json!({"integration_name": "halo", "external_org_id": "9007199254740993"});
    server.api.post(COLLECTION, &duplicate).await.is(409);
    server.api.delete(&format!("{HALO}/mapping_1")).await.is(204);
    server.api.post(COLLECTION, &duplicate).await.is(201);
    server.settled().await;
}

#[tokio::test]
async fn rows_that_are_no_mappings_are_not_seen() {
    let server = Server::start().await;
    let good = [("ExternalOrgId", "1".into()), ("IsActive", true.into())];
    for row in [
        "halo_mapping_1",
        "halo_mapping_a_b",
        "HALO_mapping_2",
        "halo",
        "halo_mapping_",
        "zzz",
        "config:halo",
        "0_mapping_1",
    ] {
        server.row(Table::OrgIntegrationMappings, "acme", row, &good).await;
    }
    for row in ["acme_mapping_1", "acme", "a_b_mapping_1", "acme_mapping_"] {
        server.row(Table::IntegrationMappings, "halo", row, &good).await;
    }
    assert_eq!(server.api.get(COLLECTION).await.column("id"), ["mapping_1"]);
    assert_eq!(server.api.get("/integrations/halo/mappings").await.column("id"), ["mapping_1"]);
    assert_eq!(server.api.get(HALO).await.is(200).json()["id"], "mapping_1");
}

#[tokio::test]
async fn a_row_of_an_integration_that_is_gone_is_still_listed() {
    let server = Server::start().await;
    let good = [("ExternalOrgId", "1".into()), ("IsActive", true.into())];
    server.row(Table::OrgIntegrationMappings, "acme", "retired_mapping_1", &good).await;
    assert_eq!(server.api.get(COLLECTION).await.column("integration_name"), ["retired"]);
    server.api.get("/organizations/acme/integrations/retired").await.is(404);
}

/// One good row beside one that cannot be read.
async fn with_unreadable(name: &str, value: Option<Property>) -> Server {
    let server = Server::start().await;
    let mut bad = vec![("ExternalOrgId", "2".into()), ("IsActive", true.into())];
    bad.retain(|(property, _)| *property != name);
    bad.extend(value.map(|value| (name, value)));
    mapping_row(&server, "mapping_1", &[("ExternalOrgId", "1".into()), ("IsActive", true.into())]).await;
    mapping_row(&server, "mapping_2", &bad).await;
    server
}

#[tokio::test]
async fn a_row_that_cannot_be_read_takes_no_list_down_and_is_never_guessed_about() {
    for (name, value) in [
        ("ExternalOrgId", None),
        ("ExternalOrgId", Some("O'Brien".into())),
        ("ExternalOrgId", Some(Property::Double(2.0))),
        ("IsActive", None),
        ("IsActive", Some("false".into())),
        ("IsActive", Some(Property::Int32(1))),
        ("OrgId", Some("globex".into())),
        ("MappingData", Some("{".into())),
        ("MappingData", Some("[1]".into())),
    ] {
        let server = with_unreadable(name, value.clone()).await;
        let what = format!("{name}: {value:?}");
        for path in [COLLECTION, "/integrations/halo/mappings", "/organizations/acme/integrations?activeOnly=false"] {
            assert_eq!(server.api.get(path).await.column("id"), ["mapping_1"], "{what}");
        }
        // Which of them is meant cannot be said, since the other one may be active.
        let answer = server.api.get(HALO).await.is(409);
        assert_eq!(answer.json()["details"]["mapping_ids"], json!(["mapping_2"]), "{what}");
        server.api.put(HALO, &json!({"external_org_id": "3"})).await.is(409);
        // Who names the good one gets it, who names the other does not.
        server.api.get(&format!("{HALO}?mapping_id=mapping_1")).await.is(200);
        server.api.get(&format!("{HALO}?mapping_id=mapping_2")).await.is(409);
        server.api.get(&format!("{HALO}/mapping_1")).await.is(200);
        server.api.get(&format!("{HALO}/mapping_2")).await.is(409);
        server.api.patch(&format!("{HALO}/mapping_2"), &json!({"external_org_id": "3"})).await.is(409);
        server.api.delete(&format!("{HALO}/mapping_2")).await.is(409);
        assert_eq!(server.audit("acme").await, [], "{what}");
    }
}

#[tokio::test]
async fn the_answer_for_an_unreadable_row_says_what_to_mend() {
    let server = with_unreadable("IsActive", None).await;
    insta::assert_snapshot!(stable(&server.api.get(HALO).await.is(409).json()), @r#"
    {
      "details": {
        "mapping_ids": [
          "mapping_2"
        ]
      },
      "error": "Mapping unreadable",
      "message": "mapping acme/halo/mapping_2 cannot be read: IsActive is missing; mend or remove that row, `crosswalk verify` lists all such rows"
    }
    "#);
}

/// What other programs store for "nothing" in an optional property.
#[tokio::test]
async fn an_empty_optional_property_is_none() {
    for (name, value) in [("ExternalOrgName", ""), ("MappingData", ""), ("MappingData", "null"), ("LastTestedAt", "")] {
        let server = Server::start().await;
        let row = [("ExternalOrgId", "1".into()), ("IsActive", true.into()), (name, value.into())];
        mapping_row(&server, "mapping_1", &row).await;
        let read = server.api.get(HALO).await;
        assert_eq!(read.status, 200, "{name} {value:?}: {}", read.text());
        assert_eq!((&read.json()["mapping_data"], &read.json()["external_org_name"]), (&Value::Null, &Value::Null));
    }
}
