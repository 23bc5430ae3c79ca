//! A request as handlers see it: decoded path parameters, query, headers, body, caller.

use std::collections::BTreeMap;

use bytes::Bytes;
use warp::http::{HeaderMap, Method, StatusCode, header};

use super::error::ApiError;
use crate::{
    domain::{Actor, IntegrationName, InvalidValue, MappingId, MappingKey, OrgId, Source},
    integrations::Registry,
    mappings::Expected,
};

/// Who a request without `X-Dev-User` is from in development mode.
pub const DEV_USER: &str = "dev-admin";

/// One request to one route.
pub struct Request {
    pub method: Method,
    /// Percent-decoded.
    pub params: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    /// At most 64 KiB.
    pub body: Bytes,
}

impl Request {
    /// The organization in the path.
    ///
    /// # Errors
    /// It is no organization id, or a header names another one.
    pub fn org_id(&self) -> Result<OrgId, ApiError> {
        let org_id = self.param("orgId", OrgId::parse)?;
        if let Some(header) = self.header("x-organization-id")
            && header != org_id.as_str()
        {
            let reason = format!("names '{}', the path names '{org_id}'; send one of them", header.escape_debug());
            return Err(ApiError::invalid("X-Organization-Id", reason));
        }
        Ok(org_id)
    }

    /// The integration in the path.
    ///
    /// # Errors
    /// It is not in the registry.
    pub fn integration(&self, registry: &Registry) -> Result<IntegrationName, ApiError> {
        let name = self.params.get("integrationName").map_or("", String::as_str);
        match registry.get(name) {
            Some(integration) => Ok(integration.name().clone()),
            None => Err(ApiError::unknown_integration(&name.escape_debug().to_string(), &registry.names())),
        }
    }

    /// The mapping in the path.
    ///
    /// # Errors
    /// As [`Self::org_id`] and [`Self::integration`]; it is no mapping id.
    pub fn mapping_key(&self, registry: &Registry) -> Result<MappingKey, ApiError> {
        Ok(MappingKey {
            org_id: self.org_id()?,
            integration: self.integration(registry)?,
            id: self.param("mappingId", MappingId::parse)?,
        })
    }

    fn param<T>(&self, name: &str, parse: impl FnOnce(String) -> Result<T, InvalidValue>) -> Result<T, ApiError> {
        let text = self.params.get(name).cloned().unwrap_or_default();
        parse(text).map_err(|InvalidValue(reason)| ApiError::invalid(name, reason))
    }

    /// A query parameter, if given.
    ///
    /// # Errors
    /// Its value is not what `parse` takes.
    pub fn query<T>(
        &self,
        name: &str,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Result<Option<T>, ApiError> {
        let value = self.query.get(name).cloned().map(parse).transpose();
        value.map_err(|InvalidValue(reason)| ApiError::invalid(name, reason))
    }

    /// Whether deactivated mappings are left out: yes, unless `activeOnly=false`.
    ///
    /// # Errors
    /// The value is neither true nor false.
    pub fn active_only(&self) -> Result<bool, ApiError> {
        let parse = |text: String| text.parse().map_err(|_| InvalidValue("must be true or false".to_owned()));
        Ok(self.query("activeOnly", parse)?.unwrap_or(true))
    }

    /// Who changes something here.
    ///
    /// # Errors
    /// The header that names the caller holds what no user id does.
    pub fn actor(&self, source: Source) -> Result<Actor, ApiError> {
        let id = self.header("x-dev-user").unwrap_or(DEV_USER);
        if id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::invalid("X-Dev-User", "must be 1 to 200 visible ASCII characters"));
        }
        Ok(Actor { id: id.to_owned(), source, correlation_id: self.trace_id() })
    }

    /// The trace id of W3C `traceparent`.
    pub fn trace_id(&self) -> Option<String> {
        let id = self.header("traceparent")?.split('-').nth(1)?;
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_ascii_lowercase())
    }

    /// Which versions `If-Match` allows to be changed.
    pub fn if_match(&self) -> Expected {
        if !self.headers.contains_key(header::IF_MATCH) {
            return Expected::Any;
        }
        match self.tags(&header::IF_MATCH) {
            tags if tags.iter().any(|tag| tag == "*") => Expected::Any,
            tags => Expected::OneOf(tags),
        }
    }

    /// Whether `If-None-Match` says that the caller has this version.
    pub fn has_version(&self, version: &str) -> bool {
        self.tags(&header::IF_NONE_MATCH).iter().any(|tag| tag == version || tag == "*")
    }

    /// The entity tags of a header without their quotes. A proxy may have marked them weak.
    fn tags(&self, name: &header::HeaderName) -> Vec<String> {
        let lines = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines
            .flat_map(|line| line.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
            .collect()
    }

    /// Refuses a body that does not say it is JSON.
    ///
    /// # Errors
    /// 415.
    pub fn require_json(&self) -> Result<(), ApiError> {
        let media_type = self.header("content-type").unwrap_or("").split(';').next().unwrap_or("").trim();
        if ["application/json", "application/merge-patch+json"].iter().any(|json| media_type.eq_ignore_ascii_case(json))
        {
            return Ok(());
        }
        let message = format!("Content-Type is '{}'; send the body as application/json", media_type.escape_debug());
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", message))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
