//! Systems that say back all that was sent to them, in every way there is: no credential and no token is in an error, a test
//! result or a log line, however it is spelled.

use std::{
    fmt::Debug,
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crosswalk::{integrations::Integration, telemetry};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use tracing_subscriber::util::SubscriberInitExt;

use crate::{
    subject::{Subject, manifest, mapping},
    system::{Asked, Reply, System},
};

/// With all that some spelling writes differently, and the same backwards, so that a half of it is found as well.
const SECRET: &str = "Qx7/vR\"k+9 Zp%w&Y=2~Lm.T-u";
const PRIVATE_KEY: &str = include_str!("private_key.pem");
const TOKEN: &str = "tOk3n/iSsu+ed.By~it&s=lf";

/// Every log line of this process.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Captured {
    static LOG: LazyLock<Captured> = LazyLock::new(|| {
        let captured = Captured::default();
        let writer = captured.clone();
        // For all threads: connections log outside of the task that uses them.
        let everything = telemetry::subscriber(Some("trace"), false, move || writer.clone()).unwrap();
        everything.try_init().unwrap();
        captured
    });
    &LOG
}

/// The spellings of a text that would give it away.
fn spellings(text: &str) -> Vec<String> {
    let quoted = json!(text).to_string();
    let mut all = vec![
        text.to_owned(),
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        quoted.trim_matches('"').to_owned(),
        json!(quoted).to_string(),
        text.replace('&', "&amp;").replace('"', "&quot;"),
    ];
    for base64 in [STANDARD.encode(text), URL_SAFE_NO_PAD.encode(text)] {
        all.push(base64.trim_end_matches('=').to_owned());
    }
    all
}

/// Whole, and the first half: a message that is cut must not show that either.
fn found(secret: &str, output: &str) -> Option<String> {
    let half = &secret[..9.min(secret.len())];
    let output = output.to_lowercase();
    let mut spelled = spellings(secret).into_iter().chain(spellings(half)).map(|text| text.to_lowercase());
    spelled.find(|text| output.contains(text.as_str()))
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for text in spellings(SECRET) {
        assert!(found(SECRET, &format!("x{text}y")).is_some(), "{text}");
    }
    assert!(found(SECRET, &format!("x{}", &SECRET[..9])).is_some());
    assert!(found(SECRET, "Qx7 vR k+9").is_none());
    let captured = log();
    tracing::trace!(value = SECRET, "canary");
    let text = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(found(SECRET, text.lines().find(|line| line.contains("canary")).unwrap()).is_some());
}

/// The request, in one text.
fn all_of(asked: &Asked) -> String {
    let mut text = format!("{} https://{}{}?", asked.method, asked.host, asked.path);
    text += &url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&asked.query).finish();
    for (name, value) in &asked.headers {
        text.extend(["\r\n", name.as_str(), ": ", &String::from_utf8_lossy(value.as_bytes())]);
    }
    for (name, value) in &asked.query {
        text.extend(["\r\n", name, " = ", value]);
    }
    text + "\r\n\r\n" + &String::from_utf8_lossy(&asked.body)
}

const WAYS: &[&str] = &[
    "text",
    "object",
    "cut",
    "html",
    "spelled",
    "redirect",
    "redirect host",
    "link",
    "id",
    "header",
    "not json",
    "records",
    "retry",
    "refused",
    "oauth",
];

/// What a system answers that repeats `said`.
fn echo(way: &str, said: &str) -> Reply {
    let page = |items: Value| Reply::json(&json!({"items": items, "echo": said}));
    match way {
        "text" => Reply::json(&json!({"message": said})).status(400),
        "object" => Reply::json(&json!({"message": {"you": {"sent": [said]}}})).status(400),
        "spelled" => Reply::json(&json!({"message": spellings(SECRET).join(" ")})).status(400),
        "html" => Reply::text(format!("<html><body>{said}</body></html>")),
        "redirect" => {
            let place = format!(
                "https://evil.org/?{}",
                url::form_urlencoded::byte_serialize(said.as_bytes()).collect::<String>()
            );
            Reply::text("").status(302).header("location", &place)
        }
        "redirect host" => {
            let place = format!("https://{}.evil.org/", utf8_percent_encode(TOKEN, NON_ALPHANUMERIC));
            Reply::text("").status(302).header("location", &place)
        }
        "link" => {
            let next = format!("https://{}.evil.org/{said}", STANDARD.encode(SECRET).trim_end_matches('='));
            Reply::json(&json!({"items": [{"id": 1}], "id": 1, "next": next}))
        }
        "id" => Reply::json(&json!({"items": [], "id": SECRET, "name": SECRET})),
        "header" => page(json!(7)).header("x-echo", &utf8_percent_encode(said, NON_ALPHANUMERIC).to_string()),
        "not json" => Reply::text(said.to_owned()),
        "records" => page(json!([{"id": 1, "name": "One", "you_sent": said, "registrationToken": SECRET}])),
        "retry" => {
            Reply::json(&json!({"message": said})).status(503).header("retry-after", said.len().to_string().as_str())
        }
        "refused" => Reply::json(&json!({"message": said})).status(401).header("www-authenticate", "Bearer"),
        "oauth" => Reply::json(&json!({"error": "invalid_client", "error_description": said})).status(401),
        // The message is cut at 200 characters: wherever that is, no half of a secret is left.
        cut => unreachable!("{cut}"),
    }
}

