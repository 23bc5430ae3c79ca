//! The mappings of an organization: list, create, resolve, set, read, change, deactivate.

use std::sync::Arc;

use serde_json::value::RawValue;
use utoipa::ToSchema;
use warp::http::{StatusCode, header};

use super::{
    error::{ApiError, ErrorBody},
    fields::Fields,
    request::Request,
    response::{Response, empty, json_response, ok, with_header},
};
use crate::{
    app::App,
    domain::{ExternalOrgId, ExternalOrgName, IntegrationName, InvalidValue, Mapping, MappingData, MappingId, OrgId},
    integrations::Registry,
    mappings::{MappingError, Patch, Versioned, WantedMapping},
};

/// A mapping.
#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "id": "mapping_019a8c6e5a5b7d0ab1a7d4b0b7a3a111", "org_id": "acme", "integration_name": "example_psa",
    "external_org_id": "1001", "external_org_name": "Fabrikam Dental Group", "mapping_data": {"site": 7},
    "is_active": true, "created_at": "2026-01-31T09:30:00.000Z", "created_by": "dev-admin",
    "updated_at": "2026-01-31T09:30:00.000Z", "updated_by": "dev-admin",
    "last_tested_at": null, "last_test_result": null, "last_test_succeeded": null
}))]
pub struct MappingBody {
    id: String,
    org_id: String,
    integration_name: String,
    external_org_id: String,
    external_org_name: Option<String>,
    /// With `********` in the place of every secret.
    #[schema(value_type = Option<Object>)]
    mapping_data: Option<Box<RawValue>>,
    is_active: bool,
    created_at: Option<String>,
    created_by: Option<String>,
    updated_at: Option<String>,
    updated_by: Option<String>,
    last_tested_at: Option<String>,
    last_test_result: Option<String>,
    last_test_succeeded: Option<bool>,
}

impl MappingBody {
    /// With masks in the place of secrets: the one way for a mapping into an answer.
    pub fn new(registry: &Registry, mapping: Mapping) -> Self {
        let fields = registry.mapping_data(mapping.key.integration.as_str());
        let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map(crate::domain::time_text);
        Self {
            id: mapping.key.id.as_str().to_owned(),
            org_id: mapping.key.org_id.as_str().to_owned(),
            integration_name: mapping.key.integration.as_str().to_owned(),
            external_org_id: mapping.external_org_id.as_str().to_owned(),
            external_org_name: mapping.external_org_name.map(|name| name.as_str().to_owned()),
            mapping_data: mapping.data.map(|data| fields.masked(data).into_raw()),
            is_active: mapping.is_active,
            created_at: time(mapping.created_at),
            created_by: mapping.created_by,
            updated_at: time(mapping.updated_at),
            updated_by: mapping.updated_by,
            last_tested_at: time(mapping.last_test.at),
            last_test_result: mapping.last_test.result,
            last_test_succeeded: mapping.last_test.succeeded,
        }
    }
}

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "mappings": [{
        "id": "mapping_001", "org_id": "acme", "integration_name": "example_psa", "external_org_id": "1001",
        "is_active": true
    }],
    "count": 1
}))]
pub struct MappingsBody {
    mappings: Vec<MappingBody>,
    count: usize,
}

/// The body of a create.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "integration_name": "example_psa", "external_org_id": "1001", "external_org_name": "Fabrikam Dental Group"
}))]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; `Fields` reads it, so that all mistakes are reported at once"
)]
pub struct CreateBody {
    integration_name: String,
    /// 1 to 200 characters, none of `< > " '`.
    external_org_id: String,
    external_org_name: Option<String>,
    /// At most 32,000 UTF-16 units as text. Of an integration with a `mapping_data_schema`, what that says.
    #[schema(value_type = Option<Object>)]
    mapping_data: Option<Box<RawValue>>,
    /// `mapping_` and 1 to 64 letters, digits or hyphens; generated if left out.
    mapping_id: Option<String>,
}

/// The body of a set. What is left out stays as it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"external_org_id": "1002", "external_org_name": "Northwind Traders"}))]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; `Fields` reads it, so that all mistakes are reported at once"
)]
pub struct SetBody {
    external_org_id: String,
    /// The name of the external organization before goes when the id changes and this is left out.
    external_org_name: Option<String>,
    /// Replaces all of it; `********` leaves a stored secret as it is.
    #[schema(value_type = Option<Object>)]
    mapping_data: Option<Box<RawValue>>,
    /// Create or change this one; without it, the only one there is.
    mapping_id: Option<String>,
}

/// The body of a change. What is left out stays as it is; `mapping_data` is replaced as a whole.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"external_org_name": "Fabrikam Dental", "mapping_data": {"site": 8}}))]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; `Fields` reads it, so that all mistakes are reported at once"
)]
pub struct PatchBody {
    #[schema(nullable = false)]
    external_org_id: Option<String>,
    /// Null empties it.
    external_org_name: Option<String>,
    /// Replaces all of it; null empties it; `********` leaves a stored secret as it is.
    #[schema(value_type = Option<Object>)]
    mapping_data: Option<Box<RawValue>>,
    /// False deactivates, true restores.
    #[schema(nullable = false)]
    is_active: Option<bool>,
}

