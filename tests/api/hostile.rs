//! Callers who mean harm: what they send is refused, or comes back exactly as it was sent.

use std::{collections::BTreeSet, future::IntoFuture, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::json;

use crate::{
    client::{Answer, Call},
    documents::{named_mapping, new_mapping},
    server::Server,
    valve::{Flow, Valve},
};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";
const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";

#[tokio::test]
async fn ids_in_paths_that_are_none_are_refused_and_named() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    let long = "a".repeat(65);
    let huge = "a".repeat(20_000);
    for bad in [
        "acme'",
        "ac'me",
        "acme' or 'a",
        "%27",
        "acme/",
        "/",
        "a\tb",
        "a\0",
        "\0",
        "acme ",
        " ",
        "🏢",
        "é",
        "acme_",
        "ACME\u{301}",
        "_unfinished",
        "a\r\nX: y",
        "%",
        "a?b",
        "a#b",
        "a;b",
        "a\\b",
        &long,
        &huge,
    ] {
        let encoded = utf8_percent_encode(bad, NON_ALPHANUMERIC);
        for path in [
            format!("/organizations/{encoded}/integrations"),
            format!("/organizations/{encoded}/integrations/halo"),
            format!("/organizations/{encoded}/integrations/halo/mapping_1"),
        ] {
            let answer = server.api.get(&path).await;
            assert_eq!(answer.invalid_fields(), BTreeSet::from(["orgId".to_owned()]), "{bad:?}");
        }
        let answer = server.api.get(&format!("{HALO}/{encoded}")).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from(["mappingId".to_owned()]), "{bad:?}");
        let answer = server.api.delete(&format!("{HALO}/mapping_{encoded}")).await;
        assert!(matches!(answer.status, 400 | 404), "{bad:?}");
        for path in [format!("{COLLECTION}/{encoded}"), format!("/integrations/{encoded}/mappings")] {
            let answer = server.api.get(&path).await.is(404);
            assert!(answer.body.len() < 2000, "an answer that grows with the question");
        }
    }
    // Other names for the same are others.
    for path in ["/organizations/ACME/integrations", "/organizations/acme%20/integrations"] {
        assert!(matches!(server.api.get(path).await.status, 400 | 404));
    }
    server.api.get("/organizations/%61cme/integrations").await.is(200);
    server.api.get(ONE).await.is(200);
    server.settled().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_wherever_they_are() {
    let server = Server::start().await;
    for path in [
        "/organizations/%FF/integrations",
        "/organizations/acme%C3/integrations",
        "/organizations/%ED%A0%80/integrations",
    ] {
        assert_eq!(server.api.get(path).await.invalid_fields(), BTreeSet::from(["orgId".to_owned()]), "{path}");
    }
    server.api.post(COLLECTION, &named_mapping("halo", "\u{fffd}", "mapping_1")).await.is(201);
    // Replaced by a substitute, these bytes would be the id of that mapping.
    for value in ["%FF", "%C3", "%ED%A0%80"] {
        let answer = server.api.get(&format!("/integrations/halo/mappings?externalOrgId={value}")).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from(["externalOrgId".to_owned()]), "{value}");
    }
    for (name, path) in [("activeOnly", COLLECTION), ("integration", COLLECTION), ("mapping_id", HALO)] {
        let answer = server.api.get(&format!("{path}?{name}=%FF")).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from([name.to_owned()]));
    }
    let mut body = br#"{"integration_name": "halo", "external_org_id": ""#.to_vec();
    body.extend(b"\xff\xfe\"}");
    server.api.call(reqwest::Method::POST, COLLECTION).text(body).await.is(400);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    let deep = [("[", "]"), ("{\"a\":", "}")].map(|(open, close)| {
        [100, 1000, 10_000].map(|depth| format!("{}1{}", open.repeat(depth), close.repeat(depth)))
    });
    let unclosed = "[".repeat(60_000);
    let good = r#"{"integration_name":"halo","external_org_id":"2"}"#;
    let mut bodies = vec![
        "",
        " ",
        "null",
        "true",
        "1",
        "\"text\"",
        "[]",
        "{",
        "}",
        "{]",
        "{\"a\"}",
        "{'a': 1}",
        "{\"a\": 1,}",
        "{\"a\": NaN}",
        "{\"external_org_id\": \"\\ud800\"}",
        "{\"external_org_id\": \"a\nb\"}",
        "\u{feff}{}",
        "{}{}",
        "{} x",
        "/* */{}",
        "integration_name=halo&external_org_id=2",
        &unclosed,
    ];
    bodies.extend(deep[0].iter().map(String::as_str));
    let with_bom = format!("\u{feff}{good}");
    bodies.push(&with_bom);
    for body in bodies {
        for (method, path) in [("POST", COLLECTION), ("PUT", HALO), ("PATCH", ONE)] {
            let shown: String = body.chars().take(40).collect();
            let answer = server.api.call(method.parse().unwrap(), path).text(body.to_owned()).await;
            assert_eq!(answer.status, 400, "{method} {shown}: {}", answer.text());
        }
    }
    for field in ["integration_name", "external_org_id", "external_org_name", "mapping_data", "mapping_id", "other"] {
        for body in deep.iter().flatten().filter(|body| body.len() < 65_000) {
            let answer =
                server.api.call(reqwest::Method::POST, COLLECTION).text(format!("{{\"{field}\":{body}}}")).await;
            // A hundred levels are still an object that can be stored, if that were all.
            assert!(answer.invalid_fields().contains("external_org_id"), "{field}");
        }
    }
    assert_eq!(server.audit("acme").await.len(), 1);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let server = Server::start().await;
    let twice = r#"{"integration_name":"halo","external_org_id":"1","external_org_id":"2"}"#;
    let answer = server.api.call(reqwest::Method::POST, COLLECTION).text(twice).await;
    assert_eq!(answer.invalid_fields(), BTreeSet::from(["external_org_id".to_owned()]));
    let escaped = r#"{"integration_name":"halo","external_org_id":"1","external\u005forg_id":"2"}"#;
    server.api.call(reqwest::Method::POST, COLLECTION).text(escaped).await.is(400);
    server.api.call(reqwest::Method::PUT, HALO).text(r#"{"external_org_id":"1","external_org_id":"1"}"#).await.is(400);
    assert_eq!(server.audit("acme").await, []);
}

