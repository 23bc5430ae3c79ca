//! `docs/deploy.md`: what it says to run runs here as far as it can, what its queries ask for is logged, what it names is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use regex_lite::Regex;
use serde_json::Value;

use crate::{
    bicep::{Kind, file},
    program::{PROGRAM, Serving},
    root,
};

/// The page.
pub fn page() -> String {
    fs::read_to_string(root().join("docs/deploy.md")).unwrap()
}

/// Its blocks in that language.
pub fn blocks(language: &str) -> Vec<String> {
    let block = Regex::new(&format!("(?ms)^```{language}\n(.*?)^```$")).unwrap();
    block.captures_iter(&page()).map(|found| found[1].to_owned()).collect()
}

/// The commands on the page, lines that go on put together.
pub fn commands() -> Vec<String> {
    blocks("sh")
        .iter()
        .flat_map(|block| block.replace("\\\n", "").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The one command on the page that begins like that.
fn command(beginning: &str) -> String {
    let found: Vec<_> = commands().into_iter().filter(|command| command.starts_with(beginning)).collect();
    assert_eq!(found.len(), 1, "{beginning}: {found:?}");
    found[0].clone()
}

/// Runs a command as a reader would, in the repository.
fn shell(command: &str, variables: &[(&str, &str)]) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(root()).envs(variables.iter().copied()).stdin(Stdio::null());
    shell.output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn the_health_check_tells_a_service_that_serves_from_one_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = Serving::start(folder.path(), &["dev"], &[]);
    let health = command("curl ");
    let output = shell(&health, &[("AZURE_FUNCTION_APP_URL", &program.url)]);
    assert!(output.status.success() && said(&output).contains(r#""status":"ok""#), "{}", said(&output));
    let url = program.url.clone();
    program.stop();
    assert!(!shell(&health, &[("AZURE_FUNCTION_APP_URL", &url)]).status.success());
}

#[test]
fn the_first_administrator_is_a_row_that_can_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("platform.json"), blocks("json").remove(0)).unwrap();
    let mut seed = Command::new(PROGRAM);
    let output = seed.args(["seed", "platform.json"]).current_dir(folder.path()).env_clear().output().unwrap();
    assert!(output.status.success() && said(&output).contains("Users: 1 rows"), "{}", said(&output));
}

#[test]
fn the_smoke_test_waits_for_the_version_and_fails_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = Serving::start(folder.path(), &["dev"], &[]);
    let smoke = command(".github/smoke-test ");
    let run = |version| {
        let variables = [("AZURE_FUNCTION_APP_URL", &*program.url), ("VERSION", version)];
        shell(&format!("{smoke} 1"), &variables)
    };
    let good = run(env!("CARGO_PKG_VERSION"));
    assert!(good.status.success(), "{}", said(&good));
    let other = run("0.0.0");
    assert!(!other.status.success() && said(&other).contains("does not serve 0.0.0"), "{}", said(&other));
    // Another attempt comes, and not for ever.
    assert!(
        !smoke.ends_with('1') && fs::read_to_string(root().join(".github/smoke-test")).unwrap().contains("${3:-30}")
    );
}

/// What can run here and is run by no test here is what the gate runs.
#[test]
fn every_command_that_can_run_here_is_run() {
    let gate = fs::read_to_string(root().join(".ci/run")).unwrap();
    let elsewhere = ["az ", "azd ", "gh ", "eval \"$(azd ", "export ", "cd dist/functionapp && func "];
    let here = ["curl ", ".github/smoke-test ", "cargo run --example operator -- "];
    let assignment = Regex::new(r"^\w+=\$\(az ").unwrap();
    for command in commands() {
        let is = |beginnings: &[&str]| beginnings.iter().any(|one| command.starts_with(one));
        let known =
            is(&elsewhere) || is(&here) || assignment.is_match(&command) || gate.contains(&format!("\n{command}\n"));
        assert!(known, "{command}: run it in a test, or say here why not");
    }
}

