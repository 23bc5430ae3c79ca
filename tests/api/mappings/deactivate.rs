//! `DELETE` is soft: the mapping is absent everywhere unless asked for, and can be restored.

use serde_json::json;

use super::{COLLECTION, HALO, ONE, with_mapping};
use crate::documents::{named_mapping, new_mapping, stable};

#[tokio::test]
async fn a_deactivated_mapping_is_absent_unless_asked_for() {
    let (server, created) = with_mapping().await;
    server.api.delete(ONE).header("x-dev-user", "remover").await.is(204);
    server.api.get(ONE).await.is(404);
    server.api.get(&format!("{ONE}?activeOnly=true")).await.is(404);
    server.api.get(HALO).await.is(404);
    server.api.get(&format!("{HALO}?mapping_id=mapping_1")).await.is(404);
    server.api.delete(ONE).await.is(404);
    server.api.patch(ONE, &json!({"external_org_name": "x"})).await.is(404);
    server.api.patch(ONE, &json!({"is_active": false})).await.is(404);
    assert!(server.api.get(COLLECTION).await.column("id").is_empty());
    assert!(server.api.get("/integrations/halo/mappings").await.column("id").is_empty());
    assert!(server.api.get("/integrations/halo/mappings?externalOrgId=100").await.column("id").is_empty());

    let mut expected = created.json();
    let inactive = server.api.get(&format!("{ONE}?activeOnly=false")).await.is(200).json();
    (expected["is_active"], expected["updated_by"]) = (json!(false), json!("remover"));
    expected["updated_at"] = inactive["updated_at"].clone();
    assert_eq!(inactive, expected);
    assert_eq!(server.api.get(&format!("{COLLECTION}?activeOnly=false")).await.column("id"), ["mapping_1"]);
    assert_eq!(server.audit("acme").await.len(), 2, "refused changes leave no event");
    server.settled().await;
}

#[tokio::test]
async fn restoring_brings_everything_back_and_may_change_it() {
    let (server, created) = with_mapping().await;
    server.api.delete(ONE).await.is(204);
    let restored = server.api.patch(ONE, &json!({"is_active": true})).await.is(200).json();
    let mut expected = created.json();
    expected["updated_at"] = restored["updated_at"].clone();
    assert_eq!(restored, expected);
    assert_eq!(server.api.get(HALO).await.is(200).json(), expected);

    let gone = server.api.patch(ONE, &json!({"is_active": false, "external_org_name": "last words"})).await.is(200);
    assert_eq!(gone.json()["is_active"], false);
    let again = server.api.patch(ONE, &json!({"is_active": true, "external_org_id": "101"})).await.is(200).json();
    assert_eq!((&again["external_org_id"], &again["external_org_name"]), (&json!("101"), &json!("last words")));
    server.settled().await;
}

#[tokio::test]
async fn what_was_taken_meanwhile_cannot_be_restored() {
    let (server, _) = with_mapping().await;
    server.api.delete(ONE).await.is(204);
    server.api.post(COLLECTION, &named_mapping("halo", "100", "mapping_2")).await.is(201);
    let answer = server.api.patch(ONE, &json!({"is_active": true})).await.is(409);
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "details": {
        "mapping_ids": [
          "mapping_2"
        ]
      },
      "error": "Duplicate mapping",
      "message": "External organization '100' is already mapped by the active mapping 'mapping_2'; change or deactivate that one"
    }
    "#);
    let answer = server.api.put(HALO, &json!({"external_org_id": "100", "mapping_id": "mapping_1"})).await.is(409);
    assert_eq!(answer.json()["details"]["mapping_ids"], json!(["mapping_2"]));
    // As another one it can.
    server.api.patch(ONE, &json!({"is_active": true, "external_org_id": "200"})).await.is(200);
    server.api.delete(&format!("{HALO}/mapping_2")).await.is(204);
    server.api.post(COLLECTION, &new_mapping("halo", "100")).await.is(201);
    server.settled().await;
}

#[tokio::test]
async fn deactivating_twice_at_once_happens_once() {
    use std::future::IntoFuture;
    let (server, _) = with_mapping().await;
    let calls = (0..10).map(|_| server.api.delete(ONE).into_future());
    let mut statuses: Vec<_> = futures::future::join_all(calls).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (204, &[404; 9][..]));
    assert_eq!(server.audit("acme").await.len(), 2);
    server.settled().await;
}
