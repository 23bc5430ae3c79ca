//! The real program: what it says when it starts, that it stops when told to, and that nothing is lost between.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::Client,
    process::{Running, crosswalk, run},
};

const ACME: &str = "/organizations/acme/integrations/example_psa";

#[tokio::test(flavor = "multi_thread")]
async fn dev_says_what_to_do_and_it_works() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, api, text) = Running::dev(folder.path());
    let (announced, _log) = text.split_once("{\"timestamp\"").unwrap();
    let (_, address) = announced.split_once("http://").unwrap();
    let address = format!("http://{}", address.split_whitespace().next().unwrap());
    insta::assert_snapshot!(announced.trim().replace("\n  ", "\n").replace(&address, "http://ADDRESS"), @r#"
    Crosswalk on http://ADDRESS   (Ctrl-C stops it)

    you are       dev-admin; another user with -H 'X-Dev-User: NAME'
    organizations acme, globex, hooli, initech
    integrations  3; manifests in integrations (no such folder yet)
    secrets       data/secrets.json
    description   http://ADDRESS/api/openapi.json

    See who there is over there, map an organization, ask who it is, and try it:

    curl -s http://ADDRESS/api/integrations/example_psa/discover
    curl -sX PUT http://ADDRESS/api/organizations/acme/integrations/example_psa \
         -H 'Content-Type: application/json' -d '{"external_org_id": "1001", "mapping_id": "mapping_psa"}'
    curl -s http://ADDRESS/api/organizations/acme/integrations/example_psa
    curl -sX POST http://ADDRESS/api/organizations/acme/integrations/example_psa/mapping_psa/test
    "#);
    // The commands as a shell would run them.
    let commands: Vec<_> = announced.split("  curl ").skip(1).collect();
    let [discover, set, resolve, test] = commands[..] else { panic!("{commands:?}") };
    let body = set.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    assert!(discover.starts_with("-s http") && set.contains("-sX PUT ") && resolve.starts_with("-s http"));
    let discovered = api.get(path(discover, &address)).await.is(200).json();
    assert_eq!((&discovered["organizations"][0]["id"], &discovered["count"]), (&json!("1001"), &json!(1200)));
    api.put(path(set, &address), &serde_json::from_str(body).unwrap()).await.is(201);
    assert_eq!(api.get(path(resolve, &address)).await.is(200).json()["external_org_id"], "1001");
    let tested = api.post(path(test, &address), &json!({})).await.is(200).json();
    assert_eq!((&tested["success"], &tested["details"]["http_status"]), (&json!(true), &json!(200)), "{tested}");
    let organizations = api.get("/organizations").await.is(200).json();
    assert!(organizations["count"].as_u64().unwrap() >= 2);
    assert!(folder.path().join("data").is_dir(), "its data is in the folder it was started in");
}

/// The manifest and the secret of the README, as a reader would save them.
#[tokio::test(flavor = "multi_thread")]
async fn the_readers_own_manifest_works_after_a_restart_or_is_told_its_mistake() {
    let readme = include_str!("../../README.md");
    let manifest = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let (_, secret) = readme.split_once("`data/secrets.json`: `").unwrap();
    let (name, value) = secret.split('`').next().unwrap().split_once(": ").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (running, api, _) = Running::dev(folder.path());
    api.get("/integrations/my_rmm/discover").await.is(404);
    drop(running);

    std::fs::create_dir(file("integrations")).unwrap();
    std::fs::write(file("integrations/my_rmm.yaml"), manifest).unwrap();
    std::fs::write(file("integrations/broken.yaml"), "id: broken\nnmae: Broken\n").unwrap();
    let secrets = std::fs::read_to_string(file("data/secrets.json")).unwrap();
    std::fs::write(file("data/secrets.json"), secrets.replace('{', &format!("{{{name}: {value},"))).unwrap();
    let check = run(folder.path(), &["integrations", "check"], &[]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.out.contains("broken.yaml:2: nmae: unknown key; did you mean name?"), "{check:?}");
    assert!(check.out.contains("ok  my_rmm  My RMM (lists, pages by cursor, api_key)"), "{check:?}");

    let (_running, api, _) = Running::dev(folder.path());
    let discovered = api.get("/integrations/my_rmm/discover").await.is(200).json();
    assert_eq!((&discovered["count"], &discovered["organizations"][1199]["id"]), (&json!(1200), &json!("2200")));
    let mapping = json!({"external_org_id": "1001", "mapping_id": "mapping_1"});
    api.put("/organizations/acme/integrations/my_rmm", &mapping).await.is(201);
    let test = "/organizations/acme/integrations/my_rmm/mapping_1/test";
    assert_eq!(api.post(test, &json!({})).await.is(200).json()["details"]["class"], "ok");
    let broken = api.get("/integrations").await.is(200).json()["broken"].clone();
    assert_eq!(broken[0]["file"], "broken.yaml", "{broken}");
}

