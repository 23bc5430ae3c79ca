//! `PUT /secrets/{key}`: what it takes, where it puts it, that it counts at once, and that it is never seen again.

use crosswalk::domain::OrgId;
use serde_json::json;

use crate::{documents::stable, external::Lab, server::Server};

const PATH: &str = "/secrets/psa_api_key";
const VALUE: &str = "hunter2";

async fn found(lab: &Lab, org_id: &str, key: &str) -> Option<String> {
    let found = lab.server.context(org_id).get_secret(key).await.unwrap();
    found.map(|secret| secret.expose().to_owned())
}

#[tokio::test]
async fn what_is_stored_counts_at_once() {
    let lab = Lab::start().await;
    assert_eq!(found(&lab, "acme", "psa_api_key").await.as_deref(), Some("global-k3y"));
    assert_eq!(found(&lab, "acme", "other").await, None);
    // Kept: what is there and what is not.
    lab.vault.set("psa-api-key", "rotated");
    lab.vault.set("other", "new");
    assert_eq!(found(&lab, "acme", "psa_api_key").await.as_deref(), Some("global-k3y"));
    assert_eq!(found(&lab, "acme", "other").await, None);
    let psa = &**lab.server.app.registry.get("psa").unwrap();
    let setting = async |refresh| {
        let acme = OrgId::parse("acme").unwrap();
        let settings = lab.server.app.settings.resolve(psa, Some(&acme), refresh).await.unwrap();
        settings.get("api_key").unwrap().value.expose().to_owned()
    };
    assert_eq!(setting(false).await, "global-k3y");
    assert_eq!(setting(true).await, "rotated");

    lab.server.api.put(PATH, &json!({"value": "of acme", "scope": "acme"})).await.is(204);
    assert_eq!(setting(false).await, "of acme");
    assert_eq!(found(&lab, "globex", "psa_api_key").await.as_deref(), Some("rotated"));
    lab.server.api.put(PATH, &json!({"value": "of all", "scope": "global"})).await.is(204);
    assert_eq!(found(&lab, "globex", "psa_api_key").await.as_deref(), Some("of all"));
    assert_eq!(found(&lab, "acme", "psa_api_key").await.as_deref(), Some("of acme"));
}

#[tokio::test]
async fn mistakes_are_told_without_the_value() {
    let lab = Lab::start().await;
    let long = VALUE.repeat(4000);
    for (body, status) in [
        (json!({}), 400),
        (json!({"value": VALUE}), 400),
        (json!({"scope": "acme"}), 400),
        (json!({"value": "", "scope": "acme"}), 400),
        (json!({"value": format!("{VALUE}\0"), "scope": "acme"}), 400),
        (json!({"value": long, "scope": "acme"}), 400),
        (json!({"value": [VALUE], "scope": "acme"}), 400),
        (json!({"value": VALUE, "scope": "a/b"}), 400),
        (json!({"value": VALUE, "scope": "acme", "more": VALUE}), 400),
        (json!({"value": VALUE, "scope": "nobody"}), 404),
        (json!({"value": "acme", "scope": VALUE}), 404),
        (json!(VALUE), 400),
        (json!([VALUE]), 400),
    ] {
        let answer = lab.server.api.put(PATH, &body).await.is(status);
        assert!(!answer.text().contains(VALUE), "{}", answer.text());
    }
    for key in ["psa-api-key", "Psa", "1", "..%2Fkeys%2Fx", &"a".repeat(90)] {
        let path = format!("/secrets/{key}");
        lab.server.api.put(&path, &json!({"value": VALUE, "scope": "global"})).await.is(400);
    }
    lab.server.api.get(PATH).await.is(405);
}

#[tokio::test]
async fn names_that_could_be_somebody_elses_are_refused() {
    let lab = Lab::start().await;
    let answer = lab.server.api.put("/secrets/globex_psa_api_key", &json!({"value": VALUE, "scope": "global"})).await;
    insta::assert_snapshot!(stable(&answer.is(409).json()), @r#"
    {
      "error": "Secret name taken",
      "message": "the secret 'globex-psa-api-key' can't be used as a global one: it could be one of another organization, which the log names; choose another key, or another id for the integration"
    }
    "#);
    lab.vault.set("globex-psa-api-key", "of globex");
    lab.server.context("acme").get_secret("globex_psa_api_key").await.unwrap_err();
    assert_eq!(found(&lab, "globex", "psa_api_key").await.as_deref(), Some("of globex"));
}

#[tokio::test]
async fn without_a_store_the_remedy_is_named() {
    let server = Server::start().await;
    let answer = server.api.put(PATH, &json!({"value": VALUE, "scope": "acme"})).await.is(409);
    assert!(answer.text().contains("AZURE_KEY_VAULT_URL"), "{}", answer.text());
}

#[tokio::test]
async fn a_store_that_is_down_is_503() {
    let lab = Lab::start().await;
    lab.vault.down.send_replace(true);
    lab.server.api.put(PATH, &json!({"value": VALUE, "scope": "acme"})).await.is(503);
}