#[test]
fn what_the_page_names_is_there() {
    let page = page();
    for found in Regex::new(r"\]\((\.\./)?([\w./-]+)\)").unwrap().captures_iter(&page) {
        let path = Path::new("docs").join(found.get(1).map_or("", |up| up.as_str())).join(&found[2]);
        assert!(root().join(&path).exists(), "{}", path.display());
    }
    // Every variable in a command is an output, an earlier line's, or the reader's own.
    let own = ["AZURE_SUBSCRIPTION_ID", "WORKFLOW_OBJECT_ID", "VERSION", "AZURE_ENV_NAME", "AZURE_LOCATION"];
    let outputs = file("main.bicep").declarations().into_iter().filter(|one| one.kind == Kind::Output);
    let mut known: BTreeSet<String> = outputs.map(|one| one.name).chain(own.map(str::to_owned)).collect();
    let (set, used) = (Regex::new(r"(?:^|\s)(\w+)=").unwrap(), Regex::new(r"\$(\w+)").unwrap());
    for command in commands() {
        for name in used.captures_iter(&command) {
            assert!(known.contains(&name[1]), "{command}: where does {} come from?", &name[1]);
        }
        known.extend(set.captures_iter(&command).map(|name| name[1].to_owned()));
    }
    // What azd passes on is what the parameters read.
    let parameters = &file("main.bicepparam").text;
    for found in Regex::new(r"azd env set (\w+)").unwrap().captures_iter(&page) {
        assert!(parameters.contains(&format!("readEnvironmentVariable('{}'", &found[1])), "{}", &found[1]);
    }
    let main = file("main.bicep").declarations();
    for name in [
        "instanceMemoryMB",
        "maximumInstanceCount",
        "alwaysReadyInstances",
        "storageSku",
        "dailyLogLimitGB",
        "logFilter",
    ] {
        assert!(main.iter().any(|one| one.name == name) && page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_role_is_explained() {
    let page = page();
    for role in [
        "Storage Table Data Contributor",
        "Storage Blob Data Owner",
        "Monitoring Metrics Publisher",
        "Website Contributor",
        "*Crosswalk secrets of",
    ] {
        assert!(page.contains(&format!("| {role}")), "{role}");
    }
}

/// A program that serves, is asked, refuses, and warns; its log.
fn logged() -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let entra = [
        ("AZURE_TENANT_ID", "2f5b2f0e-8f9b-4f6e-9c0b-3a5d1e7f6a10"),
        ("CROSSWALK_AUDIENCE", "2f5b2f0e-8f9b-4f6e-9c0b-3a5d1e7f6a10"),
        ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:9"),
    ];
    let programs = [
        Serving::start(folder.path(), &["dev"], &[]),
        Serving::start(folder.path(), &[], &[&entra[..], &[("CROSSWALK_DATA_DIR", "other")]].concat()),
    ];
    let ask = |program: &Serving| {
        let url = format!("curl --silent --output /dev/null {}/api/organizations", program.url);
        assert!(shell(&url, &[]).status.success());
    };
    programs.iter().for_each(ask);
    programs.into_iter().flat_map(Serving::stop).collect()
}

#[test]
fn the_queries_ask_for_what_is_logged() {
    let queries = blocks("kusto");
    assert!(queries.len() >= 3);
    let lines = logged();
    let mut logged: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in lines.iter().filter_map(Value::as_object) {
        for (name, value) in line {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            logged.entry(name).or_default().insert(value);
        }
    }
    let field = Regex::new(r"\bline\.(\w+)").unwrap();
    let equal = Regex::new(r#"\bline\.(message|level) (?:==|!=) "([^"]+)""#).unwrap();
    for query in &queries {
        assert!(query.starts_with("AppTraces\n") && query.contains("line = parse_json(Message)"), "{query}");
        for found in field.captures_iter(query) {
            assert!(logged.contains_key(&found[1]), "{}: in no line of the log\n{query}", &found[1]);
        }
        for found in equal.captures_iter(query) {
            assert!(logged[&found[1]].contains(&found[2]), "{}: logged are {:?}", &found[0], logged[&found[1]]);
        }
    }
    assert!(logged["level"].contains("WARN"), "what the last query looks for");
}
