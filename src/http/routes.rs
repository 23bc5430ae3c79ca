//! The route table: every path the service answers, with its methods and the function that the Functions host calls it by.
//!
//! One table, so that 405 knows what is allowed, and so that tests can hold it against `functions/` and the OpenAPI
//! document. Templates are those of `function.json`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use percent_encoding::percent_decode_str;
use warp::http::{Method, StatusCode, header};

use super::{
    audit, connection, discovery, error::ApiError, health, integrations, mappings, openapi, organizations,
    request::Request, response::Response, secrets,
};
use crate::{app::App, auth::Right};

/// What answers a request.
pub type Handler = fn(Arc<App>, Request) -> BoxFuture<'static, Result<Response, ApiError>>;

/// How long a handler may take that needs the store alone. A storage outage is answered within 5 seconds.
pub const STORAGE_DEADLINE: Duration = Duration::from_millis(4500);
/// Its part that needs the store, and a fetch of two minutes.
const DISCOVERY_DEADLINE: Duration = Duration::from_secs(125);
/// For a connection test with all that it needs the store for.
pub const TEST_DEADLINE: Duration = Duration::from_secs(30);

/// Its part that needs the store, and a write to the secret store of 5 seconds.
const SECRETS_DEADLINE: Duration = Duration::from_secs(10);

/// One path.
pub struct Route {
    /// The folder of its `function.json`.
    pub function: &'static str,
    /// Behind `/api/`.
    pub template: &'static str,
    /// Each with what it asks of its caller before its handler runs. [`Right::ManageSecrets`] its handler asks for, since
    /// the organization stands in the body; before it, any caller gets that far.
    pub methods: &'static [(Method, Right, Handler)],
    /// How long a handler may take.
    pub deadline: Duration,
}

impl Route {
    fn allow(&self) -> String {
        let names: Vec<_> = self.methods.iter().map(|(method, ..)| method.as_str()).collect();
        names.join(", ")
    }
}

