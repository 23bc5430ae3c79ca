//! Every manifest of the catalogue against the recorded shape of its API: the requests are those that the vendor documents,
//! and the organizations those that its pages hold.

use std::{collections::BTreeMap, fs, path::Path};

use crosswalk::{
    domain::ExternalOrgId,
    integrations::{
        Integration, Scope, Settings,
        manifest::{Manifest, Paginator},
        runner::ManifestIntegration,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    subject::{QUICK, mapping, settings_of},
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetOrganization {
    id: String,
    exchange: Exchange,
    expected: Expected,
    #[serde(default)]
    unknown: Option<Unknown>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unknown {
    id: String,
    exchange: Exchange,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: String,
    name: String,
}

impl Request {
    /// Why this is not the request that was made.
    fn difference(&self, asked: &Asked) -> Option<String> {
        let query: BTreeMap<_, _> = asked.query.iter().cloned().collect();
        if (asked.method.as_str(), asked.host.as_str(), asked.path.as_str())
            != (self.method.as_str(), self.host.as_str(), self.path.as_str())
        {
            return Some("method, host or path".to_owned());
        }
        if query != self.query {
            return Some(format!("query {query:?}, documented {:?}", self.query));
        }
        for (name, value) in &self.headers {
            let sent = asked.header(name);
            if sent.is_none() || (value != "*" && sent != Some(value)) {
                return Some(format!("header {name}: {sent:?}, documented {value}"));
            }
        }
        let sent = body_of(asked);
        let documented = self.body.clone().unwrap_or_default();
        (!fits(&documented, &sent)).then(|| format!("body {sent}, documented {documented}"))
    }
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
    asked.json()
}

/// `"*"` stands for any value.
fn fits(documented: &Value, sent: &Value) -> bool {
    match (documented, sent) {
        (Value::String(any), _) if any == "*" => !sent.is_null(),
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

fn undocumented(system: &System, exchanges: &[Exchange]) -> Vec<String> {
    let documented = |asked: &Asked| exchanges.iter().any(|exchange| exchange.request.difference(asked).is_none());
    let told = |asked: &Asked| {
        let near = exchanges.iter().filter_map(|exchange| exchange.request.difference(asked));
        let near = near.max_by_key(String::len).unwrap_or_default();
        format!("{} {}{} is not documented: {near}", asked.method, asked.host, asked.path)
    };
    system.asked().iter().filter(|asked| !documented(asked)).map(told).collect()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A private key that was made for this test; nothing else knows it.
const PRIVATE_KEY: &str = include_str!("private_key.pem");

fn integration(id: &str, system: &System) -> Result<(ManifestIntegration, Settings), String> {
    let text = fs::read_to_string(format!("integrations/{id}.yaml")).map_err(|error| error.to_string())?;
    let manifest = Manifest::load(&format!("{id}.yaml"), &text).map_err(|problems| format!("{problems:?}"))?;
    let config: BTreeMap<String, String> = read(&fixture(id, "config.json"))?;
    let values: Vec<_> = config
        .iter()
        .map(|(key, value)| (key.as_str(), if value == "PRIVATE KEY" { PRIVATE_KEY } else { value.as_str() }))
        .collect();
    let settings = settings_of(&manifest, &values, Scope::Global);
    let integration = ManifestIntegration::new(manifest, system.outbound()).map_err(|error| error.to_string())?;
    Ok((integration.with_timing(QUICK), settings))
}

fn fixture(id: &str, file: &str) -> std::path::PathBuf {
    Path::new("tests/fixtures/integrations").join(id).join(file)
}

async fn lists(id: &str) -> Result<(), String> {
    let exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
    let expected: Value = read(&fixture(id, "organizations.json"))?;
    let system = replay(exchanges.clone()).await;
    let (integration, settings) = integration(id, &system)?;
    let listed = integration.list_organizations(&settings).await;
    let undocumented = undocumented(&system, &exchanges);
    if !undocumented.is_empty() {
        return Err(undocumented.join("\n  "));
    }
    let listed = listed.map_err(|error| error.to_string())?;
    let listed: Vec<_> = listed
        .iter()
        .map(|one| {
            let mut shown = Map::new();
            shown.insert("id".to_owned(), json!(one.id.as_str()));
            shown.insert("name".to_owned(), json!(one.name));
            shown.insert("metadata".to_owned(), Value::Object(one.metadata.clone()));
            Value::Object(shown)
        })
        .collect();
    if Value::Array(listed.clone()) != expected {
        return Err(format!("listed {}\n  expected {expected}", Value::Array(listed)));
    }
    let shown = Value::Array(listed).to_string();
    if shown.contains("secret") {
        return Err(format!("a secret of a record is shown: {shown}"));
    }
    // Every recorded exchange is needed: a page that nobody fetched would hide a list that ends too early.
    let asked = system.asked();
    let unused = exchanges.iter().position(|one| asked.iter().all(|asked| one.request.difference(asked).is_some()));
    unused.map_or(Ok(()), |unused| Err(format!("exchange {unused} was never made")))
}

async fn reads_one(id: &str) -> Result<(), String> {
    let path = fixture(id, "get_organization.json");
    if !path.exists() {
        return Ok(());
    }
    let get: GetOrganization = read(&path)?;
    let mut exchanges: Vec<Exchange> = read(&fixture(id, "exchanges.json"))?;
    exchanges.push(get.exchange);
    exchanges.extend(get.unknown.iter().map(|unknown| unknown.exchange.clone()));
    let system = replay(exchanges.clone()).await;
    let (integration, settings) = integration(id, &system)?;
    if ExternalOrgId::parse(get.id.as_str()).is_err() || get.id != get.expected.id {
        return Err("the id is none, or not the expected one".to_owned());
    }
    let result = integration
        .test_connection(&settings, &mapping(&get.id), &Settings::none())
        .await
        .map_err(|error| error.to_string())?;
    let undocumented = undocumented(&system, &exchanges);
    if let Some(failure) = result.failure {
        return Err(format!("{failure}; {}", undocumented.join("\n  ")));
    }
    if !result.message.contains(&get.expected.name) {
        return Err(format!("'{}' does not name {}", result.message, get.expected.name));
    }
    if let Some(unknown) = get.unknown {
        let result = integration.test_connection(&settings, &mapping(&unknown.id), &Settings::none()).await;
        let class = result.map_err(|error| error.to_string())?.failure.map(|failure| failure.class.as_str());
        if class != Some("not_found") {
            return Err(format!("an unknown id is {class:?}"));
        }
    }
    Ok(())
}

fn ids() -> Vec<String> {
    let files = fs::read_dir("integrations").unwrap().map(|entry| entry.unwrap().path());
    let manifests = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut ids: Vec<_> = manifests.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn every_manifest_lists_its_sample_pages() {
    let mut problems = Vec::new();
    for id in ids() {
        if let Err(problem) = lists(&id).await {
            problems.push(format!("{id}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    assert!(ids().len() >= 33);
}

#[tokio::test]
async fn every_manifest_reads_one_organization() {
    let mut problems = Vec::new();
    for id in ids() {
        if let Err(problem) = reads_one(&id).await {
            problems.push(format!("{id}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The vendors' largest pages are asked for: of the smallest there are, 50, a thousand organizations take 20 requests.
#[test]
fn trap_27_a_thousand_organizations_take_few_requests() {
    let mut asked = 0;
    for id in ids() {
        let text = fs::read_to_string(format!("integrations/{id}.yaml")).unwrap();
        let manifest = Manifest::load(&format!("{id}.yaml"), &text).unwrap();
        let size = match manifest.list_organizations.unwrap().paginator {
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