/// The mappings of an organization, in a stable order.
#[utoipa::path(
    get, path = "/api/organizations/{orgId}/integrations", operation_id = "list_mappings", tag = "mappings",
    params(
        ("orgId" = String, Path, example = "acme"),
        ("activeOnly" = Option<bool>, Query, description = "false shows deactivated ones as well; default true"),
        ("integration" = Option<String>, Query, description = "Only mappings to this integration"),
    ),
    responses(
        (status = 200, body = MappingsBody),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let org_id = request.org_id()?;
    let integration = request.query("integration", |name| known(&app.registry, &name))?;
    let found = app.mappings.list(&org_id, integration.as_ref(), request.active_only()?).await?;
    let mappings: Vec<_> = found.into_iter().map(|found| MappingBody::new(&app.registry, found.mapping)).collect();
    Ok(ok(&MappingsBody { count: mappings.len(), mappings }))
}

/// Maps an organization to an external organization.
#[utoipa::path(
    post, path = "/api/organizations/{orgId}/integrations", operation_id = "create_mapping", tag = "mappings",
    params(("orgId" = String, Path, example = "acme")),
    request_body = CreateBody,
    responses(
        (status = 201, body = MappingBody, headers(("Location" = String), ("ETag" = String))),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The external organization is mapped already, the mapping id is taken, or the organization is inactive"),
        (status = 408, body = ErrorBody, description = "The body took too long to arrive"),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn create(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    request.require_json()?;
    let org_id = request.org_id()?;
    let mut fields = Fields::parse(&request.body)?;
    let integration = fields.required("integration_name", |name| mappable(&app.registry, &name));
    let new = wanted(fields, org_id, integration)?;
    let created = app.mappings.create(new, request.actor()?).await?;
    Ok(created_response(&app.registry, created))
}

/// What a workflow asks: the one active mapping of an organization to an integration. Never a guess.
#[utoipa::path(
    get, path = "/api/organizations/{orgId}/integrations/{integrationName}", operation_id = "resolve_mapping", tag = "workflows",
    params(
        ("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa"),
        ("mapping_id" = Option<String>, Query, description = "Which one, where there are several"),
    ),
    responses(
        (status = 200, body = MappingBody, headers(("ETag" = String))),
        (status = 304, description = "The caller has this version"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Several mappings (details.mapping_ids), or the organization is inactive"),
        (status = 503, body = ErrorBody),
    )
)]
pub async fn resolve(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let org_id = request.org_id()?;
    let integration = app.mappings.mappable(request.integration(&app.registry)?.name().as_str())?;
    let id = request.query("mapping_id", MappingId::parse)?;
    let found = app.mappings.resolve(&org_id, &integration, id.as_ref()).await?;
    Ok(read_response(&app.registry, &request, found))
}

/// What a workflow writes: creates the mapping, or changes the one there is.
#[utoipa::path(
    put, path = "/api/organizations/{orgId}/integrations/{integrationName}", operation_id = "set_mapping", tag = "workflows",
    params(("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa")),
    request_body = SetBody,
    responses(
        (status = 200, body = MappingBody, headers(("ETag" = String))),
        (status = 201, body = MappingBody, headers(("Location" = String), ("ETag" = String))),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Several mappings and no mapping_id, a duplicate, or the organization is inactive"),
        (status = 408, body = ErrorBody, description = "The body took too long to arrive"),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn set(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    request.require_json()?;
    let org_id = request.org_id()?;
    let integration = request.integration(&app.registry)?.name().clone();
    let set = wanted(Fields::parse(&request.body)?, org_id, Some(integration))?;
    let (found, created) = app.mappings.set(set, request.actor()?).await?;
    Ok(if created { created_response(&app.registry, found) } else { changed_response(&app.registry, found) })
}

/// One mapping.
#[utoipa::path(
    get, path = "/api/organizations/{orgId}/integrations/{integrationName}/{mappingId}", operation_id = "get_mapping", tag = "mappings",
    params(
        ("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa"),
        ("mappingId" = String, Path, example = "mapping_001"),
        ("activeOnly" = Option<bool>, Query, description = "false shows a deactivated one as well; default true"),
    ),
    responses(
        (status = 200, body = MappingBody, headers(("ETag" = String))),
        (status = 304, description = "The caller has this version"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The stored row cannot be read"),
        (status = 503, body = ErrorBody),
    )
)]
pub async fn get(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let key = request.stored_mapping_key(&app.registry)?;
    let found = app.mappings.get(&key, request.active_only()?).await;
    let found = found.map_err(|error| not_found(&app.registry, &key.integration, error))?;
    Ok(read_response(&app.registry, &request, found))
}