const FILTERS: &str = "error_handler: {response_filters: [{http_codes: [400, 401], path: /message, action: fail, message_path: /message}, \
                       {http_codes: [503], action: retry, message_path: /message}]}\n";

const SCHEMES: &[&str] = &[
    "auth: {type: api_key, headers: {X-Key: '{{config.secret}}', Authorization: 'ApiToken {{config.secret}}'}}",
    "auth: {type: api_key, query: {key: '{{config.secret}}'}}",
    "auth: {type: bearer, token: '{{config.secret}}'}",
    "auth: {type: basic, username: 'company+key', password: '{{config.secret}}'}",
    "auth: {type: basic, username: '{{config.secret}}', password: ''}",
    "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', client_id: me, \
     client_secret: '{{config.secret}}'}",
    "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', client_id: me, \
     client_secret: '{{config.secret}}', client_authentication: basic, body_format: json}",
    "auth: {type: session_token, login: {url: 'https://id.example.com/token', body: {password: '{{config.secret}}'}}, \
     token_path: /access_token, inject: {headers: {X-Session: '{{session.token}}'}}}",
    "auth: {type: session_token, login: {url: 'https://id.example.com/token', basic: {username: me, password: '{{config.secret}}'}, \
     body: {p: '{{config.secret}}'}, body_format: multipart}, token_path: /access_token, \
     inject: {headers: {Cookie: 'session={{session.token}}'}}}",
    "auth: {type: jwt_bearer, token_url: 'https://id.example.com/token', algorithm: RS256, key: '{{config.pem_secret}}', \
     claims: {iss: me}}",
    "auth: {type: jwt_bearer, algorithm: HS512, key: '{{config.secret}}', claims: {iss: me}}",
    "auth: {type: hmac_signature, variant: duo_v2, key_id: me, secret: '{{config.secret}}'}",
    "auth: {type: hmac_signature, variant: duo_v5, key_id: me, secret: '{{config.secret}}'}",
];

/// The scheme as it is, with credentials of the integration; and with those of a mapping.
fn whose(scheme: &str) -> [String; 2] {
    let of_mapping = scheme.replace("config.", "mapping.");
    let key = if scheme.contains("pem_secret") { "pem_secret" } else { "secret" };
    [
        format!("{FILTERS}check: {{request: {{path: /me}}}}\n{scheme}"),
        format!(
            "{FILTERS}mapping_data: [{{key: {key}, title: S, type: secret, help: S}}]\n\
             # no list_organizations:\n\
             get_organization: {{request: {{path: '/orgs/{{{{org.id}}}}'}}, mapping: {{id: /id, name: /name}}}}\n{of_mapping}"
        ),
    ]
}

/// Everything that anyone can see of it.
#[derive(Default)]
struct Output(String);

impl Output {
    fn add(&mut self, what: &impl Debug) {
        self.0.extend([format!("{what:?}\n"), format!("{what:#?}\n")]);
    }

    fn tell<T: Debug, E: Debug + std::fmt::Display>(&mut self, result: &Result<T, E>) {
        match result {
            Ok(good) => self.add(good),
            Err(error) => {
                self.add(error);
                self.0.extend([format!("{error}\n"), format!("{error:#}\n")]);
            }
        }
    }
}