/// What follows `/api` in the address of a command.
fn path<'a>(command: &'a str, address: &str) -> &'a str {
    let (_, rest) = command.split_once(&format!("{address}/api")).unwrap();
    rest.split_whitespace().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_survives_a_restart_and_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = None;
    for signal in ["TERM", "KILL", "INT"] {
        let (mut running, api, _) = Running::dev(folder.path());
        if let Some(expected) = expected {
            assert_eq!(api.get(ACME).await.is(200).json(), expected, "before {signal}");
        }
        api.put(ACME, &json!({"external_org_id": signal, "mapping_data": {"after": signal}})).await;
        api.patch(&format!("{ACME}/mapping_none"), &json!({})).await.is(404);
        expected = Some(api.get(ACME).await.is(200).json());
        running.signal(signal);
        running.ended();
    }
    let verify = run(folder.path(), &["verify"], &[]);
    // What the kill left unfinished, if anything, is finished by the start that followed.
    assert_eq!(verify.code, Some(0), "{verify:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_it_cleanly_whatever_callers_do() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address, _) = Running::serving(crosswalk(folder.path(), &["dev"], &[]));
    let connect = |text: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    // A caller that keeps its connection, one that says nothing, one that stops in the middle of a head and one in a body.
    let api = Client::new(format!("http://{address}"));
    api.get("/health").await.is(200);
    let _silent = connect("");
    let _head = connect("GET /api/health HTTP/1.1\r\nHost:");
    let _body = connect("PUT /api/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{");
    api.get("/health").await.is(200);
    let began = Instant::now();
    running.signal("TERM");
    let status = running.ended();
    assert_eq!(status.code(), Some(0), "{}", running.errors());
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!(running.errors(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_before_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address, _) = Running::serving(crosswalk(folder.path(), &["dev"], &[]));
    let body = r#"{"external_org_id": "late"}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "PUT /api{ACME} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It waits for this body now.
    stream.read_exact(&mut [0; 25]).unwrap();
    running.signal("TERM");
    // It has heard, since it takes no new callers.
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "it still takes callers");
        std::thread::sleep(Duration::from_millis(2));
    }
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(running.ended().code(), Some(0));
    let verify = run(folder.path(), &["verify"], &[]);
    assert_eq!(verify.code, Some(0), "{verify:?}");
}

#[test]
fn a_port_that_is_taken_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for settings in [[("CROSSWALK_PORT", &*port)], [("FUNCTIONS_CUSTOMHANDLER_PORT", &*port)]] {
        let ended = run(folder.path(), &["dev"], &settings);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.err.contains(&port), "{ended:?}");
        assert!(!ended.out.contains("http://"), "nothing is announced that is not there: {ended:?}");
    }
}