/// The text of `mapping_data` in an answer.
fn mapping_data(body: &str) -> &str {
    let (_, rest) = body.split_once("\"mapping_data\":").unwrap();
    rest.split_once(",\"is_active\"").unwrap().0
}

#[tokio::test]
async fn mapping_data_comes_back_byte_for_byte_or_is_refused() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    for text in [
        "{}",
        r#"{"n":9007199254740993,"i":123456789012345678901234567890,"d":1.10,"e":1E+2,"z":-0.0,"t":1e-400}"#,
        r#"{ "spaces" :  [ 1 , 2 ] }"#,
        "{\n\t\"lines\": true\r\n}",
        r#"{"b":1,"a":2,"b":3}"#,
        r#"{"\u0061":"\u00e9\ud83c\udfe2\/","a":"é🏢/"}"#,
        r#"{"":{"'":"\"<script>\u0000"}}"#,
        r#"{"__proto__":null,"$ref":"x","is_active":",\"is_active\""}"#,
        &deep,
    ] {
        if text.contains("is_active") {
            // Found by its own means below, since it holds what ends it.
            let read =
                server.api.call(reqwest::Method::PATCH, ONE).text(format!("{{\"mapping_data\":{text}}}")).await.is(200);
            assert!(read.text().contains(&format!("\"mapping_data\":{text},\"is_active\":true")));
            continue;
        }
        let patched =
            server.api.call(reqwest::Method::PATCH, ONE).text(format!("{{\"mapping_data\":{text}}}")).await.is(200);
        assert_eq!(mapping_data(patched.text()), text);
        for path in [ONE, HALO, COLLECTION, "/integrations/halo/mappings"] {
            assert_eq!(mapping_data(server.api.get(path).await.is(200).text()), text, "{path}");
        }
    }
    for text in [
        r#"{"n":1e400}"#,
        r#"{"n":-1e400}"#,
        r#"{"s":"\ud800"}"#,
        r#"{"n":01}"#,
        r#"{"n":+1}"#,
        r#"{"n":.5}"#,
        r#"{"n":0x1}"#,
    ] {
        server.api.call(reqwest::Method::PATCH, ONE).text(format!("{{\"mapping_data\":{text}}}")).await.is(400);
    }
    server.settled().await;
}

#[tokio::test]
async fn mapping_data_has_its_limit_in_utf16_units() {
    let server = Server::start().await;
    server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).await.is(201);
    for (filler, units) in [("a", 1), ("é", 1), ("🏢", 2)] {
        let sized = |total: usize| format!("{{\"a\":\"{}\"}}", filler.repeat((total - 8) / units));
        let most = sized(32_000);
        assert_eq!(most.encode_utf16().count(), 32_000);
        let answer =
            server.api.call(reqwest::Method::PATCH, ONE).text(format!("{{\"mapping_data\":{most}}}")).await.is(200);
        assert_eq!(mapping_data(answer.text()), most);
        let over = most.replacen('{', "{ ", 1);
        let answer = server.api.call(reqwest::Method::PATCH, ONE).text(format!("{{\"mapping_data\":{over}}}")).await;
        assert_eq!(answer.invalid_fields(), BTreeSet::from(["mapping_data".to_owned()]));
    }
    assert_eq!(server.audit("acme").await.len(), 4);
    server.settled().await;
}

