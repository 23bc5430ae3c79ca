//! The program that the double's own tests package: it answers with what reached it.
//!
//! A test binary has no second program at hand, so it starts itself: `host.json` names this executable and asks it to
//! run the one ignored test below, which serves.

use std::{fs, path::Path, process, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use warp::{
    Filter,
    http::{HeaderMap, Method, Response, StatusCode},
    path::FullPath,
};

/// A folder with the echo program and these functions: name and `function.json`.
pub fn folder(functions: &[(&str, Value)]) -> TempDir {
    folder_with_host(functions, json!({}))
}

/// The same with more members of `host.json`.
pub fn folder_with_host(functions: &[(&str, Value)], more: Value) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let program = std::env::current_exe().expect("the path of this program");
    let arguments = ["echo::serve", "--exact", "--ignored", "--nocapture"];
    let mut host = json!({
        "version": "2.0",
        "customHandler": {
            "description": {"defaultExecutablePath": program, "arguments": arguments},
            "enableProxyingHttpRequest": true,
        },
    });
    if let (Some(host), Value::Object(more)) = (host.as_object_mut(), more) {
        host.extend(more);
    }
    write(&folder.path().join("host.json"), &host);
    for (name, function) in functions {
        fs::create_dir(folder.path().join(name)).expect("a folder for the function");
        write(&folder.path().join(name).join("function.json"), function);
    }
    folder
}

pub fn http(route: &str) -> Value {
    json!({"bindings": [
        {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous", "route": route},
        {"type": "http", "direction": "out", "name": "res"},
    ]})
}

pub fn http_methods(route: &str, methods: &[&str]) -> Value {
    let mut function = http(route);
    function["bindings"][0]["methods"] = json!(methods);
    function
}

pub fn timer() -> Value {
    json!({"bindings": [
        {"type": "timerTrigger", "direction": "in", "name": "clock", "schedule": "0 */5 * * * *"},
    ]})
}

pub fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).expect("the file can be written");
}

#[tokio::test]
#[ignore = "no test: the program that the double starts"]
async fn serve() {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let variables: Vec<(String, String)> = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let Some((_, port)) = variables.iter().find(|(name, _)| name == "FUNCTIONS_CUSTOMHANDLER_PORT") else {
        return; // Someone runs the ignored tests.
    };
    let address = format!("127.0.0.1:{port}");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
    println!("echo listens");
    eprintln!("Warning: an example");
    eprintln!("a plain line");
    let routes = warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .map(move |method: Method, path: FullPath, query: String, headers: HeaderMap, body: Bytes| {
            answer(&method, path.as_str(), &query, &headers, &body, &variables)
        });
    warp::serve(routes).incoming(listener).run().await;
}

fn answer(
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &Bytes,
    variables: &[(String, String)],
) -> Response<String> {
    let body = String::from_utf8_lossy(body).into_owned();
    if let Some(code) = query.strip_prefix("exit=") {
        process::exit(code.parse().expect("an exit code"));
    }
    match path {
        "/Tick" => {
            let received: Value = serde_json::from_str(&body).expect("an envelope");
            return reply(200, &json!({"Outputs": {}, "Logs": ["ticked"], "ReturnValue": received}));
        }
        "/Broken" => return reply(500, &json!({"Logs": ["never seen"]})),
        "/Silent" => return Response::new(String::new()),
        _ => {}
    }
    let received: Vec<(&str, String)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = query.strip_prefix("status=").and_then(|status| status.parse().ok()).unwrap_or(200);
    let seen = json!({
        "method": method.as_str(), "path": path, "query": query, "headers": received, "body": body,
        "environment": variables,
    });
    let mut response = reply(status, &seen);
    response.headers_mut().insert("location", "/api/elsewhere".parse().expect("a header"));
    response.headers_mut().insert("x-own", "handler".parse().expect("a header"));
    response
}

fn reply(status: u16, json: &Value) -> Response<String> {
    let mut response = Response::new(json.to_string());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    response
}

/// How long a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);