#[test]
fn a_store_that_is_open_elsewhere_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (_first, _, _) = Running::dev(folder.path());
    for command in ["dev", "verify", "repair"] {
        let ended = run(folder.path(), &[command], &[]);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.err.contains("open in another process"), "{ended:?}");
    }
}

#[test]
fn a_setting_that_is_wrong_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, r#"{"psa-api-key": ["c2VjcmV0"]}"#).unwrap();
    let secrets = secrets.to_str().unwrap();
    let development = ("CROSSWALK_AUTH", "development");
    for (command, name, settings) in [
        ("serve", "AZURE_TENANT_ID", vec![("CROSSWALK_AUDIENCE", "api://crosswalk")]),
        ("serve", "CROSSWALK_AUDIENCE", vec![("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47")]),
        ("serve", "CROSSWALK_AUTH", vec![("CROSSWALK_AUTH", "none")]),
        ("serve", "WEBSITE_INSTANCE_ID", vec![development, ("WEBSITE_INSTANCE_ID", "0")]),
        ("dev", "WEBSITE_INSTANCE_ID", vec![("WEBSITE_INSTANCE_ID", "0")]),
        ("dev", "CROSSWALK_PORT", vec![("CROSSWALK_PORT", "http")]),
        ("dev", "CROSSWALK_PORT", vec![("CROSSWALK_PORT", "65536")]),
        ("serve", "FUNCTIONS_CUSTOMHANDLER_PORT", vec![development, ("FUNCTIONS_CUSTOMHANDLER_PORT", "-1")]),
        ("serve", "AzureWebJobsStorage", vec![development, ("AzureWebJobsStorage", "AccountKey=c2VjcmV0")]),
        ("verify", "AzureWebJobsStorage", vec![("AzureWebJobsStorage", "nonsense c2VjcmV0")]),
        ("verify", "AzureWebJobsStorage__tableServiceUri", vec![("AzureWebJobsStorage__tableServiceUri", "c2VjcmV0")]),
        ("repair", "AzureWebJobsStorage__accountName", vec![("AzureWebJobsStorage__accountName", "NOT AN ACCOUNT")]),
        ("dev", "CROSSWALK_DATA_DIR", vec![("CROSSWALK_DATA_DIR", file)]),
        ("verify", "CROSSWALK_DATA_DIR", vec![("CROSSWALK_DATA_DIR", file)]),
        ("dev", "RUST_LOG", vec![("RUST_LOG", "info,=,")]),
        ("dev", "CROSSWALK_SECRETS_FILE", vec![("CROSSWALK_SECRETS_FILE", secrets)]),
        ("serve", "CROSSWALK_SECRETS_FILE", vec![development, ("CROSSWALK_SECRETS_FILE", "nowhere")]),
    ] {
        let ended = run(folder.path(), &[command], &settings);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{command} {settings:?}: {ended:?}");
        assert!(ended.err.contains(name), "{command} {settings:?}: {ended:?}");
        assert!(!format!("{ended:?}").contains("c2VjcmV0"), "{ended:?}");
    }
    // All of them at once, a line each.
    let ended = run(folder.path(), &["serve"], &[("CROSSWALK_PORT", "x"), ("AzureWebJobsStorage", "x")]);
    assert_eq!(ended.err.lines().count(), 4, "{ended:?}");
}

#[test]
fn help_names_every_command_and_the_first_settings() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["--help"], &[]);
    assert_eq!((help.code, &*help.err), (Some(0), ""));
    for word in
        ["serve", "dev", "verify", "repair", "seed", "CROSSWALK_AUTH", "AzureWebJobsStorage", "CROSSWALK_DATA_DIR"]
    {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    let version = run(folder.path(), &["--version"], &[]);
    assert_eq!(version.out, format!("crosswalk {}\n", env!("CARGO_PKG_VERSION")));
    let wrong = run(folder.path(), &["srve"], &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("srve") && wrong.err.contains("serve"), "{wrong:?}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "asking for help leaves nothing behind");
}
