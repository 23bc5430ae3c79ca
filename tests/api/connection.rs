//! `POST …/{mappingId}/test`: what it says, what it stores, and that it stores nothing about what it has not tested.

use std::{
    future::IntoFuture,
    sync::Arc,
    time::{Duration, Instant},
};

use crosswalk::{
    app::App,
    integrations::{Failure, FailureClass, Registry, examples},
    secrets::NoSecrets,
    tables::EmbeddedTables,
};
use serde_json::{Value, json};

use crate::{
    client::Answer,
    documents::{named_mapping, stable},
    external::{Does, Lab},
    server::Server,
    valve::{Flow, Valve},
};

const COLLECTION: &str = "/organizations/acme/integrations";
const ONE: &str = "/organizations/acme/integrations/psa/mapping_1";
const TEST: &str = "/organizations/acme/integrations/psa/mapping_1/test";

/// Where `acme` is the external organization `100`.
async fn with_mapping() -> Lab {
    mapped(Lab::start().await).await
}

async fn mapped(lab: Lab) -> Lab {
    let body = json!({
        "integration_name": "psa", "external_org_id": "100", "mapping_data": {"site": 7}, "mapping_id": "mapping_1"
    });
    lab.server.api.post(COLLECTION, &body).await.is(201);
    lab
}

async fn test(lab: &Lab) -> Answer {
    lab.server.api.post(TEST, &json!({})).await.is(200)
}

/// What is stored about the last test.
async fn stored(lab: &Lab) -> (Value, Value) {
    let body = lab.server.api.get(&format!("{ONE}?activeOnly=false")).await.is(200).json();
    assert_eq!(body["last_tested_at"].is_null(), body["last_test_succeeded"].is_null());
    (body["last_test_succeeded"].clone(), body["last_test_result"].clone())
}

