//! The external systems that organizations can be mapped to: the [`Integration`] trait and the [`Registry`] that names are
//! checked against. Must not know how mappings are stored, or that there is an HTTP API.
//!
//! `manifest/` is the format of the files that describe external systems, `runner/` is what makes an [`Integration`] of one.

pub mod catalogue;
mod examples;
mod failure;
mod guard;
pub mod manifest;
mod mapping_data;
pub mod runner;
mod settings;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::domain::{ExternalOrganization, IntegrationName, Mapping};

pub use self::{
    catalogue::Broken,
    examples::examples,
    failure::{Failure, FailureClass},
    guard::guarded,
    manifest::ConfigField,
    mapping_data::{DataFields, GivenData, Problems, StoredValue, references},
    runner::OrganizationClient,
    settings::{Fingerprint, Scope, Setting, Settings},
};

/// One external system.
#[async_trait]
pub trait Integration: Send + Sync + 'static {
    fn name(&self) -> &IntegrationName;

    /// What people call it.
    fn title(&self) -> &str;

    /// Where its maker documents the interface.
    fn docs_url(&self) -> Option<&str> {
        None
    }

    /// The settings and credentials it needs; what is read for [`Settings`].
    fn config(&self) -> &[ConfigField] {
        &[]
    }

    /// What is entered for each mapping, beside the id of the external organization.
    fn mapping_data(&self) -> DataFields<'_> {
        DataFields::new(&[])
    }

    /// Whether organizations can be mapped to it at all.
    fn supports_org_mapping(&self) -> bool {
        false
    }

    /// Whether [`Self::list_organizations`] works. Without it people enter ids by hand.
    fn supports_discovery(&self) -> bool {
        false
    }

    /// The organizations of the external system: all of them, each once, or an error.
    async fn list_organizations(&self, _settings: &Settings) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        Err(IntegrationError::DiscoveryNotSupported { integration: self.name().clone() })
    }

    /// An HTTP client that is authenticated and bound to the mapped organization. `data` holds the values of the declared
    /// fields of the mapping's data, secrets among them.
    async fn get_client(
        &self,
        _settings: &Settings,
        _mapping: &Mapping,
        _data: &Settings,
    ) -> Result<OrganizationClient, IntegrationError> {
        Err(IntegrationError::NotSupported { integration: self.name().clone(), what: "has no client" })
    }

    /// Reads the mapped external organization by its id and compares the id that comes back.
    async fn test_connection(
        &self,
        _settings: &Settings,
        _mapping: &Mapping,
        _data: &Settings,
    ) -> Result<TestResult, IntegrationError> {
        Err(IntegrationError::NotSupported { integration: self.name().clone(), what: "cannot test a connection" })
    }
}

/// What a connection test found.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// `None`: the mapping works.
    pub failure: Option<Failure>,
    /// For a person; holds no credential.
    pub message: String,
    pub latency: Duration,
    pub http_status: Option<u16>,
}

/// Why an integration could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntegrationError {
    #[error("integration {integration} cannot list its organizations; enter the external organization's id by hand")]
    DiscoveryNotSupported { integration: IntegrationName },
    #[error("integration {integration} {what}")]
    NotSupported { integration: IntegrationName, what: &'static str },
    #[error("{integration}: {failure}")]
    Failed { integration: IntegrationName, failure: Failure },
}

/// Every known integration by name, and the manifests that should have been one.
#[derive(Clone, Default)]
pub struct Registry {
    integrations: BTreeMap<IntegrationName, Arc<dyn Integration>>,
    broken: Vec<Broken>,
}

impl Registry {
    pub fn new(integrations: impl IntoIterator<Item = Arc<dyn Integration>>) -> Self {
        let integrations = integrations.into_iter().map(|one| (one.name().clone(), one)).collect();
        Self { integrations, broken: Vec::new() }
    }

    /// The same with those manifests, to be shown to administrators.
    #[must_use]
    pub fn with_broken(mut self, broken: Vec<Broken>) -> Self {
        self.broken = broken;
        self
    }

    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// What the data of mappings to that integration holds; of an unknown one, anything.
    pub fn mapping_data(&self, name: &str) -> DataFields<'_> {
        self.get(name).map_or(DataFields::new(&[]), |integration| integration.mapping_data())
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Integration>> {
        self.integrations.get(name)
    }

    /// Why there is no integration of that name, and what to do; goes on after the name.
    pub fn missing(&self, name: &str) -> String {
        let is_there = |broken: &Broken| broken.file.file_stem().is_some_and(|stem| stem == name);
        let known = self.names().join(", ");
        if self.broken.iter().any(is_there) {
            return format!(
                "has a manifest that does not load: `crosswalk integrations check` says why; mend it, then restart. \
                 Known are: {known}"
            );
        }
        format!("is unknown; known are: {known}; a manifest that was added counts after a restart")
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Integration>> {
        self.integrations.values()
    }

    pub fn names(&self) -> Vec<String> {
        self.integrations.keys().map(ToString::to_string).collect()
    }

    /// The names that organizations can be mapped to: what an error lists as the remedy.
    pub fn mappable(&self) -> Vec<String> {
        self.iter().filter(|one| one.supports_org_mapping()).map(|one| one.name().to_string()).collect()
    }
}
