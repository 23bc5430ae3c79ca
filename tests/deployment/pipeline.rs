//! What provisions and publishes: `azure.yaml`, the workflow, the app registration, the ignored files.

use std::{collections::BTreeSet, fs};

use regex_lite::Regex;
use serde_json::{Value, json};

use crate::{
    bicep::{Kind, file},
    root,
    tools::{program, python},
};

const WORKFLOW: &str = ".github/workflows/publish.yml";

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn azd_packages_with_the_package_command_and_publishes_what_it_lays_out() {
    // All that the schema of azure.yaml requires or restricts, as far as it is used.
    let all = yaml("azure.yaml");
    assert_eq!(all["name"], "crosswalk");
    let service = &all["services"]["api"];
    let main = text("examples/package/main.rs");
    let dist = service["dist"].as_str().unwrap();
    assert!(
        main.contains(&format!("default_value = \"{dist}\"")),
        "{dist}: the package command lays out another folder"
    );
    assert_eq!(
        (&service["host"], &service["language"], &service["project"]),
        (&json!("function"), &json!("custom"), &json!("."))
    );
    let hook = |shell| json!({"shell": shell, "run": "cargo run --locked --example package"});
    assert_eq!(service["hooks"], json!({"prepackage": {"posix": hook("sh"), "windows": hook("pwsh")}}));
    assert!(text(".ci/run").contains("\ncargo run --locked --example package\n"), "the gate runs the same");

    // azd finds the app by this tag, and the resource group by the other.
    let app = file("modules/function-app.bicep").declarations();
    let app = app.iter().find(|one| one.resource_type() == "Microsoft.Web/sites").unwrap();
    assert_eq!(app.value["tags"]["="], "union(tags, { 'azd-service-name': 'api' })");
    assert!(file("main.bicep").text.contains("{ 'azd-env-name': environmentName }"));
}

#[test]
fn what_is_for_this_machine_is_not_published() {
    let ignored = text(".funcignore");
    let ignored: BTreeSet<_> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ignored, ["data", "local.settings.json"].into());
    let zip = step("check", |step| step["name"] == "Zip the package")["run"].as_str().unwrap().to_owned();
    for name in ignored {
        // The gate has started nothing in the folder, so there is no data.
        assert!(name == "data" || zip.contains(name), "{name}");
    }
}

fn step(job: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut found: Vec<_> = steps(&yaml(WORKFLOW), job).into_iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn steps(workflow: &Value, job: &str) -> Vec<Value> {
    workflow["jobs"][job]["steps"].as_array().unwrap().clone()
}

#[test]
fn the_workflow_fits_its_schema() {
    python(["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW]);
}

#[test]
fn the_workflow_has_no_known_weakness() {
    program("zizmor", &["--offline", "--no-progress", "--quiet", WORKFLOW]);
}

#[test]
fn only_the_publishing_job_may_sign_in_and_only_for_a_tag_that_was_checked() {
    let workflow = yaml(WORKFLOW);
    assert_eq!(workflow["permissions"], json!({}));
    let jobs = &workflow["jobs"];
    assert_eq!(jobs.as_object().unwrap().len(), 2);
    assert_eq!(jobs["check"]["permissions"], json!({"contents": "read"}));
    let publish = &jobs["publish"];
    assert_eq!(publish["permissions"], json!({"contents": "read", "id-token": "write"}));
    assert_eq!((&publish["if"], &publish["needs"]), (&json!("github.ref_type == 'tag'"), &json!("check")));
    // The name that the identity's subject has.
    let main = file("main.bicep").declarations();
    let environment = main.iter().find(|one| one.kind == Kind::Param && one.name == "githubEnvironment").unwrap();
    assert_eq!(publish["environment"], environment.value);
    assert!(file("modules/publisher.bicep").text.contains("'repo:${repository}:environment:${environmentName}'"));

    // No stored secret, and every action at one commit, whose version stands beside it.
    let text = text(WORKFLOW);
    assert!(!text.contains("secrets."), "a stored secret");
    let pinned = Regex::new(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+( |$)").unwrap();
    let actions: Vec<_> = text.lines().filter(|line| line.contains("uses:")).collect();
    assert!(actions.len() > 4 && actions.iter().all(|line| pinned.is_match(line)), "{actions:#?}");
}

#[test]
fn the_workflow_runs_the_gate_then_publishes_what_it_packaged_and_looks_whether_it_serves() {
    let workflow = yaml(WORKFLOW);
    let runs = |job| {
        let steps = steps(&workflow, job);
        steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(runs("check").iter().any(|run| run == ".ci/run"));
    let zip = step("check", |step| step["name"] == "Zip the package");
    assert_eq!(zip["working-directory"], yaml("azure.yaml")["services"]["api"]["dist"]);
    let name = "$RUNNER_TEMP/crosswalk.zip";
    let publish = runs("publish");
    assert!(zip["run"].as_str().unwrap().contains(name) && publish[0].contains(name), "{zip} {publish:?}");
    assert_eq!(publish.last().unwrap(), ".github/smoke-test \"$URL\" \"${GITHUB_REF_NAME#v}\"");
    // The Rust that is installed is the one the code asks for.
    assert!(text("Cargo.toml").contains("\nrust-version = \"1."));
    assert!(runs("check")[0].contains(r#"sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml"#));
}

/// Every variable that the workflow takes from its environment is an output, or said on the page.
#[test]
fn the_variables_of_the_workflow_are_provided() {
    let page = text("docs/deploy.md");
    let outputs = file("main.bicep").declarations();
    for found in Regex::new(r"vars\.(\w+)").unwrap().captures_iter(&text(WORKFLOW)) {
        let name = &found[1];
        let is_output = outputs.iter().any(|one| one.kind == Kind::Output && one.name == name);
        assert!(is_output || ["AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"].contains(&name), "{name}: nobody has it");
        assert!(page.contains(&format!("`{name}`")), "{name}: not on the page");
    }
}

#[test]
fn the_app_registration_has_the_role_that_the_program_knows() {
    let registration: Value = serde_json::from_str(&text("infra/app-registration.json")).unwrap();
    let roles = registration["appRoles"].as_array().unwrap();
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["value"], crosswalk::auth::WORKFLOWS_ROLE);
    assert_eq!(roles[0]["allowedMemberTypes"], json!(["Application"]), "users have rights of their own");
    let scopes = registration["api"]["oauth2PermissionScopes"].as_array().unwrap();
    let ids: BTreeSet<_> = roles.iter().chain(scopes).map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        assert_eq!(uuid::Uuid::try_parse(id).unwrap().to_string(), id);
    }
    // Without a scope no user could get a token that the program takes.
    assert_eq!((&scopes[0]["type"], &scopes[0]["isEnabled"]), (&json!("User"), &json!(true)));
    assert_eq!(registration["signInAudience"], "AzureADMyOrg", "tokens of one tenant are taken");
    assert_eq!(registration.get("passwordCredentials"), None);
}

#[test]
fn the_tasks_of_the_editor_are_valid() {
    let tasks: Value = serde_json::from_str(&text(".vscode/tasks.json")).unwrap();
    let tasks = tasks["tasks"].as_array().unwrap();
    let labels: BTreeSet<_> = tasks.iter().map(|task| task["label"].as_str().unwrap()).collect();
    assert!(labels.contains("func start") && labels.len() == tasks.len());
    for needed in tasks.iter().filter_map(|task| task["dependsOn"].as_array()).flatten() {
        assert!(labels.contains(needed.as_str().unwrap()), "{needed}");
    }
}