#[tokio::test]
async fn a_test_that_succeeds_is_stored_and_changes_nothing_else() {
    let lab = with_mapping().await;
    let before = lab.server.api.get(ONE).await.json();
    let answer = lab.server.api.post(TEST, &json!({})).header("x-dev-user", "ann").await.is(200);
    insta::assert_snapshot!(stable(&answer.json()), @r#"
    {
      "details": {
        "class": "ok",
        "http_status": 200,
        "latency_ms": 7,
        "stored": true
      },
      "message": "'100' is there",
      "success": true
    }
    "#);
    let after = lab.server.api.get(ONE).await.is(200);
    assert_eq!(after.etag(), answer.etag());
    let mut expected = before;
    expected["last_tested_at"] = after.json()["last_tested_at"].clone();
    expected["last_test_result"] = "'100' is there".into();
    expected["last_test_succeeded"] = true.into();
    assert_eq!(after.json(), expected, "who changed the mapping last, and when, stays");
    assert!(expected["last_tested_at"].is_string());
    let reverse = lab.server.api.get("/integrations/psa/mappings").await.is(200).json();
    assert_eq!(reverse["mappings"][0], expected);
    insta::assert_snapshot!(lab.server.history("acme").await, @r#"
    integration_mapping.created psa mapping_1 dev-admin api {"AfterExternalOrgId": "100", "AfterIsActive": "true", "AfterMappingData": "{\"site\":7}"}
    integration_mapping.tested psa mapping_1 ann api {"AfterLastTestResult": "'100' is there", "AfterLastTestSucceeded": "true"}
    "#);
    lab.server.settled().await;
}

#[tokio::test]
async fn every_class_is_an_answer_and_is_stored() {
    let lab = with_mapping().await;
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
        lab.external.does(Does::Fails(Failure::new(class, format!("it said {}", class.as_str())).status(418)));
        let body = test(&lab).await.json();
        let details = &body["details"];
        assert_eq!((&body["success"], &details["class"]), (&json!(false), &json!(class.as_str())));
        assert_eq!((&details["remedy"], &details["http_status"]), (&json!(class.remedy()), &json!(418)));
        assert_eq!(stored(&lab).await, (json!(false), json!(format!("it said {}", class.as_str()))));
    }
    // What tested last counts.
    lab.external.does(Does::Works);
    test(&lab).await;
    assert_eq!(stored(&lab).await.0, true);
    assert_eq!(lab.server.history("acme").await.matches("integration_mapping.tested").count(), 11);
    lab.server.settled().await;
}

#[tokio::test]
async fn an_integration_that_hangs_panics_or_talks_too_much_is_a_result() {
    let tables = Arc::new(EmbeddedTables::in_memory().unwrap());
    let lab = mapped(Lab::on(tables, Duration::from_millis(20)).await).await;
    for (does, class) in [(Does::Hangs, "timeout"), (Does::Panics, "bad_response")] {
        lab.external.does(does);
        assert_eq!(test(&lab).await.json()["details"]["class"], class);
        assert_eq!(stored(&lab).await.0, false);
    }
    lab.external.does(Does::Fails(Failure::new(FailureClass::BadResponse, "🏢".repeat(50_000))));
    assert_eq!(test(&lab).await.json()["details"]["stored"], true);
    assert_eq!(stored(&lab).await.1, "🏢".repeat(1000));
    lab.server.settled().await;
}

#[tokio::test]
async fn settings_are_read_anew_and_what_is_missing_is_a_result() {
    let lab = with_mapping().await;
    test(&lab).await;
    lab.vault.remove("psa-api-key");
    let body = test(&lab).await.json();
    insta::assert_snapshot!(body["message"].as_str().unwrap(), @"A PSA is not configured. The api_key (api_key) is not set; PUT /api/secrets/psa_api_key stores it as the secret 'acme-psa-api-key' or 'psa-api-key'");
    assert_eq!(body["details"]["class"], "configuration");
    assert_eq!(stored(&lab).await.0, false);
    lab.vault.set("acme-psa-api-key", "k3y");
    assert_eq!(test(&lab).await.json()["success"], true);
    assert!(!lab.server.history("acme").await.contains("k3y"));
}

/// Runs a test during which something else happens to the mapping.
async fn test_during(lab: &Lab, edits: &[Value]) -> Answer {
    let calls = lab.external.calls();
    lab.external.close();
    let answer = tokio::spawn(lab.server.api.post(TEST, &json!({})).into_future());
    lab.external.called(calls + 1).await;
    for edit in edits {
        lab.server.api.patch(ONE, edit).await.is(200);
    }
    lab.external.open();
    answer.await.unwrap().is(200)
}

#[tokio::test]
async fn an_edit_of_something_else_keeps_both() {
    let lab = with_mapping().await;
    let answer = test_during(&lab, &[json!({"external_org_name": "Renamed"})]).await;
    assert_eq!(answer.json()["details"]["stored"], true);
    let body = lab.server.api.get(ONE).await.is(200);
    assert_eq!(body.etag(), answer.etag());
    assert_eq!(
        (&body.json()["external_org_name"], &body.json()["last_test_succeeded"]),
        (&json!("Renamed"), &json!(true))
    );
    // Gone and back is what was tested.
    let there_and_back = [json!({"is_active": false}), json!({"is_active": true})];
    assert_eq!(test_during(&lab, &there_and_back).await.json()["details"]["stored"], true);
    lab.server.settled().await;
}

#[tokio::test]
async fn a_result_about_what_is_no_longer_there_is_told_and_not_stored() {
    for edit in [json!({"external_org_id": "101"}), json!({"mapping_data": {"site": 8}}), json!({"is_active": false})] {
        let lab = with_mapping().await;
        let answer = test_during(&lab, std::slice::from_ref(&edit)).await;
        let body = answer.json();
        assert_eq!((&body["success"], &body["details"]["stored"]), (&json!(true), &json!(false)), "{edit}");
        assert!(!answer.headers.contains_key("etag"));
        assert_eq!(stored(&lab).await, (Value::Null, Value::Null), "{edit}");
        let mapping = lab.server.api.get(&format!("{ONE}?activeOnly=false")).await.json();
        for (field, value) in edit.as_object().unwrap() {
            assert_eq!(mapping[field], *value);
        }
        assert_eq!(lab.server.audit("acme").await.len(), 2, "nothing about the test");
        lab.server.settled().await;
    }
}

/// Between reading the mapping again and storing the result, too: whoever commits second decides again.
#[tokio::test]
async fn an_edit_while_the_result_is_being_stored_is_not_undone() {
    for (edit, kept) in [(json!({"external_org_name": "Renamed"}), true), (json!({"external_org_id": "101"}), false)] {
        let valve = Valve::new();
        let lab = mapped(Lab::on(valve.clone(), Duration::from_secs(20)).await).await;
        // Both are decided on the same row, and wait to be committed.
        valve.turn(Flow::Held);
        let answer = tokio::spawn(lab.server.api.post(TEST, &json!({})).into_future());
        valve.waiting.notified().await;
        let patch = tokio::spawn(lab.server.api.patch(ONE, &edit).into_future());
        valve.waiting.notified().await;
        valve.turn(Flow::Open);
        patch.await.unwrap().is(200);
        let answer = answer.await.unwrap().is(200).json();
        let mapping = lab.server.api.get(ONE).await.json();
        for (field, value) in edit.as_object().unwrap() {
            assert_eq!(mapping[field], *value);
        }
        assert_eq!(mapping["last_test_succeeded"], if kept { json!(true) } else { Value::Null }, "{answer}");
        lab.server.settled().await;
    }
}

#[tokio::test]
async fn many_tests_and_edits_at_once_all_count() {
    let lab = with_mapping().await;
    let tests = (0..8).map(|_| lab.server.api.post(TEST, &json!({})).into_future());
    let names: Vec<_> = (0..8).map(|number| json!({"external_org_name": format!("name {number}")})).collect();
    let edits = names.iter().map(|name| lab.server.api.patch(ONE, name).into_future());
    for answer in futures::future::join_all(tests.chain(edits)).await {
        let body = answer.is(200).json();
        assert!(body.get("details").is_none_or(|details| details["stored"] == true), "{body}");
    }
    assert_eq!(stored(&lab).await.0, true);
    let history = lab.server.history("acme").await;
    assert_eq!(history.matches("integration_mapping.updated").count(), 8, "{history}");
    lab.server.settled().await;
}

#[tokio::test]
async fn an_edit_of_what_was_tested_forgets_the_test() {
    let lab = with_mapping().await;
    test(&lab).await;
    lab.server.api.patch(ONE, &json!({"external_org_name": "x"})).await.is(200);
    assert_eq!(stored(&lab).await.0, true);
    lab.server.api.patch(ONE, &json!({"external_org_id": "101"})).await.is(200);
    assert_eq!(stored(&lab).await, (Value::Null, Value::Null));
    lab.server.settled().await;
}

#[tokio::test]
async fn what_cannot_be_tested_is_refused_as_a_read_is() {
    let lab = with_mapping().await;
    let refused = async |path: &str, status: u16| {
        let test = lab.server.api.post(&format!("{path}/test"), &json!({})).await.is(status);
        assert_eq!(test.body, lab.server.api.get(path).await.is(status).body, "{path}");
    };
    refused("/organizations/acme/integrations/psa/mapping_2", 404).await;
    refused("/organizations/nobody/integrations/psa/mapping_1", 404).await;
    refused("/organizations/acme/integrations/hallo/mapping_1", 404).await;
    refused("/organizations/acme/integrations/psa/nothing", 400).await;
    lab.server.api.post(TEST, &json!({})).header("x-organization-id", "globex").await.is(400);
    lab.server.api.post(TEST, &json!({})).header("x-dev-user", "").await.is(400);
    lab.server.api.delete(ONE).await.is(204);
    refused(ONE, 404).await;
    assert_eq!(lab.external.calls(), 0);
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_the_test_can_be_repeated() {
    let valve = Valve::new();
    let lab = mapped(Lab::on(valve.clone(), Duration::from_secs(20)).await).await;
    lab.server.settled().await;
    lab.vault.down.send_replace(true);
    lab.server.api.post(TEST, &json!({})).await.is(503);
    lab.vault.down.send_replace(false);
    lab.external.close();
    let answer = tokio::spawn(lab.server.api.post(TEST, &json!({})).into_future());
    lab.external.called(1).await;
    valve.turn(Flow::Down);
    lab.external.open();
    answer.await.unwrap().is(503);
    valve.turn(Flow::Open);
    assert_eq!(stored(&lab).await, (Value::Null, Value::Null));
    test(&lab).await;
    assert_eq!(lab.server.audit("acme").await.len(), 2);
}

/// The longer routes too: what needs the store has the same few seconds there.
#[tokio::test]
async fn a_store_that_hangs_is_answered_within_five_seconds() {
    let valve = Valve::new();
    let lab = mapped(Lab::on(valve.clone(), Duration::from_mins(2)).await).await;
    lab.server.settled().await;
    lab.external.close();
    let tested = tokio::spawn(lab.server.api.post(TEST, &json!({})).into_future());
    lab.external.called(1).await;
    valve.turn(Flow::Hung);
    let began = Instant::now();
    lab.external.open();
    let calls = [
        lab.server.api.post(TEST, &json!({})),
        lab.server.api.get("/integrations/psa/discover"),
        lab.server.api.get("/integrations/psa/discover?orgId=acme&refresh=true"),
    ];
    let answers = futures::future::join_all(calls.map(IntoFuture::into_future)).await;
    for answer in answers.into_iter().chain([tested.await.unwrap()]) {
        assert_eq!(answer.is(503).json()["error"], "Storage unavailable");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(lab.external.calls(), 1);
    valve.turn(Flow::Open);
}

#[tokio::test]
async fn the_examples_can_be_tested() {
    let registry = Registry::new(examples().unwrap());
    let app = App::new(Arc::new(EmbeddedTables::in_memory().unwrap()), registry, Arc::new(NoSecrets));
    let server = Server::with(app).await;
    for (integration, external, id) in
        [("example_psa", "1001", "mapping_1"), ("example_psa", "9", "mapping_2"), ("example_rmm", "1", "mapping_3")]
    {
        server.api.post(COLLECTION, &named_mapping(integration, external, id)).await.is(201);
    }
    let test = async |path: &str| server.api.post(&format!("{COLLECTION}/{path}/test"), &json!({})).await;
    assert_eq!(test("example_psa/mapping_1").await.is(200).json()["success"], true);
    assert_eq!(test("example_psa/mapping_2").await.is(200).json()["details"]["class"], "not_found");
    insta::assert_snapshot!(stable(&test("example_rmm/mapping_3").await.is(400).json()), @r#"
    {
      "error": "Not supported",
      "message": "integration example_rmm cannot test a connection; look at the mapping in the external system itself"
    }
    "#);
}
