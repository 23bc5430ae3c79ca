//! The client of one organization: bound to it, to the hosts of its integration, and to its own token.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crosswalk::integrations::FailureClass;
use futures::{StreamExt, future::join_all, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    subject::{Subject, manifest},
    system::{Reply, System},
};

/// Sophos' way: every organization has a host, which only the system knows.
const TENANTS: &str = "
base_url: https://api.central.example.com/partner/v1
auth: {type: bearer, token: '{{config.secret}}'}
headers: {X-Product: crosswalk}
get_organization:
  request: {path: '/tenants/{{org.id}}'}
  mapping: {id: /id, name: /name, metadata: {api_host: /apiHost, region: /region}}
client:
  base_url: '{{org.metadata.api_host}}'
  headers: {X-Tenant-ID: '{{org.id}}', X-Region: '{{org.metadata.region}}'}
  query: {tenant: '{{org.id}}'}
  allowed_hosts: ['*.central.example.com']
";

async fn tenants(tenant: Value) -> System {
    System::start(move |asked| match asked.path.as_str() {
        "/partner/v1/tenants/t-1" => Reply::json(&tenant),
        _ => Reply::json(&json!({"path": asked.path, "host": asked.host})),
    })
    .await
}

#[tokio::test]
async fn everything_is_sent_as_the_organization() {
    let tenant = json!({"id": "t-1", "name": "x", "apiHost": "https://eu-1.central.example.com/", "region": "eu"});
    let system = tenants(tenant).await;
    let client = Subject::new(&manifest(TENANTS), &[("secret", "s")], &system).client("t-1").await.unwrap();
    assert_eq!(client.external_org_id().as_str(), "t-1");
    let answer = client.get("/endpoints?view=full", &[("page", "a b"), ("tenant", "t-2")]).await.unwrap();
    assert_eq!(answer.body, json!({"path": "/endpoints", "host": "eu-1.central.example.com"}));
    client.send(Method::POST, "/things", &[], Some(json!({"a": 1}))).await.unwrap();
    let asked = system.asked();
    let (get, post) = (&asked[1], &asked[2]);
    for one in [get, post] {
        assert_eq!(one.header("authorization"), Some("Bearer s"));
        assert_eq!((one.header("x-tenant-id"), one.header("x-region")), (Some("t-1"), Some("eu")));
        assert_eq!(one.header("x-product"), Some("crosswalk"));
        assert_eq!(
            one.query.iter().filter(|(name, _)| name == "tenant").collect::<Vec<_>>(),
            [&("tenant".to_owned(), "t-1".to_owned())]
        );
    }
    assert_eq!((get.query("view"), get.query("page")), (Some("full"), Some("a b")));
    assert_eq!((post.method.as_str(), post.json()), ("POST", json!({"a": 1})));
    assert_eq!(post.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn what_the_system_says_of_the_organization_is_not_trusted() {
    use FailureClass::{BadResponse, Configuration, Mismatch};
    for (tenant, class) in [
        (json!({"id": "t-1", "apiHost": "https://evil.example.org", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": "https://central.example.com.evil.org", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": "https://eu.central.example.com@evil.org", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": "https://evil.org\\.central.example.com", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": "http://eu.central.example.com", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": "eu.central.example.com", "region": "eu"}), Configuration),
        (json!({"id": "t-1", "apiHost": {"a": 1}, "region": "eu"}), Configuration),
        (json!({"id": "t-1", "region": "eu"}), Configuration),
        (json!({"id": "t-2", "apiHost": "https://eu.central.example.com"}), Mismatch),
        (json!({"apiHost": "https://eu.central.example.com"}), BadResponse),
    ] {
        let system = tenants(tenant.clone()).await;
        let subject = Subject::new(&manifest(TENANTS), &[("secret", "s")], &system);
        let failure = subject.client("t-1").await.err().unwrap();
        assert_eq!(failure.class, class, "{tenant}: {failure}");
        assert!(system.asked().iter().all(|asked| asked.host == "api.central.example.com"), "{tenant}");
    }
    // Without the header that binds it, a request would be one of the partner.
    for region in [json!(null), json!("a\r\nX-Evil: 1"), json!([1])] {
        let tenant = json!({"id": "t-1", "apiHost": "https://eu.central.example.com", "region": region});
        let system = tenants(tenant).await;
        let client = Subject::new(&manifest(TENANTS), &[("secret", "s")], &system).client("t-1").await.unwrap();
        let failure = client.get("/x", &[]).await.unwrap_err();
        assert_eq!(failure.class, Configuration, "{region}: {failure}");
        assert_eq!(system.asked().len(), 1, "{region}");
    }
}

#[tokio::test]
async fn a_path_stays_below_the_base() {
    let system = System::start(|asked| Reply::json(&json!(asked.path))).await;
    let parts = "base_url: https://api.example.com/base/v1\nauth: {type: bearer, token: '{{config.secret}}'}";
    let client = Subject::new(&manifest(parts), &[("secret", "s")], &system).client("o").await.unwrap();
    for path in [
        "",
        "x",
        "@evil.org/x",
        ":8443/x",
        ".evil.org/x",
        "https://evil.org/x",
        "\\evil",
        "\\\\evil.org",
        "?x=1",
        "#x",
        "/../x",
        "/..",
        "/a/../../x",
        "/%2e%2e/x",
        "/.%2E/x",
        "/..\\x",
        "/a/..\\..\\x",
        "/.\t./x",
        "/..%2fx",
        "/%2e%2e%2fx",
        "/a%2f..%2f..%2f..%2fx",
        "/..%5cx",
        "/a%5c..%5c..%5cx",
        "\t/x",
        " /x",
    ] {
        let failure = client.get(path, &[]).await.err().unwrap_or_else(|| panic!("{path:?}: {:?}", system.asked()));
        assert_eq!(failure.class, FailureClass::Configuration, "{path:?}: {failure}");
    }
    assert!(system.asked().is_empty());
    for (path, sent) in [
        ("/", "/base/v1/"),
        ("//evil.org/x", "/base/v1//evil.org/x"),
        ("/a/../b", "/base/v1/b"),
        ("/a..b/...", "/base/v1/a..b/..."),
        ("/a%2Fb", "/base/v1/a%2Fb"),
        ("/x#fragment", "/base/v1/x"),
        ("/https://evil.org", "/base/v1/https://evil.org"),
    ] {
        let answer = client.get(path, &[]).await.unwrap();
        assert_eq!(answer.body, json!(sent), "{path:?}");
    }
    assert!(system.asked().iter().all(|asked| asked.host == "api.example.com"));
}

#[tokio::test]
async fn only_what_reads_is_repeated_when_its_answer_was_lost() {
    enum Way {
        BreaksOff,
        Status(u16),
    }
    for (way, get, post) in [
        (Way::BreaksOff, 3, 1),
        (Way::Status(500), 5, 1),
        (Way::Status(502), 5, 1),
        (Way::Status(504), 5, 1),
        (Way::Status(503), 5, 1),
        (Way::Status(408), 5, 1),
        // Said before anything was done.
        (Way::Status(429), 5, 5),
    ] {
        for (method, requests) in
            [("GET", get), ("HEAD", get), ("PUT", get), ("DELETE", get), ("POST", post), ("PATCH", post)]
        {
            let (broken, status) = match way {
                Way::BreaksOff => (true, 200),
                Way::Status(status) => (false, status),
            };
            if broken && method == "HEAD" {
                continue;
            }
            let system = System::start(move |_| {
                if broken {
                    let chunks = [Ok("{".into()), Err(std::io::Error::other("gone"))];
                    return Reply::chunks(stream::iter(chunks).boxed()).header("content-length", "9");
                }
                Reply::text("").status(status)
            })
            .await;
            let client = Subject::new(&manifest(""), &[], &system).client("o").await.unwrap();
            let method: Method = method.parse().unwrap();
            client.send(method.clone(), "/x", &[], None).await.unwrap_err();
            assert_eq!(system.asked().len(), requests, "{method} {status} {broken}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_null() {
    for status in [200, 202, 204] {
        let system = System::start(move |_| Reply::text("").status(status)).await;
        let client = Subject::new(&manifest(""), &[], &system).client("o").await.unwrap();
        let answer = client.send(Method::DELETE, "/x", &[], None).await.unwrap();
        assert_eq!((answer.status, answer.body), (status, Value::Null));
    }
    let system = System::start(|_| Reply::text("").status(404)).await;
    let client = Subject::new(&manifest(""), &[], &system).client("o").await.unwrap();
    assert_eq!(client.get("/x", &[]).await.unwrap_err().class, FailureClass::NotFound);
}

/// Graph's way and `CrowdStrike`'s: a token for each organization, by address or by parameter.
#[tokio::test]
async fn no_organization_gets_the_token_of_another() {
    let oauth = "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/partner/token', client_id: a, \
                 client_secret: '{{config.secret}}', token_params: {kind: partner}}";
    for (client, path) in [
        ("client: {token_url: 'https://id.example.com/{{org.id}}/token'}", "/{}/token"),
        ("client: {token_params: {member: '{{org.id}}', kind: customer}}", "/partner/token"),
    ] {
        let system = System::start(|asked| {
            if asked.path.ends_with("/token") {
                let form = asked.form();
                let member = form.iter().find(|(name, _)| name == "member").map(|(_, value)| value.as_str());
                let whose = member.unwrap_or_else(|| asked.path.split('/').nth(1).unwrap());
                return Reply::json(&json!({"access_token": format!("of-{whose}"), "expires_in": 3600}));
            }
            Reply::json(&json!({"token": asked.header("authorization"), "items": []}))
        })
        .await;
        let subject = Subject::new(&manifest(&format!("{oauth}\n{client}")), &[("secret", "s")], &system);
        let clients = [subject.client("o/1").await.unwrap(), subject.client("o2").await.unwrap()];
        assert!(system.asked().is_empty(), "nothing is asked for before it is needed");
        for _ in 0..2 {
            let answers = join_all((0..8).map(|number| clients[number % 2].get("/x", &[]))).await;
            for (number, answer) in answers.into_iter().enumerate() {
                let whose = if client.contains("token_url") { ["o%2F1", "o2"] } else { ["o/1", "o2"] };
                assert_eq!(answer.unwrap().body["token"], json!(format!("Bearer of-{}", whose[number % 2])));
            }
            subject.list().await.unwrap();
            assert_eq!(system.asked().last().unwrap().header("authorization"), Some("Bearer of-partner"));
        }
        let logins: Vec<_> = system.asked().into_iter().filter(|asked| asked.path.ends_with("/token")).collect();
        assert_eq!(logins.len(), 3);
        assert_eq!(
            logins.iter().filter(|login| login.path == path.replace("{}", "o%2F1")).count(),
            if path.contains("{}") { 1 } else { 3 }
        );
        let kinds: Vec<_> =
            logins.iter().filter(|login| login.form().contains(&("kind".to_owned(), "customer".to_owned()))).collect();
        assert_eq!(kinds.len(), if client.contains("kind") { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_client_gets_a_new_token_when_its_own_is_refused() {
    let issued = AtomicUsize::new(0);
    let system = System::start(move |asked| {
        if asked.path == "/o1/token" {
            return Reply::json(&json!({"access_token": issued.fetch_add(1, SeqCst)  .to_string()}));
        }
        let fresh = asked.header("authorization") == Some("Bearer 1");
        if fresh { Reply::json(&asked.json()) } else { Reply::text("").status(401) }
    })
    .await;
    let parts = "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', client_id: a, \
                 client_secret: '{{config.secret}}'}\nclient: {token_url: 'https://id.example.com/{{org.id}}/token'}";
    let client = Subject::new(&manifest(parts), &[("secret", "s")], &system).client("o1").await.unwrap();
    // A refused write was not carried out, so it may be sent again.
    let answer = client.send(Method::POST, "/x", &[], Some(json!([1]))).await.unwrap();
    assert_eq!((answer.body, system.asked().len()), (json!([1]), 4));
}

#[tokio::test]
async fn a_new_token_goes_where_its_login_says() {
    let logins = AtomicUsize::new(0);
    let system = System::start(move |asked| match (asked.path.as_str(), asked.host.as_str()) {
        ("/login", _) => {
            let login = logins.fetch_add(1, SeqCst) + 1;
            Reply::json(&json!({"token": format!("t-{login}"), "host": format!("https://z{login}.zone.example.com")}))
        }
        // The first login has ended.
        (_, "z2.zone.example.com") => Reply::json(&json!("done")),
        _ => Reply::text("").status(401),
    })
    .await;
    let parts = "base_url: '{{connection.zone}}'\nallowed_hosts: ['*.zone.example.com']\nauth: {type: session_token, \
                 login: {url: 'https://id.example.com/login'}, token_path: /token, save: {zone: /host}, \
                 inject: {headers: {X-Session: '{{session.token}}'}}}";
    let client = Subject::new(&manifest(parts), &[], &system).client("o1").await.unwrap();
    assert_eq!(client.get("/x", &[]).await.unwrap().body, "done");
    let sent: Vec<_> = system
        .asked()
        .iter()
        .filter(|asked| asked.path == "/x")
        .map(|asked| (asked.host.clone(), asked.header("x-session").unwrap_or_default().to_owned()))
        .collect();
    let pair = |host: &str, token: &str| (host.to_owned(), token.to_owned());
    assert_eq!(sent, [pair("z1.zone.example.com", "t-1"), pair("z2.zone.example.com", "t-2")]);
}

#[tokio::test]
async fn a_refusal_names_the_request_and_the_credentials_without_their_values() {
    let system = System::start(|_| Reply::text("").status(401)).await;
    let told = async |parts: &str| {
        let subject = Subject::new(&manifest(parts), &[("secret", "open/sesame")], &system);
        let client = subject.client("1").await.unwrap().get(&"/x".repeat(200), &[]).await.unwrap_err();
        assert!(client.message.starts_with("GET api.example.com/") && client.message.len() < 300, "{client}");
        assert!(!client.message.contains("sesame"), "{client}");
        subject.list().await.unwrap_err().message
    };
    let path = "base_url: 'https://api.example.com/{{config.secret}}'\nauth: {type: none}";
    insta::assert_snapshot!(told(path).await, @"GET api.example.com/[redacted]/orgs: status 401: the credentials were refused");
    insta::assert_snapshot!(told("auth: {type: api_key, headers: {A: '{{config.optional}}', B: '{{config.secret}}'}}").await, @"GET api.example.com/v1/orgs: status 401: the credentials were refused; sent were any_secret");
    insta::assert_snapshot!(told("auth: {type: none}\nheaders: {X-Key: '{{config.secret}}'}").await, @"GET api.example.com/v1/orgs: status 401: the credentials were refused; sent were any_secret");
}