/// Every route.
pub static ROUTES: &[Route] = &[
    Route {
        function: "Health",
        template: "health",
        methods: &[(Method::GET, Right::Anonymous, |app, _| Box::pin(health::health(app)))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "OpenApi",
        template: "openapi.json",
        methods: &[(Method::GET, Right::Authenticated, |_, _| Box::pin(async { Ok(openapi::document()) }))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "Organizations",
        template: "organizations",
        methods: &[(Method::GET, Right::ListManageable, |app, request| Box::pin(organizations::list(app, request)))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "Integrations",
        template: "integrations",
        methods: &[(Method::GET, Right::Authenticated, |app, request| Box::pin(integrations::list(app, request)))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "Discovery",
        template: "integrations/{integrationName}/discover",
        methods: &[(Method::GET, Right::Discover, |app, request| Box::pin(discovery::discover(app, request)))],
        deadline: DISCOVERY_DEADLINE,
    },
    Route {
        function: "IntegrationMappings",
        template: "integrations/{integrationName}/mappings",
        methods: &[(Method::GET, Right::ListManageable, |app, request| Box::pin(integrations::lookup(app, request)))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "OrganizationMappings",
        template: "organizations/{orgId}/integrations",
        methods: &[
            (Method::GET, Right::ManageConfig, |app, request| Box::pin(mappings::list(app, request))),
            (Method::POST, Right::ManageConfig, |app, request| Box::pin(mappings::create(app, request))),
        ],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "IntegrationMapping",
        template: "organizations/{orgId}/integrations/{integrationName}",
        methods: &[
            (Method::GET, Right::Resolve, |app, request| Box::pin(mappings::resolve(app, request))),
            (Method::PUT, Right::SetMapping, |app, request| Box::pin(mappings::set(app, request))),
        ],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "Mapping",
        template: "organizations/{orgId}/integrations/{integrationName}/{mappingId}",
        methods: &[
            (Method::GET, Right::ManageConfig, |app, request| Box::pin(mappings::get(app, request))),
            (Method::PATCH, Right::ManageConfig, |app, request| Box::pin(mappings::update(app, request))),
            (Method::DELETE, Right::ManageConfig, |app, request| Box::pin(mappings::deactivate(app, request))),
        ],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "Audit",
        template: "organizations/{orgId}/audit",
        methods: &[(Method::GET, Right::ManageConfig, |app, request| Box::pin(audit::list(app, request)))],
        deadline: STORAGE_DEADLINE,
    },
    Route {
        function: "ConnectionTest",
        template: "organizations/{orgId}/integrations/{integrationName}/{mappingId}/test",
        methods: &[(Method::POST, Right::ManageConfig, |app, request| Box::pin(connection::test(app, request)))],
        deadline: TEST_DEADLINE,
    },
    Route {
        function: "Secrets",
        template: "secrets/{key}",
        methods: &[(Method::PUT, Right::ManageSecrets, |app, request| Box::pin(secrets::store(app, request)))],
        deadline: SECRETS_DEADLINE,
    },
];

/// Finds the route of a path.
pub struct Router(matchit::Router<&'static Route>);

/// A route and the parameters of the path that led to it.
pub struct Matched {
    pub route: &'static Route,
    /// 400 where one is no UTF-8, which a caller without rights is not told.
    pub params: Result<BTreeMap<String, String>, ApiError>,
}

impl Router {
    /// # Errors
    /// Two routes have the same path: a mistake in [`ROUTES`].
    pub fn new() -> Result<Self, matchit::InsertError> {
        let mut router = matchit::Router::new();
        for route in ROUTES {
            router.insert(format!("/api/{}", route.template), route)?;
        }
        Ok(Self(router))
    }

    /// `path` as it was sent, still percent-encoded.
    ///
    /// # Errors
    /// 404.
    pub fn find(&self, path: &str) -> Result<Matched, ApiError> {
        // The Functions host ignores one slash at the end and forwards it.
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let Ok(found) = self.0.at(trimmed) else {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "Route not found",
                "No such path; GET /api/openapi.json lists all",
            ));
        };
        let decoded = |(name, value): (&str, &str)| match percent_decode_str(value).decode_utf8() {
            Ok(value) => Ok((name.to_owned(), value.into_owned())),
            Err(_) => Err(ApiError::invalid(name, "must be UTF-8, percent-encoded")),
        };
        let params = found.params.iter().map(decoded).collect();
        Ok(Matched { route: found.value, params })
    }
}

impl Matched {
    /// The handler of a method, and what it asks of its caller. HEAD is GET without the body.
    ///
    /// # Errors
    /// 405 with `Allow`.
    pub fn handler(&self, method: &Method) -> Result<(Right, Handler), ApiError> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.route.methods.iter().find(|(allowed, ..)| allowed == wanted);
        found.map(|(_, right, handler)| (*right, *handler)).ok_or_else(|| {
            let allow = self.route.allow();
            let message =
                format!("{} is not possible on this path; possible are: {allow}", method.as_str().escape_debug());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", message).header(header::ALLOW, &allow)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<&'static str> {
        Router::new().unwrap().find(path).ok().map(|matched| matched.route.function)
    }

    #[test]
    fn paths_lead_to_their_routes() {
        for known in ROUTES {
            let path = format!("/api/{}", known.template.replace(['{', '}'], "x"));
            assert_eq!(route(&path), Some(known.function), "{path}");
            assert_eq!(route(&format!("{path}/")), Some(known.function), "{path}/");
        }
        for path in ["/", "/api", "/api/", "/health", "/api/Health", "/api/health/x", "/api//health", "/api/health//"] {
            assert_eq!(route(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_are_decoded_once() {
        let params = |path| Router::new().unwrap().find(path).unwrap().params.map(|params| params["orgId"].clone());
        assert_eq!(params("/api/organizations/a%27b/integrations").unwrap(), "a'b");
        assert_eq!(params("/api/organizations/%2541/integrations").unwrap(), "%41");
        assert_eq!(params("/api/organizations/a%2Fb/integrations").unwrap(), "a/b");
        assert_eq!(params("/api/organizations/%FF/integrations").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
