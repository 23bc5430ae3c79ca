//! Stores, services and values that the tests share.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use crosswalk::{
    app::App,
    domain::{
        Actor, ExternalOrgId, ExternalOrgName, IntegrationName, MappingData, MappingId, MappingKey, OrgId, Source,
        TestOutcome,
    },
    integrations::{Integration, Registry},
    mappings::{MappingError, Patch, WantedMapping},
    secrets::NoSecrets,
    tables::{AzureAccount, AzureTables, EmbeddedTables, Key, Property, Put, Row, Table, TableStore, Tables},
};

use crate::azurite::Azurite;

pub const ORG: &str = "acme";
pub const INTEGRATION: &str = "halo";

/// An integration that exists by name alone.
struct Named(IntegrationName);

#[async_trait]
impl Integration for Named {
    fn name(&self) -> &IntegrationName {
        &self.0
    }

    fn title(&self) -> &str {
        self.0.as_str()
    }

    fn supports_org_mapping(&self) -> bool {
        true
    }
}

/// A process of its own on that store.
pub fn app(tables: Tables) -> App {
    let names = [INTEGRATION, "halo_psa", "halo_mapping"];
    let integrations = names.map(|name| Arc::new(Named(IntegrationName::parse(name).unwrap())) as Arc<dyn Integration>);
    App::new(tables, Registry::new(integrations), Arc::new(NoSecrets))
}

/// An empty store in memory, with one active organization.
pub async fn memory() -> Tables {
    let tables: Tables = Arc::new(EmbeddedTables::in_memory().unwrap());
    organization(&*tables, ORG).await;
    tables
}

/// An empty account of the real emulator, with one active organization.
pub async fn azurite() -> Tables {
    let tables = azure(&Azurite::start().account());
    organization(&*tables, ORG).await;
    tables
}

pub fn azure(connection_string: &str) -> Tables {
    Arc::new(AzureTables::new(&AzureAccount::from_connection_string(connection_string).unwrap()))
}

pub async fn organization(tables: &dyn TableStore, id: &str) {
    let properties = [("Name".to_owned(), Property::from(id)), ("IsActive".to_owned(), true.into())].into();
    let row = Row { key: Key::new("ORG", id), properties };
    tables.put(Table::Organizations, &row, &Put::Upsert).await.unwrap();
}

pub fn actor() -> Actor {
    Actor { id: "tester".into(), source: Source::Api, correlation_id: None }
}

pub fn org() -> OrgId {
    OrgId::parse(ORG).unwrap()
}

pub fn integration() -> IntegrationName {
    IntegrationName::parse(INTEGRATION).unwrap()
}

pub fn mapping_id(id: &str) -> MappingId {
    MappingId::parse(format!("mapping_{id}")).unwrap()
}

pub fn key(id: &str) -> MappingKey {
    MappingKey { org_id: org(), integration: integration(), id: mapping_id(id) }
}

pub fn external(id: &str) -> ExternalOrgId {
    ExternalOrgId::parse(id).unwrap()
}

pub fn named(name: &str) -> Patch {
    Patch { external_org_name: Some(ExternalOrgName::parse(name).unwrap()), ..Patch::default() }
}

pub fn with_data(text: &str) -> Patch {
    Patch { data: Some(Some(MappingData::parse(text).unwrap())), ..Patch::default() }
}

pub fn external_id(id: &str) -> Patch {
    Patch { external_org_id: Some(external(id)), ..Patch::default() }
}

pub fn active(is_active: bool) -> Patch {
    Patch { is_active: Some(is_active), ..Patch::default() }
}

pub fn new(id: &str, external_org_id: &str) -> WantedMapping {
    set(Some(id), external_org_id)
}

pub fn set(id: Option<&str>, external_org_id: &str) -> WantedMapping {
    WantedMapping {
        org_id: org(),
        integration: integration(),
        id: id.map(mapping_id),
        external_org_id: external(external_org_id),
        external_org_name: None,
        data: None,
    }
}

/// Tests the connection of that mapping, which works, and stores so.
pub async fn tested(app: &App, id: &str) -> Result<(), MappingError> {
    let mapping = app.mappings.get(&key(id), true).await?.mapping;
    let outcome = TestOutcome { at: Some(Utc::now()), result: Some("works".into()), succeeded: Some(true) };
    app.mappings.record_test(mapping, outcome, actor()).await.map(drop)
}

/// A row that another program wrote into the source of truth: no index row, no guard.
pub async fn foreign(tables: &dyn TableStore, id: &str, external_org_id: &str) {
    let properties = [("ExternalOrgId".to_owned(), external_org_id.into()), ("IsActive".to_owned(), true.into())];
    let row = Row { key: Key::new(ORG, format!("{INTEGRATION}_mapping_{id}")), properties: properties.into() };
    tables.put(Table::OrgIntegrationMappings, &row, &Put::Create).await.unwrap();
}
