//! Where credentials go, and where they must not: links, redirects, hosts from settings, ids in paths.

use crosswalk::integrations::{Failure, FailureClass};
use serde_json::json;

use crate::{
    subject::{Subject, manifest, one_page},
    system::{Reply, System},
};

const BEARER: &str = "auth: {type: bearer, token: '{{config.secret}}'}\n";
const ALLOWED: &str = "allowed_hosts: [other.example.com, '*.shard.example.com']\n";
const SECRET: &[(&str, &str)] = &[("secret", "s")];

/// Where a link or redirect leads from `https://api.example.com/v1/orgs`: a host and a path, or nowhere.
const PLACES: &[(&str, Option<(&str, &str)>)] = &[
    ("/v1/two", Some(("api.example.com", "/v1/two"))),
    ("two", Some(("api.example.com", "/v1/two"))),
    ("?page=2", Some(("api.example.com", "/v1/orgs"))),
    ("https://api.example.com/two", Some(("api.example.com", "/two"))),
    ("https://API.example.com:443/two", Some(("api.example.com", "/two"))),
    ("//api.example.com/two", Some(("api.example.com", "/two"))),
    ("https://other.example.com/two", Some(("other.example.com", "/two"))),
    ("//other.example.com/two", Some(("other.example.com", "/two"))),
    ("https://n1.shard.example.com/two", Some(("n1.shard.example.com", "/two"))),
    ("https://evil.org/two", None),
    ("//evil.org/two", None),
    ("/\\evil.org/two", None),
    ("\\\\evil.org/two", None),
    ("https:evil.org/two", Some(("api.example.com", "/v1/evil.org/two"))),
    ("https://shard.example.com/two", None),
    ("https://evilshard.example.com/two", None),
    ("https://other.example.com.evil.org/two", None),
    ("https://sub.other.example.com/two", None),
    ("https://sub.api.example.com/two", None),
    ("https://other.example.com:8443/two", None),
    ("https://api.example.com:8443/two", None),
    ("http://api.example.com/two", None),
    ("http://other.example.com/two", None),
    ("https://api.example.com@evil.org/two", None),
    ("https://user@api.example.com/two", None),
    ("https://:secret@api.example.com/two", None),
    ("https://user@other.example.com/two", None),
    ("https://evil.org#@api.example.com/", None),
    ("https://127.0.0.1/two", None),
    ("https://[::1]/two", None),
    ("javascript:alert(1)", None),
    ("file:///etc/passwd", None),
    ("data:application/json,{}", None),
    ("https://", None),
    ("https://api.example.com.:443/two", None),
];

fn sent_to(system: &System) -> Vec<(String, String)> {
    assert!(system.asked().iter().all(|asked| asked.header("authorization") == Some("Bearer s")));
    system.asked().into_iter().map(|asked| (asked.host, asked.path)).collect()
}

#[tokio::test]
async fn links_and_redirects_stay_where_credentials_may_go() {
    for &(place, leads_to) in PLACES {
        for status in [200, 301, 302, 303, 307, 308] {
            let system = System::start(move |asked| {
                let first = asked.path == "/v1/orgs" && asked.query.is_empty() && asked.host == "api.example.com";
                match (first, status) {
                    (false, _) => Reply::json(&json!({"items": [{"id": 2}]})),
                    (true, 200) => Reply::json(&json!({"items": [{"id": 1}], "next": place})),
                    (true, _) => Reply::text("").status(status).header("location", place),
                }
            })
            .await;
            let parts = format!("{BEARER}{ALLOWED}");
            let listed = Subject::new(&manifest(&parts), SECRET, &system).list().await;
            let mut sent = vec![("api.example.com".to_owned(), "/v1/orgs".to_owned())];
            if let Some((host, path)) = leads_to {
                sent.push((host.to_owned(), path.to_owned()));
                assert_eq!(listed.unwrap().len(), if status == 200 { 2 } else { 1 }, "{place} {status}");
            } else {
                let failure = listed.unwrap_err();
                let class = [FailureClass::Configuration, FailureClass::BadResponse];
                assert!(class.contains(&failure.class), "{place} {status}: {failure}");
            }
            assert_eq!(sent_to(&system), sent, "{place} {status}");
        }
    }
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    for (hops, good) in [(5, true), (6, false), (99, false)] {
        let system = System::start(move |asked| {
            let hop = asked.number("hop").unwrap_or(0);
            let next = format!("/v1/orgs?hop={}", hop + 1);
            if hop < hops { Reply::text("").status(307).header("location", &next) } else { one_page() }
        })
        .await;
        let listed = Subject::new(&manifest(BEARER), SECRET, &system).list().await;
        assert_eq!(listed.is_ok(), good, "{hops}");
        assert_eq!(system.asked().len(), 6, "{hops}");
    }
}

