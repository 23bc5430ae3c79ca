//! `crosswalk integrations check --live`: the real program against systems on this machine.

use std::{fs, path::Path, process::Command};

use regex_lite::Regex;
use serde_json::json;
use tempfile::TempDir;

use crate::system::{Reply, System};

const SECRET: &str = "opensesame-of-the-msp";

/// A folder with these manifests, the organization `acme`, and a secret for each.
async fn folder(ids: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("integrations")).unwrap();
    let mut secrets = serde_json::Map::new();
    for id in ids {
        let manifest = format!(
            "id: {id}\nname: The System\ndocs_url: https://example.com\nconfidence: high\n\
             config: [{{key: api_key, title: Key, type: secret, help: Settings}}]\n\
             base_url: https://{host}.example.com\nauth: {{type: bearer, token: '{{{{config.api_key}}}}'}}\n\
             list_organizations: {{request: {{path: /orgs}}, record_selector: '', paginator: {{type: single_page}}, \
             mapping: {{id: /id, name: /name}}}}\nget_organization: {{request: {{path: '/orgs/{{{{org.id}}}}'}}}}\n",
            host = id.replace('_', "-")
        );
        fs::write(folder.path().join(format!("integrations/{id}.yaml")), manifest).unwrap();
        secrets.insert(format!("{}-api-key", id.replace('_', "-")), json!(SECRET));
    }
    fs::write(folder.path().join("secrets.json"), json!(secrets).to_string()).unwrap();
    let seed = json!({"Organizations": [{"PartitionKey": "ORG", "RowKey": "acme", "Name": "Acme", "IsActive": true}]});
    fs::write(folder.path().join("seed.json"), seed.to_string()).unwrap();
    let seeded = crosswalk(folder.path(), &["seed", "seed.json"], "").await;
    assert!(seeded.starts_with("0 "), "{seeded}");
    folder
}

/// The exit code and everything that was printed, without how long it took.
async fn crosswalk(folder: &Path, arguments: &[&str], host_map: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosswalk"));
    command.args(arguments).current_dir(folder).env_clear().envs([
        ("CROSSWALK_AUTH", "development"),
        ("CROSSWALK_SECRETS_FILE", "secrets.json"),
        ("CROSSWALK_INTEGRATIONS_DIR", "integrations"),
        ("RUST_LOG", "off"),
    ]);
    if !host_map.is_empty() {
        command.env("CROSSWALK_HOST_MAP", host_map);
    }
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert!(!printed.contains(SECRET), "{printed}");
    let printed = Regex::new(r"in \d+\.\d s").unwrap().replace_all(&printed, "in N s");
    format!("{} {printed}", ended.status.code().unwrap())
}

#[tokio::test]
async fn each_system_is_listed_and_read_or_told_why_not() {
    let system = System::start(|asked| match (asked.host.as_str(), asked.path.as_str()) {
        ("good.example.com", "/orgs") => Reply::json(&json!([{"id": 7, "name": "Seven"}, {"id": 8, "name": "Eight"}])),
        ("good.example.com", "/orgs/7") => Reply::json(&json!({"id": 7, "name": "Seven"})),
        ("empty.example.com", "/orgs") => Reply::json(&json!([])),
        ("nameless.example.com", "/orgs") => Reply::json(&json!([{"id": 7, "title": "Seven"}])),
        ("nameless.example.com", "/orgs/7") => Reply::json(&json!({"id": 7})),
        ("refuses.example.com", _) => Reply::text(SECRET).status(401),
        ("moved.example.com", "/orgs") => Reply::json(&json!([{"id": 7, "name": "Seven"}])),
        _ => Reply::text("").status(404),
    })
    .await;
    let host_map = format!("*={}", system.address());
    let folder = folder(&["acme_psa", "empty", "good", "moved", "nameless", "refuses", "unset"]).await;
    let secrets = folder.path().join("secrets.json");
    fs::write(&secrets, fs::read_to_string(&secrets).unwrap().replace("unset-api-key", "other")).unwrap();

    let told = crosswalk(folder.path(), &["integrations", "check", "--live"], &host_map).await;
    insta::assert_snapshot!(told, @r"
    1 acme_psa ... the secret 'acme-psa-api-key' can't be used as a global one: it could be one of organization acme; choose another key, or another id for the integration
    empty ... 0 organizations in N s: may the credentials see none?
    good ... 2 organizations in N s; connected to Seven (7) in The System
    moved ... not_found: the system knows no organization with the id 7 (GET moved.example.com/orgs/7: status 404: there is no such thing). Check the external organization's id; discover the organizations and choose it again
    nameless ... 1 organizations in N s, none of them with a name (is mapping.name right?); connected to 7 (7) in The System
    refuses ... authentication: GET refuses.example.com/orgs: status 401: the credentials were refused; sent were refuses_api_key. Check the credentials that were sent: expired, revoked, or for another instance or region
    unset ... not tried: Key (api_key) is not set; PUT /api/secrets/unset_api_key stores it as the secret 'unset-api-key'
    ");
    let one = ["integrations", "check", "--live", "integrations/good.yaml"];
    insta::assert_snapshot!(crosswalk(folder.path(), &one, &host_map).await, @"0 good ... 2 organizations in N s; connected to Seven (7) in The System");
    let own = ["integrations", "check", "--live", "--org", "acme", "integrations/unset.yaml"];
    insta::assert_snapshot!(crosswalk(folder.path(), &own, &host_map).await, @r"
    1 unset ... not tried: Key (api_key) is not set; PUT /api/secrets/unset_api_key stores it as the secret 'acme-unset-api-key' or 'unset-api-key'
    nothing could be tried: give the settings of an integration
    ");
    let nobody = ["integrations", "check", "--live", "--org", "nobody"];
    insta::assert_snapshot!(crosswalk(folder.path(), &nobody, &host_map).await, @"1 crosswalk: --org nobody: there is no such organization");
}
