//! Secrets in memory, and mappings that have some: the integration `vaulted` with an optional secret `api_key`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use crosswalk::{
    app::App,
    domain::{IntegrationName, MappingData, MappingKey, Secret},
    integrations::{ConfigField, DataFields, Integration, Registry, manifest::FieldKind},
    mappings::{Expected, MappingError, Patch, WantedMapping},
    secrets::{SecretError, SecretStore},
    tables::{Property, Table, Tables},
};

use crate::{
    around::{Around, Steps},
    harness::*,
    invariants,
};

const VAULTED: &str = "vaulted";

#[derive(Default)]
pub struct Vault(Mutex<BTreeMap<String, String>>);

impl Vault {
    pub fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    pub fn values(&self) -> Vec<String> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

#[async_trait]
impl SecretStore for Vault {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        Ok(self.0.lock().unwrap().get(name).map(Secret::new))
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        let before = self.0.lock().unwrap().insert(name.to_owned(), value.expose().to_owned());
        assert_eq!(before, None, "a name never means anything else");
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A vault whose operations are steps of the same world as those of the tables.
pub struct Stepping<S> {
    pub world: Arc<Around<S>>,
    pub vault: Arc<Vault>,
}

impl<S: Steps> Stepping<S> {
    async fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, SecretError>> + Send,
    ) -> Result<T, SecretError> {
        let outcome = self.world.0.step(async { Ok(operation.await) }).await;
        outcome.map_err(|error| SecretError::Unavailable { reason: error.to_string(), retry_after: None })?
    }
}

#[async_trait]
impl<S: Steps> SecretStore for Stepping<S> {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        self.step(self.vault.get(name)).await
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        self.step(self.vault.set(name, value)).await
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        self.step(self.vault.delete(name)).await
    }
}

struct Vaulted {
    name: IntegrationName,
    fields: Vec<ConfigField>,
}

#[async_trait]
impl Integration for Vaulted {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &'static str {
        "With a key for every mapping"
    }

    fn supports_org_mapping(&self) -> bool {
        true
    }

    fn mapping_data(&self) -> DataFields<'_> {
        DataFields::new(&self.fields)
    }
}

/// A process of its own on those stores.
pub fn process(tables: Tables, secrets: Arc<dyn SecretStore>) -> App {
    let text = |text: &str| text.to_owned();
    let field = |key, kind| ConfigField {
        key: text(key),
        title: text(key),
        kind,
        options: Vec::new(),
        pattern: None,
        default: None,
        required: Some(false),
        help: text("Make one up"),
    };
    let fields = vec![field("api_key", FieldKind::Secret), field("site", FieldKind::String)];
    let vaulted = Vaulted { name: IntegrationName::parse(VAULTED).unwrap(), fields };
    App::new(tables, Registry::new([Arc::new(vaulted) as Arc<dyn Integration>]), secrets)
}

pub fn vaulted(id: &str) -> MappingKey {
    MappingKey { integration: IntegrationName::parse(VAULTED).unwrap(), ..key(id) }
}

pub fn wanted(id: &str, external_org_id: &str, data: &str) -> WantedMapping {
    WantedMapping {
        integration: IntegrationName::parse(VAULTED).unwrap(),
        data: Some(MappingData::parse(data).unwrap()),
        ..new(id, external_org_id)
    }
}

pub async fn change(app: &App, id: &str, patch: Patch) -> Result<(), MappingError> {
    app.mappings.update(vaulted(id), patch, Expected::Any, actor()).await.map(drop)
}

/// Every secret that is stored is one that a mapping refers to, and the other way round.
pub async fn is_exact(tables: &Tables, vault: &Vault) {
    let rows = invariants::mappings(&**tables).await;
    let texts = rows.values().filter_map(|row| row.get("MappingData")).filter_map(Property::text);
    let referred: BTreeSet<_> = texts
        .flat_map(|text| {
            let data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            data.into_values().filter_map(|value| Some(value.get("$secret")?.as_str()?.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(vault.names(), referred, "{rows:#?}");
    // What the journal notes is no part of what happened.
    for event in invariants::rows(&**tables, Table::AuditEvents).await {
        assert!(!event.row.properties.contains_key("Secrets"), "{event:?}");
    }
}
