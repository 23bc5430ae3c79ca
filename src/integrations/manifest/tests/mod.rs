//! What people read when a manifest is wrong, with its line. Here: what is no manifest at all, and the documents beside the
//! types. `rules.rs`: the rules of `check/`; `any_text.rs`: text that no one foresaw.

mod any_text;
mod rules;

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
    ]), @r#"
    halopsa.yaml:2: 'id' is there twice; keep one
    halopsa.yaml:21: in YAML a value that begins with {{ needs quotes: "{{connection.partner}}"
    halopsa.yaml:23: in YAML a value that begins with * needs quotes: "*.example.com"
    halopsa.yaml:4: a value with ': ' in it needs quotes: "high: low"
    halopsa.yaml:64: a second document begins here; a file holds one manifest
    halopsa.yaml:64: '<<' is not supported; write out the keys it stands for
    halopsa.yaml:4: a tab; YAML is indented with spaces: write spaces instead
    halopsa.yaml:56: the quote ' that opens here is never closed; close it on the same line
    "#);
    insta::assert_snapshot!([told(""), told("- a"), told(&" ".repeat(300_000)), told(&"[".repeat(999)), told(&"a: {".repeat(20)), told(&format!("a: [{}]", "1,".repeat(5_000)))].join("\n"), @r"
    halopsa.yaml:1: empty; `crosswalk integrations new NAME` writes a manifest to begin with
    halopsa.yaml:1: not a manifest: expected keys such as `id:` and `base_url:` at the top
    halopsa.yaml:1: larger than 256 KiB; a manifest is a few pages of text
    halopsa.yaml:1: not readable as YAML: recursion limit exceeded
    halopsa.yaml:1: a bracket that opens here is never closed; close it, or quote the value
    halopsa.yaml:1: larger than any manifest: more than 5000 keys and values
    ");
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
        ("{requests: 10, per_seconds: 1, concurrency: 2}", "\n  requests:10"),
        ("{{config.host}}", "{config.host}"),
        ("\"{{config.region}}\"", "{config.region}"),
        ("\"{{config.region}}\"", "“{{config.region}}”"),
        ("X-Region: \"{{config.region}}\"", "X-Region: \"{{config.API-Key}}\""),
        ("  - key: host\n", "    key: host\n"),
        ("    type: secret\n", ""),
        ("  type: session_token\n", ""),
        ("confidence: high\n", ""),
        ("mapping:\n    id: /id\n", "mapping:\n"),
    ]), @r#"
    halopsa.yaml:52: list_organizations.paginator.page_sise: unknown key; did you mean page_size?
    halopsa.yaml:9: config[0].regex: unknown key; there are key, title, type, options, pattern, default, required, help
    halopsa.yaml:45: list_organizations.recordSelector: unknown key; did you mean record_selector?
    halopsa.yaml:48: list_organizations.paginator.start_page: missing; type page_number needs it
    halopsa.yaml:51: list_organizations.paginator.startAt: unknown key; with type page_number there are page_param, page_body_path, start_page, page_size, page_size_param, page_size_body_path, total_pages_path, total_path, has_more_path
    halopsa.yaml:49: list_organizations.paginator.type: unknown value 'page'; there are single_page, page_number, offset, cursor, json_link, header_link
    halopsa.yaml:48: list_organizations.paginator.type: missing; there are single_page, page_number, offset, cursor, json_link, header_link
    halopsa.yaml:48: list_organizations.paginator.start_page: missing; type page_number needs it
    halopsa.yaml:52: list_organizations.paginator.page_size: expected a whole number that is not negative, not "many"
    halopsa.yaml:52: list_organizations.paginator.page_size: expected a whole number that is not negative, not -1
    halopsa.yaml:54: list_organizations.paginator.total_path: 'record.count': a JSON Pointer begins with '/': write "/record/count"
    halopsa.yaml:27: auth.type: unknown value 'sesion_token'; did you mean session_token?
    halopsa.yaml:26: auth.token_path: missing; type session_token needs it
    halopsa.yaml:26: auth.inject: missing; type session_token needs it
    halopsa.yaml:28: auth.login.url: missing
    halopsa.yaml:30: auth.login.headers.Accept: expected text; put it in quotes: "1"
    halopsa.yaml:30: auth.login.headers.Acc ept: 'Acc ept' is no name of a header
    halopsa.yaml:30: auth.login.method: unknown value 'put'; there are GET, POST
    halopsa.yaml:30: auth.login.header: unknown key; did you mean headers?
    halopsa.yaml:13: config[1].type: unknown value 'password'; there are string, secret, enum
    halopsa.yaml:11: config[1].help: missing; where to find the value, in one sentence
    halopsa.yaml:19: config[2].default: expected text; put it in quotes: "1"
    halopsa.yaml:4: confidence: empty; expected one of its values
    halopsa.yaml:57: list_organizations.mapping.name: give at least one JSON Pointer
    halopsa.yaml:47: list_organizations.record_filter[0]: expected a mapping, not "/inactive"
    halopsa.yaml:64: rate_limit: expected a mapping, not 10
    halopsa.yaml:21: base_url: 'https://{{config.host}/api': a '{{' without its '}}'
    halopsa.yaml:21: base_url: 'https://{{host}}/api': '{{host}}' stands for nothing; there are {{config.x}}, {{connection.x}}, {{org.id}}, {{org.metadata.x}}, {{mapping.x}} and {{session.token}}
    halopsa.yaml:22: allowed_hosts[0]: 'https://a.b' is no host: write a name in lower case, such as api.example.com or *.example.com, without scheme, port or path
    halopsa.yaml:64: rate_limit: expected a mapping, not "requests:10"; a space is missing after 'requests:'
    halopsa.yaml:21: base_url: 'https://{config.host}/api': '{config.host}' stands for nothing; write two braces: {{config.host}}
    halopsa.yaml:24: headers.X-Region: expected text, not a mapping; a template has two braces and, here, quotes: "{{config.region}}"
    halopsa.yaml:24: headers.X-Region: '“{{config.region}}”': “ is no quote in YAML; write the straight ones, " or '
    halopsa.yaml:24: headers.X-Region: '{{config.API-Key}}': '{{config.API-Key}}' stands for nothing: names hold only lower-case letters, digits and underscores; call it config.api_key, and so where it is declared
    halopsa.yaml:11: indented by 2 where the lines above are by 4 or 0; keys of one mapping begin in the same column, as do items of one list
    halopsa.yaml:11: config[1].type: missing; there are string, secret, enum
    halopsa.yaml:26: auth.type: missing; there are none, api_key, bearer, basic, oauth2_client_credentials, session_token, jwt_bearer, hmac_signature
    halopsa.yaml:1: confidence: missing; how sure this manifest is of the API; there are high, medium, low
    halopsa.yaml:55: list_organizations.mapping.id: missing; where the id of the organization is in the record
    "#);
}

