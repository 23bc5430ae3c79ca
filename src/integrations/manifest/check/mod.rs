//! The rules of a manifest that no type can say. Each problem is told, with its field and its remedy; must not know YAML.
//!
//! Here: names, settings and what templates stand for. `requests.rs`: addresses and bodies. `lists.rs`: paginators, records
//! and the rest.

mod lists;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Auth, ConfigField, FieldKind, Manifest, Problem, Reference,
    document::{Document, join},
    places::{self, Moment},
    problem::nearest,
};
use crate::domain::IntegrationName;

/// # Errors
/// Every rule that does not hold.
pub fn check(file_name: &str, manifest: Manifest, document: &Document) -> Result<Manifest, Vec<Problem>> {
    let mut check = Check { manifest: &manifest, document, problems: Vec::new() };
    check.names(file_name);
    check.fields("config", &manifest.config);
    check.fields("mapping_data", &manifest.mapping_data);
    if manifest.mapping_data.len() > MAPPING_FIELDS {
        check.tell(
            "mapping_data",
            format!("has {} fields; at most {MAPPING_FIELDS} are kept with a mapping", manifest.mapping_data.len()),
        );
    }
    check.templates();
    check.headers(&document.value, "");
    check.requests();
    check.auth();
    check.client();
    check.lists();
    check.answers();
    let problems = check.problems;
    if problems.is_empty() { Ok(manifest) } else { Err(problems) }
}

