//! What people read when a manifest is wrong: every rule, with its line.

use proptest::prelude::*;

use super::*;

/// Every kind of place there is; what each test changes one thing of.
const GOOD: &str = r#"id: halopsa
name: HaloPSA
docs_url: https://haloservicedesk.com/apidoc
confidence: high
config:
  - key: host
    title: Host
    type: string
    pattern: "[a-z0-9.-]+"
    help: As in the address bar.
  - key: secret
    title: Secret
    type: secret
    help: Of the API application.
  - key: region
    title: Region
    type: enum
    options: [eu, us]
    default: eu
    help: Where the data is.
base_url: https://{{config.host}}/api
allowed_hosts: ["*"]
headers:
  X-Region: "{{config.region}}"
  X-Partner: "{{connection.partner}}"
auth:
  type: session_token
  login:
    url: https://{{config.region}}.example.com/login
    headers: {Accept: application/json}
    body: {secret: "{{config.secret}}"}
  token_path: /token
  save: {user: /user}
  inject:
    headers: {Authorization: "Token {{session.token}}"}
post_connection:
  - request: {url: "https://api.example.com/whoami/{{connection.user}}"}
    save: {partner: /id}
list_organizations:
  request:
    method: POST
    path: /Client
    query: {all: "true"}
    body: {page: 1, size: 1}
  record_selector: /clients
  record_filter:
    - {path: /inactive, in: [false]}
  paginator:
    type: page_number
    page_param: page_no
    start_page: 1
    page_size: 100
    page_size_param: size
    total_path: /record_count
  mapping:
    id: /id
    name: [/name, /title]
    metadata: {colour: /colour}
get_organization:
  request: {path: "/Client/{{org.id}}"}
error_handler:
  response_filters:
    - {http_codes: [200], path: /error, equals: true, action: fail}
rate_limit: {requests: 10, per_seconds: 1, concurrency: 2}
client:
  query: {colour: "{{org.metadata.colour}}"}
"#;

fn told(text: &str) -> String {
    match Manifest::load("halopsa.yaml", text) {
        Ok(_) => "fine".to_owned(),
        Err(problems) => {
            problems.iter().map(|problem| format!("halopsa.yaml:{problem}")).collect::<Vec<_>>().join("\n")
        }
    }
}

