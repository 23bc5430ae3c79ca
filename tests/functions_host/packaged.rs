//! The real program in its packaged folder, behind the double: every function, every method, both ways of calling.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crosswalk::http::ROUTES;
use reqwest::{Client, Method, Response, StatusCode, Url, redirect::Policy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    echo::DEADLINE,
    host::{FunctionsHost, Mode, Severity, State},
    layout,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_crosswalk");
const ORGANIZATION: &str = "11111111-2222-3333-4444-555555555555";

/// The folder as it arrives on the service: the debug program, and no `local.settings.json`, which publishing leaves out.
pub fn debug_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    layout::lay_out(repository, Path::new(PROGRAM), folder.path()).unwrap_or_else(|error| panic!("{error:#}"));
    fs::remove_file(folder.path().join("local.settings.json")).expect("it was laid out");
    folder
}

/// A host with the packaged program on an embedded store that knows one organization and one administrator.
struct Packaged {
    host: FunctionsHost,
    client: Client,
    /// Of an integration that organizations can be mapped in.
    integration: String,
    _folders: [TempDir; 2],
}

impl Packaged {
    async fn start(mode: Mode) -> Self {
        let (folder, data) = (debug_folder(), TempDir::new().expect("a temporary folder"));
        seed(data.path());
        let settings =
            [("CROSSWALK_AUTH", "development"), ("CROSSWALK_DATA_DIR", data.path().to_str().expect("a path in UTF-8"))];
        let host = FunctionsHost::start(folder.path(), mode, &settings).await;
        let host = host.unwrap_or_else(|error| panic!("{error}"));
        let client = Client::builder().redirect(Policy::none()).timeout(DEADLINE).build().expect("a client");
        let mut packaged = Self { host, client, integration: String::new(), _folders: [folder, data] };
        packaged.integration = packaged.mappable_integration().await;
        packaged
    }

    async fn mappable_integration(&self) -> String {
        let registry = self.json("Integrations", Method::GET, "integrations", Value::Null, 200).await;
        let integrations = registry["integrations"].as_array().unwrap_or_else(|| panic!("no list: {registry}"));
        // The only one that needs no settings: the manifests of the package come before it.
        let example = integrations.iter().find(|one| one["name"] == "example_psa");
        assert!(example.is_some_and(|one| one["supports_org_mapping"] == true), "{registry}");
        "example_psa".to_owned()
    }

    fn url(&self, path: &str) -> Url {
        format!("{}/api/{path}", self.host.base_url).parse().expect("a URL")
    }

    /// Sends a request and makes sure that exactly `function` was called for it.
    async fn send(&self, function: &str, method: Method, path: &str, body: &Value) -> Response {
        self.host.take_calls();
        let mut request = self.client.request(method.clone(), self.url(path));
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(self.host.take_calls(), [function], "{method} {path}");
        response
    }

    async fn json(&self, function: &str, method: Method, path: &str, body: Value, status: u16) -> Value {
        let response = self.send(function, method.clone(), path, &body).await;
        let found = response.status().as_u16();
        let text = response.text().await.expect("a body");
        assert_eq!(found, status, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text:?}"))
    }

    /// Creates a mapping and answers its path.
    async fn create(&self, external: &str) -> String {
        let body = json!({"integration_name": self.integration, "external_org_id": external});
        let list = format!("organizations/{ORGANIZATION}/integrations");
        let mapping = self.json("OrganizationMappings", Method::POST, &list, body, 201).await;
        let id = mapping["id"].as_str().unwrap_or_else(|| panic!("no id: {mapping}"));
        format!("{list}/{}/{id}", self.integration)
    }
}

/// What the platform keeps: the organization, and the user that development mode takes every caller for.
fn seed(data: &Path) {
    let rows = data.join("seed.json");
    let tables = json!({
        "Organizations": [
            {"PartitionKey": "ORG", "RowKey": ORGANIZATION, "Name": "Contoso", "IsActive": true},
        ],
        "Users": [
            {"PartitionKey": "USER", "RowKey": "dev-admin", "UserType": "MSP", "IsMspAdmin": true, "IsActive": true},
        ],
    });
    fs::write(&rows, tables.to_string()).expect("it can be written");
    let output = Command::new(PROGRAM)
        .arg("seed")
        .arg(&rows)
        .env_clear()
        .envs([("CROSSWALK_AUTH", "development")])
        .env("CROSSWALK_DATA_DIR", data)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "crosswalk seed: {}", String::from_utf8_lossy(&output.stderr));
}

