//! `GET /integrations`, and the reverse lookup.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crosswalk::{
    app::App,
    integrations::{Broken, Registry, manifest::Problem},
    secrets::NoSecrets,
    tables::EmbeddedTables,
};
use serde_json::json;

use crate::{
    documents::{named_mapping, new_mapping, stable},
    server::Server,
};

#[tokio::test]
async fn the_registry_in_the_order_of_names() {
    let server = Server::start().await;
    let list = server.api.get("/integrations").await.is(200).json();
    let names: Vec<_> =
        list["integrations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chat", "halo", "halo_mapping", "halo_psa"]);
    insta::assert_snapshot!(stable(&list["integrations"][0]), @r#"
    {
      "docs_url": null,
      "mapping_data_schema": null,
      "name": "chat",
      "supports_discovery": false,
      "supports_org_mapping": false,
      "title": "An external system"
    }
    "#);
    assert_eq!(list["integrations"][1]["supports_org_mapping"], true);
}

#[tokio::test]
async fn manifests_that_did_not_load_are_shown() {
    let problems = vec![Problem::new(3, "name", "must not be empty"), Problem::new(4, "", "not readable as YAML")];
    let broken = Broken { file: "folder/bad.yaml".into(), problems };
    let registry = Registry::default().with_broken(vec![broken]);
    let app = App::new(Arc::new(EmbeddedTables::in_memory().unwrap()), registry, Arc::new(NoSecrets));
    let body = Server::with(app).await.api.get("/integrations").await.is(200).json();
    let broken = json!([{"file": "bad.yaml", "problems": ["3: name: must not be empty", "4: not readable as YAML"]}]);
    assert_eq!(body, json!({"integrations": [], "count": 0, "broken": broken}));
}

/// Seven organizations, all mapped to `halo`: `1` to those with an even number, `2` to the others.
async fn with_seven() -> Server {
    let server = Server::start().await;
    for number in 0..7 {
        let org = format!("org-{number}");
        server.organization(&org, &[("IsActive", true.into())]).await;
        let external = if number % 2 == 0 { "1" } else { "2" };
        let body = named_mapping("halo", external, &format!("mapping_{number}"));
        server.api.post(&format!("/organizations/{org}/integrations"), &body).await.is(201);
    }
    server
}

/// Follows `next_cursor` to the end.
async fn pages(server: &Server, query: &[(&str, &str)]) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = server.api.get("/integrations/halo/mappings").query(&query).await.is(200);
        pages.push(page.column("id"));
        match page.json()["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return pages,
        }
        assert!(pages.len() < 50, "the cursor leads nowhere: {pages:?}");
    }
}

#[tokio::test]
async fn pages_show_every_mapping_once_in_the_order_of_organizations() {
    let server = with_seven().await;
    let all: Vec<_> = (0..7).map(|number| format!("mapping_{number}")).collect();
    for limit in ["1", "2", "3", "6", "7", "8", "1000"] {
        let pages = pages(&server, &[("limit", limit)]).await;
        assert_eq!(pages.concat(), all, "limit {limit}");
        assert!(pages.iter().all(|page| page.len() <= limit.parse().unwrap()), "limit {limit}: {pages:?}");
    }
    assert_eq!(pages(&server, &[]).await, [all]);
}

#[tokio::test]
async fn an_external_id_shows_the_organizations_that_are_mapped_to_it() {
    let server = with_seven().await;
    for limit in ["1", "2", "3", "100"] {
        let even = pages(&server, &[("externalOrgId", "1"), ("limit", limit)]).await.concat();
        assert_eq!(even, ["mapping_0", "mapping_2", "mapping_4", "mapping_6"], "limit {limit}");
    }
    assert!(pages(&server, &[("externalOrgId", "3")]).await.concat().is_empty());
    let one = server.api.get("/integrations/halo/mappings?externalOrgId=2&limit=1").await.is(200).json();
    let read = server.api.get("/organizations/org-1/integrations/halo/mapping_1").await.is(200).json();
    assert_eq!(one["mappings"][0], read, "the index says what the source of truth says");
}

#[tokio::test]
async fn changes_show_at_once_and_deactivated_mappings_do_not() {
    let server = with_seven().await;
    let path = |number: u32| format!("/organizations/org-{number}/integrations/halo/mapping_{number}");
    server.api.delete(&path(0)).await.is(204);
    server.api.patch(&path(2), &json!({"external_org_id": "2"})).await.is(200);
    let of = async |id| pages(&server, &[("externalOrgId", id)]).await.concat();
    assert_eq!(of("1").await, ["mapping_4", "mapping_6"]);
    assert_eq!(of("2").await, ["mapping_1", "mapping_2", "mapping_3", "mapping_5"]);
    server.api.patch(&path(0), &json!({"is_active": true})).await.is(200);
    assert_eq!(of("1").await, ["mapping_0", "mapping_4", "mapping_6"]);
}