async fn output_of(parts: &str, system: &System) -> String {
    let set: &[_] = if parts.contains("pem_secret") { &[("pem_secret", PRIVATE_KEY)] } else { &[("secret", SECRET)] };
    let of_mappings = parts.contains("mapping_data");
    let subject = Subject::new(&manifest(parts), if of_mappings { &[] } else { set }, system);
    let subject = if of_mappings { subject.with_data(set) } else { subject };
    let (integration, settings, data) = (&subject.integration, &subject.settings, &subject.data);
    let mut output = Output::default();
    output.add(settings);
    output.add(data);
    output.add(&settings.fingerprint());
    let listed = integration.list_organizations(settings).await;
    output.0 += &listed
        .as_ref()
        .map(|all| serde_json::to_string(&all.iter().map(|one| &one.metadata).collect::<Vec<_>>()).unwrap())
        .unwrap_or_default();
    output.tell(&listed);
    let tested = integration.test_connection(settings, &mapping("1"), data).await;
    output.0 += &tested.as_ref().map(|result| result.message.clone()).unwrap_or_default();
    output.tell(&tested);
    output.tell(&integration.check(settings).await);
    match integration.get_client(settings, &mapping("1"), data).await {
        Ok(client) => {
            // What a workflow gets is its own affair; what goes wrong is not.
            output.tell(&client.get("/x", &[]).await.map(|answer| answer.status));
            output.tell(&client.send(Method::POST, "/x", &[], Some(json!({"a": 1}))).await.map(|answer| answer.status));
            output.tell(&client.get("/../x", &[]).await.map(|answer| answer.status));
        }
        Err(error) => output.tell::<(), _>(&Err(error)),
    }
    output.0
}

/// Values that were sent as a proof, whole.
fn proofs(asked: &[Asked]) -> Vec<String> {
    let mut all = Vec::new();
    for one in asked {
        if let Some(authorization) = one.header("authorization") {
            let value = authorization.split_once(' ').map_or(authorization, |(_, value)| value);
            all.push(value.to_owned());
            let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            // Of `user:password`: the signature, where it is one.
            all.extend(decoded.and_then(|pair| Some(pair.split_once(':')?.1.to_owned())).filter(|text| text.len() > 8));
        }
        all.extend(one.form().into_iter().filter(|(name, _)| name == "assertion").map(|(_, value)| value));
    }
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn nothing_that_was_sent_is_told() {
    let captured = log();
    let mut seen = Vec::new();
    let mut shown = String::new();
    for (parts, scheme) in SCHEMES.iter().flat_map(|scheme| whose(scheme).map(|parts| (parts, scheme))) {
        for way in WAYS {
            let cuts: &[usize] = if *way == "cut" { &[180, 195] } else { &[0] };
            for (cut, login) in cuts.iter().flat_map(|cut| [(*cut, false), (*cut, true)]) {
                if login && !scheme.contains("token_url") && !scheme.contains("login") {
                    continue;
                }
                let system = System::start(move |asked| {
                    if asked.path == "/token" && !login {
                        return Reply::json(&json!({"access_token": TOKEN, "echo": all_of(asked)}));
                    }
                    let said = all_of(asked);
                    if *way == "cut" {
                        let token = asked.header("authorization").or(asked.header("x-session")).unwrap_or(SECRET);
                        let token = token.split_once(' ').map_or(token, |(_, token)| token);
                        return Reply::json(&json!({"message": format!("{}{token}{SECRET}", "x".repeat(cut))}))
                            .status(400);
                    }
                    echo(way, &said)
                })
                .await;
                let output = output_of(&parts, &system).await;
                let asked = system.asked();
                assert!(!asked.is_empty(), "{parts} {way}");
                let mut secrets = proofs(&asked);
                if scheme.contains("pem_secret") {
                    secrets.push(PRIVATE_KEY.lines().nth(3).unwrap().to_owned());
                    if *way == "id" || *way == "link" || *way == "spelled" || *way == "cut" || *way == "records" {
                        // The system cannot know what it never got.
                        secrets.retain(|secret| secret != SECRET);
                    }
                } else {
                    secrets.push(SECRET.to_owned());
                }
                if asked.iter().any(|asked| asked.path == "/token") && !login {
                    secrets.push(TOKEN.to_owned());
                }
                for secret in &secrets {
                    let given_away = found(secret, &output);
                    assert_eq!(given_away, None, "{parts} {way} {login}: {secret}\n{output}");
                }
                shown += &output;
                seen.extend(secrets);
            }
        }
    }
    // Otherwise the systems would not have been heard.
    assert!(shown.contains("[redacted]") && shown.contains("the system says: ") && shown.contains("connected to "));
    seen.sort();
    seen.dedup();
    let lines = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(lines.contains("api.example.com"), "requests are logged");
    let logged = lines.lines().filter(|line| !line.contains("canary")).collect::<Vec<_>>().join("\n").to_lowercase();
    for secret in &seen {
        for text in spellings(secret) {
            assert!(!logged.contains(&text.to_lowercase()), "{text} is in the log");
        }
    }
}
