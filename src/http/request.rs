//! A request as handlers see it: decoded path parameters, query, headers, body, caller.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use warp::http::{HeaderMap, Method, StatusCode, header};

use super::{error::ApiError, trace::trace_id};
use crate::{
    auth::{Caller, Denied, Grant},
    domain::{Actor, IntegrationName, InvalidValue, MappingId, MappingKey, OrgId, Source},
    integrations::{Integration, Registry},
    mappings::Expected,
};

/// One request to one route.
pub struct Request {
    pub method: Method,
    /// Percent-decoded.
    pub params: BTreeMap<String, String>,
    pub query: Query,
    pub headers: HeaderMap,
    /// At most 64 KiB.
    pub body: Bytes,
    /// None on a route that asks for nobody.
    pub caller: Option<Caller>,
    /// Of the right that the route states.
    pub grant: Grant,
    /// When it began; the deadline of its route counts from there.
    pub began: Instant,
}

impl Request {
    /// The organization in the path.
    ///
    /// # Errors
    /// It is no organization id, or a header names another one.
    pub fn org_id(&self) -> Result<OrgId, ApiError> {
        let org_id = self.param("orgId", OrgId::parse)?;
        match sole_header(&self.headers, "X-Organization-Id")? {
            Some(header) if header != org_id.as_str() => {
                let reason = format!("names '{}', the path names '{org_id}'; send one of them", shown(header));
                Err(ApiError::invalid("X-Organization-Id", reason))
            }
            _ => Ok(org_id),
        }
    }

    /// The integration in the path.
    ///
    /// # Errors
    /// It is not in the registry.
    pub fn integration<'a>(&self, registry: &'a Registry) -> Result<&'a Arc<dyn Integration>, ApiError> {
        let name = self.integration_param();
        registry.get(name).ok_or_else(|| ApiError::unknown_integration(registry, &shown(name)))
    }

    fn integration_param(&self) -> &str {
        self.params.get("integrationName").map_or("", String::as_str)
    }

    /// The mapping in the path.
    ///
    /// # Errors
    /// As [`Self::org_id`] and [`Self::integration`]; it is no mapping id.
    pub fn mapping_key(&self, registry: &Registry) -> Result<MappingKey, ApiError> {
        self.integration(registry)?;
        self.stored_mapping_key(registry)
    }

    /// The mapping in the path, of an integration that need not be known: its manifest may be gone.
    ///
    /// # Errors
    /// As [`Self::mapping_key`]; no integration can have that name.
    pub fn stored_mapping_key(&self, registry: &Registry) -> Result<MappingKey, ApiError> {
        let name = self.integration_param();
        let integration = IntegrationName::parse(name);
        let integration = integration.map_err(|_| ApiError::unknown_integration(registry, &shown(name)))?;
        Ok(MappingKey { org_id: self.org_id()?, integration, id: self.param("mappingId", MappingId::parse)? })
    }

    fn param<T>(&self, name: &str, parse: impl FnOnce(String) -> Result<T, InvalidValue>) -> Result<T, ApiError> {
        let text = self.params.get(name).cloned().unwrap_or_default();
        parse(text).map_err(|InvalidValue(reason)| ApiError::invalid(name, reason))
    }

    /// A query parameter, if given.
    ///
    /// # Errors
    /// Its value is not what `parse` takes, or it is there twice.
    pub fn query<T>(
        &self,
        name: &str,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Result<Option<T>, ApiError> {
        let value = self.query.sole(name).and_then(|value| value.map(parse).transpose());
        value.map_err(|InvalidValue(reason)| ApiError::invalid(name, reason))
    }

    /// Whether deactivated mappings are left out: yes, unless `activeOnly=false`.
    ///
    /// # Errors
    /// The value is neither true nor false.
    pub fn active_only(&self) -> Result<bool, ApiError> {
        Ok(self.flag("activeOnly")?.unwrap_or(true))
    }

    /// A query parameter that is true or false, if given.
    ///
    /// # Errors
    /// Its value is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.query(name, |text| text.parse().map_err(|_| InvalidValue("must be true or false".to_owned())))
    }

    /// Who changes something here: a workflow is a program without a user.
    ///
    /// # Errors
    /// 401: nobody, on a route that asks for nobody.
    pub fn actor(&self) -> Result<Actor, ApiError> {
        let caller = self.caller.as_ref().ok_or(Denied::Unauthenticated)?;
        let source = match caller {
            Caller::Application { .. } => Source::Workflow,
            Caller::User { .. } | Caller::Developer { .. } => Source::Api,
        };
        let correlation_id = trace_id(&self.headers).map(|id| id.simple().to_string());
        Ok(Actor { id: caller.id().to_owned(), source, correlation_id })
    }

    /// Which versions `If-Match` allows to be changed.
    pub fn if_match(&self) -> Expected {
        if !self.headers.contains_key(header::IF_MATCH) {
            return Expected::Any;
        }
        match self.tags(&header::IF_MATCH) {
            tags if tags.contains(&"*") => Expected::Any,
            tags => Expected::OneOf(tags.into_iter().map(opaque).map(str::to_owned).collect()),
        }
    }

    /// Whether `If-None-Match` says that the caller has this version.
    pub fn has_version(&self, version: &str) -> bool {
        self.tags(&header::IF_NONE_MATCH).into_iter().any(|tag| tag == "*" || opaque(tag) == version)
    }

    /// The entity tags of a header as they were sent.
    fn tags(&self, name: &header::HeaderName) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(str::trim).collect()
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

/// A header that says who or which: what cannot be read, or is there twice, must not pass for left out.
///
/// # Errors
/// 400.
pub fn sole_header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| ApiError::invalid(name, "must be visible ASCII characters"))
        }
        (Some(_), Some(_)) => Err(ApiError::invalid(name, "must be given once")),
    }
}

/// The parameters behind `?`. Those that nobody asks for may be anything.
pub struct Query(Vec<(String, Option<String>)>);

impl Query {
    /// Reads it as forms are encoded: a plus is a space.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
            };
            Some((decode(name)?, decode(value)))
        });
        Self(pairs.flatten().collect())
    }

    /// The value of a parameter, if given. Bytes that are no text are not replaced: the result could be another id.
    pub fn sole(&self, wanted: &str) -> Result<Option<String>, InvalidValue> {
        let mut values = self.0.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(Some(value)), None) => Ok(Some(value.clone())),
            (Some(None), None) => Err(InvalidValue("must be UTF-8, percent-encoded".to_owned())),
            (Some(_), Some(_)) => Err(InvalidValue("must be given once".to_owned())),
        }
    }
}

/// What a caller sent, fit for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let cut = if text.chars().count() > MOST { "…" } else { "" };
    format!("{}{cut}", text.chars().take(MOST).collect::<String>().escape_debug())
}

/// An entity tag without its quotes. A proxy may have marked it weak.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}
