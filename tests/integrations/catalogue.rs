//! Every manifest of the catalogue against the recorded shape of its API: the requests are those that the vendor documents,
//! and the organizations those that its pages hold.
//!
//! The samples of a manifest are in `tests/fixtures/integrations/<id>`: `config.json` (its settings), `exchanges.json` (what a
//! list takes), `organizations.json` (what it yields), `get_organization.json`; `errors.json` where it has an
//! `error_handler`, `client.json` where it has a `client`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crosswalk::{
    domain::ExternalOrganization,
    integrations::{
        Integration, Scope, Settings,
        manifest::{Auth, Manifest, Paginator, Reference},
        runner::ManifestIntegration,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    subject::{QUICK, failure, mapping, settings_of},
    system::{Asked, Reply, System},
};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    request: Request,
    response: Response,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    host: String,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
}

/// `get_organization.json`. Manifests that search the list instead have no exchanges here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetOrganization {
    id: String,
    #[serde(default)]
    exchange: Option<Exchange>,
    expected: Expected,
    unknown: Unknown,
}

/// What an id that is not there looks like. Few vendors say; status 404 stands for what they do not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unknown {
    id: String,
    #[serde(default)]
    exchange: Option<Exchange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: String,
    name: String,
}

/// `errors.json`: what the answer to an exchange of the list is when the system refuses, and what is made of it. Without
/// `exchange`, it is the answer of `get_organization.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    #[serde(default)]
    exchange: Option<usize>,
    response: Response,
    class: String,
    message: String,
}

/// `client.json`: what a workflow asks for, and the exchanges that takes besides those of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientUse {
    id: String,
    path: String,
    exchanges: Vec<Exchange>,
}

/// Headers that belong to HTTP, not to the API.
const OF_HTTP: [&str; 3] = ["host", "user-agent", "content-length"];

impl Request {
    /// Why this is not the request that was made.
    fn difference(&self, asked: &Asked) -> Option<String> {
        if (asked.method.as_str(), asked.host.as_str(), asked.path.as_str())
            != (self.method.as_str(), self.host.as_str(), self.path.as_str())
        {
            return Some("method, host or path".to_owned());
        }
        let mut query = asked.query.clone();
        query.sort();
        if !query.iter().map(|(name, value)| (name, value)).eq(&self.query) {
            return Some(format!("query {query:?}, documented {:?}", self.query));
        }
        let mut sent: BTreeMap<_, _> =
            asked.headers.keys().map(|name| (name.as_str(), asked.header(name.as_str()))).collect();
        sent.retain(|name, _| !OF_HTTP.contains(name));
        let same = |(name, value): (&String, &String)| {
            sent.get(name.as_str()).is_some_and(|sent| same_text(value, sent.unwrap_or_default()))
        };
        if sent.len() != self.headers.len() || !self.headers.iter().all(same) {
            return Some(format!("headers {sent:?}, documented {:?}", self.headers));
        }
        let sent = body_of(asked);
        let documented = self.body.clone().unwrap_or_default();
        (!fits(&documented, &sent)).then(|| format!("body {sent}, documented {documented}"))
    }
}

/// A `*` at the end of what is documented stands for anything but nothing.
fn same_text(documented: &str, sent: &str) -> bool {
    let sent = spelled_out(sent);
    match documented.strip_suffix('*') {
        Some(begin) => sent.len() > begin.len() && sent.starts_with(begin),
        None => documented == sent,
    }
}

/// A JWT as `Bearer jwt HS512 {"exp":300,"iss":"me"}`, its end counted from when it was made; a signature that is a password as
/// its length. That they are true is tested where they are made.
fn spelled_out(text: &str) -> String {
    let (scheme, token) = text.split_once(' ').unwrap_or(("", text));
    if let ("Basic", Some((user, signature))) = (scheme, basic(token).as_deref().and_then(|pair| pair.split_once(':')))
        && signature.len() >= 40
        && signature.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return format!("Basic {user}:{} hexadecimal digits", signature.len());
    }
    let decoded = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let parts: Vec<_> = token.split('.').map(decoded).collect();
    let [Some(header), Some(Value::Object(claims)), None] = parts.as_slice() else { return text.to_owned() };
    let mut told = claims.clone();
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
    told.insert("exp".to_owned(), json!(seconds("exp") - seconds("iat")));
    told.remove("iat");
    let algorithm = header["alg"].as_str().unwrap_or_default();
    format!("{scheme} jwt {algorithm} {}", Value::Object(told)).trim_start().to_owned()
}

