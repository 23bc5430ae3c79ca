//! Entity tags: 304 for who has the version, 412 for who would overwrite another one.

use std::future::IntoFuture;

use reqwest::Method;
use serde_json::json;

use super::{COLLECTION, HALO, ONE, with_mapping};
use crate::{documents::stable, server::Server};

#[tokio::test]
async fn every_change_gives_a_new_tag_and_every_read_the_same() {
    let (server, created) = with_mapping().await;
    let changed = server.api.patch(ONE, &json!({"external_org_name": "x"})).await.is(200);
    assert_ne!(changed.etag(), created.etag());
    for path in [ONE, HALO] {
        assert_eq!(server.api.get(path).await.is(200).etag(), changed.etag(), "{path}");
    }
    let set = server.api.put(HALO, &json!({"external_org_id": "101"})).await.is(200);
    assert_ne!(set.etag(), changed.etag());
    assert_eq!(server.api.get(ONE).await.etag(), set.etag());
    // Nothing changed, nothing new.
    let same = server.api.patch(ONE, &json!({"external_org_id": "101"})).await.is(200);
    assert_eq!((same.etag(), same.body), (set.etag(), set.body));
}

#[tokio::test]
async fn who_has_the_version_gets_304() {
    let (server, created) = with_mapping().await;
    let tag = created.etag();
    for path in [ONE, HALO] {
        for header in
            [tag.clone(), format!("W/{tag}"), "*".into(), format!("\"other\", {tag}"), format!("W/\"a\",W/{tag}")]
        {
            for method in [Method::GET, Method::HEAD] {
                let answer = server.api.call(method, path).header("if-none-match", &header).await.is(304);
                assert_eq!(answer.etag(), tag, "{header}");
            }
        }
        for header in ["\"other\"", "\"\"", "", "W/", "\"*\"", "\"other\", W/\"another\"", "é"] {
            server.api.get(path).header("if-none-match", header).await.is(200);
        }
    }
    server.api.patch(ONE, &json!({"external_org_name": "x"})).await.is(200);
    server.api.get(ONE).header("if-none-match", &tag).await.is(200);
}

#[tokio::test]
async fn a_stale_tag_changes_nothing() {
    let (server, created) = with_mapping().await;
    let stale = created.etag();
    let current = server.api.patch(ONE, &json!({"external_org_name": "x"})).await.is(200);
    let events = server.audit("acme").await;
    for header in [stale.as_str(), "\"other\"", "\"\"", "", "W/", "\"*\"", "é", "\"other\", \"another\""] {
        let patch = server.api.patch(ONE, &json!({"external_org_id": "666"})).header("if-match", header).await.is(412);
        let delete = server.api.delete(ONE).header("if-match", header).await.is(412);
        assert_eq!(patch.body, delete.body, "{header}");
    }
    // A change to what is there already needs the version, too.
    server.api.patch(ONE, &json!({"external_org_name": "x"})).header("if-match", &stale).await.is(412);
    let answer = server.api.delete(ONE).header("if-match", &stale).await.is(412);
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "error": "Precondition failed",
      "message": "The mapping was changed since it was read; read it again and repeat the change on what it says now"
    }
    "#);
    assert_eq!(server.api.get(ONE).await.etag(), current.etag());
    assert_eq!(server.audit("acme").await, events, "what is refused leaves no event");
    server.settled().await;
}

#[tokio::test]
async fn the_current_tag_changes_it() {
    let (server, created) = with_mapping().await;
    let mut tag = created.etag();
    for (number, form) in ["{}", "W/{}", "\"other\", {}", "*", " {} ", "W/\"a\",W/{}"].iter().enumerate() {
        let header = form.replace("{}", &tag);
        let body = json!({"external_org_name": number.to_string()});
        let answer = server.api.patch(ONE, &body).header("if-match", &header).await.is(200);
        assert_ne!(answer.etag(), tag, "{header}");
        tag = answer.etag();
    }
    server.api.delete(ONE).header("if-match", &tag).await.is(204);
    // The tag of a deactivated mapping guards its restoring.
    let inactive = server.api.get(&format!("{ONE}?activeOnly=false")).await.is(200).etag();
    assert_ne!(inactive, tag);
    server.api.patch(ONE, &json!({"is_active": true})).header("if-match", &tag).await.is(412);
    server.api.patch(ONE, &json!({"is_active": true})).header("if-match", &inactive).await.is(200);
    server.settled().await;
}

#[tokio::test]
async fn a_mapping_that_is_not_there_matches_nothing() {
    let server = Server::start().await;
    let path = format!("{HALO}/mapping_9");
    for header in ["*", "\"x\""] {
        server.api.patch(&path, &json!({})).header("if-match", header).await.is(404);
        server.api.delete(&path).header("if-match", header).await.is(404);
        server.api.get(&path).header("if-none-match", header).await.is(404);
    }
    assert!(server.api.get(COLLECTION).await.column("id").is_empty());
}

#[tokio::test]
async fn of_two_who_read_the_same_version_one_wins() {
    let (server, created) = with_mapping().await;
    let change = |name: &str| {
        let call = server.api.patch(ONE, &json!({"external_org_name": name})).header("if-match", created.etag());
        call.into_future()
    };
    let names: Vec<_> = (0..10).map(|number| format!("writer {number}")).collect();
    let answers = futures::future::join_all(names.iter().map(|name| change(name))).await;
    let won: Vec<_> = answers.iter().zip(&names).filter(|(answer, _)| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 412)));
    assert_eq!(server.api.get(ONE).await.json()["external_org_name"], **won[0].1);
    assert_eq!(server.audit("acme").await.len(), 2);
    server.settled().await;
}
