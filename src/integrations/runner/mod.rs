//! The runner of manifests: makes an [`Integration`] of one. Owns the requests that a manifest describes: their
//! authentication, pages, pace and errors; must not know where settings come from or who asks.
//!
//! Start with [`ManifestIntegration`]; `connection.rs` sends every request, `list.rs` and `paginator.rs` read a whole list.

mod address;
mod answer;
mod auth;
mod call;
mod client;
mod connection;
mod hmac;
mod jwt;
mod list;
mod one;
mod pace;
mod paginator;
mod records;
mod redact;
mod scope;
mod token;
mod xml;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use moka::future::Cache;
use tokio::time::Instant;

use self::connection::{Connection, Purpose};
pub use self::{
    client::{ClientAnswer, OrganizationClient},
    pace::Timing,
};
use super::{
    ConfigField, DataFields, Failure, FailureClass, Fingerprint, Integration, IntegrationError, Settings, TestResult,
    manifest::{Manifest, Reference},
};
use crate::{
    domain::{ExternalOrganization, IntegrationName, InvalidValue, Mapping},
    outbound::Outbound,
};

/// Sets of settings whose tokens and pace are remembered at the same time, and for how long without use.
const CONNECTIONS: (u64, Duration) = (1000, Duration::from_hours(1));

/// An external system that a manifest describes.
pub struct ManifestIntegration {
    name: IntegrationName,
    manifest: Arc<Manifest>,
    outbound: Outbound,
    timing: Timing,
    /// Made when it is first used: most of the systems that are described are not those that somebody has, and an empty
    /// cache is 30 KB.
    connections: LazyLock<Cache<Fingerprint, Arc<Connection>>>,
}

fn connections() -> Cache<Fingerprint, Arc<Connection>> {
    let (most, idle) = CONNECTIONS;
    Cache::builder().max_capacity(most).time_to_idle(idle).build()
}

impl ManifestIntegration {
    /// # Errors
    /// The manifest's id is no name of an integration, which a loaded manifest's is.
    pub fn new(manifest: Manifest, outbound: Outbound) -> Result<Self, InvalidValue> {
        let name = IntegrationName::parse(manifest.id.as_str())?;
        let (manifest, timing) = (Arc::new(manifest), Timing::default());
        Ok(Self { name, manifest, outbound, timing, connections: LazyLock::new(connections) })
    }

    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn connection(&self, settings: &Settings) -> Arc<Connection> {
        let make = async {
            let (manifest, outbound) = (Arc::clone(&self.manifest), self.outbound.clone());
            Arc::new(Connection::new(manifest, settings.clone(), outbound, self.timing))
        };
        self.connections.get_with(settings.fingerprint(), make).await
    }

    /// As a person may read it. Where an id, a name or a link of an answer is told, it may be an echo of what was sent.
    fn told(&self, connection: &Connection, data: Option<&Settings>, failure: Failure) -> Failure {
        let mut failure = connection.redact(failure, data);
        if failure.class == FailureClass::Authentication {
            let sent = |reference: &&Reference| match reference {
                Reference::Config(key) => connection.settings.get(key).is_some(),
                Reference::Mapping(key) => data.is_some_and(|data| data.get(key).is_some()),
                _ => false,
            };
            let credentials: BTreeSet<_> = self.manifest.credentials().into_iter().filter(sent).collect();
            let named = credentials.into_iter().map(|reference| match reference {
                Reference::Config(key) => format!("{}_{key}", self.name),
                reference => reference.to_string(),
            });
            let named = named.collect::<Vec<_>>().join(", ");
            if !named.is_empty() {
                failure.message = format!("{}; sent were {named}", failure.message);
            }
        }
        failure
    }

    fn failed(&self, connection: &Connection, data: Option<&Settings>, failure: Failure) -> IntegrationError {
        IntegrationError::Failed { integration: self.name.clone(), failure: self.told(connection, data, failure) }
    }

    /// Sends the manifest's `check`, if it has one.
    ///
    /// # Errors
    /// What the system answers is no success.
    pub async fn check(&self, settings: &Settings) -> Result<bool, IntegrationError> {
        let Some(check) = &self.manifest.check else { return Ok(false) };
        let connection = self.connection(settings).await;
        let purpose = Purpose::general(Instant::now() + self.timing.test);
        let make = |scope: &scope::Scope<'_>| {
            let call = call::Call::of(&check.request, &self.manifest.base_url, scope)?;
            Ok(call::Call { needs_body: false, ..call })
        };
        connection.request(purpose, &make).await.map_err(|failure| self.failed(&connection, None, failure))?;
        Ok(true)
    }
}

#[async_trait]
impl Integration for ManifestIntegration {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &str {
        &self.manifest.name
    }

    fn docs_url(&self) -> Option<&str> {
        Some(&self.manifest.docs_url)
    }

    fn config(&self) -> &[ConfigField] {
        &self.manifest.config
    }

    fn mapping_data(&self) -> DataFields<'_> {
        DataFields::new(&self.manifest.mapping_data)
    }

    fn supports_org_mapping(&self) -> bool {
        true
    }

    fn supports_discovery(&self) -> bool {
        self.manifest.list_organizations.is_some()
    }

    async fn list_organizations(&self, settings: &Settings) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        let Some(list) = &self.manifest.list_organizations else {
            return Err(IntegrationError::DiscoveryNotSupported { integration: self.name.clone() });
        };
        let connection = self.connection(settings).await;
        let deadline = Instant::now() + self.timing.list;
        let listed = list::organizations(&connection, list, deadline).await;
        listed.map_err(|failure| self.failed(&connection, None, failure))
    }

    async fn get_client(
        &self,
        settings: &Settings,
        mapping: &Mapping,
        data: &Settings,
    ) -> Result<OrganizationClient, IntegrationError> {
        let connection = self.connection(settings).await;
        let client = OrganizationClient::new(Arc::clone(&connection), &mapping.external_org_id, data).await;
        client.map_err(|failure| self.failed(&connection, Some(data), failure))
    }

    async fn test_connection(
        &self,
        settings: &Settings,
        mapping: &Mapping,
        data: &Settings,
    ) -> Result<TestResult, IntegrationError> {
        if self.manifest.get_organization.is_none() && self.manifest.list_organizations.is_none() {
            return Err(IntegrationError::NotSupported {
                integration: self.name.clone(),
                what: "cannot read an organization, so a mapping to it cannot be tested",
            });
        }
        let connection = self.connection(settings).await;
        let began = Instant::now();
        let outcome = one::organization(&connection, &mapping.external_org_id, data, began + self.timing.test).await;
        let latency = began.elapsed();
        Ok(match outcome {
            Ok((found, http_status)) => {
                let message = format!("connected to {} ({}) in {}", found.name, found.id, self.manifest.name);
                let message = connection.redact_text(&message, Some(data));
                TestResult { failure: None, message, latency, http_status }
            }
            Err(failure) => {
                let failure = self.told(&connection, Some(data), failure);
                let message = format!("{}: {failure}", self.manifest.name);
                TestResult { message, latency, http_status: failure.http_status, failure: Some(failure) }
            }
        })
    }
}
