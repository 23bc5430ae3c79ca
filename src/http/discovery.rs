//! `GET /integrations/{integrationName}/discover`: the organizations of an external system.

use std::sync::Arc;

use serde_json::{Map, Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    in_storage_time,
    request::Request,
    response::{Response, ok},
};
use crate::{
    app::App,
    domain::{OrgId, time_text},
    mappings::MappingError,
};

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "organizations": [{"id": "1001", "name": "Fabrikam Dental Group", "metadata": {}}], "count": 1,
    "cached_at": "2026-01-31T09:30:00.000Z", "cache_expires_at": "2026-01-31T10:30:00.000Z", "stale": false
}))]
pub struct DiscoveryBody<'a> {
    #[schema(value_type = Vec<ExternalOrganizationBody>)]
    organizations: &'a RawValue,
    count: usize,
    cached_at: String,
    cache_expires_at: String,
    /// The external system failed or is limiting requests; this is the last good list, at most a day old.
    stale: bool,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for OpenAPI what discovery keeps as text")]
struct ExternalOrganizationBody {
    /// What `external_org_id` of a mapping has to be.
    id: String,
    name: String,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// The organizations of an external system, to choose one to map to. Kept for an hour.
#[utoipa::path(
    get, path = "/api/integrations/{integrationName}/discover", operation_id = "discover_organizations", tag = "integrations",
    params(
        ("integrationName" = String, Path, example = "example_psa"),
        ("orgId" = Option<String>, Query, description = "With the settings and credentials of this organization, where it has its own", example = "acme"),
        ("refresh" = Option<bool>, Query, description = "true asks the external system in any case; default false"),
    ),
    responses(
        (status = 200, body = DiscoveryBody),
        (status = 400, body = ErrorBody, description = "A parameter is invalid, or the integration cannot list: enter the id by hand"),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Settings of the integration are missing or wrong; details.fields names them"),
        (status = 502, body = ErrorBody, description = "The external system failed; details.class says how"),
        (status = 503, body = ErrorBody, description = "The external system limits requests, or the store cannot be reached"),
        (status = 504, body = ErrorBody, description = "The external system did not answer in time"),
    )
)]
pub async fn discover(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let integration = request.integration(&app.registry)?;
    let org_id = request.query("orgId", OrgId::parse)?;
    let refresh = request.flag("refresh")?.unwrap_or(false);
    let settings = async {
        if let Some(org_id) = &org_id
            && app.organizations.get(org_id).await?.is_none()
        {
            return Err(MappingError::OrganizationNotFound(org_id.clone()).into());
        }
        Ok(app.settings.resolve(&**integration, org_id.as_ref(), refresh).await?)
    };
    let settings = in_storage_time(settings).await?;
    let found = app.discovery.list(integration, &settings, refresh).await?;
    Ok(ok(&DiscoveryBody {
        organizations: &found.listing.organizations,
        count: found.listing.count,
        cached_at: time_text(found.listing.cached_at),
        cache_expires_at: time_text(found.listing.expires_at),
        stale: found.stale,
    }))
}