#[tokio::test]
async fn paging_survives_changes_between_pages() {
    let server = with_seven().await;
    let first = server.api.get("/integrations/halo/mappings?limit=3").await.is(200);
    assert_eq!(first.column("id"), ["mapping_0", "mapping_1", "mapping_2"]);
    // The last one of this page goes, and so does the first one of the next.
    for number in [2, 3] {
        let path = format!("/organizations/org-{number}/integrations/halo/mapping_{number}");
        server.api.delete(&path).await.is(204);
    }
    let body = first.json();
    let query = [("limit", "3"), ("cursor", body["next_cursor"].as_str().unwrap())];
    let second = server.api.get("/integrations/halo/mappings").query(&query).await.is(200);
    assert_eq!(second.column("id"), ["mapping_4", "mapping_5", "mapping_6"]);
}

#[tokio::test]
async fn parameters_that_are_wrong_are_named() {
    let server = Server::start().await;
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let injection = encoded("a' or RowKey ne 'b");
    let long = encoded(&"a".repeat(5000));
    let (control, foreign) = (encoded("a\u{0}b"), encoded("é"));
    let overlong_id = "x".repeat(201);
    for (name, value) in [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "1.5"),
        ("limit", "many"),
        ("limit", ""),
        ("limit", "99999999999999999999999"),
        ("cursor", "!"),
        ("cursor", "%"),
        ("cursor", "é"),
        ("cursor", &injection),
        ("cursor", &long),
        ("cursor", &control),
        ("cursor", &foreign),
        ("externalOrgId", ""),
        ("externalOrgId", "O'Brien"),
        ("externalOrgId", "a\tb"),
        ("externalOrgId", &overlong_id),
    ] {
        let answer = server.api.get("/integrations/halo/mappings").query(&[(name, value)]).await.is(400);
        assert_eq!(answer.invalid_fields(), BTreeSet::from([name.to_owned()]), "{value:?}");
    }
    // Behind everything there can be: an empty last page, no mistake.
    for bound in ["~", "~~~", "zzz"] {
        let page = server.api.get("/integrations/halo/mappings").query(&[("cursor", &*encoded(bound))]).await.is(200);
        assert_eq!((page.column("id").len(), page.json()["next_cursor"].is_null()), (0, true), "{bound}");
    }
}

#[tokio::test]
async fn an_unknown_integration_is_404_with_the_known_ones() {
    let server = Server::start().await;
    insta::assert_snapshot!(stable(&server.api.get("/integrations/hallo/mappings").await.is(404).json()), @r#"
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
    assert!(server.api.get("/integrations/chat/mappings").await.is(200).column("id").is_empty());
}

/// `halo` beside `halo_psa` beside `halo_mapping`, whose names are the beginning of each other's keys.
#[tokio::test]
async fn integrations_whose_names_begin_alike_never_see_each_other() {
    let server = Server::start().await;
    let names = ["halo", "halo_psa", "halo_mapping"];
    for (name, external) in names.iter().zip(["1", "2", "3"]) {
        for (org, id) in [("acme", "mapping_mapping"), ("globex", "mapping_1")] {
            let body = named_mapping(name, external, &id.replace("mapping_mapping", "mapping_psa"));
            server.api.post(&format!("/organizations/{org}/integrations"), &body).await.is(201);
        }
    }
    for (name, external) in names.iter().zip(["1", "2", "3"]) {
        let lookup = server.api.get(&format!("/integrations/{name}/mappings")).await.is(200);
        assert_eq!(lookup.column("integration_name"), [*name; 2]);
        assert_eq!(lookup.column("external_org_id"), [external; 2]);
        let list = server.api.get("/organizations/acme/integrations").query(&[("integration", name)]).await;
        assert_eq!(list.column("integration_name"), [*name]);
        let path = format!("/organizations/acme/integrations/{name}");
        assert_eq!(server.api.get(&path).await.is(200).json()["external_org_id"], external);
        let set = server.api.put(&path, &json!({"external_org_id": format!("{external}0")})).await.is(200);
        assert_eq!(set.json()["id"], "mapping_psa", "set changes the one there is");
    }
    let all = server.api.get("/organizations/acme/integrations").await;
    assert_eq!(all.column("external_org_id"), ["30", "10", "20"], "in the order of their keys");
    server.api.delete("/organizations/acme/integrations/halo/mapping_psa").await.is(204);
    server.api.get("/organizations/acme/integrations/halo").await.is(404);
    server.api.get("/organizations/acme/integrations/halo_mapping").await.is(200);
    // The same external id in each of them is no duplicate.
    for name in names {
        server.api.post("/organizations/globex/integrations", &new_mapping(name, "same")).await.is(201);
    }
    server.settled().await;
}