/// Any text is refused, or is the same text in every answer.
#[tokio::test]
async fn any_external_id_is_refused_or_kept() {
    let server = Server::start().await;
    let strategy = prop_oneof![
        "\\PC{0,12}",
        "[ +%&=#?/\\\\.;,'\"<>~^|{}`\\t\\r\\n\\x00-\\x1f\\x7f-\\x9fé🏢\u{feff}\u{202e}\u{2028}\u{fffd}]{1,8}",
        any::<String>(),
        "a{195,205}",
    ];
    let mut runner = TestRunner::default();
    for _ in 0..80 {
        let id = strategy.new_tree(&mut runner).unwrap().current();
        let allowed =
            (1..=200).contains(&id.chars().count()) && !id.chars().any(|one| one.is_control() || "<>\"'".contains(one));
        let lookup = async || server.api.get("/integrations/halo/mappings").query(&[("externalOrgId", &*id)]).await;
        let created = server.api.post(COLLECTION, &new_mapping("halo", &id)).await;
        if !allowed {
            assert_eq!(created.invalid_fields(), BTreeSet::from(["external_org_id".to_owned()]), "{id:?}");
            assert_eq!(lookup().await.invalid_fields(), BTreeSet::from(["externalOrgId".to_owned()]), "{id:?}");
            continue;
        }
        let created = created.is(201);
        assert_eq!(created.json()["external_org_id"], *id, "{id:?}");
        let path = created.header("location").strip_prefix("/api").unwrap().to_owned();
        assert_eq!(server.api.get(HALO).await.is(200).json()["external_org_id"], *id, "{id:?}");
        assert_eq!(server.api.get(COLLECTION).await.column("external_org_id"), [&*id], "{id:?}");
        assert_eq!(lookup().await.column("external_org_id"), [&*id], "{id:?}");
        server.api.post(COLLECTION, &new_mapping("halo", &id)).await.is(409);
        server.api.delete(&path).await.is(204);
        assert!(lookup().await.column("id").is_empty(), "{id:?}");
    }
    server.settled().await;
}

#[tokio::test]
async fn a_caller_who_goes_away_in_the_middle_of_a_write_leaves_it_whole() {
    let valve = Valve::new();
    let server = Server::on(valve.clone()).await;
    valve.turn(Flow::Held);
    let call = server.api.post(COLLECTION, &named_mapping("halo", "1", "mapping_1")).into_future();
    let caller = tokio::spawn(call);
    valve.waiting.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    // An answer to another request shows that the server has dealt with the loss of the first.
    server.api.get(ONE).await.is(404);
    valve.turn(Flow::Open);
    server.settled().await;
    server.api.get(ONE).await.is(200);
    assert_eq!(server.api.get("/integrations/halo/mappings").await.column("id"), ["mapping_1"]);
    assert_eq!(server.audit("acme").await.len(), 1);
}

/// Sends a request again as long as the server says it is too busy, as `Retry-After` asks. The second value says whether it was.
async fn insist(call: impl Fn() -> Call) -> (Answer, bool) {
    let mut busy = false;
    loop {
        let answer = call().await;
        if answer.status != 503 {
            return (answer, busy);
        }
        busy = true;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_are_all_answered() {
    let server = Server::start().await;
    let one = |number: u32| {
        let (external, id) = (number.to_string(), format!("mapping_{number}"));
        let api = &server.api;
        async move {
            match number % 4 {
                0 => {
                    let (answer, busy) =
                        insist(|| api.post(COLLECTION, &named_mapping("halo", &external, &id)).racing()).await;
                    // What was too busy to answer may have happened.
                    assert!(answer.status == 201 || (busy && answer.status == 409), "{}", answer.text());
                }
                1 => drop(insist(|| api.get("/organizations/globex/integrations")).await.0.is(200)),
                2 => {
                    let body = json!({"external_org_id": "same"});
                    let (answer, _) =
                        insist(|| api.put("/organizations/globex/integrations/halo", &body).racing()).await;
                    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
                }
                _ => drop(insist(|| api.get("/integrations/halo/mappings?limit=10")).await.0.is(200)),
            }
        }
    };
    let all = futures::future::join_all((0..1000).map(one));
    tokio::time::timeout(Duration::from_mins(2), all).await.unwrap();
    assert_eq!(server.api.get(COLLECTION).await.column("id").len(), 250);
    assert_eq!(server.api.get("/organizations/globex/integrations").await.column("id").len(), 1);
    assert_eq!((server.audit("acme").await.len(), server.audit("globex").await.len()), (250, 1));
    server.settled().await;
}
