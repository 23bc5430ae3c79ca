//! Reading one mapping, and the list of an organization.

use std::collections::BTreeSet;

use crosswalk::tables::{Key, Operation, Put, Row, Table};

use super::{COLLECTION, HALO, ONE, with_mapping};
use crate::{
    documents::{named_mapping, stable},
    server::Server,
};

#[tokio::test]
async fn a_mapping_reads_as_it_was_written() {
    let (server, created) = with_mapping().await;
    let read = server.api.get(ONE).await.is(200);
    assert_eq!((&read.body, read.etag()), (&created.body, created.etag()));
    let list = server.api.get(COLLECTION).await.is(200);
    assert_eq!(list.json()["mappings"][0], created.json());
    let lookup = server.api.get("/integrations/halo/mappings").await.is(200);
    assert_eq!(lookup.json()["mappings"][0], created.json());
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let (server, _) = with_mapping().await;
    let missing = async |path: &str| stable(&server.api.get(path).await.is(404).json());
    insta::assert_snapshot!(missing(&format!("{HALO}/mapping_2")).await, @r#"
    {
      "error": "Mapping not found",
      "message": "No active mapping 'mapping_2' for integration 'halo' in organization 'acme'; activeOnly=false shows deactivated ones"
    }
    "#);
    insta::assert_snapshot!(missing("/organizations/nobody/integrations/halo/mapping_1").await, @r#"
    {
      "error": "Organization not found",
      "message": "Organization 'nobody' is unknown; GET /api/organizations lists the known ones"
    }
    "#);
    insta::assert_snapshot!(missing("/organizations/acme/integrations/hallo/mapping_1").await, @r#"
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
    insta::assert_snapshot!(missing("/organizations/nobody/integrations").await, @r#"
    {
      "error": "Organization not found",
      "message": "Organization 'nobody' is unknown; GET /api/organizations lists the known ones"
    }
    "#);
    // One organization's mapping is not another's, nor one integration's another's.
    missing("/organizations/globex/integrations/halo/mapping_1").await;
    missing("/organizations/acme/integrations/halo_psa/mapping_1").await;
    let answer = server.api.get(&format!("{HALO}/1")).await;
    assert_eq!(answer.invalid_fields(), BTreeSet::from(["mappingId".to_owned()]));
}

#[tokio::test]
async fn a_list_is_in_the_same_order_every_time() {
    let server = Server::start().await;
    for (name, id) in [("halo_psa", "c"), ("halo", "b"), ("halo_mapping", "z"), ("halo", "a"), ("halo", "B")] {
        server.api.post(COLLECTION, &named_mapping(name, id, &format!("mapping_{id}"))).await.is(201);
    }
    let expected = ["mapping_B", "mapping_a", "mapping_b", "mapping_z", "mapping_c"];
    for _ in 0..3 {
        assert_eq!(server.api.get(COLLECTION).await.column("id"), expected);
    }
    // A change moves nothing.
    server.api.patch(&format!("{HALO}/mapping_b"), &serde_json::json!({"external_org_id": "0"})).await.is(200);
    assert_eq!(server.api.get(COLLECTION).await.column("id"), expected);
}

#[tokio::test]
async fn a_list_can_be_narrowed_and_widened() {
    let server = Server::start().await;
    for (name, id) in [("halo", "mapping_1"), ("halo", "mapping_2"), ("halo_psa", "mapping_3")] {
        server.api.post(COLLECTION, &named_mapping(name, id, id)).await.is(201);
    }
    server.api.delete(ONE).await.is(204);
    let list = async |query: &str| server.api.get(&format!("{COLLECTION}{query}")).await.column("id");
    assert_eq!(list("").await, ["mapping_2", "mapping_3"]);
    assert_eq!(list("?activeOnly=true").await, ["mapping_2", "mapping_3"]);
    assert_eq!(list("?activeOnly=false").await, ["mapping_1", "mapping_2", "mapping_3"]);
    assert_eq!(list("?integration=halo").await, ["mapping_2"]);
    assert_eq!(list("?integration=halo&activeOnly=false").await, ["mapping_1", "mapping_2"]);
    assert_eq!(list("?integration=halo_mapping").await, Vec::<String>::new());
    assert_eq!(list("?integration=chat").await, Vec::<String>::new());
    let globex = server.api.get("/organizations/globex/integrations?activeOnly=false").await;
    assert_eq!(globex.column("id"), Vec::<String>::new());
    // An inactive organization's mappings can be looked at.
    assert_eq!(server.api.get("/organizations/hooli/integrations").await.column("id"), Vec::<String>::new());
    server.api.get("/organizations/nobody/integrations?integration=halo").await.is(404);
}

#[tokio::test]
async fn parameters_that_are_wrong_are_named() {
    let (server, _) = with_mapping().await;
    for (query, name) in [
        ("activeOnly=yes", "activeOnly"),
        ("activeOnly=", "activeOnly"),
        ("activeOnly=True", "activeOnly"),
        ("integration=", "integration"),
        ("integration=hallo", "integration"),
        ("integration=halo%27", "integration"),
    ] {
        let answer = server.api.get(&format!("{COLLECTION}?{query}")).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from([name.to_owned()]), "{query}");
    }
    server.api.get(&format!("{ONE}?activeOnly=1")).await.is(400);
    // Two answers to one question are none: a caller who sends both would get one of them by chance.
    let answer = server.api.get(&format!("{COLLECTION}?activeOnly=true&activeOnly=false")).await;
    assert_eq!(answer.invalid_fields(), BTreeSet::from(["activeOnly".to_owned()]));
}

#[tokio::test]
async fn a_list_longer_than_a_page_of_the_store_is_complete() {
    let server = Server::start().await;
    // Behind the service's back, since 1,100 creates would take a while; without guards, which no reader needs.
    let put = |number: usize| {
        let external = number.to_string();
        let properties = [("ExternalOrgId".to_owned(), external.into()), ("IsActive".to_owned(), true.into())].into();
        Operation::Put(Row { key: Key::new("acme", format!("halo_mapping_{number:04}")), properties }, Put::Create)
    };
    for batch in 0..11 {
        let batch: Vec<_> = (batch * 100..(batch + 1) * 100).map(put).collect();
        server.tables.commit(Table::OrgIntegrationMappings, &batch).await.unwrap();
    }
    let ids = server.api.get(COLLECTION).await.column("id");
    assert_eq!(ids.len(), 1100);
    assert!(ids.is_sorted());
}
