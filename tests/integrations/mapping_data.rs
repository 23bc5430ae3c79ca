//! `mapping.x`: what is entered with a mapping goes where the manifest says, and nowhere else.

use base64::{Engine, engine::general_purpose::STANDARD};
use crosswalk::integrations::FailureClass;
use serde_json::json;

use crate::{
    subject::{Subject, manifest},
    system::{Reply, System},
};

/// A system where every customer has a key of their own.
const OWN_KEYS: &str = "
mapping_data:
  - {key: api_secret, title: Key, type: secret, help: None}
  - {key: site, title: Site, type: string, required: false, help: None}
  - {key: region, title: Region, type: enum, options: [eu, us], default: eu, help: None}
auth: {type: bearer, token: '{{mapping.api_secret}}'}
# no list_organizations:
get_organization:
  request: {path: '/account', headers: {X-Site: '{{mapping.site}}'}}
  mapping: {id: /id, name: /name}
client:
  base_url: 'https://{{mapping.region}}.api.example.com'
  headers: {X-Site: '{{mapping.site}}'}
";

async fn accounts() -> System {
    System::start(|asked| match asked.header("authorization") {
        Some("Bearer k3y-of-one") => Reply::json(&json!({"id": "1", "name": "One", "host": asked.host})),
        Some("Bearer k3y-of-two") => Reply::json(&json!({"id": "2", "name": "Two", "host": asked.host})),
        other => Reply::json(&json!({"error": format!("{other:?} is no key")})).status(403),
    })
    .await
}

#[tokio::test]
async fn a_mapping_logs_in_with_what_was_entered_with_it() {
    let system = accounts().await;
    let one =
        Subject::new(&manifest(OWN_KEYS), &[], &system).with_data(&[("api_secret", "k3y-of-one"), ("region", "us")]);
    assert_eq!(one.test("1").await.map(|failure| failure.message), None);
    let client = one.client("1").await.unwrap();
    assert_eq!(client.get("/things", &[]).await.unwrap().body["host"], "us.api.example.com");
    assert!(system.asked().iter().all(|asked| asked.header("x-site").is_none()), "what is not set is left out");

    // The key of another customer, and the same integration: no token is taken for another.
    let two = one.with_data(&[("api_secret", "k3y-of-two"), ("region", "eu"), ("site", "s 7")]);
    assert_eq!(two.test("2").await.map(|failure| failure.message), None);
    assert_eq!(two.test("1").await.unwrap().class, FailureClass::Mismatch);
    let client = two.client("2").await.unwrap();
    assert_eq!(client.get("/things", &[]).await.unwrap().body["host"], "eu.api.example.com");
    assert_eq!(system.asked().last().unwrap().header("x-site"), Some("s 7"));
    assert_eq!(system.asked().last().unwrap().header("authorization"), Some("Bearer k3y-of-two"));
}

#[tokio::test]
async fn what_is_not_entered_and_what_is_refused_is_told_without_the_value() {
    let system = accounts().await;
    let none = Subject::new(&manifest(OWN_KEYS), &[], &system);
    let failure = none.test("1").await.unwrap();
    assert_eq!((failure.class, system.asked().len()), (FailureClass::Configuration, 0));
    assert!(failure.message.contains("mapping.api_secret is not set"), "{failure}");
    let wrong = none.with_data(&[("api_secret", "k3y-that-is-wrong"), ("region", "eu")]);
    let failure = wrong.test("1").await.unwrap();
    assert_eq!(failure.class, FailureClass::Permission);
    let client = wrong.client("1").await.unwrap();
    let of_client = client.get("/things", &[]).await.unwrap_err();
    for failure in [failure, of_client] {
        assert!(!format!("{failure:?}").contains("k3y-that"), "{failure:?}");
    }
}