fn basic(encoded: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

fn body_of(asked: &Asked) -> Value {
    let kind = asked.header("content-type").unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        let boundary = kind.split_once("boundary=").unwrap().1;
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let mark = format!("--{boundary}");
        let fields = text.split(&mark).filter_map(|part| {
            let (head, value) = part.split_once("\r\n\r\n")?;
            let name = head.split_once("name=\"")?.1.split_once('"')?.0;
            Some((name.to_owned(), json!(value.trim_end_matches("\r\n"))))
        });
        return Value::Object(fields.collect());
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        return Value::Object(asked.form().into_iter().map(|(name, value)| (name, json!(value))).collect());
    }
    // What is no JSON is not taken for no body.
    let text = String::from_utf8_lossy(&asked.body);
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_else(|_| json!(text)) }
}

fn fits(documented: &Value, sent: &Value) -> bool {
    match (documented, sent) {
        (Value::String(documented), Value::String(sent)) => same_text(documented, sent),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|sent| fits(value, sent)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fits(a, b)),
        _ => documented == sent,
    }
}

/// Answers as recorded; what nobody recorded is status 418 with the reason.
async fn replay(exchanges: Vec<Exchange>) -> System {
    System::start(move |asked| {
        let Some(found) = exchanges.iter().find(|exchange| exchange.request.difference(asked).is_none()) else {
            return Reply::text("not documented").status(418);
        };
        let response = &found.response;
        let text = match (&response.body, &response.text) {
            (Some(body), None) => body.to_string(),
            (None, text) => text.clone().unwrap_or_default(),
            (Some(_), Some(_)) => panic!("either body or text"),
        };
        let reply = Reply::text(text).status(response.status);
        response.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    })
    .await
}

