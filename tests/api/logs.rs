//! The log of the real program at its most talkative: every line is JSON and can be found by its request, and nothing that a
//! caller sent in confidence is in any of them.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::Client,
    process::{Running, crosswalk},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const INVOCATION: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
const ACME: &str = "/organizations/acme/integrations";

/// Every mapping has a key of its own, which the system refuses.
const OWN_KEY: &str = r#"
id: own_key
name: Own key
docs_url: https://rmm.example.test/docs
confidence: low
mapping_data: [{key: api_key, title: Key, type: secret, help: Make one up}]
base_url: https://rmm.example.test/api
auth: {type: api_key, headers: {X-API-Key: "{{mapping.api_key}}"}, query: {key: "{{mapping.api_key}}"}}
get_organization: {request: {path: "/sites/{{org.id}}"}, mapping: {id: /site_id, name: /display_name}}
"#;

/// A program whose every word is kept.
struct Talkative {
    running: Running,
    api: Client,
    printed: String,
    folder: TempDir,
}

impl Talkative {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("integrations")).unwrap();
        std::fs::write(folder.path().join("integrations/own_key.yaml"), OWN_KEY).unwrap();
        let command = crosswalk(folder.path(), &["dev"], &[("RUST_LOG", "trace")]);
        let (running, address, printed) = Running::serving(command);
        Self { running, api: Client::new(format!("http://{address}")), printed, folder }
    }

    /// Stops it. All that it wrote, and its JSON lines.
    fn stop(mut self) -> (String, Vec<Value>) {
        self.running.signal("TERM");
        self.running.ended();
        let all = format!("{}{}{}", self.printed, self.running.rest(), self.running.errors());
        let lines = all
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        let lines = lines.collect();
        (all, lines)
    }
}

#[tokio::test]
async fn every_line_of_a_request_has_its_ids_also_when_it_goes_on_elsewhere() {
    let program = Talkative::start();
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let discover = program.api.get("/integrations/example_psa/discover").header("traceparent", &traceparent);
    let answer = discover.header("x-azure-functions-invocationid", INVOCATION).await.is(200);
    assert_eq!(answer.header("x-correlation-id"), TRACE);
    let other = program.api.get("/organizations").await.is(200).header("x-correlation-id").to_owned();
    program.api.get("/health").await.is(200);
    let (all, lines) = program.stop();
    let of = |trace: &str| -> Vec<&Value> { lines.iter().filter(|line| line["trace_id"] == trace).collect() };

    let own = of(TRACE);
    assert!(own.iter().all(|line| line["invocation_id"] == INVOCATION), "{all}");
    let said = |message: &str| own.iter().filter(|line| line["message"] == message).count();
    assert_eq!((said("request"), said("discovery")), (1, 1), "the fetch is a task of its own: {all}");
    let request = own.iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!(request["level"], "INFO");
    assert_eq!(
        (&request["method"], &request["route"]),
        (&json!("GET"), &json!("integrations/{integrationName}/discover"))
    );
    assert_eq!(request["status"], 200);
    assert!(request["millis"].as_f64().unwrap() > 0.0 && request["timestamp"].is_string(), "{request}");

    let other = of(&other);
    assert_eq!(other.len(), 1, "{all}");
    assert!(other[0].get("invocation_id").is_none());
    let health = lines.iter().find(|line| line["route"] == "health").unwrap();
    assert_eq!(health["level"], "DEBUG");
}