/// Whoever may enter data must not lead the key of the MSP elsewhere.
#[tokio::test]
async fn a_host_that_was_entered_gets_no_credentials_of_others() {
    const HOSTS: &str = "
mapping_data: [{key: host, title: Host, type: string, help: None}]
auth: {type: bearer, token: '{{config.secret}}'}
client:
  base_url: 'https://{{mapping.host}}'
  allowed_hosts: ['*.example.com']
";
    let system = System::start(|_| Reply::json(&json!({"id": "1", "name": "One"}))).await;
    for host in ["mine.example.com", "evil.test", "evil.test#.example.com", "a@evil.test", "127.0.0.1"] {
        let data = [("host", host)];
        let global = Subject::new(&manifest(HOSTS), &[("secret", "s")], &system).with_data(&data);
        let refused = match global.client("1").await {
            Err(failure) => failure,
            Ok(client) => client.get("/", &[]).await.unwrap_err(),
        };
        assert_eq!(refused.class, FailureClass::Configuration, "{host}: {refused}");
        let own = Subject::scoped(&manifest(HOSTS), &[], &[("secret", "s")], &system).with_data(&data);
        assert_eq!(own.client("1").await.is_ok(), host == "mine.example.com", "{host}");
    }
    assert_eq!(system.asked().len(), 0);
}

/// One set of settings, so one connection; the logins are of the mappings.
#[tokio::test]
async fn two_mappings_never_share_a_token() {
    const FIELDS: &str = "
mapping_data:
  - {key: tenant, title: Tenant, type: string, help: None}
  - {key: pin_secret, title: Pin, type: secret, help: None}
# no list_organizations:
get_organization: {request: {path: '/account'}, mapping: {id: /id, name: /name}}
";
    let oauth2 = "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', client_id: '{{config.key}}', client_secret: '{{config.secret}}'}";
    let schemes = [
        format!("{oauth2}\nclient: {{token_params: {{tenant: '{{{{mapping.tenant}}}}', pin: '{{{{mapping.pin_secret}}}}'}}}}"),
        format!("{oauth2}\nclient: {{token_url: 'https://id.example.com/token/{{{{mapping.tenant}}}}/{{{{mapping.pin_secret}}}}'}}"),
        "auth: {type: session_token, login: {url: 'https://id.example.com/token', body: {tenant: '{{mapping.tenant}}', pin: '{{mapping.pin_secret}}'}}, \
         token_path: /access_token, inject: {headers: {Authorization: 'Bearer {{session.token}}'}}}".to_owned(),
        "auth: {type: session_token, login: {url: 'https://id.example.com/token', headers: {X-Tenant: '{{mapping.tenant}}', X-Pin: '{{mapping.pin_secret}}'}}, \
         token_path: /access_token, inject: {headers: {Authorization: 'Bearer {{session.token}}'}}}".to_owned(),
        "auth: {type: jwt_bearer, token_url: 'https://id.example.com/token', algorithm: HS512, key: '{{mapping.pin_secret}}', \
         claims: {iss: '{{mapping.tenant}}'}}".to_owned(),
    ];
    for scheme in schemes {
        // A token names the login that it came of.
        let system = System::start(|asked| {
            if !asked.path.starts_with("/token") {
                return Reply::json(&json!({"id": "1", "name": "One"}));
            }
            let headers = ["x-tenant", "x-pin"].map(|name| asked.header(name).unwrap_or_default().to_owned());
            let sent = format!("{}{headers:?}{:?}", asked.path, asked.body);
            Reply::json(&json!({"access_token": STANDARD.encode(sent)}))
        })
        .await;
        let set = [("key", "k"), ("secret", "s")];
        let mut subject = Subject::new(&manifest(&format!("{FIELDS}{scheme}")), &set, &system);
        let mut tokens = Vec::new();
        for data in [("a", "1111"), ("b", "1111"), ("a", "2222"), ("a", "1111")] {
            subject = subject.with_data(&[("tenant", data.0), ("pin_secret", data.1)]);
            let client = subject.client("1").await.unwrap();
            client.get("/things", &[]).await.unwrap();
            tokens.push(system.asked().last().unwrap().header("authorization").unwrap().to_owned());
        }
        assert_eq!(tokens[0], tokens[3], "{scheme}: the same mapping, the same login");
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 3, "{scheme}");
    }
}
