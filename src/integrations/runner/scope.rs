//! The values that templates stand for while one request is made.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::integrations::{
    Settings,
    manifest::{Manifest, Reference, Values},
};

/// What post-connection steps and logins have saved: `connection.x`.
pub type Saved = Map<String, Value>;

/// The organization that a request is about: `org.id`, `org.metadata.x` and `mapping.x`.
#[derive(Clone, Debug)]
pub struct Organization {
    pub id: String,
    pub metadata: Map<String, Value>,
    /// The data of its mapping.
    pub data: Settings,
}

/// Where the values come from.
#[derive(Clone)]
pub struct Scope<'a> {
    manifest: &'a Manifest,
    settings: &'a Settings,
    saved: Arc<Saved>,
    organization: Option<&'a Organization>,
    token: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub fn new(manifest: &'a Manifest, settings: &'a Settings, saved: Arc<Saved>) -> Self {
        Self { manifest, settings, saved, organization: None, token: None }
    }

    pub fn of(mut self, organization: Option<&'a Organization>) -> Self {
        self.organization = organization;
        self
    }

    pub fn with_token(mut self, token: &'a str) -> Self {
        self.token = Some(token);
        self
    }

    pub fn with_saved(mut self, more: &Saved) -> Self {
        if !more.is_empty() {
            Arc::make_mut(&mut self.saved).extend(more.clone());
        }
        self
    }

    pub fn manifest(&self) -> &'a Manifest {
        self.manifest
    }

    pub fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// Whether it may be left unset.
    pub fn is_optional(&self, reference: &Reference) -> bool {
        let field = match reference {
            Reference::Config(key) => self.manifest.config.iter().find(|field| field.key == *key),
            Reference::Mapping(key) => self.manifest.mapping_data.iter().find(|field| field.key == *key),
            _ => None,
        };
        field.is_some_and(|field| !field.is_required())
    }
}

impl Values for Scope<'_> {
    fn value(&self, reference: &Reference) -> Option<Value> {
        let set = |settings: &Settings, key: &str| settings.get(key).map(|setting| Value::from(setting.value.expose()));
        match reference {
            Reference::Config(key) => set(self.settings, key),
            Reference::Mapping(key) => self.organization.and_then(|organization| set(&organization.data, key)),
            Reference::Connection(key) => self.saved.get(key).filter(|value| !value.is_null()).cloned(),
            Reference::OrgId => self.organization.map(|organization| Value::from(organization.id.as_str())),
            Reference::OrgMetadata(key) => self.organization.and_then(|one| one.metadata.get(key)).cloned(),
            Reference::SessionToken => self.token.map(Value::from),
        }
    }
}