/// An error if anything else was asked for, or one of `needed` was not: a page that nobody fetched would hide a list that ends
/// too early.
fn as_documented(system: &System, exchanges: &[Exchange], needed: &[Exchange]) -> Result<(), String> {
    let asked = system.asked();
    for asked in &asked {
        let mut near: Vec<_> = Vec::new();
        for exchange in exchanges {
            near.extend(exchange.request.difference(asked));
        }
        if near.len() == exchanges.len() {
            let near = near.iter().max_by_key(|near| near.len()).map_or("", String::as_str);
            return Err(format!("{} {}{} is not documented: {near}", asked.method, asked.host, asked.path));
        }
    }
    let unused = needed.iter().find(|one| asked.iter().all(|asked| one.request.difference(asked).is_some()));
    unused.map_or(Ok(()), |unused| {
        let Request { method, host, path, query, .. } = &unused.request;
        Err(format!("{method} {host}{path} {query:?} was never asked for"))
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A private key that was made for this test; nothing else knows it.
const PRIVATE_KEY: &str = include_str!("private_key.pem");

fn manifest(id: &str) -> Result<Manifest, String> {
    let text = fs::read_to_string(format!("integrations/{id}.yaml")).map_err(|error| error.to_string())?;
    Manifest::load(&format!("{id}.yaml"), &text).map_err(|problems| format!("{problems:?}"))
}

fn integration(id: &str, system: &System) -> Result<(ManifestIntegration, Settings), String> {
    let manifest = manifest(id)?;
    let config: BTreeMap<String, String> = read(&fixture(id, "config.json"))?;
    let values: Vec<_> = config
        .iter()
        .map(|(key, value)| (key.as_str(), if value == "PRIVATE KEY" { PRIVATE_KEY } else { value.as_str() }))
        .collect();
    let settings = settings_of(&manifest, &values, Scope::Global);
    let integration = ManifestIntegration::new(manifest, system.outbound()).map_err(|error| error.to_string())?;
    Ok((integration.with_timing(QUICK), settings))
}

fn fixture(id: &str, file: &str) -> PathBuf {
    Path::new("tests/fixtures/integrations").join(id).join(file)
}

/// The requests are the documented ones, and the organizations those of the sample pages.
async fn lists(id: &str) -> Result<(), String> {
    let exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
    let expected: Value = read(&fixture(id, "organizations.json"))?;
    let system = replay(exchanges.clone()).await;
    let (integration, settings) = integration(id, &system)?;
    let listed = integration.list_organizations(&settings).await;
    as_documented(&system, &exchanges, if listed.is_ok() { &exchanges } else { &[] })?;
    let listed = listed.map_err(|error| error.to_string())?;
    let listed: Value = listed.into_iter().map(shown).collect();
    if listed != expected {
        return Err(format!("listed {listed}\n  expected {expected}"));
    }
    if listed.to_string().contains("secret") {
        return Err(format!("a secret of a record is shown: {listed}"));
    }
    Ok(())
}

fn shown(one: ExternalOrganization) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(one.id.as_str()));
    shown.insert("name".to_owned(), json!(one.name));
    shown.insert("metadata".to_owned(), Value::Object(one.metadata));
    Value::Object(shown)
}

/// How long a session lasts is said in its manifest or in the answer to the login: as seconds there, or as a date.
fn session_ends(id: &str) -> Result<(), String> {
    let Auth::SessionToken { expires_in_path, expires_at_path, expires_in, .. } = manifest(id)?.auth else {
        return Ok(());
    };
    let exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
    let login = exchanges[0].response.body.clone().unwrap_or_default();
    let found = match (&expires_in_path, &expires_at_path) {
        (Some(path), None) => path.find_value(&login).is_some_and(Value::is_u64),
        (None, Some(path)) => path.find_value(&login).is_some_and(Value::is_string),
        (None, None) => expires_in.is_some(),
        (Some(_), Some(_)) => false,
    };
    if found { Ok(()) } else { Err("when the session ends is not told".to_owned()) }
}

/// The settings are such as the manifest takes, and none that stands in an address can lead elsewhere.
fn settings_are_guarded(id: &str) -> Result<(), String> {
    let manifest = manifest(id)?;
    let mut addresses = vec![&manifest.base_url];
    match &manifest.auth {
        Auth::OAuth2ClientCredentials { token_url, .. } => addresses.push(token_url),
        Auth::SessionToken { login, .. } => addresses.push(&login.url),
        _ => {}
    }
    let config: BTreeMap<String, String> = read(&fixture(id, "config.json"))?;
    for field in &manifest.config {
        let key = &field.key;
        if let Some(problem) = config.get(key).and_then(|value| field.problem(value)) {
            return Err(format!("{key} of the fixture {problem}"));
        }
        let named = |reference: &Reference| matches!(reference, Reference::Config(name) if name == key);
        let in_address = addresses.iter().flat_map(|address| address.references()).any(named);
        let elsewhere =
            ["evil.example/", "a@evil.example", "evil.example?", "evil.example#", "evil.example:1", "a b", ""];
        if let Some(accepted) = elsewhere.iter().find(|value| in_address && field.problem(value).is_none()) {
            return Err(format!("{key} stands in an address and may be '{accepted}'"));
        }
    }
    Ok(())
}

/// One organization is read by its id, and an id that the system does not know is told as such.
async fn reads_one(id: &str) -> Result<(), String> {
    let get: GetOrganization = read(&fixture(id, "get_organization.json"))?;
    if get.exchange.is_some() != manifest(id)?.get_organization.is_some() {
        return Err("get_organization is in the manifest or in the fixture, not in both".to_owned());
    }
    for (external, exchange) in [(&get.id, &get.exchange), (&get.unknown.id, &get.unknown.exchange)] {
        let mut exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
        exchanges.extend(exchange.clone());
        let system = replay(exchanges.clone()).await;
        let (integration, settings) = integration(id, &system)?;
        let result = integration.test_connection(&settings, &mapping(external), &Settings::none()).await;
        let result = result.map_err(|error| error.to_string())?;
        as_documented(&system, &exchanges, exchange.as_slice())?;
        let class = result.failure.as_ref().map(|failure| failure.class.as_str());
        let expected = (external == &get.unknown.id).then_some("not_found");
        if class != expected {
            return Err(format!("{external} is {class:?}, expected {expected:?}: {:?}", result.failure));
        }
        if expected.is_none() && !(result.message.contains(&get.expected.name) && get.expected.id == get.id) {
            return Err(format!("'{}' does not name {}", result.message, get.expected.name));
        }
    }
    Ok(())
}

/// A refusal that comes as a good answer is taken for what it is, with the system's reason.
async fn tells_refusals(id: &str) -> Result<(), String> {
    let path = fixture(id, "errors.json");
    if manifest(id)?.error_handler.response_filters.is_empty() {
        return if path.exists() { Err("errors.json of a manifest without filters".to_owned()) } else { Ok(()) };
    }
    for refusal in read::<Vec<Refusal>>(&path)? {
        let get: GetOrganization = read(&fixture(id, "get_organization.json"))?;
        let mut exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
        exchanges.extend(get.exchange);
        let refused = refusal.exchange.unwrap_or(exchanges.len() - 1);
        exchanges[refused].response = refusal.response;
        let system = replay(exchanges.clone()).await;
        let (integration, settings) = integration(id, &system)?;
        let failed = if refusal.exchange.is_some() {
            integration.list_organizations(&settings).await.err().map(failure)
        } else {
            let result = integration.test_connection(&settings, &mapping(&get.id), &Settings::none()).await;
            result.map_err(|error| error.to_string())?.failure
        };
        as_documented(&system, &exchanges, &exchanges[refused..=refused])?;
        let told = failed
            .as_ref()
            .is_some_and(|failed| failed.class.as_str() == refusal.class && failed.message.contains(&refusal.message));
        if !told {
            return Err(format!("expected {}, '{}', got {failed:?}", refusal.class, refusal.message));
        }
    }
    Ok(())
}

/// A workflow's request for one organization goes where the documents say, as that organization.
async fn works_for_one(id: &str) -> Result<(), String> {
    let path = fixture(id, "client.json");
    if manifest(id)?.client.is_none() {
        return if path.exists() { Err("client.json of a manifest without client".to_owned()) } else { Ok(()) };
    }
    let client: ClientUse = read(&path)?;
    let mut exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
    exchanges.extend(client.exchanges.clone());
    let system = replay(exchanges.clone()).await;
    let (integration, settings) = integration(id, &system)?;
    let made = integration.get_client(&settings, &mapping(&client.id), &Settings::none()).await;
    let answer = match made {
        Ok(made) => made.get(&client.path, &[]).await.map_err(|failure| failure.to_string()),
        Err(error) => Err(error.to_string()),
    };
    as_documented(&system, &exchanges, if answer.is_ok() { &client.exchanges } else { &[] })?;
    answer.map(drop)
}

fn ids() -> Vec<String> {
    let files = fs::read_dir("integrations").unwrap().map(|entry| entry.unwrap().path());
    let manifests = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut ids: Vec<_> = manifests.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// `each` manifest's problem, all told at once.
async fn all(each: impl AsyncFn(&str) -> Result<(), String>) {
    let mut problems = Vec::new();
    for id in ids() {
        if let Err(problem) = each(&id).await {
            problems.push(format!("{id}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    assert!(ids().len() >= 41, "manifests are missing");
    let samples = fs::read_dir("tests/fixtures/integrations").unwrap().count();
    assert_eq!(samples, ids().len(), "samples without a manifest");
}

#[tokio::test]
async fn every_manifest_lists_its_sample_pages() {
    all(lists).await;
}

#[tokio::test]
async fn every_manifest_reads_one_organization() {
    all(reads_one).await;
}

#[tokio::test]
async fn every_manifest_tells_refusals() {
    all(tells_refusals).await;
}

#[tokio::test]
async fn every_manifest_works_for_one_organization() {
    all(works_for_one).await;
}

#[tokio::test]
async fn every_manifest_knows_when_its_session_ends() {
    all(async |id| session_ends(id)).await;
}

#[tokio::test]
async fn trap_32_every_manifest_guards_its_settings() {
    all(async |id| settings_are_guarded(id)).await;
}

/// The vendors' largest pages are asked for: of the smallest there are, 50, a thousand organizations take 20 requests.
#[test]
fn trap_27_a_thousand_organizations_take_few_requests() {
    let mut asked = 0;
    for id in ids() {
        let size = match manifest(&id).unwrap().list_organizations.unwrap().paginator {
            Paginator::PageNumber { page_size, .. }
            | Paginator::Offset { page_size, .. }
            | Paginator::Cursor { page_size, .. }
            | Paginator::JsonLink { page_size, .. }
            | Paginator::HeaderLink { page_size, .. } => page_size,
            Paginator::SinglePage {} => None,
        };
        asked += u32::from(size.is_some());
        assert!(size.is_none_or(|size| size >= 50), "{id} asks for {size:?} at once");
    }
    assert!(asked >= 25, "only {asked} manifests ask for a size");
}
