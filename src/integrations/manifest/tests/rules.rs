//! Each rule of `check/`, broken once.

use super::*;

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
    ]), @r"
    halopsa.yaml:1: id: 'Halo' must begin with a lower-case letter and hold at most 50 lower-case letters, digits and underscores
    halopsa.yaml:1: id: 'halo' is not the name of the file; call the file halo.yaml
    halopsa.yaml:2: name: empty; say what people call the system
    halopsa.yaml:3: docs_url: 'http://haloservicedesk.com/apidoc' is no address; expected https://…
    halopsa.yaml:15: config[2].key: 'Region' must begin with a lower-case letter and hold at most 39 lower-case letters, digits and underscores
    halopsa.yaml:15: config[2].key: no template uses {{config.Region}}; put it where it is needed or leave the field out
    halopsa.yaml:24: headers.X-Region: {{config.region}} stands for nothing; did you mean {{config.Region}}?
    halopsa.yaml:29: auth.login.url: {{config.region}} stands for nothing; did you mean {{config.Region}}?
    halopsa.yaml:15: config[2].key: no template uses {{config.halopsa_region}}; put it where it is needed or leave the field out
    halopsa.yaml:15: config[2].key: the setting would be called halopsa_halopsa_region; call the key 'region'
    halopsa.yaml:24: headers.X-Region: {{config.region}} stands for nothing; declare it in config with key: region
    halopsa.yaml:29: auth.login.url: {{config.region}} stands for nothing; declare it in config with key: region
    halopsa.yaml:15: config[2].key: 'host' is declared twice; keep one
    halopsa.yaml:24: headers.X-Region: {{config.region}} stands for nothing; declare it in config with key: region
    halopsa.yaml:29: auth.login.url: {{config.region}} stands for nothing; declare it in config with key: region
    halopsa.yaml:7: config[0].title: empty; administrators read it where they enter the value
    halopsa.yaml:15: config[2]: type enum needs options: the values there are
    halopsa.yaml:19: config[2].default: 'eu' is not one of the options
    halopsa.yaml:18: config[2].options: the same value is there twice; keep one
    halopsa.yaml:9: config[0].options: only for type enum; set type: enum or leave the options out
    halopsa.yaml:19: config[2].default: 'uk' is not one of the options
    halopsa.yaml:14: config[1].default: a secret has no default: whoever reads this file would know it
    halopsa.yaml:9: config[0].default: 'x/y' does not match the pattern [a-z0-9.-]+
    ");
}

