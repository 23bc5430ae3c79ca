//! Organizations: ours, and those of an external system.

use super::{ExternalOrgId, OrgId};

/// A customer of the MSP, as the platform keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: OrgId,
    pub name: Option<String>,
    pub tenant_id: Option<String>,
    pub is_active: bool,
}

/// A customer, tenant or site inside an external system.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalOrganization {
    pub id: ExternalOrgId,
    pub name: String,
    pub metadata: serde_json::Map<String, serde_json::Value>,
}