#[tokio::test]
async fn nothing_that_a_caller_sends_in_confidence_is_logged() {
    const SECRETS: [&str; 12] = [
        "s3cret-of-a-mapping",
        "s3cret-of-it-later",
        "s3cret-query",
        "s3cret-path",
        "s3cret-body",
        "s3cret-header",
        "s3cret-token",
        "s3cret-trace",
        "s3cret-cookie",
        "s3cret-name",
        "s3cret-value",
        "S3CRETMETHOD",
    ];
    let program = Talkative::start();
    let api = &program.api;
    let loaded = |method: Method, path: &str, body: &Value| {
        api.call(method, path)
            .json(body)
            .query(&[("code", "s3cret-query"), ("activeOnly", "s3cret-query")])
            .header("authorization", "Bearer s3cret-token")
            .header("x-functions-key", "s3cret-header")
            .header("cookie", "session=s3cret-cookie")
            .header("x-organization-id", "s3cret-header")
            .header("if-match", "\"s3cret-header\"")
            .header("traceparent", "00-s3cret-trace-1-1")
            .header("x-azure-functions-invocationid", "s3cret-trace")
    };
    let data = json!({"external_org_id": "s3cret-name", "external_org_name": "s3cret-name", "mapping_data": {"password": "s3cret-body"}});
    for path in [
        "/organizations/acme/integrations/example_psa/mapping_1",
        "/organizations/acme/integrations/example_psa/mapping_s3cret-path",
        "/organizations/acme/integrations/s3cret-path/mapping_1/test",
        "/organizations/s3cret-path/integrations",
        "/organizations/s3cret-path/audit",
        "/organizations/acme/audit",
        "/integrations/s3cret-path/discover",
        "/integrations/example_psa/discover",
        "/s3cret-path",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "S3CRETMETHOD"] {
            loaded(method.parse().unwrap(), path, &data).await;
            loaded(method.parse().unwrap(), path, &data).header("origin", "https://s3cret-header").await;
        }
    }
    // What is accepted, stored, read and tested.
    let mut create = data.clone();
    create["integration_name"] = "example_psa".into();
    create["mapping_id"] = "mapping_1".into();
    api.post(ACME, &create).header("authorization", "Bearer s3cret-token").await.is(201);
    let one = format!("{ACME}/example_psa/mapping_1");
    api.patch(&one, &json!({"mapping_data": {"password": "s3cret-body", "more": 1}})).await.is(200);
    api.post(&format!("{one}/test"), &json!({})).await.is(200);
    api.get(&one).query(&[("code", "s3cret-query")]).await.is(200);
    api.get("/integrations/example_psa/mappings").query(&[("externalOrgId", "s3cret-name")]).await.is(200);
    // A credential: stored, refused, and where none belongs.
    let credential = json!({"value": "s3cret-value", "scope": "acme"});
    api.put("/secrets/example_psa_client_secret", &credential).await.is(204);
    api.put("/secrets/example_psa_client_secret", &json!({"value": "s3cret-value", "scope": "s3cret-value"}))
        .await
        .is(404);
    api.put("/secrets/s3cret-value", &credential).await.is(400);
    api.call(Method::PUT, "/secrets/psa_key").text("{\"value\": \"s3cret-value\", ").await.is(400);
    api.post(&format!("{one}/test"), &json!({})).await.is(200);
    api.call(Method::POST, ACME).text("{\"password\": \"s3cret-body\", ").await.is(400);
    api.post(ACME, &create).header("x-dev-user", "s3cret-header s3cret-header").await.is(400);

    // A secret of a mapping: refused, stored, used, replaced, removed.
    let own = |value: &str| json!({"integration_name": "own_key", "external_org_id": "1", "mapping_data": {"api_key": value}});
    let created = api.post(ACME, &own("s3cret-of-a-mapping")).await.is(201);
    let path = format!("{ACME}/own_key/{}", created.json()["id"].as_str().unwrap());
    assert!(!created.text().contains("s3cret"), "{}", created.text());
    let mut wrong = own("s3cret-of-a-mapping");
    wrong["mapping_data"]["api_kye"] = "s3cret-of-a-mapping".into();
    wrong["mapping_data"]["s3cret-of-a-mapping"] = "api_key".into();
    api.post(ACME, &wrong).await.is(400);
    let tested = api.post(&format!("{path}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["details"]["class"], "authentication", "{}", tested.text());
    api.patch(&path, &json!({"mapping_data": {"api_key": "s3cret-of-it-later"}})).await.is(200);
    api.post(&format!("{path}/test"), &json!({})).await.is(200);
    api.delete(&path).await.is(204);

    let kept = std::fs::read_to_string(program.folder.path().join("data/secrets.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let credential = kept["example-psa-client-secret"].as_str().unwrap().to_owned();
    let (all, lines) = program.stop();
    for secret in SECRETS.into_iter().chain([&*credential]) {
        let found = all.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
    let methods: Vec<_> = lines.iter().filter(|line| line["method"] == "other").collect();
    assert_eq!(methods.len(), 18, "they are counted all the same");
}
