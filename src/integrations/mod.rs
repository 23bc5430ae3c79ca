//! The external systems that organizations can be mapped to: the [`Integration`] trait and the [`Registry`] that names are
//! checked against. Must not know mappings' storage or HTTP.

mod examples;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use crate::domain::{ExternalOrganization, IntegrationName};

pub use self::examples::examples;

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

    /// Whether organizations can be mapped to it at all.
    fn supports_org_mapping(&self) -> bool {
        false
    }

    /// Whether [`Self::list_organizations`] works. Without it people enter ids by hand.
    fn supports_discovery(&self) -> bool {
        false
    }

    /// The organizations of the external system.
    async fn list_organizations(&self) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        Err(IntegrationError::DiscoveryNotSupported { integration: self.name().clone() })
    }
}

/// Why an integration could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntegrationError {
    #[error("integration {integration} cannot list its organizations; enter the external organization's id by hand")]
    DiscoveryNotSupported { integration: IntegrationName },
}

/// Every known integration by name.
#[derive(Clone, Default)]
pub struct Registry {
    integrations: BTreeMap<IntegrationName, Arc<dyn Integration>>,
}

impl Registry {
    pub fn new(integrations: impl IntoIterator<Item = Arc<dyn Integration>>) -> Self {
        Self { integrations: integrations.into_iter().map(|one| (one.name().clone(), one)).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Integration>> {
        self.integrations.get(name)
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
