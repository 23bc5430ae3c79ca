//! `GET /organizations`: the organizations that the caller may manage.

use std::sync::Arc;

use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    request::Request,
    response::{Response, ok},
};
use crate::{app::App, auth::Manageable, domain::Organization};

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "organizations": [{"id": "acme", "name": "Acme Corp", "tenant_id": null, "is_active": true}], "count": 1
}))]
pub struct OrganizationsBody {
    organizations: Vec<OrganizationBody>,
    count: usize,
}

#[derive(serde::Serialize, ToSchema)]
struct OrganizationBody {
    id: String,
    name: Option<String>,
    /// The Microsoft 365 tenant, if the platform knows it.
    tenant_id: Option<String>,
    is_active: bool,
}

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        let Organization { id, name, tenant_id, is_active } = organization;
        Self { id: id.to_string(), name, tenant_id, is_active }
    }
}

/// The organizations that the caller may manage.
#[utoipa::path(
    get, path = "/api/organizations", operation_id = "list_organizations", tag = "organizations",
    responses((status = 200, body = OrganizationsBody), (status = 503, body = ErrorBody))
)]
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let organizations = match &request.grant.organizations {
        Manageable::All => app.organizations.list().await?,
        Manageable::Only(ids) => app.organizations.get_all(ids).await?,
    };
    let organizations: Vec<_> = organizations.into_iter().map(OrganizationBody::from).collect();
    Ok(ok(&OrganizationsBody { count: organizations.len(), organizations }))
}
