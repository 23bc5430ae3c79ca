//! What a workflow written in Rust holds: one organization, and the questions it may ask about it. The same service as the
//! resolve and set routes, so the same answers.

use crate::{
    domain::{
        Actor, ExternalOrgId, ExternalOrgName, IntegrationName, InvalidValue, Mapping, MappingData, MappingId, OrgId,
        Secret,
    },
    integrations::{IntegrationError, OrganizationClient},
    mappings::{Expected, MappingError, Mappings, Versioned, WantedMapping},
    settings::{SettingsError, SettingsReader},
    tables::TableError,
};

/// Why there is no client for an organization.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// There is not the one mapping to make it of.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The integration's settings are missing or wrong, or cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The integration has no client, or could not make one.
    #[error(transparent)]
    Integration(#[from] IntegrationError),
}

/// One organization, seen by one workflow.
#[derive(Clone)]
pub struct OrganizationContext {
    org_id: OrgId,
    actor: Actor,
    mappings: Mappings,
    settings: SettingsReader,
}

impl OrganizationContext {
    /// `actor` is who the audit log will name.
    pub fn new(mappings: Mappings, settings: SettingsReader, org_id: OrgId, actor: Actor) -> Self {
        Self { org_id, actor, mappings, settings }
    }

    pub fn org_id(&self) -> &OrgId {
        &self.org_id
    }

    /// The one active mapping to that integration, or the named one. Never a fallback to another organization or to
    /// defaults.
    ///
    /// # Errors
    /// [`MappingError::MappingNotFound`], [`MappingError::MultipleMappings`] with the ids to choose from,
    /// [`MappingError::OrganizationInactive`], [`MappingError::IntegrationNotFound`] with the known names.
    pub async fn get_integration_mapping(
        &self,
        integration: &str,
        mapping_id: Option<&str>,
    ) -> Result<Mapping, MappingError> {
        Ok(self.shown(self.mapping(integration, mapping_id).await?))
    }

    /// As it is stored, with references to secrets.
    async fn mapping(&self, integration: &str, mapping_id: Option<&str>) -> Result<Mapping, MappingError> {
        let integration = self.integration(integration)?;
        let id = mapping_id.map(|id| parse("mapping_id", id, MappingId::parse)).transpose()?;
        let Versioned { mapping, .. } = self.mappings.resolve(&self.org_id, &integration, id.as_ref()).await?;
        Ok(mapping)
    }

    /// As it may be shown: with masks in the place of secrets.
    fn shown(&self, mapping: Mapping) -> Mapping {
        let fields = self.mappings.registry().mapping_data(mapping.key.integration.as_str());
        Mapping { data: mapping.data.map(|data| fields.masked(data)), ..mapping }
    }

    /// Creates the mapping, or changes the one there is; with an id, that one. What is left out stays as it is, except the
    /// name of another external organization. `mapping_data` is the text of a JSON object.
    ///
    /// # Errors
    /// As [`Self::get_integration_mapping`]; [`MappingError::Duplicate`]; [`MappingError::Invalid`].
    pub async fn set_integration_mapping(
        &self,
        integration: &str,
        external_org_id: &str,
        external_org_name: Option<&str>,
        mapping_data: Option<&str>,
        mapping_id: Option<&str>,
    ) -> Result<Mapping, MappingError> {
        let set = WantedMapping {
            org_id: self.org_id.clone(),
            integration: self.integration(integration)?,
            id: mapping_id.map(|id| parse("mapping_id", id, MappingId::parse)).transpose()?,
            external_org_id: parse("external_org_id", external_org_id, ExternalOrgId::parse)?,
            external_org_name: external_org_name
                .map(|name| parse("external_org_name", name, ExternalOrgName::parse))
                .transpose()?
                .flatten(),
            data: mapping_data
                .map(|text| parse("mapping_data", text, |text: String| MappingData::parse(&text)))
                .transpose()?,
        };
        let (Versioned { mapping, .. }, _) = self.mappings.set(set, self.actor.clone()).await?;
        Ok(self.shown(mapping))
    }

