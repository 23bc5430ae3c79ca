//! A mapping: one organization is that external organization.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{ExternalOrgId, IntegrationName, InvalidValue, MappingData, MappingId, OrgId};

/// Names one mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingKey {
    pub org_id: OrgId,
    pub integration: IntegrationName,
    pub id: MappingId,
}

impl fmt::Display for MappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.org_id, self.integration, self.id)
    }
}

/// Links one organization to one external organization.
///
/// What another program may leave out is optional here: who and when, the name, the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    pub key: MappingKey,
    pub external_org_id: ExternalOrgId,
    pub external_org_name: Option<ExternalOrgName>,
    pub data: Option<MappingData>,
    /// False once deactivated: absent everywhere unless asked for, never counted when resolving.
    pub is_active: bool,
    pub created_at: Option<DateTime<Utc>>,
    pub created_by: Option<String>,
    pub updated_at: Option<DateTime<Utc>>,
    pub updated_by: Option<String>,
    /// The last connection test of what the mapping says now: gone when the external id or the data change.
    pub last_test: TestOutcome,
}

impl Mapping {
    /// An active one that nobody has stored yet.
    pub fn new(key: MappingKey, external_org_id: ExternalOrgId) -> Self {
        Self {
            key,
            external_org_id,
            external_org_name: None,
            data: None,
            is_active: true,
            created_at: None,
            created_by: None,
            updated_at: None,
            updated_by: None,
            last_test: TestOutcome::default(),
        }
    }
}

/// What the last connection test said; all empty if there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestOutcome {
    pub at: Option<DateTime<Utc>>,
    pub result: Option<String>,
    pub succeeded: Option<bool>,
}

/// The external organization's name as a person saw it when mapping: 1 to 300 characters, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalOrgName(String);

impl ExternalOrgName {
    /// An empty name is no name.
    ///
    /// # Errors
    /// The rule, as a phrase for a person.
    pub fn parse(text: impl Into<String>) -> Result<Option<Self>, InvalidValue> {
        let text = text.into();
        if text.chars().count() > 300 || text.chars().any(char::is_control) {
            return Err(InvalidValue("must be at most 300 characters and no control characters".to_owned()));
        }
        Ok((!text.is_empty()).then_some(Self(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