/// Changes, deactivates or restores a mapping.
#[utoipa::path(
    patch, path = "/api/organizations/{orgId}/integrations/{integrationName}/{mappingId}", operation_id = "update_mapping", tag = "mappings",
    params(
        ("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa"),
        ("mappingId" = String, Path, example = "mapping_001"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    request_body = PatchBody,
    responses(
        (status = 200, body = MappingBody, headers(("ETag" = String))),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The external organization is mapped already"),
        (status = 412, body = ErrorBody, description = "Changed since it was read"),
        (status = 408, body = ErrorBody, description = "The body took too long to arrive"),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn update(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    request.require_json()?;
    let key = request.mapping_key(&app.registry)?;
    let mut fields = Fields::parse(&request.body)?;
    let external_org_id = match fields.nullable("external_org_id", ExternalOrgId::parse) {
        Some(None) => {
            fields.error("external_org_id", "must not be null");
            None
        }
        given => given.flatten(),
    };
    let external_org_name = fields.nullable("external_org_name", ExternalOrgName::parse).map(Option::flatten);
    let data = fields.raw("mapping_data", MappingData::parse);
    let is_active = fields.bool("is_active");
    fields.finish()?;
    let patch = Patch { external_org_id, external_org_name, data, is_active };
    let found = app.mappings.update(key, patch, request.if_match(), request.actor()?).await?;
    Ok(changed_response(&app.registry, found))
}

/// Deactivates a mapping. Its row stays, and `PATCH {"is_active": true}` restores it. Of an integration that is known no
/// more, only this can be done.
#[utoipa::path(
    delete, path = "/api/organizations/{orgId}/integrations/{integrationName}/{mappingId}", operation_id = "deactivate_mapping", tag = "mappings",
    params(
        ("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa"),
        ("mappingId" = String, Path, example = "mapping_001"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read"),
    ),
    responses(
        (status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The stored row cannot be read"),
        (status = 412, body = ErrorBody, description = "Changed since it was read"), (status = 503, body = ErrorBody),
    )
)]
pub async fn deactivate(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let key = request.stored_mapping_key(&app.registry)?;
    let integration = key.integration.clone();
    let done = app.mappings.deactivate(key, request.if_match(), request.actor()?).await;
    done.map_err(|error| not_found(&app.registry, &integration, error))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The fields that a create and a set share; with the last of them, every mistake in the body is told.
fn wanted(mut fields: Fields, org_id: OrgId, integration: Option<IntegrationName>) -> Result<WantedMapping, ApiError> {
    let external_org_id = fields.required("external_org_id", ExternalOrgId::parse);
    let external_org_name = fields.optional("external_org_name", ExternalOrgName::parse).flatten();
    let data = fields.raw("mapping_data", MappingData::parse).flatten();
    let id = fields.optional("mapping_id", MappingId::parse);
    fields.finish()?;
    match (integration, external_org_id) {
        (Some(integration), Some(external_org_id)) => {
            Ok(WantedMapping { org_id, integration, id, external_org_id, external_org_name, data })
        }
        // Each that is missing has been told by now.
        _ => Err(ApiError::invalid("body", "must have all fields that are required")),
    }
}

/// Where nothing is stored either, it is the integration that is missing.
fn not_found(registry: &Registry, integration: &IntegrationName, error: MappingError) -> ApiError {
    match error {
        MappingError::MappingNotFound { .. } if registry.get(integration.as_str()).is_none() => {
            ApiError::unknown_integration(registry, integration.as_str())
        }
        error => error.into(),
    }
}

fn known(registry: &Registry, name: &str) -> Result<IntegrationName, InvalidValue> {
    match registry.get(name) {
        Some(integration) => Ok(integration.name().clone()),
        None => Err(InvalidValue(registry.missing(name))),
    }
}

fn mappable(registry: &Registry, name: &str) -> Result<IntegrationName, InvalidValue> {
    match registry.get(name) {
        Some(integration) if integration.supports_org_mapping() => Ok(integration.name().clone()),
        Some(_) => Err(InvalidValue(format!("does not support mapping; these do: {}", registry.mappable().join(", ")))),
        None => known(registry, name),
    }
}

/// With its version. A browser may keep it, and asks whether it still has the last one before it is used.
pub fn tagged(response: Response, version: &str) -> Response {
    let response = with_header(response, header::CACHE_CONTROL, "private, no-cache");
    with_header(response, header::ETAG, &format!("\"{version}\""))
}

fn read_response(registry: &Registry, request: &Request, found: Versioned) -> Response {
    let version = found.version.as_str().to_owned();
    if request.has_version(&version) {
        return tagged(empty(StatusCode::NOT_MODIFIED), &version);
    }
    changed_response(registry, found)
}

fn changed_response(registry: &Registry, found: Versioned) -> Response {
    tagged(ok(&MappingBody::new(registry, found.mapping)), found.version.as_str())
}

fn created_response(registry: &Registry, found: Versioned) -> Response {
    let key = &found.mapping.key;
    let location = format!("/api/organizations/{}/integrations/{}/{}", key.org_id, key.integration, key.id);
    let version = found.version.as_str().to_owned();
    let response = json_response(StatusCode::CREATED, &MappingBody::new(registry, found.mapping));
    with_header(tagged(response, &version), header::LOCATION, &location)
}
