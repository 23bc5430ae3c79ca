//! Why the mapping service did not do what it was asked. Knows no status codes.

use super::rows::UnreadableRow;
use crate::{
    domain::{ExternalOrgId, IntegrationName, MappingId, OrgId},
    integrations::Problems,
    secrets::SecretError,
    tables::TableError,
};

/// Each variant is an outcome that a caller can act on; the text names the thing, the reason and the remedy.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MappingError {
    #[error("Organization '{0}' is unknown; GET /api/organizations lists the known ones")]
    OrganizationNotFound(OrgId),

    #[error("Organization '{0}' is inactive; its mappings cannot be used until the platform activates it again")]
    OrganizationInactive(OrgId),

    #[error("Integration '{name}' is not one that organizations can be mapped to; known are: {}", known.join(", "))]
    IntegrationNotFound { name: String, known: Vec<String> },

    #[error("{}", not_found(org_id, integration, id.as_ref()))]
    MappingNotFound { org_id: OrgId, integration: IntegrationName, id: Option<MappingId> },

    #[error("Organization '{org_id}' has {} active mappings for integration '{integration}'; name one with mapping_id", ids.len())]
    MultipleMappings { org_id: OrgId, integration: IntegrationName, ids: Vec<MappingId> },

    #[error("{row}; mend or remove that row, `crosswalk verify` lists all such rows")]
    Unreadable { id: MappingId, row: UnreadableRow },

    #[error(
        "External organization '{external_org_id}' is already mapped by the active mapping '{existing}'; change or deactivate that one"
    )]
    Duplicate { external_org_id: ExternalOrgId, existing: MappingId },

    #[error("Mapping id '{0}' is taken; choose another, or restore a deactivated mapping by PATCH with is_active true")]
    IdTaken(MappingId),

    /// Only where values come as texts, from a workflow.
    #[error("{field} {reason}")]
    Invalid { field: &'static str, reason: String },

    /// By field: `mapping_data.api_key`.
    #[error("{}", listed(_0))]
    InvalidData(Problems),

    #[error("The mapping was changed since it was read; read it again and repeat the change on what it says now")]
    Stale,

    #[error("Others keep changing this mapping; try again in a moment")]
    Contended,

    #[error(transparent)]
    Storage(#[from] TableError),

    /// A secret of the mapping's data could not be stored; nothing was changed.
    #[error(transparent)]
    Secrets(#[from] SecretError),
}

fn listed(problems: &Problems) -> String {
    let problems: Vec<_> = problems.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
    problems.join("; ")
}

fn not_found(org_id: &OrgId, integration: &IntegrationName, id: Option<&MappingId>) -> String {
    match id {
        Some(id) => format!(
            "No active mapping '{id}' for integration '{integration}' in organization '{org_id}'; \
             activeOnly=false shows deactivated ones"
        ),
        None => format!(
            "No active mapping for integration '{integration}' in organization '{org_id}'; create one, or set it"
        ),
    }
}