#[test]
fn fields_of_mappings() {
    const BASE: &str = "base_url: https://{{config.host}}/api";
    const PIN: &str = "mapping_data: [{key: pin, title: Pin, type: secret, help: On the card.}]\n";
    let with = |pin: &str, from: &str, to: &str| told(&GOOD.replace(BASE, &format!("{pin}{BASE}")).replace(from, to));
    let told = [
        with(PIN, "{{org.metadata.colour}}", "{{mapping.pin}}"),
        with(PIN, "/Client/{{org.id}}", "/Client/{{mapping.pin}}"),
        // Nobody reads it; but a text is for workflows.
        with(PIN, "", ""),
        with(&PIN.replace("secret", "string"), "", ""),
        with(PIN, "{{org.metadata.colour}}", "{{mapping.pni}}"),
        with("", "{{org.metadata.colour}}", "{{mapping.pin}}"),
        with(PIN, "all: \"true\"", "all: \"{{mapping.pin}}\""),
        with(PIN, "secret: \"{{config.secret}}\"", "secret: \"{{config.secret}}{{mapping.pin}}\""),
        with(
            &PIN.replace("}]", "}, {key: pin, title: '', type: enum, help: x}]"),
            "{{org.metadata.colour}}",
            "{{mapping.pin}}",
        ),
        with(&format!("mapping_data:\n{}", "  - {key: k, title: K, type: string, help: x}\n".repeat(51)), "", "")
            .lines()
            .next()
            .unwrap()
            .to_owned(),
    ]
    .join("\n");
    insta::assert_snapshot!(told, @r"
    fine
    fine
    halopsa.yaml:21: mapping_data[0].key: no template uses {{mapping.pin}}, so nobody could ever read the secret
    fine
    halopsa.yaml:21: mapping_data[0].key: no template uses {{mapping.pin}}, so nobody could ever read the secret
    halopsa.yaml:67: client.query.colour: {{mapping.pni}} stands for nothing; did you mean {{mapping.pin}}?
    halopsa.yaml:66: client.query.colour: {{mapping.pin}} stands for nothing; declare it in mapping_data with key: pin
    halopsa.yaml:44: list_organizations.request.query.all: {{mapping.pin}} stands for nothing here; only in get_organization and client
    halopsa.yaml:32: auth.login.body.secret: {{mapping.pin}} stands for nothing where a request is about no organization: use it in get_organization and client, or leave out list_organizations, post_connection and check
    halopsa.yaml:21: mapping_data[1]: type enum needs options: the values there are
    halopsa.yaml:21: mapping_data[1].key: 'pin' is declared twice; keep one
    halopsa.yaml:21: mapping_data[1].title: empty; administrators read it where they enter the value
    halopsa.yaml:21: mapping_data: has 51 fields; at most 50 are kept with a mapping
    ");
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
        ("{{org.metadata.colour}}", "{{org.metadata.color}}"),
        ("{all: \"true\"}", "{all: \"{{org.id}}\"}"),
        ("{all: \"true\"}", "{all: \"{{session.token}}\"}"),
        ("Token {{session.token}}", "Token"),
        ("/Client/{{org.id}}", "/Client"),
        ("X-Region", "x-partner"),
        ("X-Region", "Host"),
    ]), @r#"
    halopsa.yaml:6: config[0].key: no template uses {{config.host}}; put it where it is needed or leave the field out
    halopsa.yaml:21: base_url: {{config.hots}} stands for nothing; did you mean {{config.host}}?
    halopsa.yaml:24: headers.X-Region: {{config.zone}} stands for nothing; declare it in config with key: zone
    halopsa.yaml:6: config[0].key: no template uses {{config.host}}; put it where it is needed or leave the field out
    halopsa.yaml:25: headers.X-Partner: {{connection.partnr}} stands for nothing; did you mean {{connection.partner}}?
    halopsa.yaml:25: headers.X-Partner: {{connection.zone}} stands for nothing; save it in a step of post_connection: save: {zone: /pointer}
    halopsa.yaml:37: post_connection[0].request.url: {{connection.partner}} is not known yet here; it is saved later
    halopsa.yaml:31: auth.login.body.deep[0].user: {{connection.user}} is not known yet here; it is saved later
    halopsa.yaml:66: client.query.colour: {{org.metadata.color}} stands for nothing; did you mean {{org.metadata.colour}}?
    halopsa.yaml:43: list_organizations.request.query.all: {{org.id}} stands for nothing here; only in get_organization and client
    halopsa.yaml:43: list_organizations.request.query.all: {{session.token}} stands for nothing here; only in inject of auth type session_token
    halopsa.yaml:34: auth.inject: must send the token somewhere: headers: {authorization: "Bearer {{session.token}}"}
    halopsa.yaml:60: get_organization.request: asks for no particular organization; use {{org.id}}, or leave get_organization out to search the list
    halopsa.yaml:25: headers.X-Partner: is there twice: upper and lower case are the same in names of headers
    halopsa.yaml:24: headers.Host: is set by the HTTP client; leave it out
    "#);
}