#[tokio::test]
async fn a_redirected_post_keeps_its_method_and_body_or_fails() {
    for (status, good) in [(301, false), (302, false), (303, false), (307, true), (308, true)] {
        let system = System::start(move |asked| {
            let redirect = Reply::text("").status(status).header("location", "https://other.example.com/two");
            if asked.host == "api.example.com" { redirect } else { one_page() }
        })
        .await;
        let parts = format!(
            "{BEARER}{ALLOWED}list_organizations: {{request: {{method: POST, path: /orgs, body: {{a: 1}}}}, \
             record_selector: /items, paginator: {{type: single_page}}, mapping: {{id: /id, name: /name}}}}"
        );
        let listed = Subject::new(&manifest(&parts), SECRET, &system).list().await;
        let asked = system.asked();
        assert!(asked.iter().all(|asked| asked.method == "POST" && asked.json() == json!({"a": 1})), "{status}");
        assert_eq!((listed.is_ok(), asked.len()), (good, if good { 2 } else { 1 }), "{status}");
    }
}

/// A system that writes the whole address into its links writes the key as well.
#[tokio::test]
async fn a_key_in_the_address_is_there_once() {
    let system = System::start(|asked| {
        let next = match asked.number("page") {
            None => Some("?page=2&key=s&x=%2F"),
            Some(2) => Some("?page=3&key=old&key=s"),
            _ => None,
        };
        Reply::json(&json!({"items": [{"id": asked.number("page").unwrap_or(1)}], "next": next}))
    })
    .await;
    let parts = "auth: {type: api_key, query: {key: '{{config.secret}}'}}";
    assert_eq!(Subject::new(&manifest(parts), SECRET, &system).list().await.unwrap().len(), 3);
    for asked in system.asked() {
        let keys: Vec<_> =
            asked.query.iter().filter(|(name, _)| name == "key").map(|(_, value)| value.as_str()).collect();
        assert_eq!(keys, ["s"], "{asked:?}");
    }
    assert_eq!(system.asked()[1].query("x"), Some("/"));
}

async fn with_host(parts: &str, host: &str) -> (System, Option<Failure>) {
    let system = System::start(|_| one_page()).await;
    let subject = Subject::new(&manifest(&format!("{BEARER}{parts}")), &[("secret", "s"), ("host", host)], &system);
    let failure = subject.list().await.err();
    (system, failure)
}

#[tokio::test]
async fn trap_32_a_setting_in_the_host_is_a_name_and_nothing_more() {
    let below = "base_url: 'https://{{config.host}}.example.com/v1'";
    let before = "base_url: 'https://api-{{config.host}}.example.com/v1'";
    for (parts, host, sent) in [
        (below, "acme", "acme.example.com"),
        (below, "ACME", "acme.example.com"),
        (below, "evil.org", "evil.org.example.com"),
        (before, "eu1", "api-eu1.example.com"),
    ] {
        let (system, failure) = with_host(parts, host).await;
        assert!(failure.is_none(), "{host}: {failure:?}");
        assert_eq!(sent_to(&system), [(sent.to_owned(), "/v1/orgs".to_owned())], "{host}");
    }
    for host in [
        "evil.org/",
        "evil.org?",
        "evil.org#",
        "evil.org\\",
        "u@evil",
        ":443@evil",
        "a:8443",
        "a%2Fb",
        "evil.org%00",
        "a b",
        "",
        "ä",
        "evil\u{3002}org",
        "a\nb",
        "a\r\n",
        "a\t",
        "[::1]",
        "a_b",
        "*",
        "{{config.secret}}",
    ] {
        for parts in [below, before] {
            let (system, failure) = with_host(parts, host).await;
            assert_eq!(failure.unwrap().class, FailureClass::Configuration, "{host:?}");
            assert!(system.asked().is_empty(), "{host:?}");
        }
    }
    for host in [".", "..", "a..b", ".a", "-", "xn--", "a."] {
        let (system, _) = with_host(below, host).await;
        assert!(sent_to(&system).iter().all(|(host, _)| host.ends_with(".example.com")), "{host:?}");
    }
}

