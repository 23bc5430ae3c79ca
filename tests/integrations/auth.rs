//! Each authentication scheme against a system that looks at exactly what it gets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crosswalk::integrations::FailureClass;
use ring::signature::{self, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::{
    subject::{Subject, manifest, one_page},
    system::{Asked, Reply, System},
};

pub const SETTINGS: &[(&str, &str)] = &[("company", "acme"), ("key", "pub-1"), ("secret", "s3cr:t/ä+&=")];
const HEADER_SETTINGS: &[(&str, &str)] = &[("company", "acme"), ("key", "pub-1"), ("secret", "s3cr:t/+&=\"")];

fn decoded(asked: &Asked) -> String {
    let encoded = asked.header("authorization").and_then(|text| text.strip_prefix("Basic ")).unwrap_or_default();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

/// Whether the right thing was sent.
type Sent = fn(&Asked) -> bool;

#[tokio::test]
async fn trap_24_and_25_raw_keys_and_odd_pairs_go_where_the_manifest_says() {
    let table: [(&str, Sent); 6] = [
        ("{type: none}", |asked| asked.header("authorization").is_none() && asked.query.is_empty()),
        (
            "{type: api_key, headers: {ApiIntegrationCode: '{{config.key}}', Authorization: 'ApiToken {{config.secret}}', \
             X-Not-Set: '{{config.optional}}'}}",
            |asked| {
                asked.header("apiintegrationcode") == Some("pub-1")
                    && asked.header("authorization") == Some("ApiToken s3cr:t/+&=\"")
                    && asked.header("x-not-set").is_none()
            },
        ),
        ("{type: api_key, query: {apikey: '{{config.secret}}', not_set: '{{config.optional}}'}}", |asked| {
            asked.query == [("apikey".to_owned(), "s3cr:t/+&=\"".to_owned())]
        }),
        ("{type: bearer, token: '{{config.secret}}'}", |asked| {
            asked.header("authorization") == Some("Bearer s3cr:t/+&=\"")
        }),
        ("{type: basic, username: '{{config.company}}+{{config.key}}', password: '{{config.secret}}'}", |asked| {
            decoded(asked) == "acme+pub-1:s3cr:t/+&=\""
        }),
        ("{type: basic, username: '{{config.secret}}', password: ''}", |asked| decoded(asked) == "s3cr:t/+&=\":"),
    ];
    for (auth, check) in table {
        let system = System::start(|_| one_page()).await;
        let subject = Subject::new(&manifest(&format!("auth: {auth}")), HEADER_SETTINGS, &system);
        assert_eq!(subject.list().await.unwrap().len(), 1, "{auth}");
        let asked = system.asked();
        assert_eq!(asked.len(), 1, "{auth}");
        assert!(check(&asked[0]), "{auth}: {asked:?}");
    }
}

#[tokio::test]
async fn a_missing_credential_is_told_and_nothing_is_sent() {
    for auth in [
        "{type: api_key, headers: {X-Key: '{{config.secret}}'}}",
        "{type: api_key, query: {key: '{{config.secret}}'}}",
        "{type: bearer, token: '{{config.secret}}'}",
        "{type: basic, username: me, password: '{{config.secret}}'}",
        "{type: oauth2_client_credentials, token_url: https://id.example.com/token, client_id: me, client_secret: x, \
         token_params: {more: '{{config.secret}}'}}",
        "{type: jwt_bearer, algorithm: HS512, key: '{{config.secret}}', claims: {}}",
        "{type: hmac_signature, variant: duo_v2, key_id: me, secret: '{{config.secret}}'}",
    ] {
        let system = System::start(|_| one_page()).await;
        let subject = Subject::new(&manifest(&format!("auth: {auth}")), &[], &system);
        let failure = subject.test("1").await.unwrap();
        assert_eq!(failure.class, FailureClass::Configuration, "{auth}: {failure}");
        assert!(failure.message.contains("config.secret is not set"), "{failure}");
        assert!(system.asked().is_empty(), "{auth}");
    }
}

/// Gives out `t-1`, `t-2` … at `/token`, and answers with a page where the newest of them comes back.
pub async fn tokens(answer: impl Fn(&str) -> Value + Send + Sync + 'static) -> (System, Arc<AtomicUsize>) {
    let valid = Arc::new(AtomicUsize::new(0));
    let issued = Arc::clone(&valid);
    let system = System::start(move |asked| {
        if asked.path == "/token" {
            return Reply::json(&answer(&format!("t-{}", issued.fetch_add(1, SeqCst) + 1)));
        }
        let wanted = format!("Bearer t-{}", issued.load(SeqCst));
        if asked.header("authorization") == Some(&wanted) { one_page() } else { Reply::text("").status(401) }
    })
    .await;
    (system, valid)
}

fn sorted(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    pairs.sort();
    pairs
}

#[tokio::test]
async fn client_credentials_in_each_form() {
    let common = [("grant_type", "client_credentials")];
    let own = [("client_id", "pub-1"), ("client_secret", "s3cr:t/ä+&=")];
    let more = [("scope", "read write"), ("audience", "acme")];
    let table = [
        ("", [&common[..], &own].concat(), false, false),
        ("body_format: json", [&common[..], &own].concat(), true, false),
        ("client_authentication: basic", common.to_vec(), false, true),
        ("client_authentication: basic, body_format: json", common.to_vec(), true, true),
        (
            "scopes: [read, write], token_params: {audience: '{{config.company}}', tenant: '{{config.optional}}'}, \
             token_query: {account: '{{config.company}}', site: '{{config.optional}}'}",
            [&common[..], &own, &more].concat(),
            false,
            false,
        ),
    ];
    for (extra, fields, json, basic) in table {
        let (system, _) = tokens(|token| json!({"access_token": token, "expires_in": 3600})).await;
        let auth = format!(
            "auth: {{type: oauth2_client_credentials, token_url: 'https://id.example.com/token', \
             client_id: '{{{{config.key}}}}', client_secret: '{{{{config.secret}}}}', {extra}}}"
        );
        let subject = Subject::new(&manifest(&auth), SETTINGS, &system);
        for _ in 0..2 {
            assert_eq!(subject.list().await.unwrap().len(), 1, "{extra}");
        }
        assert_eq!(system.count("/token"), 1, "{extra}");
        let asked = &system.asked()[0];
        assert_eq!((asked.method.as_str(), asked.host.as_str()), ("POST", "id.example.com"));
        assert_eq!(
            asked.query,
            if extra.contains("token_query") { sorted(&[("account", "acme")]) } else { Vec::new() }
        );
        assert_eq!(asked.header("accept"), Some("application/json"));
        if json {
            assert_eq!(asked.header("content-type"), Some("application/json"));
            let wanted: serde_json::Map<_, _> = fields.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            assert_eq!(asked.json(), Value::Object(wanted), "{extra}");
        } else {
            assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
            let mut form = asked.form();
            form.sort();
            assert_eq!(form, sorted(&fields), "{extra}");
        }
        if basic {
            assert_eq!(decoded(asked), "pub-1:s3cr:t/ä+&=");
        } else {
            assert_eq!(asked.header("authorization"), None);
        }
    }
}

type Check = fn(&Asked, &Value) -> bool;

#[tokio::test]
async fn session_logins_in_each_form() {
    let body = "body: {user: '{{config.key}}', password: '{{config.secret}}', number: 1}";
    let json = json!({"user": "pub-1", "password": "s3cr:t/ä+&=", "number": 1});
    let table: [(String, Check); 5] = [
        (body.to_owned(), |asked, json| {
            asked.json() == *json && asked.header("content-type") == Some("application/json")
        }),
        (format!("{body}, body_format: form"), |asked, _| {
            let mut form = asked.form();
            form.sort();
            form == sorted(&[("user", "pub-1"), ("password", "s3cr:t/ä+&="), ("number", "1")])
        }),
        (format!("{body}, body_format: multipart"), |asked, _| {
            let kind = asked.header("content-type").unwrap();
            let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
            let part = |name: &str, value: &str| {
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            let all = [part("number", "1"), part("password", "s3cr:t/ä+&="), part("user", "pub-1")].concat();
            asked.body == format!("{all}--{boundary}--\r\n")
        }),
        ("basic: {username: '{{config.key}}', password: '{{config.secret}}'}".to_owned(), |asked, _| {
            decoded(asked) == "pub-1:s3cr:t/ä+&="
                && asked.body.is_empty()
                && asked.header("content-length") == Some("0")
        }),
        ("method: GET, headers: {X-Company: '{{config.company}}'}".to_owned(), |asked, _| {
            asked.method == "GET" && asked.header("x-company") == Some("acme")
        }),
    ];
    for (login, check) in table {
        let (system, _) = tokens(|token| json!({"result": {"token": token}})).await;
        let auth = format!(
            "auth: {{type: session_token, login: {{url: 'https://id.example.com/token', {login}}}, \
             token_path: /result/token, inject: {{headers: {{Authorization: 'Bearer {{{{session.token}}}}'}}}}}}"
        );
        let subject = Subject::new(&manifest(&auth), SETTINGS, &system);
        assert_eq!(subject.list().await.unwrap().len(), 1, "{login}");
        let asked = &system.asked()[0];
        assert!(check(asked, &json), "{login}: {asked:?}");
    }
}

/// Cove's way: the token goes into the body, and what the login tells into all requests.
#[tokio::test]
async fn what_a_login_saves_and_a_token_in_the_body() {
    let system = System::start(|asked| match asked.json()["method"].as_str() {
        Some("Login") => Reply::json(&json!({"visa": "v-1", "result": {"partner": 7}})),
        Some("List") if asked.json() == json!({"method": "List", "params": {"parent": 7}, "auth": {"visa": "v-1"}}) => {
            one_page()
        }
        _ => Reply::text(asked.body.clone()).status(400),
    })
    .await;
    let parts = "
auth:
  type: session_token
  login: {url: https://api.example.com/v1/rpc, body: {method: Login}}
  token_path: /visa
  expires_in: 840
  save: {partner: /result/partner}
  inject: {body: {/auth/visa: '{{session.token}}'}, headers: {X-Session: '{{session.token}}-{{connection.partner}}'}}
list_organizations:
  request: {method: POST, path: /rpc, body: {method: List, params: {parent: '{{connection.partner}}'}}}
  record_selector: /items
  paginator: {type: single_page}
  mapping: {id: /id, name: /name}";
    let subject = Subject::new(&manifest(parts), &[], &system);
    assert_eq!(subject.list().await.unwrap().len(), 1);
    assert_eq!(subject.list().await.unwrap().len(), 1);
    let asked = system.asked();
    assert_eq!(asked.len(), 3, "one login, two lists");
    assert_eq!(asked[0].header("x-session"), None, "no token, no header");
    assert_eq!(asked[1].header("x-session"), Some("v-1-7"));
}

const PRIVATE_KEY: &str = include_str!("private_key.pem");

fn parts_of(jwt: &str) -> (Value, Value, String, Vec<u8>) {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(header), json(claims), signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[tokio::test]
async fn a_signed_assertion_is_exchanged() {
    let (system, _) = tokens(|token| json!({"access_token": token, "expires_in": 3600})).await;
    let parts = "auth: {type: jwt_bearer, token_url: https://id.example.com/token, algorithm: RS256, \
                 key: '{{config.secret}}', lifetime: 600, \
                 claims: {iss: '{{config.company}}', aud: https://id.example.com/token, sub: '{{config.optional}}'}}";
    let one_line = PRIVATE_KEY.replace('\n', "\\n");
    for key in [PRIVATE_KEY, one_line.as_str()] {
        let subject = Subject::new(&manifest(parts), &[("company", "acme"), ("secret", key)], &system);
        let before = system.count("/token");
        subject.list().await.unwrap();
        subject.list().await.unwrap();
        assert_eq!(system.count("/token"), before + 1);
    }
    let form = system.asked()[0].form();
    let field = |name| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!((form.len(), field("grant_type").as_str()), (2, "urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let (header, claims, signed, signature) = parts_of(&field("assertion"));
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((chrono::Utc::now().timestamp() - issued).abs() < 60 && expires == issued + 600);
    let wanted = json!({"iss": "acme", "aud": "https://id.example.com/token", "iat": issued, "exp": expires});
    assert_eq!(claims, wanted);
    let der = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let pair = signature::RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let public = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn a_key_that_is_none_is_told() {
    for key in
        ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"]
    {
        let system = System::start(|_| one_page()).await;
        let parts = "auth: {type: jwt_bearer, algorithm: RS256, key: '{{config.secret}}', claims: {}}";
        let failure = Subject::new(&manifest(parts), &[("secret", key)], &system).test("1").await.unwrap();
        assert_eq!(failure.class, FailureClass::Configuration, "{failure}");
        assert!(system.asked().is_empty());
    }
}

#[tokio::test]
async fn a_self_signed_assertion_is_the_token() {
    let system = System::start(|_| one_page()).await;
    let parts =
        "auth: {type: jwt_bearer, algorithm: HS512, key: '{{config.secret}}', claims: {vendor: '{{config.company}}'}}";
    Subject::new(&manifest(parts), SETTINGS, &system).list().await.unwrap();
    let asked = system.asked();
    assert_eq!(asked.len(), 1);
    let token = asked[0].header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    let (header, claims, signed, signature) = parts_of(token);
    assert_eq!((header, claims["vendor"].as_str()), (json!({"alg": "HS512", "typ": "JWT"}), Some("acme")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA512, "s3cr:t/ä+&=".as_bytes());
    ring::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
}

/// Encoded as the vendor's own client does, byte by byte.
fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    let digit = |number: u8| char::from(b"0123456789abcdef"[usize::from(number)]);
    bytes.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[tokio::test]
async fn signed_requests() {
    let table = [
        ("duo_v2", "{path: /accounts, query: {zeta: 'a b+ü', alpha: '{{config.company}}~'}}"),
        // The size of a page is added last, and signed first.
        ("duo_v2", "{path: /accounts, query: {account: '7'}}"),
        ("duo_v2", "{method: POST, path: /accounts, body: {b: 'x y', a: 1}, body_format: form}"),
        ("duo_v5", "{path: /accounts, query: {zeta: 'a b+ü', alpha: '1'}}"),
        ("duo_v5", "{method: POST, path: /accounts, body: {b: 'x y', a: 1}}"),
    ];
    for (variant, request) in table {
        let size = if request.contains("account:") { ", page_size: 50, page_size_param: '0size'" } else { "" };
        let system = System::start(|_| one_page()).await;
        let parts = format!(
            "base_url: 'https://API-{{{{config.key}}}}.example.com/admin'\n\
             auth: {{type: hmac_signature, variant: {variant}, key_id: DI1, secret: '{{{{config.secret}}}}'}}\n\
             list_organizations: {{request: {request}, record_selector: /items, paginator: {{type: json_link, next_url_path: /next{size}}}, \
             mapping: {{id: /id, name: /name}}}}"
        );
        Subject::new(&manifest(&parts), SETTINGS, &system).list().await.unwrap();
        let asked = &system.asked()[0];
        let date = asked.header("date").unwrap();
        assert!(httpdate(date), "{date}");
        let json = asked.header("content-type") == Some("application/json");
        let mut parameters = asked.query.clone();
        parameters.extend(if json { Vec::new() } else { asked.form() });
        let mut parameters: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        parameters.sort();
        let mut lines =
            format!("{date}\n{}\napi-pub-1.example.com\n/admin/accounts\n{}", asked.method, parameters.join("&"));
        let key = "s3cr:t/ä+&=".as_bytes();
        let signature = if variant == "duo_v2" {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
            to_hex(ring::hmac::sign(&key, lines.as_bytes()))
        } else {
            let hashes = [to_hex(Sha512::digest(&asked.body)), to_hex(Sha512::digest(""))];
            lines = [lines.as_str(), &hashes[0], &hashes[1]].join("\n");
            to_hex(ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA512, key), lines.as_bytes()))
        };
        assert_eq!(decoded(asked), format!("DI1:{signature}"), "{variant} {request}");
    }
}

/// RFC 2822, with a zone in numbers.
fn httpdate(date: &str) -> bool {
    let at = chrono::DateTime::parse_from_rfc2822(date).unwrap();
    (chrono::Utc::now() - at.to_utc()).num_seconds().abs() < 60 && date.ends_with(" -0000")
}