#[test]
fn the_base_of_an_early_step_is_known() {
    let text = GOOD
        .replace("https://{{config.host}}/api", "\"{{connection.partner}}/{{config.host}}\"")
        .replace("{url: \"https://api.example.com/whoami/{{connection.user}}\"}", "{path: \"/{{connection.user}}\"}");
    insta::assert_snapshot!(told(&text), @"halopsa.yaml:37: post_connection[0].request.path: base_url needs {{connection.partner}}, which is saved later; use url here");
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
        ("options: [eu, us]", "options: [eu, '']"),
        ("allowed_hosts: [\"*\"]\n", ""),
        ("/api\nallowed_hosts: [\"*\"]\n", ".com\n"),
        ("https://{{config.host}}/api\nallowed_hosts: [\"*\"]\n", "\"{{connection.partner}}/{{config.host}}\"\n"),
        ("https://{{config.host}}/api", "\"{{config.host}}.example.com/api\""),
        ("client:\n", "client:\n  base_url: \"{{org.metadata.colour}}\"\n"),
        ("client:\n", "client:\n  token_url: https://login.example.com/{{org.id}}\n"),
    ]), @r#"
    halopsa.yaml:21: base_url: must begin with https:// (or with a template that holds a whole address)
    halopsa.yaml:6: config[0].key: no template uses {{config.host}}; put it where it is needed or leave the field out
    halopsa.yaml:21: base_url: must begin with https:// (or with a template that holds a whole address)
    halopsa.yaml:21: base_url: ends in '/'; leave it out, since path begins with one
    halopsa.yaml:21: base_url: must not hold '?'; parameters go into query
    halopsa.yaml:21: base_url: must not hold '#'
    halopsa.yaml:21: base_url: {{config.secret}} is a secret; a host is no place for one: names are looked up in the open
    halopsa.yaml:21: base_url: must not hold a user name; credentials go into auth
    halopsa.yaml:21: base_url: the port must be a number written here
    halopsa.yaml:21: base_url: '10.0.0.1' is no host: expected a name in lower case, such as api.example.com
    halopsa.yaml:21: base_url: 'localhost' is no host: expected a name in lower case, such as api.example.com
    halopsa.yaml:29: auth.login.url: option 'us/' of config.region cannot be part of a host: lower-case letters, digits, '-' and '.'
    halopsa.yaml:29: auth.login.url: option '' of config.region cannot be part of a host: lower-case letters, digits, '-' and '.'
    halopsa.yaml:21: base_url: the end of the host is not written here; say in allowed_hosts which hosts credentials may be sent to, such as ["*.example.com"]
    halopsa.yaml:21: base_url: the end of the host is not written here; say in allowed_hosts which hosts credentials may be sent to, such as ["*.example.com"]
    halopsa.yaml:21: base_url: the whole host is not written here; say in allowed_hosts which hosts credentials may be sent to, such as ["*.example.com"]
    halopsa.yaml:21: base_url: {{config.host}} stands for a whole address and needs '/' after it; begin with https:// if it stands for a part only
    halopsa.yaml:66: client.base_url: the whole host is not written here; say in client.allowed_hosts which hosts credentials may be sent to, such as ["*.example.com"]
    halopsa.yaml:66: client.token_url: only with auth type oauth2_client_credentials
    "#);
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
    ]), @r"
    halopsa.yaml:40: list_organizations.request: has path and url; leave one of them out
    halopsa.yaml:40: list_organizations.request: needs path or url
    halopsa.yaml:42: list_organizations.request.path: must begin with '/'
    halopsa.yaml:42: list_organizations.request.path: is appended to base_url; an absolute address goes into url
    halopsa.yaml:42: list_organizations.request.path: must not hold '?' or '#'; parameters go into query
    halopsa.yaml:43: list_organizations.request.body: GET sends no body; set method: POST or use query
    halopsa.yaml:43: list_organizations.request.body_format: multipart is for login only; expected json or form
    halopsa.yaml:44: list_organizations.request.body: must be a mapping of names to text or numbers, since it is sent as a form
    halopsa.yaml:25: headers.X-Partner: {{connection.partner}} stands for nothing; save it in a step of post_connection: save: {partner: /pointer}
    halopsa.yaml:38: post_connection[0].save: saves nothing; name a value of the answer: save: {name: /pointer}
    halopsa.yaml:33: auth.save.User-Id: must begin with a lower-case letter and hold lower-case letters, digits and underscores
    halopsa.yaml:32: auth.login.body: GET sends no body; set method: POST or use query
    halopsa.yaml:26: auth: has expires_in_path and expires_in; leave one of them out
    halopsa.yaml:37: post_connection[0].request: auth.inject puts the token into the body; give it method: POST and a JSON body; body: {} if there is nothing else in it
    halopsa.yaml:60: get_organization.request: auth.inject puts the token into the body; give it method: POST and a JSON body; body: {} if there is nothing else in it
    ");
    let injected = GOOD
        .replace(
            "    headers: {Authorization: \"Token {{session.token}}\"}",
            "    body: {/visa: \"{{session.token}}\"}",
        )
        .replace("    body: {page: 1, size: 1}\n", "");
    assert!(
        told(&injected)
            .contains("halopsa.yaml:40: list_organizations.request: auth.inject puts the token into the body")
    );
    let auth = |auth: &str| {
        let (begin, rest) = GOOD.split_once("auth:\n").unwrap();
        told(&format!("{begin}auth: {auth}\n{}", &rest[rest.find("post_connection").unwrap()..]))
    };
    insta::assert_snapshot!(auth("{type: none, token: x}"), @r"
    halopsa.yaml:11: config[1].key: no template uses {{config.secret}}; put it where it is needed or leave the field out
    halopsa.yaml:26: auth.token: unknown key; with type none there are no others
    halopsa.yaml:28: post_connection[0].request.url: {{connection.user}} stands for nothing; save it in a step of post_connection: save: {user: /pointer}
    ");
    insta::assert_snapshot!(auth("{type: api_key}"), @r"
    halopsa.yaml:11: config[1].key: no template uses {{config.secret}}; put it where it is needed or leave the field out
    halopsa.yaml:26: auth: type api_key needs headers or query: where the key goes
    halopsa.yaml:28: post_connection[0].request.url: {{connection.user}} stands for nothing; save it in a step of post_connection: save: {user: /pointer}
    ");
    let word = |given: &str| {
        let told = auth(given);
        let told: Vec<_> = told.lines().filter(|line| line.contains(": auth.")).collect();
        told.join("\n")
    };
    let words = [
        "{type: bearer, token: 'Bearer {{config.secret}}'}",
        "{type: bearer, token: 'basic {{config.secret}}'}",
        "{type: basic, username: 'Basic {{config.secret}}', password: ''}",
        "{type: bearer, token: '{{config.secret}} Bearer'}",
        "{type: api_key, headers: {Authorization: 'Bearer {{config.secret}}'}}",
    ];
    insta::assert_snapshot!(words.map(word).join("\n"), @r"
    halopsa.yaml:26: auth.token: 'Bearer' would follow the word that this type sends by itself; leave it out, or use type api_key with headers, which sends what is written
    halopsa.yaml:26: auth.token: 'basic' would follow the word that this type sends by itself; leave it out, or use type api_key with headers, which sends what is written
    halopsa.yaml:26: auth.username: 'Basic' would follow the word that this type sends by itself; leave it out, or use type api_key with headers, which sends what is written
    ");
    insta::assert_snapshot!(auth("{type: jwt_bearer, algorithm: RS256, key: x, claims: {}, lifetime: 7200}"), @r"
    halopsa.yaml:11: config[1].key: no template uses {{config.secret}}; put it where it is needed or leave the field out
    halopsa.yaml:26: auth.lifetime: 7200 seconds; expected 30 to 3600
    halopsa.yaml:28: post_connection[0].request.url: {{connection.user}} stands for nothing; save it in a step of post_connection: save: {user: /pointer}
    ");
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
    ]), @r"
    halopsa.yaml:48: list_organizations.paginator: has page_param and page_body_path; leave one of them out
    halopsa.yaml:48: list_organizations.paginator: needs page_param or page_body_path
    halopsa.yaml:43: list_organizations.request.query.all: the paginator sends it (as page_param); leave it out here
    halopsa.yaml:51: list_organizations.paginator.start_page: 2; the first page is 0 or 1
    halopsa.yaml:52: list_organizations.paginator.page_size: 0; a page holds at least one record
    halopsa.yaml:48: list_organizations.paginator: says where page_size goes, but not how large a page is; add page_size
    halopsa.yaml:52: list_organizations.paginator.page_size: is never sent; say where with page_size_param, or leave it out
    halopsa.yaml:48: list_organizations.paginator: has page_size_param and page_size_body_path; leave one of them out
    halopsa.yaml:48: list_organizations.paginator: has total_pages_path (pages) and total_path (records); leave one out
    halopsa.yaml:45: list_organizations.hydrate.batch_size: 9000; expected 1 to 5000
    halopsa.yaml:45: list_organizations.hydrate.ids_body_path: needs a request with method: POST and a JSON body; body: {} if there is nothing else in it
    halopsa.yaml:47: list_organizations.record_filter[0]: needs in or not_in or is_null
    halopsa.yaml:47: list_organizations.record_filter[0]: has in and is_null; leave one of them out
    halopsa.yaml:47: list_organizations.record_filter[0].in: empty; name the values
    halopsa.yaml:58: list_organizations.mapping.metadata.colour: '/registrationToken' looks like a credential; metadata is stored and shown to people: leave it out
    halopsa.yaml:61: check: is never sent, since listing the organizations shows the same; leave it out
    halopsa.yaml:63: error_handler.response_filters[0].http_codes: 20 is no HTTP status; expected 100 to 599
    halopsa.yaml:63: error_handler.response_filters[0]: fits every answer; give http_codes or path
    halopsa.yaml:63: error_handler.response_filters[0].equals: needs path: what is to be equal
    halopsa.yaml:64: rate_limit: needs requests and per_seconds together
    halopsa.yaml:64: rate_limit.requests: 0; expected 1 or more
    halopsa.yaml:64: rate_limit.concurrency: 17; expected 1 to 16
    ");
    let paginator = |paginator: &str| {
        let (begin, rest) = GOOD.split_once("    type: page_number\n").unwrap();
        told(&format!("{begin}    {paginator}\n{}", &rest[rest.find("  mapping:").unwrap()..]))
    };
    insta::assert_snapshot!(paginator("type: cursor"), @r"
    halopsa.yaml:48: list_organizations.paginator: needs cursor_param or cursor_body_path
    halopsa.yaml:48: list_organizations.paginator: needs cursor_path or last_record_path
    ");
    insta::assert_snapshot!(paginator("type: cursor\n    cursor_param: c\n    cursor_path: /c\n    last_record_path: /id"), @"halopsa.yaml:48: list_organizations.paginator: has cursor_path and last_record_path; leave one of them out");
    insta::assert_snapshot!(paginator("type: offset\n    limit: 1"), @"halopsa.yaml:50: list_organizations.paginator.limit: unknown key; with type offset there are offset_param, offset_body_path, page_size, page_size_param, page_size_body_path, total_path, has_more_path");
    insta::assert_snapshot!(paginator("type: single_page\n    page_size: 1"), @"halopsa.yaml:50: list_organizations.paginator.page_size: unknown key; with type single_page there are no others");
    insta::assert_snapshot!(paginator("{type: offset, offset_body_path: /page}"), @"fine");
    assert_eq!(paginator("type: offset\n    offset_body_path: /page"), "fine");
    let unlisted = |rest: &str| {
        let begin = GOOD.split_once("list_organizations:\n").unwrap().0;
        told(&format!("{begin}{rest}"))
    };
    insta::assert_snapshot!(unlisted(""), @"halopsa.yaml:1: nothing can be tested; give list_organizations, get_organization or check");
    insta::assert_snapshot!(unlisted("get_organization: {request: {path: '/x/{{org.id}}'}}"), @"halopsa.yaml:39: get_organization: needs a mapping, since there is no list whose mapping it could share");
    assert_eq!(unlisted("check: {request: {path: /me}}"), "fine");
}