#[test]
fn a_missing_paginator_is_told_with_its_types() {
    let (begin, rest) = GOOD.split_once("  paginator:\n").unwrap();
    let text = format!("{begin}{}", &rest[rest.find("  mapping:").unwrap()..]);
    insta::assert_snapshot!(told(&text), @"halopsa.yaml:39: list_organizations.paginator: missing; how the list goes on after the first answer; its type is one of single_page, page_number, offset, cursor, json_link, header_link");
}

#[test]
fn mistakes_of_all_kinds_are_told_at_once() {
    let text = GOOD
        .replace("page_param:", "page_parm:")
        .replace("confidence: high", "confidence: sure")
        .replace("type: enum", "type: choice")
        .replace("    title: Secret\n", "")
        .replace("http_codes: [200], ", "")
        .replace(", action: fail", "")
        .replace("token_path: /token", "token_path: token");
    insta::assert_snapshot!(told(&text), @r#"
    halopsa.yaml:4: confidence: unknown value 'sure'; there are high, medium, low
    halopsa.yaml:11: config[1].title: missing; what people call it
    halopsa.yaml:16: config[2].type: unknown value 'choice'; there are string, secret, enum
    halopsa.yaml:31: auth.token_path: 'token': a JSON Pointer begins with '/': write "/token"
    halopsa.yaml:49: list_organizations.paginator.page_parm: unknown key; did you mean page_param?
    halopsa.yaml:62: error_handler.response_filters[0].action: missing; there are fail, retry, ignore, refresh_token
    "#);
}

#[test]
fn the_schema_is_closed_wherever_keys_are_known() {
    fn open(schema: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(map) => {
                if map.contains_key("properties") && map.get("additionalProperties") != Some(&false.into()) {
                    found.push(at.to_owned());
                }
                map.iter().for_each(|(key, value)| open(value, &format!("{at}/{key}"), found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| open(item, at, found)),
            _ => {}
        }
    }
    let (schema, mut found) = (json_schema(), Vec::new());
    open(&schema, "", &mut found);
    assert_eq!(found, Vec::<String>::new());
    // The kinds of auth and of paginators that the types know.
    for (name, count) in [("Auth", 8), ("Paginator", 6)] {
        assert_eq!(schema["$defs"][name]["oneOf"].as_array().map(Vec::len), Some(count), "{name}");
    }
}

#[test]
fn the_guide_has_a_good_example_and_every_key() {
    let guide = include_str!("../../../../integrations/README.md");
    let example = guide.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(Manifest::load("north_rmm.yaml", example).err(), None);
    for name in ["Auth", "Paginator"] {
        let schema = json_schema();
        for kind in schema["$defs"][name]["oneOf"].as_array().unwrap() {
            let kind = kind["properties"].as_object().unwrap();
            let words = kind.keys().map(String::as_str).chain(kind["type"]["const"].as_str());
            for word in words {
                assert!(guide.contains(&format!("`{word}`")), "{word}");
            }
        }
    }
}