/// What is told when the first text is replaced by the second.
fn told_of(changes: &[(&str, &str)]) -> String {
    let told = changes.iter().map(|(from, to)| {
        assert!(GOOD.contains(from), "{from}");
        told(&GOOD.replacen(from, to, 1))
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_fine() {
    assert_eq!(told(GOOD), "fine");
}

#[test]
fn what_is_no_yaml() {
    insta::assert_snapshot!(told_of(&[
        ("id: halopsa\n", "id: halopsa\nid: halopsa\n"),
        ("https://{{config.host}}/api", "{{connection.partner}}"),
        ("[\"*\"]\n", "\n  - *.example.com\n"),
        ("confidence: high", "confidence: high: low"),
        ("rate_limit: {", "---\nrate_limit: {"),
        ("rate_limit: {", "<<: {"),
        ("confidence:", "\tconfidence:"),
        ("/id\n", "'/id\n"),
    ]), @"");
    insta::assert_snapshot!([told(""), told("- a"), told(&" ".repeat(300_000)), told(&"[".repeat(999))].join("\n"), @"");
}

#[test]
fn keys_and_types() {
    insta::assert_snapshot!(told_of(&[
        ("page_size: 100", "page_sise: 100"),
        ("pattern:", "regex:"),
        ("record_selector:", "recordSelector:"),
        ("start_page: 1", "startAt: 1"),
        ("type: page_number", "type: page"),
        ("type: page_number\n", "\n"),
        ("    start_page: 1\n", ""),
        ("page_size: 100", "page_size: many"),
        ("page_size: 100", "page_size: -1"),
        ("total_path: /record_count", "total_path: record.count"),
        ("type: session_token", "type: sesion_token"),
        ("  token_path: /token\n", ""),
        ("  inject:\n    headers: {Authorization: \"Token {{session.token}}\"}\n", ""),
        ("    url: https://{{config.region}}.example.com/login\n", ""),
        ("headers: {Accept: application/json}", "headers: {Accept: 1}"),
        ("headers: {Accept: application/json}", "headers: {Acc ept: a}"),
        ("headers: {Accept: application/json}", "method: put"),
        ("headers: {Accept: application/json}", "header: {Accept: a}"),
        ("type: secret", "type: password"),
        ("    help: Of the API application.\n", ""),
        ("default: eu", "default: 1"),
        ("confidence: high", "confidence:"),
        ("name: [/name, /title]", "name: []"),
        ("{path: /inactive, in: [false]}", "/inactive"),
        ("rate_limit: {requests: 10, per_seconds: 1, concurrency: 2}", "rate_limit: 10"),
        ("{{config.host}}", "{{config.host}"),
        ("{{config.host}}", "{{host}}"),
        ("allowed_hosts: [\"*\"]", "allowed_hosts: [\"https://a.b\"]"),
    ]), @"");
}

#[test]
fn mistakes_of_all_kinds_are_told_at_once() {
    let text = GOOD
        .replace("page_param:", "page_parm:")
        .replace("confidence: high", "confidence: sure")
        .replace("type: enum", "type: choice")
        .replace("token_path: /token", "token_path: token");
    insta::assert_snapshot!(told(&text), @"");
}

#[test]
fn names_and_settings() {
    insta::assert_snapshot!(told_of(&[
        ("id: halopsa", "id: Halo"),
        ("id: halopsa", "id: halo"),
        ("name: HaloPSA", "name: ' '"),
        ("https://haloservicedesk", "http://haloservicedesk"),
        ("key: region", "key: Region"),
        ("key: region", "key: halopsa_region"),
        ("key: region", "key: host"),
        ("title: Host", "title: ''"),
        ("options: [eu, us]", "options: []"),
        ("options: [eu, us]", "options: [eu, eu]"),
        ("pattern: \"[a-z0-9.-]+\"", "options: [a]"),
        ("default: eu", "default: uk"),
        ("type: secret\n", "type: secret\n    default: x\n"),
        ("type: string\n", "type: string\n    default: x/y\n"),
    ]), @"");
}

#[test]
fn templates() {
    insta::assert_snapshot!(told_of(&[
        ("https://{{config.host}}/api", "https://{{config.hots}}/api"),
        ("X-Region: \"{{config.region}}\"", "X-Region: \"{{config.zone}}\""),
        ("https://{{config.host}}/api", "https://api.example.com"),
        ("{{connection.partner}}", "{{connection.partnr}}"),
        ("{{connection.partner}}", "{{connection.zone}}"),
        ("{{connection.user}}", "{{connection.partner}}"),
        ("{secret: \"{{config.secret}}\"}", "{secret: \"{{config.secret}}\", deep: [{user: \"{{connection.user}}\"}]}"),
        ("{url: \"https://api.example.com/whoami/{{connection.user}}\"}", "{path: /whoami}"),
        ("{{org.metadata.colour}}", "{{org.metadata.color}}"),
        ("{all: \"true\"}", "{all: \"{{org.id}}\"}"),
        ("{all: \"true\"}", "{all: \"{{session.token}}\"}"),
        ("Token {{session.token}}", "Token"),
        ("/Client/{{org.id}}", "/Client"),
        ("X-Region", "x-partner"),
        ("X-Region", "Host"),
    ]), @"");
}

#[test]
fn addresses() {
    insta::assert_snapshot!(told_of(&[
        ("https://{{config.host}}/api", "http://{{config.host}}/api"),
        ("https://{{config.host}}/api", "http://127.0.0.1:8080"),
        ("https://{{config.host}}/api", "https://{{config.host}}/api/"),
        ("https://{{config.host}}/api", "https://{{config.host}}/api?x=1"),
        ("https://{{config.host}}/api", "'https://{{config.host}}/api#x'"),
        ("https://{{config.host}}/api", "https://{{config.secret}}.example.com/{{config.host}}"),
        ("https://{{config.host}}/api", "https://me@{{config.host}}"),
        ("https://{{config.host}}/api", "https://{{config.host}}:https"),
        ("https://{{config.host}}/api", "https://10.0.0.1/{{config.host}}"),
        ("https://{{config.host}}/api", "https://localhost/{{config.host}}"),
        ("options: [eu, us]", "options: [eu, us/]"),
        ("allowed_hosts: [\"*\"]\n", ""),
        ("/api\nallowed_hosts: [\"*\"]\n", ".com\n"),
        ("https://{{config.host}}/api\nallowed_hosts: [\"*\"]\n", "\"{{connection.partner}}/{{config.host}}\"\n"),
        ("client:\n", "client:\n  base_url: \"{{org.metadata.colour}}\"\n"),
        ("client:\n", "client:\n  token_url: https://login.example.com/{{org.id}}\n"),
    ]), @"");
    let fine = [
        ("/api\nallowed_hosts: [\"*\"]\n", ".example.com:1280/api\n"),
        ("https://{{config.host}}/api\nallowed_hosts: [\"*\"]\n", "https://api{{config.region}}.com/{{config.host}}\n"),
        ("client:\n", "client:\n  base_url: \"{{org.metadata.colour}}\"\n  allowed_hosts: [\"*.example.com\"]\n"),
    ];
    for change in fine {
        assert_eq!(told_of(&[change]), "fine", "{change:?}");
    }
}

#[test]
fn requests() {
    insta::assert_snapshot!(told_of(&[
        ("path: /Client\n", "path: /Client\n    url: https://api.example.com\n"),
        ("    path: /Client\n", ""),
        ("path: /Client\n", "path: Client\n"),
        ("path: /Client\n", "path: https://api.example.com\n"),
        ("path: /Client\n", "path: /Client?all=true\n"),
        ("    method: POST\n", ""),
        ("path: /Client\n", "path: /Client\n    body_format: multipart\n"),
        ("    body: {page: 1, size: 1}\n", "    body: {page: [1]}\n    body_format: form\n"),
        ("save: {partner: /id}", "save: {}"),
        ("save: {user: /user}", "save: {user: /user, User-Id: /id}"),
        ("    body: {secret: \"{{config.secret}}\"}", "    method: GET\n    body: {secret: \"{{config.secret}}\"}"),
        ("  token_path: /token\n", "  token_path: /token\n  expires_in: 60\n  expires_in_path: /expires\n"),
        ("    headers: {Authorization: \"Token {{session.token}}\"}", "    body: {/visa: \"{{session.token}}\"}"),
    ]), @"");
    let auth = |auth: &str| {
        let (begin, rest) = GOOD.split_once("auth:\n").unwrap();
        told(&format!("{begin}auth: {auth}\n{}", &rest[rest.find("post_connection").unwrap()..]))
    };
    insta::assert_snapshot!(auth("{type: none, token: x}"), @"");
    insta::assert_snapshot!(auth("{type: api_key}"), @"");
    insta::assert_snapshot!(auth("{type: jwt_bearer, algorithm: RS256, key: x, claims: {}, lifetime: 7200}"), @"");
}

#[test]
fn lists() {
    insta::assert_snapshot!(told_of(&[
        ("page_param: page_no", "page_param: page_no\n    page_body_path: /page"),
        ("    page_param: page_no\n", ""),
        ("page_param: page_no", "page_param: all"),
        ("start_page: 1", "start_page: 2"),
        ("page_size: 100", "page_size: 0"),
        ("    page_size: 100\n", ""),
        ("    page_size_param: size\n", ""),
        ("    page_size_param: size\n", "    page_size_param: size\n    page_size_body_path: /size\n"),
        ("total_path: /record_count", "total_path: /record_count\n    total_pages_path: /pages"),
        ("    body: {page: 1, size: 1}\n  record_selector: /clients", "  record_selector: /clients\n  hydrate: {request: {path: /x}, ids_body_path: /ids, batch_size: 9000, record_selector: ''}"),
        ("{path: /inactive, in: [false]}", "{path: /inactive}"),
        ("{path: /inactive, in: [false]}", "{path: /inactive, in: [], is_null: true}"),
        ("colour: /colour", "colour: /registrationToken"),
        ("error_handler:", "check: {request: {path: /me}}\nerror_handler:"),
        ("http_codes: [200], path: /error, equals: true", "http_codes: [20]"),
        ("http_codes: [200], path: /error, equals: true", "equals: true"),
        ("requests: 10, per_seconds: 1", "requests: 0"),
        ("concurrency: 2", "concurrency: 17"),
    ]), @"");
    let paginator = |paginator: &str| {
        let (begin, rest) = GOOD.split_once("    type: page_number\n").unwrap();
        told(&format!("{begin}    {paginator}\n{}", &rest[rest.find("  mapping:").unwrap()..]))
    };
    insta::assert_snapshot!(paginator("type: cursor"), @"");
    insta::assert_snapshot!(paginator("type: cursor\n    cursor_param: c\n    cursor_path: /c\n    last_record_path: /id"), @"");
    insta::assert_snapshot!(paginator("type: offset\n    limit: 1"), @"");
    insta::assert_snapshot!(paginator("type: single_page\n    page_size: 1"), @"");
    insta::assert_snapshot!(paginator("{type: offset, offset_body_path: /page}"), @"");
    assert_eq!(paginator("type: offset\n    offset_body_path: /page"), "fine");
    let unlisted = |rest: &str| {
        let begin = GOOD.split_once("list_organizations:\n").unwrap().0;
        told(&format!("{begin}{rest}"))
    };
    insta::assert_snapshot!(unlisted(""), @"");
    insta::assert_snapshot!(unlisted("get_organization: {request: {path: '/x/{{org.id}}'}}"), @"");
    assert_eq!(unlisted("check: {request: {path: /me}}"), "fine");
}

fn lines_are_in(text: &str) -> Result<(), TestCaseError> {
    for problem in Manifest::load("halopsa.yaml", text).err().into_iter().flatten() {
        prop_assert!((1..=text.lines().count().max(1)).contains(&problem.line), "{problem}\n{text}");
        prop_assert!(!problem.message.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_whatsoever_panics(text in any::<String>()) {
        lines_are_in(&text)?;
    }

    #[test]
    fn nor_what_looks_like_yaml(parts in prop::collection::vec(prop::sample::select(PARTS), 0..60)) {
        lines_are_in(&parts.concat())?;
    }

    /// Lines left out, doubled, and begun or ended with something else.
    #[test]
    fn nor_a_manifest_with_typing_errors(
        edits in prop::collection::vec((0..GOOD.lines().count(), 0..5_u8, prop::sample::select(PARTS)), 1..6),
    ) {
        let mut lines: Vec<_> = GOOD.lines().map(str::to_owned).collect();
        for (at, how, part) in edits {
            let at = at % lines.len();
            match how {
                0 => { lines.remove(at); }
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at].push_str(part),
                3 => lines[at] = format!("{part}{}", lines[at]),
                _ => lines[at] = lines[at].split(':').next().unwrap_or_default().to_owned() + ": " + part,
            }
        }
        lines_are_in(&lines.join("\n"))?;
    }
}

const PARTS: &[&str] = &[
    "id",
    "auth",
    "type",
    "x",
    ": ",
    ":\n",
    "\n",
    "\n  ",
    "\n    - ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "{{",
    "}}",
    "\"",
    "'",
    "|\n",
    ">\n  a",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "!t ",
    "!!binary ",
    "#",
    "---\n",
    "...\n",
    "%",
    "\t",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "~",
    "null",
    "1e999",
    "0x1f",
    "-1",
    "true",
    "é",
    "{{config.host}}",
    "https://",
    "/a",
    "\\",
];
