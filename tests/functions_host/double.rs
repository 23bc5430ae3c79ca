//! The double does what the host does: each test is one behaviour of the real host that an application may trip over.

use std::{collections::HashMap, path::Path};

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    echo::{DEADLINE, folder, folder_with_host, http, http_methods, timer, write},
    host::{FunctionsHost, Mode, ScriptRoot, Severity, State},
};

async fn start(folder: &Path, mode: Mode) -> FunctionsHost {
    FunctionsHost::start(folder, mode, &[]).await.unwrap_or_else(|error| panic!("{error}"))
}

fn client() -> Client {
    Client::builder().redirect(Policy::none()).timeout(DEADLINE).build().expect("a client")
}

/// Sends bytes as they are, since an HTTP client would tidy them. Answers status and body.
async fn send_raw(host: &FunctionsHost, request: &str) -> (u16, String) {
    let address = host.base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("the host listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("it answers in time").expect("it answers text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

async fn echo_raw(host: &FunctionsHost, target: &str, headers: &str) -> Value {
    let request = format!("GET {target} HTTP/1.1\r\nHost: public.example\r\nConnection: close\r\n{headers}\r\n");
    let (status, body) = send_raw(host, &request).await;
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn headers(seen: &Value) -> HashMap<String, Vec<String>> {
    let mut headers: HashMap<String, Vec<String>> = HashMap::new();
    for pair in seen["headers"].as_array().expect("headers") {
        let text = |index: usize| pair[index].as_str().expect("text").to_owned();
        headers.entry(text(0)).or_default().push(text(1));
    }
    headers
}

#[tokio::test]
async fn the_first_name_wins_not_the_most_specific_route() {
    let trap = folder(&[("ById", http("orgs/{id}")), ("Me", http("orgs/me")), ("zAll", http("{*path}"))]);
    let host = start(trap.path(), Mode::Proxy).await;
    for (path, function) in [("orgs/me", "ById"), ("orgs/7", "ById"), ("orgs/7/x", "zAll"), ("ORGS/me/", "ById")] {
        client().get(format!("{}/api/{path}", host.base_url)).send().await.expect("an answer");
        assert_eq!(host.take_calls(), [function], "{path}");
    }
}

#[tokio::test]
async fn names_are_sorted_without_case() {
    let folder = folder(&[("b", http("{*path}")), ("A", http("x")), ("C", http("y"))]);
    let root = ScriptRoot::read(folder.path()).expect("it is valid");
    let names: Vec<&str> = root.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["A", "b", "C"]);
    assert_eq!(root.matching("GET", "/api/y").next().map(|function| &*function.name), Some("b"));
}

#[test]
fn functions_in_error_are_named_and_left_out() {
    let mut double_binding = http("twice");
    double_binding["bindings"].as_array_mut().expect("a list").push(json!({"type": "queue", "direction": "out"}));
    let folder = folder(&[
        ("1Bad", http("a")),
        ("Admin", http("administrators")),
        ("Empty", json!({"bindings": []})),
        ("First", http("orgs/{id}")),
        ("Host", http("b")),
        ("Post", http_methods("both", &["post"])),
        ("Put", http_methods("both", &["put"])),
        ("Second", http("/Orgs/{ID}")),
        ("Twice", double_binding),
    ]);
    std::fs::create_dir_all(folder.path().join("deeper/Nested")).expect("a folder");
    write(&folder.path().join("deeper/Nested/function.json"), &http("nested"));

    let root = ScriptRoot::read(folder.path()).expect("it is valid");
    let names: Vec<&str> = root.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["First", "Post", "Put"]);
    let blamed: Vec<&str> = root.errors.iter().filter_map(|error| error.split(':').next()).collect();
    assert_eq!(blamed, ["1Bad", "Admin", "Empty", "Host", "Second", "Twice"]);
    assert_eq!(root.matching("PUT", "/api/both").next().map(|function| &*function.name), Some("Put"));
}

#[test]
fn a_host_json_that_stops_the_host() {
    for host in [json!({"version": "1.0"}), json!({"customHandler": {"description": {}}})] {
        let folder = folder_with_host(&[], host.clone());
        assert!(ScriptRoot::read(folder.path()).is_err(), "{host}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_an_empty_404() {
    let folder = folder(&[("Get", http_methods("thing", &["get"]))]);
    let host = start(folder.path(), Mode::Proxy).await;
    let cases = [
        (Method::GET, "/api/thing", 200),
        (Method::POST, "/api/thing", 404),
        (Method::HEAD, "/api/thing", 404),
        (Method::GET, "/api/other", 404),
        (Method::GET, "/thing", 404),
        (Method::GET, "/Get", 404),
        (Method::GET, "/", 200),
        (Method::GET, "/admin/host/status", 200),
        (Method::GET, "/admin/other", 404),
    ];
    for (method, path, status) in cases {
        let url = format!("{}{path}", host.base_url);
        let response = client().request(method.clone(), url).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let body = response.text().await.expect("a body");
        assert_eq!(body.is_empty(), status == 404, "{method} {path}: {body}");
    }
    assert_eq!(host.take_calls(), ["Get"]);
}

#[tokio::test]
async fn paths_and_queries_arrive_rewritten() {
    let folder = folder(&[("All", http("{*path}"))]);
    // As sent; path and query as the proxy and as forwarding pass them on.
    let cases = [
        ("/api/a%2Fb?k=a&k=b", ("/api/a%252Fb", "k=a&k=b"), ("/api/a%2Fb", "k=a%2Cb")),
        ("/api/%2541?flag", ("/api/%2541", "flag"), ("/api/A", "flag=")),
        ("/api/a%3Fb?q=a+b", ("/api/a%3Fb", "q=a+b"), ("/api/a", "q=a%20b")),
        ("/API/Caf%C3%A9?", ("/API/Caf%C3%A9", ""), ("/API/Caf%C3%A9", "")),
        ("/api/x/../y/", ("/api/y/", ""), ("/api/y/", "")),
    ];
    for mode in [Mode::Proxy, Mode::Forward] {
        let host = start(folder.path(), mode).await;
        for (sent, proxied, forwarded) in cases {
            let (path, query) = if mode == Mode::Proxy { proxied } else { forwarded };
            let seen = echo_raw(&host, sent, "").await;
            assert_eq!((&seen["path"], &seen["query"]), (&json!(path), &json!(query)), "{sent}, {mode:?}");
        }
        let zero = "GET /api/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert_eq!(send_raw(&host, zero).await.0, 400);
    }
}

const SENT: &str = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n\
    X-Azure-Functions-InvocationId: mine\r\nUser-Agent: me\r\nTE: trailers\r\nAuthorization: Bearer x\r\n\
    Content-Language: de\r\nCookie: a=b\r\ntraceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n";

#[tokio::test]
async fn the_proxy_rewrites_headers() {
    let folder = folder(&[("All", http("{*path}"))]);
    let host = start(folder.path(), Mode::Proxy).await;
    let seen = headers(&echo_raw(&host, "/api/x", SENT).await);
    let one = |name: &str| seen[name].join(", ");
    assert!(one("host").starts_with("127.0.0.1:"), "{seen:?}");
    assert_ne!(format!("http://{}", one("host")), host.base_url);
    assert_eq!(one("x-forwarded-host"), "public.example");
    assert_eq!((one("x-forwarded-for"), one("x-forwarded-proto")), ("127.0.0.1".into(), "http".into()));
    assert_ne!(one("x-azure-functions-invocationid"), "mine");
    assert_eq!(
        (one("user-agent"), one("authorization"), one("cookie")),
        ("me".into(), "Bearer x".into(), "a=b".into())
    );
    assert_eq!(one("content-language"), "de");
    assert!(one("traceparent").contains("1111"), "{seen:?}");
    for gone in ["forwarded", "te", "connection"] {
        assert!(!seen.contains_key(gone), "{gone} in {seen:?}");
    }
    assert!(headers(&echo_raw(&host, "/api/x", "").await).contains_key("traceparent"));
}

#[tokio::test]
async fn forwarding_rewrites_headers() {
    let folder = folder(&[("All", http("{*path}"))]);
    let host = start(folder.path(), Mode::Forward).await;
    let seen = headers(&echo_raw(&host, "/api/x", SENT).await);
    let one = |name: &str| seen[name].join(", ");
    assert_eq!((one("host"), one("x-forwarded-for")), ("public.example".into(), "1.2.3.4".into()));
    assert!(one("x-azure-functions-invocationid").starts_with("mine, "), "{seen:?}");
    assert!(one("user-agent").starts_with("me Azure-Functions-Host/"), "{seen:?}");
    assert_eq!(one("authorization"), "Bearer x");
    assert!(!seen.contains_key("content-language"), "{seen:?}");
}

#[tokio::test]
async fn bodies_arrive_chunked_only_through_the_proxy() {
    let folder = folder(&[("All", http("{*path}"))]);
    for mode in [Mode::Proxy, Mode::Forward] {
        let host = start(folder.path(), mode).await;
        let url = format!("{}/api/x", host.base_url);
        let plain = client().post(&url).body("a body").send().await.expect("an answer");
        let seen: Value = plain.json().await.expect("an echo");
        assert_eq!((&seen["method"], &seen["body"]), (&json!("POST"), &json!("a body")), "{mode:?}");

        let chunked = "POST /api/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let (status, body) = send_raw(&host, chunked).await;
        match mode {
            Mode::Proxy => assert!(status == 200 && body.contains("\"body\":\"abcde\""), "{status} {body}"),
            Mode::Forward => assert_eq!((status, &*body), (500, "")),
        }
    }
}

#[tokio::test]
async fn answers_come_back_as_they_are() {
    let headers = json!({"extensions": {"http": {"customHeaders": {"X-Own": "host", "X-More": "host"}}}});
    let folder = folder_with_host(&[("All", http("{*path}"))], headers);
    for mode in [Mode::Proxy, Mode::Forward] {
        let host = start(folder.path(), mode).await;
        let url = format!("{}/api/x?status=302", host.base_url);
        let response = client().delete(url).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::FOUND, "redirects are not followed");
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("location"), "/api/elsewhere");
        assert_eq!((header("x-own"), header("x-more")), ("handler".into(), "host".into()), "the handler's header wins");
    }
}

#[tokio::test]
async fn the_route_prefix_can_be_another() {
    let folder = folder_with_host(&[("All", http("x"))], json!({"extensions": {"http": {"routePrefix": "v1"}}}));
    let root = ScriptRoot::read(folder.path()).expect("it is valid");
    assert_eq!(root.matching("GET", "/v1/x").count(), 1);
    assert_eq!(root.matching("GET", "/api/x").count(), 0);
}

#[tokio::test]
async fn timers_are_called_by_envelope() {
    let folder = folder(&[("Tick", timer()), ("Broken", timer()), ("Silent", timer()), ("All", http("{*path}"))]);
    let host = start(folder.path(), Mode::Forward).await;
    let answer = host.run_timer("tick").await.expect("it succeeds");
    assert_eq!(answer["Logs"], json!(["ticked"]));
    assert_eq!(answer["ReturnValue"]["Data"]["clock"]["IsPastDue"], json!(false));
    assert_eq!(answer["ReturnValue"]["Metadata"]["sys"]["MethodName"], json!("Tick"));
    assert_eq!(host.take_calls(), ["Tick"]);
    for failing in ["Broken", "Silent", "All", "Unknown"] {
        assert!(host.run_timer(failing).await.is_err(), "{failing}");
    }

    let admin = |name: &str| format!("{}/admin/functions/{name}", host.base_url);
    let body = json!({"input": ""});
    for (name, body, status) in [("Tick", &body, 202), ("Tick", &Value::Null, 400), ("Unknown", &body, 404)] {
        let response = client().post(admin(name)).json(body).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{name} {body}");
    }
}

#[tokio::test]
async fn the_handler_gets_its_settings() {
    let folder = folder(&[("All", http("{*path}"))]);
    let values = json!({"Values": {"ONE": "local", "TWO": "local"}, "IsEncrypted": false});
    write(&folder.path().join("local.settings.json"), &values);
    let started = FunctionsHost::start(folder.path(), Mode::Proxy, &[("TWO", "environment")]).await;
    let host = started.unwrap_or_else(|error| panic!("{error}"));
    let seen = echo_raw(&host, "/api/x", "").await;
    let pairs: Vec<(String, String)> = serde_json::from_value(seen["environment"].clone()).expect("pairs");
    let variables: HashMap<String, String> = pairs.into_iter().collect();
    assert_eq!((&*variables["ONE"], &*variables["TWO"]), ("local", "environment"));
    assert_eq!(variables["FUNCTIONS_CUSTOMHANDLER_PORT"], variables["FUNCTIONS_HTTPWORKER_PORT"]);
    assert_eq!(variables["FUNCTIONS_APP_ROOT_PATH"], folder.path().to_string_lossy());
    assert!(variables.contains_key("FUNCTIONS_CUSTOMHANDLER_WORKER_ID"));

    assert_eq!(host.line("echo listens").await.severity, Severity::Information);
    assert_eq!(host.line("Warning: an example").await.severity, Severity::Warning);
    assert_eq!(host.line("a plain line").await.severity, Severity::Error);
}

async fn exit(host: &FunctionsHost, code: u8) {
    let pid = host.handler_pid().await;
    // A body, so that the proxy doesn't repeat the request to the next handler.
    let url = format!("{}/api/x?exit={code}", host.base_url);
    let response = client().post(url).body("x").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    host.wait_for(|state| !matches!(state, State::Ready { pid: same, .. } if *same == pid)).await;
}

#[tokio::test]
async fn exit_codes_decide_about_a_restart() {
    let folder = folder(&[("All", http("{*path}"))]);
    let host = start(folder.path(), Mode::Proxy).await;
    for code in [200, 200, 200, 1, 7] {
        exit(&host, code).await;
        echo_raw(&host, "/api/x", "").await;
    }
    exit(&host, 1).await;
    let state = host.wait_for(|state| *state != State::Starting).await;
    assert!(matches!(state, State::ShutDown(_)), "{state:?} after the third failure");
    let response = client().get(format!("{}/api/x", host.base_url)).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn exit_code_0_is_the_end() {
    let folder = folder(&[("All", http("{*path}"))]);
    let host = start(folder.path(), Mode::Proxy).await;
    exit(&host, 0).await;
    assert_eq!(host.wait_for(|state| *state != State::Starting).await, State::Exited);
    let response = client().get(format!("{}/api/x", host.base_url)).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.text().await.expect("a body"), "");
}

#[tokio::test]
async fn a_handler_that_can_not_start_is_reported_with_its_output() {
    let folder = folder_with_host(
        &[("All", http("{*path}"))],
        json!({"customHandler": {"description": {
            "defaultExecutablePath": "sh",
            "arguments": ["-c", "echo the setting %NAME% is wrong; exit 3"],
        }}}),
    );
    let error = FunctionsHost::start(folder.path(), Mode::Proxy, &[("NAME", "PORT")]).await.expect_err("it fails");
    assert!(error.contains("the setting PORT is wrong"), "{error}");
}