async fn every_function_answers(mode: Mode) {
    let packaged = Packaged::start(mode).await;
    let integration = packaged.integration.as_str();
    let list = format!("organizations/{ORGANIZATION}/integrations");
    let one = format!("{list}/{integration}");
    let (get, none) = (Method::GET, Value::Null);

    packaged.json("Health", get.clone(), "health", none.clone(), 200).await;
    let openapi = packaged.json("OpenApi", get.clone(), "openapi.json", none.clone(), 200).await;
    assert!(openapi["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{mode:?}");
    let organizations = packaged.json("Organizations", get.clone(), "organizations", none.clone(), 200).await;
    assert_eq!(organizations["organizations"][0]["id"], ORGANIZATION, "{organizations}");

    let body = json!({"integration_name": integration, "external_org_id": "ext-1", "mapping_id": "mapping_one"});
    let created = packaged.send("OrganizationMappings", Method::POST, &list, &body).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    // Made from headers that the host rewrites; a client must be able to follow it.
    let location = created.headers()["location"].to_str().expect("text");
    let location = packaged.url(&list).join(location).expect("a URL");
    assert_eq!(location, packaged.url(&format!("{one}/mapping_one")), "{mode:?}");
    let etag = created.headers()["etag"].clone();

    let mappings = packaged.json("OrganizationMappings", get.clone(), &list, none.clone(), 200).await;
    assert_eq!((&mappings["count"], &mappings["mappings"][0]["external_org_id"]), (&json!(1), &json!("ext-1")));
    let resolved = packaged.json("IntegrationMapping", get.clone(), &one, none.clone(), 200).await;
    assert_eq!(resolved["id"], "mapping_one");
    let set = json!({"external_org_id": "ext-2"});
    packaged.json("IntegrationMapping", Method::PUT, &one, set, 200).await;

    let path = format!("{one}/mapping_one");
    let request = packaged.client.patch(packaged.url(&path)).header("if-match", etag).json(&json!({}));
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::PRECONDITION_FAILED);
    let changed = json!({"external_org_name": "Contoso Ltd"});
    packaged.json("Mapping", Method::PATCH, &path, changed, 200).await;
    let read = packaged.json("Mapping", get.clone(), &path, none.clone(), 200).await;
    assert_eq!((&read["external_org_id"], &read["external_org_name"]), (&json!("ext-2"), &json!("Contoso Ltd")));

    let discover = format!("integrations/{integration}/discover?orgId={ORGANIZATION}&refresh=true");
    let found = packaged.json("Discovery", get.clone(), &discover, none.clone(), 200).await;
    assert_eq!(found["organizations"][0]["id"], "1001", "{found}");
    let test = format!("{path}/test");
    let tested = packaged.json("ConnectionTest", Method::POST, &test, none.clone(), 200).await;
    assert_eq!((&tested["success"], &tested["details"]["class"]), (&json!(false), &json!("not_found")), "{tested}");

    let reverse = format!("integrations/{integration}/mappings?externalOrgId=ext-2");
    let found = packaged.json("IntegrationMappings", get.clone(), &reverse, none.clone(), 200).await;
    assert_eq!(found["mappings"][0]["org_id"], ORGANIZATION, "{found}");
    let deleted = packaged.send("Mapping", Method::DELETE, &path, &none).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    packaged.json("Mapping", get.clone(), &path, none.clone(), 404).await;

    for unknown in ["nothing", "", "organizations/x/nothing", "admin", "organizations//integrations"] {
        let answer = packaged.json("UnknownRoute", get.clone(), unknown, none.clone(), 404).await;
        assert!(answer["error"].is_string() && answer["message"].is_string(), "/api/{unknown}: {answer}");
    }

    let timer = packaged.host.run_timer("RepairTimer").await.unwrap_or_else(|error| panic!("{error}"));
    assert!(timer.get("Outputs").is_some(), "{timer}");

    // The host shows every line of standard error as an error.
    let errors: Vec<_> =
        packaged.host.console().into_iter().filter(|line| line.severity != Severity::Information).collect();
    assert_eq!(errors, [], "log to standard output");
}

#[tokio::test]
async fn every_function_answers_through_the_proxy() {
    every_function_answers(Mode::Proxy).await;
}

#[tokio::test]
async fn every_function_answers_forwarded() {
    every_function_answers(Mode::Forward).await;
}

