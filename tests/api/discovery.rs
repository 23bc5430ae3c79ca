//! `GET /integrations/{integrationName}/discover`: who gets which list, how old, and what is said when there is none.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use crosswalk::{
    app::App,
    domain::OrgId,
    integrations::{Failure, FailureClass, IntegrationError, Registry, examples},
    secrets::NoSecrets,
    tables::EmbeddedTables,
};
use futures::{
    future::{BoxFuture, join_all},
    poll,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Call},
    documents::stable,
    external::{Does, Lab},
    server::Server,
    valve::{Flow, Valve},
};

const PSA: &str = "/integrations/psa/discover";
const REFRESH: &str = "/integrations/psa/discover?refresh=true";
const ACME: &str = "/integrations/psa/discover?orgId=acme";
const HOUR: Duration = Duration::from_hours(1);

fn sent(call: Call) -> BoxFuture<'static, Answer> {
    call.into_future()
}

/// What was listed, and whether it is stale.
fn seen(answer: &Answer) -> (Value, Value) {
    let body = answer.json();
    (body["organizations"][0]["name"].clone(), body["stale"].clone())
}

#[tokio::test]
async fn a_list_is_fetched_once_an_hour_unless_asked_anew() {
    let lab = Lab::start().await;
    let first = lab.server.api.get(PSA).await.is(200);
    insta::assert_snapshot!(stable(&first.json()["organizations"]), @r#"
    [
      {
        "id": "1",
        "metadata": {
          "region": "eu"
        },
        "name": "as global-k3y sees it"
      }
    ]
    "#);
    let body = first.json();
    let time = |name: &str| chrono::DateTime::parse_from_rfc3339(body[name].as_str().unwrap()).unwrap();
    assert_eq!(time("cache_expires_at") - time("cached_at"), chrono::TimeDelta::hours(1));
    assert_eq!((&body["count"], &body["stale"]), (&json!(1), &json!(false)));

    lab.pass(Duration::from_mins(59));
    assert_eq!(lab.server.api.get(PSA).await.is(200).body, first.body);
    assert_eq!(lab.server.api.get(&format!("{PSA}?refresh=false")).await.is(200).body, first.body);
    assert_eq!(lab.external.calls(), 1);
    let refreshed = lab.server.api.get(REFRESH).await.is(200);
    assert_ne!(refreshed.json()["cached_at"], body["cached_at"]);
    assert_eq!(lab.external.calls(), 2);
    assert_eq!(lab.server.api.get(PSA).await.is(200).body, refreshed.body, "the new list serves those who follow");
    lab.pass(HOUR);
    lab.server.api.get(PSA).await.is(200);
    assert_eq!(lab.external.calls(), 3);
}

#[tokio::test]
async fn the_last_good_list_stands_in_for_a_day() {
    let lab = Lab::start().await;
    let good = lab.server.api.get(PSA).await.is(200).json();
    lab.external.does(Does::fails(FailureClass::Unreachable));
    let stale = lab.server.api.get(REFRESH).await.is(200).json();
    assert_eq!((&stale["stale"], &stale["cached_at"]), (&json!(true), &good["cached_at"]));
    assert_eq!(lab.server.api.get(PSA).await.is(200).json()["stale"], false, "it is not an hour old");

    lab.pass(Duration::from_hours(24) - Duration::from_secs(1));
    let stale = lab.server.api.get(PSA).await.is(200).json();
    assert_eq!((&stale["organizations"], &stale["stale"]), (&good["organizations"], &json!(true)));
    assert_eq!(lab.external.calls(), 3);
    lab.pass(Duration::from_secs(1));
    lab.server.api.get(PSA).await.is(502);
    lab.external.does(Does::Works);
    assert_eq!(lab.server.api.get(REFRESH).await.is(200).json()["stale"], false);
}

#[tokio::test]
async fn a_system_that_failed_is_left_alone_for_a_while() {
    let lab = Lab::start().await;
    let failure = |wait: Option<u64>| {
        let retry_after = wait.map(Duration::from_secs);
        Does::Fails(Failure { retry_after, ..Failure::new(FailureClass::RateLimited, "slow down") })
    };
    let mut calls = 0;
    for (wait, pause) in [(None, 30), (Some(7), 7), (Some(3600), 300), (Some(0), 1)] {
        lab.external.does(failure(wait));
        let answer = lab.server.api.get(PSA).await.is(503);
        calls += 1;
        assert_eq!(answer.header("retry-after"), pause.to_string());
        if pause > 1 {
            lab.pass(Duration::from_secs(pause - 1));
            let same = lab.server.api.get(PSA).await.is(503);
            assert_eq!((same.header("retry-after"), &same.json()["details"]), ("1", &answer.json()["details"]));
            let message = "psa: slow down; it is left alone for 1 s, unless asked with refresh=true";
            assert_eq!(same.json()["message"], message);
            lab.pass(Duration::from_secs(1));
        } else {
            lab.pass(Duration::from_secs(1));
        }
        assert_eq!(lab.external.calls(), calls, "Retry-After {wait:?}");
    }
    // Who asks for it gets it.
    lab.server.api.get(PSA).await.is(503);
    lab.external.does(Does::Works);
    assert_eq!(lab.server.api.get(REFRESH).await.is(200).json()["stale"], false);
    // A failure that is over is forgotten.
    lab.pass(HOUR);
    assert_eq!(lab.server.api.get(PSA).await.is(200).json()["stale"], false);
}

#[tokio::test]
async fn every_class_of_failure_has_its_status() {
    let lab = Lab::start().await;
    let mut told = Vec::new();
    for class in [
        FailureClass::Authentication,
        FailureClass::Permission,
        FailureClass::NotFound,
        FailureClass::Mismatch,
        FailureClass::RateLimited,
        FailureClass::Timeout,
        FailureClass::Unreachable,
        FailureClass::Tls,
        FailureClass::BadResponse,
        FailureClass::Configuration,
    ] {
        lab.external.does(Does::fails(class));
        let answer = lab.server.api.get(REFRESH).await;
        assert_eq!(answer.json()["details"], json!({"class": class.as_str(), "remedy": class.remedy()}));
        told.push(format!("{} {} {}", class.as_str(), answer.status, answer.json()["error"]));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    authentication 502 "External system failed"
    permission 502 "External system failed"
    not_found 502 "External system failed"
    mismatch 502 "External system failed"
    rate_limited 503 "External system busy"
    timeout 504 "External system timed out"
    unreachable 502 "External system failed"
    tls 502 "External system failed"
    bad_response 502 "External system failed"
    configuration 409 "Integration not configured"
    "#);
    lab.external.does(Does::Fails(Failure::new(FailureClass::BadResponse, "no JSON").status(418)));
    insta::assert_snapshot!(stable(&lab.server.api.get(REFRESH).await.is(502).json()), @r#"
    {
      "details": {
        "class": "bad_response",
        "http_status": 418,
        "remedy": "Try again; if it goes on, the external system's API has changed and the manifest needs mending"
      },
      "error": "External system failed",
      "message": "psa: no JSON; it is left alone for 30 s, unless asked with refresh=true"
    }
    "#);
}

#[tokio::test]
async fn an_integration_that_hangs_or_panics_is_answered() {
    let lab = Lab::on(Arc::new(EmbeddedTables::in_memory().unwrap()), Duration::from_millis(20)).await;
    lab.external.does(Does::Hangs);
    lab.server.api.get(PSA).await.is(504);
    lab.external.does(Does::Panics);
    let answers = join_all((0..5).map(|_| sent(lab.server.api.get(REFRESH)))).await;
    for answer in answers {
        assert_eq!(answer.is(502).json()["details"]["class"], "bad_response");
    }
    lab.external.does(Does::Works);
    lab.server.api.get(REFRESH).await.is(200);
}

#[tokio::test]
async fn a_cold_list_is_fetched_once_for_everybody() {
    let lab = Lab::start().await;
    lab.external.close();
    let all = (0..500).map(|_| tokio::spawn(sent(lab.server.api.get(PSA))));
    let all: Vec<_> = all.collect();
    lab.external.called(1).await;
    lab.external.open();
    for answer in join_all(all).await {
        assert_eq!(answer.unwrap().is(200).json()["count"], 1);
    }
    assert_eq!(lab.external.calls(), 1);
}

/// The same where it is certain that all of them wait: those who want it anew as well.
#[tokio::test]
async fn whoever_arrives_during_a_fetch_shares_it() {
    let lab = Lab::start().await;
    let app = &lab.server.app;
    let integration = app.registry.get("psa").unwrap();
    let settings = app.settings.resolve(&**integration, None, false).await.unwrap();
    lab.external.close();
    let list = |refresh| Box::pin(app.discovery.list(integration, &settings, refresh));
    let mut all: Vec<_> = (0..500).map(|number| list(number % 2 == 1)).collect();
    for one in &mut all {
        assert!(poll!(one).is_pending());
    }
    lab.external.called(1).await;
    // Of those who wait, the first and the last go away.
    let last = all.split_off(400);
    let first = all.drain(..100).collect::<Vec<_>>();
    drop((first, last));
    lab.external.open();
    let lists: Vec<_> = join_all(all).await.into_iter().map(|found| found.unwrap().listing).collect();
    assert!(lists.iter().all(|listing| Arc::ptr_eq(listing, &lists[0])));
    assert_eq!(lab.external.calls(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_nobody_waits_any_more() {
    let lab = Lab::start().await;
    lab.external.close();
    let gone = tokio::spawn(sent(lab.server.api.get(PSA)));
    lab.external.called(1).await;
    gone.abort();
    let _ = gone.await;
    lab.external.open();
    lab.server.app.drain(Duration::from_secs(20)).await;
    assert_eq!(lab.server.api.get(PSA).await.is(200).json()["count"], 1);
    assert_eq!(lab.external.calls(), 1);
}

#[tokio::test]
async fn a_fresh_list_is_answered_while_another_is_fetched() {
    let lab = Lab::start().await;
    lab.server.api.get(PSA).await.is(200);
    lab.external.close();
    let anew = tokio::spawn(sent(lab.server.api.get(REFRESH)));
    lab.external.called(2).await;
    lab.server.api.get(PSA).await.is(200);
    lab.external.open();
    anew.await.unwrap().is(200);
    assert_eq!(lab.external.calls(), 2);
}

#[tokio::test]
async fn the_list_of_one_credential_never_serves_another() {
    let lab = Lab::start().await;
    lab.vault.set("acme-psa-api-key", "acme-k3y");
    let of = async |path: &str| seen(&lab.server.api.get(path).await.is(200)).0;
    for _ in 0..2 {
        assert_eq!(of(PSA).await, "as global-k3y sees it");
        assert_eq!(of(ACME).await, "as acme-k3y sees it");
        // The same settings, the same list.
        assert_eq!(of("/integrations/psa/discover?orgId=globex").await, "as global-k3y sees it");
    }
    assert_eq!(lab.external.calls(), 2);
    // Another region is another system.
    lab.config("globex", "psa_region", "us").await;
    let globex = lab.server.api.get("/integrations/psa/discover?orgId=globex&refresh=true").await.is(200).json();
    assert_eq!(globex["organizations"][0]["metadata"]["region"], "us");
    assert_eq!(of(PSA).await, "as global-k3y sees it");
    assert_eq!(lab.external.calls(), 3);
    // A failure stays with the settings that failed, and so does what stands in.
    lab.external.does(Does::fails(FailureClass::Authentication));
    lab.vault.set("acme-psa-api-key", "acme-n3w");
    lab.server.api.get(&format!("{ACME}&refresh=true")).await.is(502);
    assert_eq!(seen(&lab.server.api.get(REFRESH).await.is(200)), (json!("as global-k3y sees it"), json!(true)));
}

#[tokio::test]
async fn what_is_not_configured_is_named_and_hidden_by_no_list() {
    let lab = Lab::start().await;
    lab.server.api.get(PSA).await.is(200);
    lab.vault.remove("psa-api-key");
    lab.config("acme", "psa_region", "s3cret-region").await;
    let answer = lab.server.api.get(&format!("{ACME}&refresh=true")).await.is(409);
    assert!(!answer.text().contains("s3cret"));
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "details": {
        "class": "configuration",
        "fields": {
          "api_key": "The api_key (api_key) is not set; PUT /api/secrets/psa_api_key stores it as the secret 'acme-psa-api-key' or 'psa-api-key'",
          "region": "The region (region) must match [a-z]{2}; set Value of row config:psa_region in table Config, partition acme or GLOBAL"
        },
        "remedy": "Set what the message names, then try again"
      },
      "error": "Integration not configured",
      "message": "psa: A PSA is not configured. The api_key (api_key) is not set; PUT /api/secrets/psa_api_key stores it as the secret 'acme-psa-api-key' or 'psa-api-key'. The region (region) must match [a-z]{2}; set Value of row config:psa_region in table Config, partition acme or GLOBAL"
    }
    "#);
    lab.server.api.get(REFRESH).await.is(409);
    assert_eq!(lab.external.calls(), 1);
    // What the integration itself calls a mistake in the settings is not hidden either.
    lab.vault.set("psa-api-key", "global-k3y");
    lab.server.api.get(REFRESH).await.is(200);
    lab.external.does(Does::fails(FailureClass::Configuration));
    lab.server.api.get(REFRESH).await.is(409);
}

#[tokio::test]
async fn nothing_is_a_list_too() {
    let lab = Lab::start().await;
    lab.external.does(Does::Lists(0));
    let body = lab.server.api.get(PSA).await.is(200).json();
    assert_eq!((&body["organizations"], &body["count"]), (&json!([]), &json!(0)));
    lab.external.does(Does::Lists(1200));
    assert_eq!(lab.server.api.get(REFRESH).await.is(200).json()["count"], 1200);
}

#[tokio::test]
async fn parameters_that_are_wrong_are_named() {
    let lab = Lab::start().await;
    for (name, value) in [("orgId", ""), ("orgId", "a'b"), ("orgId", "a b"), ("refresh", "yes"), ("refresh", "")] {
        let answer = lab.server.api.get(PSA).query(&[(name, value)]).await;
        assert_eq!(answer.invalid_fields(), [name.to_owned()].into(), "{value:?}");
    }
    lab.server.api.get(&format!("{ACME}&orgId=globex")).await.is(400);
    let unknown = lab.server.api.get("/integrations/hallo/discover").await.is(404);
    assert_eq!(unknown.json()["details"]["known"], json!(["psa"]));
    let nobody = lab.server.api.get("/integrations/psa/discover?orgId=nobody").await.is(404);
    assert_eq!(nobody.json()["error"], "Organization not found");
    assert_eq!(lab.external.calls(), 0);
}

#[tokio::test]
async fn an_integration_that_cannot_list_says_to_enter_the_id_by_hand() {
    let registry = Registry::new(examples().unwrap());
    let app = App::new(Arc::new(EmbeddedTables::in_memory().unwrap()), registry, Arc::new(NoSecrets));
    let server = Server::with(app).await;
    insta::assert_snapshot!(stable(&server.api.get("/integrations/example_rmm/discover").await.is(400).json()), @r#"
    {
      "error": "Not supported",
      "message": "integration example_rmm cannot list its organizations; enter the external organization's id by hand"
    }
    "#);
    let found = server.api.get("/integrations/example_psa/discover").await.is(200).json();
    assert_eq!((&found["count"], &found["organizations"][0]["id"]), (&json!(3), &json!("1001")));
}

#[tokio::test]
async fn stores_that_are_down_are_503_and_show_nothing_of_themselves() {
    let valve = Valve::new();
    let lab = Lab::on(valve.clone(), Duration::from_secs(20)).await;
    lab.vault.down.send_replace(true);
    let answer = lab.server.api.get(PSA).await.is(503);
    assert!(!answer.text().contains("secret-vault"), "{}", answer.text());
    assert_eq!(answer.json()["error"], "Secrets unavailable");
    lab.vault.down.send_replace(false);
    valve.turn(Flow::Down);
    let answer = lab.server.api.get(PSA).await.is(503);
    assert!(!answer.text().contains("secret-host"), "{}", answer.text());
    assert_eq!(answer.json()["error"], "Storage unavailable");
    assert_eq!(lab.external.calls(), 0);
    valve.turn(Flow::Open);
    lab.server.api.get(PSA).await.is(200);
    // Settings that were just read need no store.
    valve.turn(Flow::Down);
    lab.server.api.get(PSA).await.is(200);
}

#[tokio::test]
async fn lists_that_differ_by_organization_are_found_by_settings_not_by_name() {
    let lab = Lab::start().await;
    let integration = lab.server.app.registry.get("psa").unwrap();
    let acme = OrgId::parse("acme").unwrap();
    let global = lab.server.app.settings.resolve(&**integration, None, false).await.unwrap();
    let own = lab.server.app.settings.resolve(&**integration, Some(&acme), false).await.unwrap();
    assert_eq!(global.fingerprint(), own.fingerprint());
    lab.vault.set("acme-psa-api-key", "global-k3y");
    let own = lab.server.app.settings.resolve(&**integration, Some(&acme), true).await.unwrap();
    assert_ne!(global.fingerprint(), own.fingerprint(), "the same value, set by the organization itself");
    lab.external.does(Does::fails(FailureClass::Tls));
    let error = lab.server.app.discovery.list(integration, &own, false).await.unwrap_err();
    assert!(matches!(error, IntegrationError::Failed { .. }));
}
