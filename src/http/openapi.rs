//! `GET /openapi.json`: the description of this API, made from the handlers.

use std::sync::OnceLock;

use bytes::Bytes;
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, Header, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use warp::{
    Reply,
    http::{HeaderValue, Method, StatusCode, header},
};

use super::{
    audit, connection, discovery, health, integrations, mappings, organizations, response::Response, routes::ROUTES,
    secrets,
};
use crate::auth::Right;

/// What callers show, as the document calls it.
const SCHEME: &str = "entra";

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
        secrets::store,
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
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let bearer = bearer.description(Some("An access token of Microsoft Entra ID for this API")).build();
    document.components.get_or_insert_default().add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        let right = |wanted: &Method| {
            let route = ROUTES.iter().find(|route| path.strip_prefix("/api/") == Some(route.template))?;
            route.methods.iter().find(|(method, ..)| method == wanted).map(|(_, right, _)| *right)
        };
        let operations = [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        let operations = operations.into_iter().filter_map(|(method, one)| Some((right(&method), one.as_mut()?)));
        for (status, response) in operations.flat_map(|(right, operation)| {
            if right != Some(Right::Anonymous) {
                guard(operation);
            }
            &mut operation.responses.responses
        }) {
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

/// Says of an operation that it wants a caller, and how it refuses one.
fn guard(operation: &mut Operation) {
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, [""; 0])]);
    for status in ["401", "403", "503"] {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let mut response = ResponseBuilder::new().content("application/json", content);
        if status == "401" {
            response = response.header("WWW-Authenticate", Header::default());
        }
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
    }
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