struct Check<'a> {
    manifest: &'a Manifest,
    document: &'a Document,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn tell(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(self.document.problem(field, message));
    }

    fn exactly_one(&mut self, field: &str, choices: &[(&str, bool)]) {
        let given: Vec<_> = choices.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        match given.as_slice() {
            [_] => {}
            [] => self.tell(field, format!("needs {}", names.join(" or "))),
            [one, other] => self.tell(field, format!("has {one} and {other}; leave one of them out")),
            given => self.tell(field, format!("has {}; leave all but one out", given.join(", "))),
        }
    }

    fn names(&mut self, file_name: &str) {
        let Manifest { id, name, docs_url, .. } = self.manifest;
        if let Err(rule) = IntegrationName::parse(id.as_str()) {
            self.tell("id", format!("'{id}' {rule}"));
        } else if file_name != format!("{id}.yaml") {
            self.tell("id", format!("'{id}' is not the name of the file; call the file {id}.yaml"));
        }
        if name.trim().is_empty() {
            self.tell("name", "empty; say what people call the system");
        }
        if !url::Url::parse(docs_url).is_ok_and(|url| url.scheme() == "https") {
            self.tell("docs_url", format!("'{docs_url}' is no address; expected https://…"));
        }
    }

    /// The fields that an administrator sets, once or for each mapping.
    fn fields(&mut self, list: &str, fields: &[ConfigField]) {
        let mut seen = BTreeSet::new();
        for (index, field) in fields.iter().enumerate() {
            let at = format!("{list}[{index}]");
            let (key, id) = (&field.key, &self.manifest.id);
            if !is_key(key) {
                let rule = "must begin with a lower-case letter and hold at most 39 lower-case letters, digits and underscores";
                self.tell(&join(&at, "key"), format!("'{key}' {rule}"));
            } else if list == "config"
                && let Some(rest) = key.strip_prefix(&format!("{id}_"))
            {
                self.tell(&join(&at, "key"), format!("the setting would be called {id}_{key}; call the key '{rest}'"));
            }
            if !seen.insert(key) {
                self.tell(&join(&at, "key"), format!("'{key}' is declared twice; keep one"));
            }
            for (name, text) in [("title", &field.title), ("help", &field.help)] {
                if text.trim().is_empty() {
                    self.tell(&join(&at, name), "empty; administrators read it where they enter the value");
                }
            }
            self.values(&at, field);
        }
    }

    /// What a field may be set to.
    fn values(&mut self, at: &str, field: &ConfigField) {
        let options = &field.options;
        match field.kind {
            FieldKind::Enum if options.is_empty() => self.tell(at, "type enum needs options: the values there are"),
            FieldKind::Enum => {
                if options.iter().collect::<BTreeSet<_>>().len() < options.len() {
                    self.tell(&join(at, "options"), "the same value is there twice; keep one");
                }
            }
            FieldKind::String | FieldKind::Secret if !options.is_empty() => {
                self.tell(&join(at, "options"), "only for type enum; set type: enum or leave the options out");
            }
            FieldKind::String | FieldKind::Secret => {}
        }
        let Some(default) = &field.default else { return };
        let at = join(at, "default");
        if field.kind == FieldKind::Secret {
            self.tell(&at, "a secret has no default: whoever reads this file would know it");
        } else if field.kind == FieldKind::Enum && !options.contains(default) {
            self.tell(&at, format!("'{default}' is not one of the options"));
        } else if let Some(pattern) = field.pattern.as_ref().filter(|pattern| !pattern.matches(default)) {
            self.tell(&at, format!("'{default}' does not match the pattern {}", pattern.as_str()));
        }
    }

    fn field(&self, key: &str) -> Option<&'a ConfigField> {
        self.manifest.config.iter().find(|field| field.key == key)
    }

    /// Names in `connection.x`, and the first step of `post_connection` that knows them.
    fn saved(&self) -> BTreeMap<&'a str, usize> {
        let login = match &self.manifest.auth {
            Auth::SessionToken { save, .. } => save.keys().collect(),
            _ => Vec::new(),
        };
        let steps = self.manifest.post_connection.iter().zip(1..);
        let steps = steps.flat_map(|(step, next)| step.save.keys().map(move |name| (name.as_str(), next)));
        // The first to save it counts.
        steps.collect::<Vec<_>>().into_iter().rev().chain(login.into_iter().map(|name| (name.as_str(), 0))).collect()
    }

    fn templates(&mut self) {
        let places = places::templates(self.manifest);
        let (mut used, mut used_of_mapping) = (BTreeSet::new(), BTreeSet::new());
        for place in &places {
            for reference in place.template.references() {
                if let Reference::Config(key) = reference {
                    used.insert(key);
                }
                if let Reference::Mapping(key) = reference {
                    used_of_mapping.insert(key);
                }
                if let Some(problem) = self.reference(reference, place.moment) {
                    self.tell(&place.field, problem);
                }
            }
            if place.url {
                self.url(place);
            }
        }
        for (index, field) in self.manifest.config.iter().enumerate().filter(|(_, field)| !used.contains(&field.key)) {
            let remedy = "put it where it is needed or leave the field out";
            self.tell(
                &format!("config[{index}].key"),
                format!("no template uses {{{{config.{}}}}}; {remedy}", field.key),
            );
        }
        // Others are for workflows, which can read them.
        let secrets = self.manifest.mapping_data.iter().enumerate().filter(|(_, field)| field.is_secret());
        for (index, field) in secrets.filter(|(_, field)| !used_of_mapping.contains(&field.key)) {
            let message =
                format!("no template uses {{{{mapping.{}}}}}, so nobody could ever read the secret", field.key);
            self.tell(&format!("mapping_data[{index}].key"), message);
        }
        self.early_steps();
    }

    /// Whether a request is made for an organization, always: then a login can be one of its own.
    fn always_about_an_organization(&self) -> bool {
        let Manifest { list_organizations, post_connection, check, .. } = self.manifest;
        list_organizations.is_none() && post_connection.is_empty() && check.is_none()
    }

    /// Why it stands for nothing at that moment.
    fn reference(&self, reference: &Reference, moment: Moment) -> Option<String> {
        let unknown = |root: &str, key: &str, known: Vec<&str>, remedy: String| match nearest(key, known) {
            Some(near) => format!("{{{{{root}.{key}}}}} stands for nothing; did you mean {{{{{root}.{near}}}}}?"),
            None => format!("{{{{{root}.{key}}}}} stands for nothing; {remedy}"),
        };
        match reference {
            Reference::Config(key) if self.field(key).is_none() => {
                let known = self.manifest.config.iter().map(|field| field.key.as_str()).collect();
                Some(unknown("config", key, known, format!("declare it in config with key: {key}")))
            }
            Reference::Connection(key) => {
                let saved = self.saved();
                let Some(from) = saved.get(key.as_str()) else {
                    let remedy = format!("save it in a step of post_connection: save: {{{key}: /pointer}}");
                    return Some(unknown("connection", key, saved.into_keys().collect(), remedy));
                };
                let known = match moment {
                    Moment::Auth => false,
                    Moment::Inject => *from == 0,
                    Moment::Step(index) => *from <= index,
                    Moment::Connected | Moment::GetOrganization | Moment::Client => true,
                };
                (!known).then(|| format!("{{{{{reference}}}}} is not known yet here; it is saved later"))
            }
            Reference::OrgId | Reference::OrgMetadata(_)
                if !matches!(moment, Moment::GetOrganization | Moment::Client) =>
            {
                Some(format!("{{{{{reference}}}}} stands for nothing here; only in get_organization and client"))
            }
            Reference::OrgMetadata(key) => {
                let list = self.manifest.list_organizations.iter().map(|list| &list.mapping);
                let get = self.manifest.get_organization.iter().filter_map(|get| get.mapping.as_ref());
                let known: Vec<_> =
                    list.chain(get).flat_map(|mapping| mapping.metadata.keys().map(String::as_str)).collect();
                let remedy = format!("give it in the mapping: metadata: {{{key}: /pointer}}");
                (!known.contains(&key.as_str())).then(|| unknown("org.metadata", key, known, remedy))
            }
            Reference::Mapping(key) if !self.manifest.mapping_data.iter().any(|field| field.key == *key) => {
                let known = self.manifest.mapping_data.iter().map(|field| field.key.as_str()).collect();
                Some(unknown("mapping", key, known, format!("declare it in mapping_data with key: {key}")))
            }
            Reference::Mapping(_) => match moment {
                Moment::GetOrganization | Moment::Client => None,
                Moment::Auth | Moment::Inject if self.always_about_an_organization() => None,
                Moment::Auth | Moment::Inject => Some(format!(
                    "{{{{{reference}}}}} stands for nothing where a request is about no organization: use it in \
                     get_organization and client, or leave out list_organizations, post_connection and check"
                )),
                Moment::Step(_) | Moment::Connected => {
                    Some(format!("{{{{{reference}}}}} stands for nothing here; only in get_organization and client"))
                }
            },
            Reference::SessionToken if moment != Moment::Inject => {
                Some("{{session.token}} stands for nothing here; only in inject of auth type session_token".to_owned())
            }
            Reference::Config(_) | Reference::OrgId | Reference::SessionToken => None,
        }
    }

    /// `base_url` goes into every request with a `path`, so early ones wait for what it needs.
    fn early_steps(&mut self) {
        let saved = self.saved();
        for (index, step) in self.manifest.post_connection.iter().enumerate() {
            let late = self.manifest.base_url.references().find(|reference| {
                matches!(reference, Reference::Connection(key) if saved.get(key.as_str()).is_some_and(|from| *from > index))
            });
            if let (Some(late), Some(_)) = (late, &step.request.path) {
                let message = format!("base_url needs {{{{{late}}}}}, which is saved later; use url here");
                self.tell(&format!("post_connection[{index}].request.path"), message);
            }
        }
    }

    /// Names of headers that differ in nothing but case, and those that are not a manifest's to set.
    fn headers(&mut self, value: &Value, at: &str) {
        let Value::Object(map) = value else { return };
        for (key, value) in map {
            let at = join(at, key);
            match (key.as_str(), value) {
                ("headers", Value::Object(headers)) => {
                    let mut seen = BTreeSet::new();
                    for name in headers.keys() {
                        let lower = name.to_lowercase();
                        if ["host", "content-length", "transfer-encoding", "connection"].contains(&lower.as_str()) {
                            self.tell(&join(&at, name), "is set by the HTTP client; leave it out");
                        }
                        if !seen.insert(lower) {
                            self.tell(
                                &join(&at, name),
                                "is there twice: upper and lower case are the same in names of headers",
                            );
                        }
                    }
                }
                ("body", _) => {}
                _ => self.headers(value, &at),
            }
        }
    }
}

/// Their secrets are noted in one property of a row while they change, old and new ones.
const MAPPING_FIELDS: usize = 50;

/// 39: the secret `{organization}-{integration}-{key}` has to fit into the 127 characters of Key Vault.
fn is_key(key: &str) -> bool {
    (1..=39).contains(&key.len())
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
