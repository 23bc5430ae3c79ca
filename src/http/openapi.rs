//! `GET /openapi.json`: the description of this API, made from the handlers.

use std::sync::OnceLock;

use bytes::Bytes;
use utoipa::{OpenApi, openapi::RefOr};
use warp::{
    Reply,
    http::{HeaderValue, StatusCode, header},
};

use super::{audit, connection, discovery, health, integrations, mappings, organizations, response::Response};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Crosswalk",
        description = "Which customer is which in every system a managed service provider uses.\n\n\
                       Every answer has the header `X-Correlation-Id`: the trace id of the request's `traceparent`, or a new one. \
                       It stands in audit events and in the log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        health::health,
        document,
        organizations::list,
        integrations::list,
        discovery::discover,
        integrations::lookup,
        mappings::list,
        mappings::create,
        mappings::resolve,
        mappings::set,
        mappings::get,
        mappings::update,
        mappings::deactivate,
        connection::test,
        audit::list,
    ),
    tags(
        (name = "mappings", description = "What an admin does"),
        (name = "workflows", description = "What a workflow does"),
        (name = "integrations", description = "The external systems"),
        (name = "organizations", description = "The customers"),
        (name = "service", description = "This service itself"),
    )
)]
struct Document;

/// The document as a value.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for (status, response) in operations.into_iter().flatten().flat_map(|one| &mut one.responses.responses) {
            // OpenAPI 3.1 requires a description; where there is nothing to add, it is what the status is called.
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                let status = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
                let reason = status.and_then(|status| status.canonical_reason());
                response.description = reason.unwrap_or("Answer").into();
            }
        }
    }
    document
}

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub fn document() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| openapi().to_pretty_json().unwrap_or_default().into());
    let mut response = text.to_vec().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
