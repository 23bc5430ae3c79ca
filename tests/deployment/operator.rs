//! `examples/operator`: commands of the program on deployed tables. The Azure CLI and the tables are played here, the tables so
//! that they answer nobody without the token.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::{net::TcpListener, process::Command, sync::oneshot};
use warp::{Filter, http::StatusCode};

use crate::{page::commands, program::PROGRAM};

const TOKEN: &str = "token-of-whoever-is-signed-in";

/// A table service without a row. Where it is, and the requests that had the token.
async fn tables() -> (String, Arc<Mutex<Vec<String>>>, oneshot::Sender<()>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let service = warp::method().and(warp::path::full()).and(warp::header::<String>("authorization")).map(
        move |method: warp::http::Method, path: warp::path::FullPath, authorization: String| {
            if authorization != format!("Bearer {TOKEN}") {
                return warp::reply::with_status(warp::reply::json(&json!({})), StatusCode::FORBIDDEN);
            }
            all.lock().unwrap().push(format!("{method} {}", path.as_str()));
            let (status, body) = match method.as_str() {
                "GET" => (StatusCode::OK, json!({"value": []})),
                _ => (
                    StatusCode::CONFLICT,
                    json!({"odata.error": {"code": "TableAlreadyExists", "message": {"value": ""}}}),
                ),
            };
            warp::reply::with_status(warp::reply::json(&body), status)
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(warp::serve(service).incoming(listener).graceful(async move { drop(stopped.await) }).run());
    (address, seen, stop)
}

/// An `az` that answers with that, in a folder of its own.
fn az(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("az");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder.to_owned()
}

/// Runs a command of the page: what cargo built of it, with the program that the tests have.
async fn run(command: &str, tables: &str, az: &Path) -> Output {
    let operator = Path::new(PROGRAM).with_file_name("examples").join("operator");
    let beginning = format!("'{}' --binary '{PROGRAM}' ", operator.display());
    let command = command.replace("cargo run --example operator -- ", &beginning);
    let path = format!("{}:{}", az.display(), "/usr/bin:/bin");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &command]).env_clear().env("PATH", path).env("AZURE_TABLE_SERVICE_URI", tables).current_dir(az);
    // Of a developer's machine; the deployed tables are meant all the same.
    shell.env("AzureWebJobsStorage", "UseDevelopmentStorage=true").kill_on_drop(true);
    shell.output().await.unwrap()
}

#[tokio::test]
async fn every_command_of_the_page_reaches_the_tables_as_whoever_is_signed_in() {
    let all: Vec<_> =
        commands().into_iter().filter(|one| one.starts_with("cargo run --example operator -- ")).collect();
    assert!(all.len() > 3, "{all:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("platform.json"), r#"{"Users": []}"#).unwrap();
    let answer = format!(r#"echo '{{"accessToken": "{TOKEN}", "expires_on": 4102444800}}'"#);
    let az = az(folder.path(), &format!(r#"[ "$1 $2" = "account get-access-token" ] && {answer}"#));
    for command in all {
        let (tables, seen, _stop) = tables().await;
        let output = run(&command, &tables, &az).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        assert!(!said.contains(TOKEN), "{command}: {said}");
        let seen = seen.lock().unwrap();
        let reads = |table: &str| seen.iter().any(|line| line.starts_with(&format!("GET /{table}")));
        let is_compared = reads("OrgIntegrationMappings") && reads("IntegrationMappings");
        assert!(is_compared || command.contains(" seed "), "{command}: {seen:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let az = az(folder.path(), "echo 'Please run az login' >&2; exit 1");
    let (tables, seen, _stop) = tables().await;
    let output =
        run("cargo run --example operator -- --tables \"$AZURE_TABLE_SERVICE_URI\" verify", &tables, &az).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Please run az login"), "{said}");
    assert!(seen.lock().unwrap().is_empty());
}