#[tokio::test]
async fn a_whole_host_from_a_setting_has_to_be_allowed() {
    let bare = "base_url: 'https://{{config.host}}/v1'";
    let allowed = "base_url: 'https://{{config.host}}/v1'\nallowed_hosts: ['*.example.com']";
    let any = "base_url: 'https://{{config.host}}/v1'\nallowed_hosts: ['*']";
    for (parts, host, good) in [
        (bare, "a.example.com", false),
        (allowed, "a.example.com", true),
        (allowed, "A.Example.COM", true),
        (allowed, "example.com", false),
        (allowed, "a.example.com.evil.org", false),
        (allowed, "evilexample.com", false),
        (allowed, "a.example.com.", false),
        (any, "evil.org", true),
        // Any public one.
        (any, "127.0.0.1", false),
        (any, "0x7f.1", false),
        (any, "2130706433", false),
        (any, "169.254.169.254", false),
        (any, "localhost", false),
        (any, "a.localhost.", false),
        (any, "metadata.google.internal", false),
    ] {
        let (system, failure) = with_host(parts, host).await;
        assert_eq!(failure.is_none(), good, "{host}: {failure:?}");
        assert_eq!(system.asked().len(), usize::from(good), "{host}");
        if let Some(failure) = failure {
            assert_eq!(failure.class, FailureClass::Configuration, "{host}: {failure}");
        }
    }
}

#[tokio::test]
async fn a_whole_address_from_a_setting_has_to_be_allowed() {
    let allowed = "base_url: '{{config.host}}/v1'\nallowed_hosts: ['*.example.com']";
    for (url, sent) in [
        ("https://a.example.com", Some("/v1/orgs")),
        ("https://a.example.com/", Some("/v1/orgs")),
        ("https://a.example.com/api//", Some("/api/v1/orgs")),
        ("https://a.example.com:8443/api", Some("/api/v1/orgs")),
        ("http://a.example.com", None),
        ("a.example.com", None),
        ("//a.example.com", None),
        ("https://evil.org", None),
        ("https://evil.org#.example.com", None),
        ("https://evil.org/.example.com", None),
        ("https://evil.org\\.example.com", None),
        ("https://evil.org?.example.com", None),
        ("https://a.example.com@evil.org", None),
        ("https://u:p@a.example.com", None),
        // What follows would be no path.
        ("https://a.example.com?x=", None),
        ("https://a.example.com/#", None),
        ("", None),
        ("https://", None),
        ("https:///", None),
    ] {
        let (system, failure) = with_host(allowed, url).await;
        let asked: Vec<_> = system.asked().into_iter().map(|asked| asked.path).collect();
        assert_eq!(asked.first().map(String::as_str), sent, "{url}: {failure:?}");
        assert_eq!(
            failure.map(|failure| failure.class),
            sent.is_none().then_some(FailureClass::Configuration),
            "{url}"
        );
    }
    let (system, failure) = with_host("base_url: '{{config.host}}/v1'", "https://a.example.com").await;
    assert_eq!(failure.unwrap().class, FailureClass::Configuration);
    assert!(system.asked().is_empty());
}

/// Who may set a host for one organization must not get the credentials that all share.
#[tokio::test]
async fn a_host_of_the_organization_gets_no_credentials_of_others() {
    let hosts = [
        "base_url: 'https://{{config.host}}.example.com'",
        "base_url: 'https://{{config.host}}.example.com'\nallowed_hosts: ['*']",
    ];
    let login = "auth: {type: oauth2_client_credentials, token_url: 'https://{{config.host}}.example.com/token', \
                 client_id: a, client_secret: '{{config.secret}}'}";
    let (global, own) = ([("secret", "s")], [("host", "acme")]);
    for parts in hosts.map(|host| format!("{BEARER}{host}")).into_iter().chain([login.to_owned()]) {
        let parts = manifest(&parts);
        let system =
            System::start(
                |asked| {
                    if asked.path == "/token" { Reply::json(&json!({"access_token": "t"})) } else { one_page() }
                },
            )
            .await;
        let failure = Subject::scoped(&parts, &global, &own, &system).list().await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Configuration, "{failure}");
        assert!(system.asked().is_empty());
        for (global, own) in [(&[][..], &[global[0], own[0]][..]), (&[global[0], own[0]], &[]), (&own, &global)] {
            assert!(Subject::scoped(&parts, global, own, &system).list().await.is_ok(), "{global:?} {own:?}");
        }
    }
    // One of several hosts that the manifest names is no one's own.
    let region = "config:
  - {key: secret, title: s, type: secret, help: s}
  - {key: host, title: h, type: enum, options: [eu, us], help: h}
