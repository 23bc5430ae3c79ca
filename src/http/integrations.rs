//! `GET /integrations`, and the reverse lookup of one integration.

use std::sync::Arc;

use serde_json::Value;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    mappings::MappingBody,
    paging,
    request::Request,
    response::{Response, ok},
};
use crate::{
    app::App,
    auth::{Manageable, Right},
    domain::ExternalOrgId,
    integrations::Broken,
};

/// How many mappings a page of the reverse lookup has unless asked otherwise, and at most.
const LIMIT: (usize, usize) = (100, 1000);

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "integrations": [{
        "name": "example_psa", "title": "Example PSA", "supports_org_mapping": true, "supports_discovery": true,
        "docs_url": null, "mapping_data_schema": null
    }],
    "count": 1, "broken": [{"file": "north_psa.yaml", "problems": ["12: titel: unknown key; did you mean title?"]}]
}))]
pub struct IntegrationsBody {
    integrations: Vec<IntegrationBody>,
    count: usize,
    /// Manifests that did not load; shown to administrators of the MSP.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Vec<BrokenBody>>,
}

#[derive(serde::Serialize, ToSchema)]
struct BrokenBody {
    file: String,
    problems: Vec<String>,
}

#[derive(serde::Serialize, ToSchema)]
struct IntegrationBody {
    name: String,
    title: String,
    /// Whether organizations can be mapped to it.
    supports_org_mapping: bool,
    /// Whether it can list its organizations; else their ids are entered by hand.
    supports_discovery: bool,
    docs_url: Option<String>,
    /// JSON Schema of `mapping_data`, if the integration says what it holds.
    mapping_data_schema: Option<Value>,
}

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "mappings": [{
        "id": "mapping_001", "org_id": "acme", "integration_name": "example_psa", "external_org_id": "1001",
        "is_active": true
    }],
    "count": 1, "next_cursor": "YWNtZV9tYXBwaW5nXzAwMSA"
}))]
pub struct LookupBody {
    mappings: Vec<MappingBody>,
    count: usize,
    /// Send it as `cursor` to get the next page; null after the last one. A page may be short and still have a next one.
    next_cursor: Option<String>,
}

/// The registry: every external system this service knows.
#[utoipa::path(
    get, path = "/api/integrations", operation_id = "list_integrations", tag = "integrations",
    responses((status = 200, body = IntegrationsBody))
)]
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let integrations: Vec<_> = app
        .registry
        .iter()
        .map(|integration| IntegrationBody {
            name: integration.name().to_string(),
            title: integration.title().to_owned(),
            supports_org_mapping: integration.supports_org_mapping(),
            supports_discovery: integration.supports_discovery(),
            docs_url: integration.docs_url().map(str::to_owned),
            mapping_data_schema: integration.mapping_data().schema(),
        })
        .collect();
    let broken = app.registry.broken().iter().map(|Broken { file, problems }| BrokenBody {
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        problems: problems.iter().map(ToString::to_string).collect(),
    });
    // What may be managed without an organization, only administrators of the MSP may.
    let admin = app.auth.authorize(request.caller.as_ref(), Right::ManageConfig, None).await.is_ok();
    let broken = admin.then(|| broken.collect());
    Ok(ok(&IntegrationsBody { count: integrations.len(), integrations, broken }))
}

/// Reverse lookup: which organizations use this integration, or one external organization of it. Of those that the
/// caller may manage.
#[utoipa::path(
    get, path = "/api/integrations/{integrationName}/mappings", operation_id = "lookup_mappings", tag = "integrations",
    params(
        ("integrationName" = String, Path, example = "example_psa"),
        ("externalOrgId" = Option<String>, Query, description = "Only mappings of this external organization", example = "1001"),
        ("limit" = Option<usize>, Query, description = "1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = LookupBody),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn lookup(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let integration = request.integration(&app.registry)?.name();
    let external_org_id = request.query("externalOrgId", ExternalOrgId::parse)?;
    let limit = paging::limit(&request, LIMIT)?;
    let from = paging::cursor(&request, "cursor", "next_cursor")?;
    let organizations = match &request.grant.organizations {
        Manageable::All => None,
        Manageable::Only(ids) => Some(&ids[..]),
    };
    let page = app.mappings.lookup(integration, organizations, external_org_id.as_ref(), limit, from).await?;
    let mappings: Vec<_> = page.mappings.into_iter().map(|mapping| MappingBody::new(&app.registry, mapping)).collect();
    let next_cursor = page.next.as_deref().map(paging::encode);
    Ok(ok(&LookupBody { count: mappings.len(), mappings, next_cursor }))
}