#[tokio::test]
async fn host_json_asks_for_the_proxy() {
    let host = fs::read_to_string(debug_folder().path().join("host.json")).expect("it was laid out");
    let host: Value = serde_json::from_str(&host).expect("JSON");
    assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true);
    assert!(host["customHandler"].get("enableForwardingHttpRequest").is_none(), "the older way loses query keys");
}

/// What a client may do where; everything else is a 405 that says so. The contract, written down a second time on purpose.
const METHODS: [(&str, &str, &[&str]); 12] = [
    ("Health", "health", &["GET"]),
    ("OpenApi", "openapi.json", &["GET"]),
    ("Organizations", "organizations", &["GET"]),
    ("Integrations", "integrations", &["GET"]),
    ("Discovery", "integrations/{integration}/discover", &["GET"]),
    ("IntegrationMappings", "integrations/{integration}/mappings", &["GET"]),
    ("OrganizationMappings", "organizations/{org}/integrations", &["GET", "POST"]),
    ("IntegrationMapping", "organizations/{org}/integrations/{integration}", &["GET", "PUT"]),
    ("Mapping", "organizations/{org}/integrations/{integration}/mapping_x", &["GET", "PATCH", "DELETE"]),
    ("ConnectionTest", "organizations/{org}/integrations/{integration}/mapping_x/test", &["POST"]),
    ("Secrets", "secrets/psa_api_key", &["PUT"]),
    ("Audit", "organizations/{org}/audit", &["GET"]),
];

#[test]
fn the_methods_of_every_route_are_tried() {
    let tried: BTreeSet<&str> = METHODS.iter().map(|(function, ..)| *function).collect();
    let routes: BTreeSet<&str> = ROUTES.iter().map(|route| route.function).collect();
    assert_eq!(tried, routes, "left: METHODS in this file, right: crosswalk::http::ROUTES");
}

async fn wrong_methods_are_405(mode: Mode) {
    let packaged = Packaged::start(mode).await;
    for (function, template, allowed) in METHODS {
        let path = template.replace("{org}", ORGANIZATION).replace("{integration}", &packaged.integration);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let parsed = Method::from_bytes(method.as_bytes()).expect("a method");
            let response = packaged.send(function, parsed, &path, &json!({})).await;
            let status = response.status();
            if allowed.contains(&method) {
                assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                assert!(!status.is_server_error(), "{method} {path}: {status}");
                continue;
            }
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let allow = response.headers().get("allow").unwrap_or_else(|| panic!("{method} {path}: no Allow"));
            let allow: Vec<&str> = allow.to_str().expect("text").split(',').map(str::trim).collect();
            for method in allowed {
                assert!(allow.contains(method), "{path}: {method} is not in Allow: {allow:?}");
            }
            assert!(!allow.contains(&method), "{path}: {method} is in Allow: {allow:?}");
            let error: Value = response.json().await.expect("an error in JSON");
            assert!(error["error"].is_string() && error["message"].is_string(), "{method} {path}: {error}");
        }
    }
}

#[tokio::test]
async fn wrong_methods_are_405_through_the_proxy() {
    wrong_methods_are_405(Mode::Proxy).await;
}

#[tokio::test]
async fn wrong_methods_are_405_forwarded() {
    wrong_methods_are_405(Mode::Forward).await;
}

#[tokio::test]
async fn a_killed_program_is_back_with_its_data() {
    let packaged = Packaged::start(Mode::Proxy).await;
    let path = packaged.create("ext-1").await;
    let killed = packaged.host.handler_pid().await;
    let kill = Command::new("kill").args(["-9", &killed.to_string()]).status().expect("kill is there");
    assert!(kill.success());
    let restarted = |state: &State| matches!(state, State::Ready { pid, .. } if *pid != killed);
    packaged.host.wait_for(restarted).await;
    let mapping = packaged.json("Mapping", Method::GET, &path, Value::Null, 200).await;
    assert_eq!(mapping["external_org_id"], "ext-1");
}

#[tokio::test]
async fn the_timer_can_not_be_reached_from_outside() {
    let packaged = Packaged::start(Mode::Proxy).await;
    let url = format!("{}/RepairTimer", packaged.host.base_url);
    let response = packaged.client.post(url).json(&json!({})).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(packaged.host.take_calls(), Vec::<String>::new());
    let answer = packaged.json("UnknownRoute", Method::POST, "RepairTimer", json!({}), 404).await;
    assert!(answer["error"].is_string(), "{answer}");
}