base_url: 'https://{{config.host}}.example.com'";
    let system = System::start(|_| one_page()).await;
    let parts = manifest(&format!("{BEARER}{region}"));
    assert!(Subject::scoped(&parts, &global, &[("host", "eu")], &system).list().await.is_ok());
    assert_eq!(sent_to(&system)[0].0, "eu.example.com");
    // Neither is a path.
    let parts = manifest(&format!("{BEARER}base_url: 'https://api.example.com/{{{{config.host}}}}'"));
    assert!(Subject::scoped(&parts, &global, &[("host", "a/b")], &system).list().await.is_ok());
    assert_eq!(sent_to(&system)[1].1, "/a%2Fb/orgs");
}

#[tokio::test]
async fn paths_are_put_together_and_encoded_once() {
    for (id, sent) in [
        ("7", "/v1/orgs/7/detail"),
        ("a/b", "/v1/orgs/a%2Fb/detail"),
        ("/", "/v1/orgs/%2F/detail"),
        ("MTI=", "/v1/orgs/MTI%3D/detail"),
        ("a%2Fb", "/v1/orgs/a%252Fb/detail"),
        ("100%", "/v1/orgs/100%25/detail"),
        ("../../admin", "/v1/orgs/..%2F..%2Fadmin/detail"),
        ("...", "/v1/orgs/.../detail"),
        ("a..b", "/v1/orgs/a..b/detail"),
        ("a?b=c&d", "/v1/orgs/a%3Fb%3Dc%26d/detail"),
        ("a#b", "/v1/orgs/a%23b/detail"),
        ("a b+c", "/v1/orgs/a%20b%2Bc/detail"),
        ("\\a", "/v1/orgs/%5Ca/detail"),
        ("a;b:c@d", "/v1/orgs/a%3Bb%3Ac%40d/detail"),
        ("zürich\u{1f600}", "/v1/orgs/z%C3%BCrich%F0%9F%98%80/detail"),
        ("resellers/1/customers/2", "/v1/orgs/resellers%2F1%2Fcustomers%2F2/detail"),
    ] {
        let system = System::start(|asked| Reply::json(&json!({"id": asked.query("id"), "name": "x"}))).await;
        let parts = "get_organization: {request: {path: '/orgs/{{org.id}}/detail', query: {id: '{{org.id}}'}}}";
        let failure = Subject::new(&manifest(parts), &[], &system).test(id).await;
        assert_eq!(failure.map(|failure| failure.message), None, "{id}");
        assert_eq!(system.asked()[0].path, sent, "{id}");
    }
    for id in [".", ".."] {
        let system = System::start(|_| one_page()).await;
        let failure = Subject::new(&manifest(""), &[], &system).test(id).await.unwrap();
        assert_eq!(failure.class, FailureClass::Configuration, "{failure}");
        assert!(system.asked().is_empty());
    }
}

#[tokio::test]
async fn no_setting_makes_a_header_of_its_own() {
    let table = [
        "auth: {type: api_key, headers: {X-Key: '{{config.value}}'}}",
        "headers: {X-Key: 'a {{config.value}} b'}",
        "auth: {type: bearer, token: '{{config.value}}'}",
        "auth: {type: hmac_signature, variant: duo_v2, key_id: x, secret: x}\nheaders: {X-Key: '{{config.value}}'}",
        "auth: {type: session_token, login: {url: 'https://id.example.com/token', headers: {X-Key: '{{config.value}}'}}, \
         token_path: /t, inject: {}}",
    ];
    for parts in table {
        for value in ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\0b", "\r\n\r\n", "\u{7f}"] {
            let system = System::start(|_| one_page()).await;
            let failure = Subject::new(&manifest(parts), &[("value", value)], &system).list().await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Configuration, "{parts} {value:?}: {failure}");
            assert!(system.asked().is_empty(), "{parts} {value:?}");
        }
    }
    // Where values are encoded, they stay values.
    let parts = "auth: {type: api_key, query: {key: '{{config.value}}'}}";
    let system = System::start(|_| one_page()).await;
    Subject::new(&manifest(parts), &[("value", "a\r\nX-Evil: 1&b=c")], &system).list().await.unwrap();
    let asked = &system.asked()[0];
    assert_eq!(
        (asked.query("key"), asked.query("b"), asked.header("x-evil")),
        (Some("a\r\nX-Evil: 1&b=c"), None, None)
    );
}
