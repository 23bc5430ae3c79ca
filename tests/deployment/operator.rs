//! `examples/operator`: commands of the program on deployed tables. The Azure CLI and the tables are played here, the tables so
//! that they answer nobody without the token.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::spawn_blocking};
use uuid::Uuid;
use warp::{
    Filter,
    http::{Method, Response},
    path::FullPath,
};

use crate::{nested::as_if_by_hand, page::commands, program::PROGRAM, root};

const TOKEN: &str = "token-of-whoever-is-signed-in";

/// A table service without a row. Where it is, and the requests that had the token.
async fn tables() -> (String, Arc<Mutex<Vec<String>>>, oneshot::Sender<()>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let service = warp::method().and(warp::path::full()).and(warp::header::<String>("authorization")).map(
        move |method: Method, path: FullPath, authorization: String| {
            let (status, body) = match method.as_str() {
                _ if authorization != format!("Bearer {TOKEN}") => (403, json!({})),
                "GET" => (200, json!({"odata.metadata": "", "value": []})),
                _ => (409, json!({"odata.error": {"code": "TableAlreadyExists"}})),
            };
            if status != 403 {
                all.lock().unwrap().push(format!("{method} {}", path.as_str()));
            }
            let answer = Response::builder().status(status).header("content-type", "application/json");
            // The SDK reads no answer without them.
            let answer = answer.header("x-ms-request-id", Uuid::nil().to_string()).header("x-ms-version", "2019-02-02");
            answer.header("server", "tables").body(body.to_string()).unwrap()
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(warp::serve(service).incoming(listener).graceful(async move { drop(stopped.await) }).run());
    (address, seen, stop)
}

/// An `az` that answers with that.
fn az(folder: &Path, script: &str) {
    let path = folder.join("az");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command of the page as it stands there, but with the program that the tests have, and with the files of that folder.
async fn run(command: &str, tables: &str, folder: &Path) -> Output {
    let command = command.replace(" -- ", &format!(" -- --binary '{PROGRAM}' "));
    let command = command.replace("platform.json", &format!("'{}'", folder.join("platform.json").display()));
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("PATH='{}':$PATH {command}", folder.display())]).current_dir(root());
    as_if_by_hand(&mut shell).env("AZURE_TABLE_SERVICE_URI", tables);
    // Of a developer's machine; the deployed tables are meant all the same.
    shell.env("AzureWebJobsStorage", "UseDevelopmentStorage=true");
    spawn_blocking(move || shell.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_command_of_the_page_reaches_the_tables_as_whoever_is_signed_in() {
    let all: Vec<_> =
        commands().into_iter().filter(|one| one.starts_with("cargo run --example operator -- ")).collect();
    assert!(all.len() > 3, "{all:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("platform.json"), r#"{"Users": []}"#).unwrap();
    let answer = format!(r#"echo '{{"accessToken": "{TOKEN}", "expires_on": 4102444800}}'"#);
    az(folder.path(), &format!(r#"[ "$1 $2" = "account get-access-token" ] && {answer}"#));
    for command in all {
        let (tables, seen, _stop) = tables().await;
        let output = run(&command, &tables, folder.path()).await;
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
    az(folder.path(), "echo 'Please run az login' >&2; exit 1");
    let (tables, seen, _stop) = tables().await;
    let verify = "cargo run --example operator -- --tables \"$AZURE_TABLE_SERVICE_URI\" verify";
    let output = run(verify, &tables, folder.path()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Please run az login"), "{said}");
    assert!(seen.lock().unwrap().is_empty());
}