    /// Deactivates the one active mapping to that integration, or the named one.
    ///
    /// # Errors
    /// As [`Self::get_integration_mapping`].
    pub async fn delete_integration_mapping(
        &self,
        integration: &str,
        mapping_id: Option<&str>,
    ) -> Result<(), MappingError> {
        let key = self.get_integration_mapping(integration, mapping_id).await?.key;
        self.mappings.deactivate(key, Expected::Any, self.actor.clone()).await
    }

    /// The active mappings of the organization, or those to one integration.
    ///
    /// # Errors
    /// The organization is unknown; [`MappingError::IntegrationNotFound`].
    pub async fn get_org_mappings(&self, integration: Option<&str>) -> Result<Vec<Mapping>, MappingError> {
        let integration = integration.map(|name| self.integration(name)).transpose()?;
        let found = self.mappings.list(&self.org_id, integration.as_ref(), true).await?;
        Ok(found.into_iter().map(|found| self.shown(found.mapping)).collect())
    }

    /// A client of that integration, authenticated with the organization's settings and bound to what it is mapped to: by
    /// the one active mapping, or the named one.
    ///
    /// # Errors
    /// [`ClientError::Mapping`] as [`Self::get_integration_mapping`]; [`ClientError::Settings`] naming each setting that is
    /// missing or wrong; [`ClientError::Integration`].
    pub async fn get_integration(
        &self,
        integration: &str,
        mapping_id: Option<&str>,
    ) -> Result<OrganizationClient, ClientError> {
        let mut mapping = self.mapping(integration, mapping_id).await?;
        let Some(found) = self.mappings.registry().get(integration) else {
            let known = self.mappings.registry().mappable();
            return Err(MappingError::IntegrationNotFound { name: integration.to_owned(), known }.into());
        };
        let read = async |mapping: &Mapping| {
            tokio::try_join!(
                self.settings.resolve(&**found, Some(&self.org_id), false),
                self.settings.mapping_data(&**found, mapping)
            )
        };
        let (settings, data) = match read(&mapping).await {
            // A secret that was replaced after the mapping was read is gone.
            Err(error @ SettingsError::Invalid { .. }) => {
                let now = self.mapping(integration, mapping_id).await?;
                if now.data == mapping.data {
                    return Err(error.into());
                }
                mapping = now;
                read(&mapping).await?
            }
            read => read?,
        };
        Ok(found.get_client(&settings, &mapping, &data).await?)
    }

    /// A configuration value: the organization's own, else the one that holds for every organization. None: it is not set.
    ///
    /// # Errors
    /// The store is unavailable; `key` holds what no key can.
    pub async fn get_config(&self, key: &str) -> Result<Option<String>, TableError> {
        self.settings.get_config(&self.org_id, key).await
    }

    /// A credential: the organization's own, else the one that holds for every organization. None: it is not set.
    /// `halopsa_api_key` is stored as `{org_id}-halopsa-api-key` or `halopsa-api-key`.
    ///
    /// # Errors
    /// A store is unavailable; `key` is no `[a-z][a-z0-9_]{0,88}`; its name could be that of somebody else's credential.
    pub async fn get_secret(&self, key: &str) -> Result<Option<Secret>, SettingsError> {
        let found = self.settings.get_secret(Some(&self.org_id), key).await?;
        Ok(found.map(|(secret, _)| secret))
    }

    fn integration(&self, name: &str) -> Result<IntegrationName, MappingError> {
        self.mappings.mappable(name)
    }
}

fn parse<T>(
    field: &'static str,
    text: &str,
    parse: impl FnOnce(String) -> Result<T, InvalidValue>,
) -> Result<T, MappingError> {
    parse(text.to_owned()).map_err(|InvalidValue(reason)| MappingError::Invalid { field, reason })
}
