//! What a caller is told when a request fails: the only place that knows status codes of errors.
//!
//! A 5xx answer never shows its source; the log does.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::{error, info, warn};
use utoipa::ToSchema;
use warp::http::{HeaderValue, StatusCode, header};

use super::response::{Response, json_response};
use crate::{
    auth::{Denied, TokenError},
    domain::{InvalidValue, MappingId},
    integrations::{Failure, FailureClass, IntegrationError, Registry},
    mappings::MappingError,
    secrets::SecretError,
    settings::{SecretNameError, SettingsError},
    tables::TableError,
};

/// Seconds after which a caller may try again when the store is unreachable.
pub(super) const RETRY_AFTER: u64 = 5;

/// The body of every error.
#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "error": "Validation failed",
    "message": "1 field is invalid",
    "details": {"external_org_id": ["must be given"]}
}))]
pub struct ErrorBody {
    /// What kind of error it is; the same words every time.
    pub error: &'static str,
    /// The thing, the reason and the remedy, for a person.
    pub message: String,
    /// The same for a program: invalid fields with their reasons, or the ids in question.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// An error answer.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    error: &'static str,
    message: String,
    details: Value,
    header: Option<Box<(header::HeaderName, HeaderValue)>>,
}

impl ApiError {
    pub fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), details: Value::Null, header: None }
    }

    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// Invalid fields or parameters with their reasons.
    pub fn validation(fields: &std::collections::BTreeMap<String, Vec<String>>) -> Self {
        let message = match fields.len() {
            1 => "1 field is invalid".to_owned(),
            count => format!("{count} fields are invalid"),
        };
        Self::new(StatusCode::BAD_REQUEST, "Validation failed", message).details(json!(fields))
    }

    /// One invalid field or parameter.
    pub fn invalid(field: &str, reason: impl Into<String>) -> Self {
        Self::validation(&[(field.to_owned(), vec![reason.into()])].into())
    }

    pub fn unknown_integration(registry: &Registry, name: &str) -> Self {
        let message = format!("Integration '{name}' {}", registry.missing(name));
        Self::new(StatusCode::NOT_FOUND, "Integration not found", message).details(json!({"known": registry.names()}))
    }

    /// The store did not answer in time, or not at all.
    pub fn storage_unavailable(retry_after: Option<u64>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Storage unavailable",
            "The table store cannot be reached or does not answer in time; nothing is half done, try again later",
        )
        .header(header::RETRY_AFTER, &retry_after.unwrap_or(RETRY_AFTER).to_string())
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn into_response(self) -> Response {
        let body = ErrorBody { error: self.error, message: self.message, details: self.details };
        let mut response = json_response(self.status, &body);
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let message = match error {
            TokenError::Missing => {
                "Send an access token of Microsoft Entra ID for this API: `Authorization: Bearer TOKEN`".to_owned()
            }
            TokenError::Invalid(reason) => {
                info!(reason, "refused a token");
                format!("The access token is refused: {reason}; get one for this API and send it before it expires")
            }
            TokenError::Unavailable => {
                "The keys of the identity provider cannot be read, so no new token can be checked; try again later"
                    .to_owned()
            }
        };
        match error.challenge() {
            Some(challenge) => Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
                .header(header::WWW_AUTHENTICATE, &challenge),
            None => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Identity provider unavailable", message)
                .header(header::RETRY_AFTER, &RETRY_AFTER.to_string()),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated => TokenError::Missing.into(),
            Denied::Forbidden(required) => Self::new(StatusCode::FORBIDDEN, "Forbidden", required),
            Denied::Unavailable(error) => error.into(),
        }
    }
}

impl From<TableError> for ApiError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Unavailable { ref reason, retry_after } => {
                warn!(reason, "storage");
                Self::storage_unavailable(seconds(retry_after))
            }
            // The service asked for what no store does.
            error => {
                error!(%error, "storage");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal error",
                    "The service made a mistake that its log describes; report it",
                )
            }
        }
    }
}

impl From<MappingError> for ApiError {
    fn from(error: MappingError) -> Self {
        let message = error.to_string();
        let (status, name, details) = match error {
            MappingError::OrganizationNotFound(_) => (StatusCode::NOT_FOUND, "Organization not found", Value::Null),
            MappingError::OrganizationInactive(_) => (StatusCode::CONFLICT, "Organization inactive", Value::Null),
            MappingError::IntegrationNotFound { known, .. } => {
                (StatusCode::NOT_FOUND, "Integration not found", json!({"known": known}))
            }
            MappingError::MappingNotFound { .. } => (StatusCode::NOT_FOUND, "Mapping not found", Value::Null),
            MappingError::MultipleMappings { ids, .. } => {
                let ids: Vec<_> = ids.iter().map(MappingId::as_str).collect();
                (StatusCode::CONFLICT, "Multiple mappings", json!({"mapping_ids": ids}))
            }
            MappingError::Unreadable { id, .. } => {
                (StatusCode::CONFLICT, "Mapping unreadable", json!({"mapping_ids": [id.as_str()]}))
            }
            MappingError::Duplicate { existing, .. } => {
                (StatusCode::CONFLICT, "Duplicate mapping", json!({"mapping_ids": [existing.as_str()]}))
            }
            MappingError::IdTaken(id) => {
                (StatusCode::CONFLICT, "Mapping id taken", json!({"mapping_ids": [id.as_str()]}))
            }
            MappingError::Invalid { field, reason } => return Self::invalid(field, reason),
            MappingError::InvalidData(problems) => {
                let problems = problems.into_iter().map(|(field, problem)| (field, vec![problem]));
                return Self::validation(&problems.collect());
            }
            MappingError::Stale => (StatusCode::PRECONDITION_FAILED, "Precondition failed", Value::Null),
            MappingError::Contended => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message).header(header::RETRY_AFTER, "1");
            }
            MappingError::Storage(error) => return error.into(),
            MappingError::Secrets(SecretError::Value(reason)) => {
                return Self::invalid("mapping_data", format!("holds a secret whose value {reason}"));
            }
            MappingError::Secrets(error) => return error.into(),
        };
        Self::new(status, name, message).details(details)
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        let message = error.to_string();
        match error {
            SecretError::Unavailable { reason, retry_after } => {
                warn!(reason, "secrets");
                let message = "The secret store cannot be used now; the log of the service says why. Try again later";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Secrets unavailable", message)
                    .header(header::RETRY_AFTER, &seconds(retry_after).unwrap_or(RETRY_AFTER).to_string())
            }
            SecretError::Name(_) => Self::invalid("key", message),
            SecretError::Value(reason) => Self::invalid("value", reason),
            SecretError::ReadOnly => Self::new(StatusCode::CONFLICT, "No secret store", message),
            SecretError::Deleted { .. } => Self::new(StatusCode::CONFLICT, "Secret deleted", message),
        }
    }
}

impl From<SecretNameError> for ApiError {
    fn from(error: SecretNameError) -> Self {
        let message = error.to_string();
        match error {
            SecretNameError::Key(InvalidValue(rule)) => Self::invalid("key", rule),
            SecretNameError::TooLong { .. } => Self::invalid("key", message),
            // Not the id: somebody may have swapped it with the secret.
            SecretNameError::UnknownOrganization(_) => {
                let message = "The organization that `scope` names is unknown; GET /api/organizations lists them";
                Self::new(StatusCode::NOT_FOUND, "Organization not found", message)
            }
            // Which organizations there are is not for every caller.
            SecretNameError::Owned { name, usage, .. } => {
                warn!(message, "secrets");
                let message = format!(
                    "the secret '{name}' can't be used as {usage}: it could be one of another organization, which the log \
                     names; choose another key, or another id for the integration"
                );
                Self::new(StatusCode::CONFLICT, "Secret name taken", message)
            }
            SecretNameError::Uuid { .. } | SecretNameError::Integration { .. } | SecretNameError::Mapping { .. } => {
                Self::new(StatusCode::CONFLICT, "Secret name taken", message)
            }
        }
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Invalid { error, fields } => {
                let mut error = Self::from(error);
                error.details["fields"] = json!(fields);
                error
            }
            SettingsError::Storage(error) => error.into(),
            SettingsError::Secrets(error) => error.into(),
            SettingsError::Name(error) => error.into(),
        }
    }
}

impl From<IntegrationError> for ApiError {
    fn from(error: IntegrationError) -> Self {
        let message = error.to_string();
        let failure = match error {
            IntegrationError::DiscoveryNotSupported { .. } | IntegrationError::NotSupported { .. } => {
                return Self::new(StatusCode::BAD_REQUEST, "Not supported", message);
            }
            IntegrationError::Failed { failure, .. } => failure,
        };
        let (status, name) = match failure.class {
            // Neither the request is wrong nor the external system: the service lacks a setting.
            FailureClass::Configuration => (StatusCode::CONFLICT, "Integration not configured"),
            FailureClass::RateLimited => (StatusCode::SERVICE_UNAVAILABLE, "External system busy"),
            FailureClass::Timeout => (StatusCode::GATEWAY_TIMEOUT, "External system timed out"),
            FailureClass::Authentication
            | FailureClass::Permission
            | FailureClass::NotFound
            | FailureClass::Mismatch
            | FailureClass::Unreachable
            | FailureClass::Tls
            | FailureClass::BadResponse => (StatusCode::BAD_GATEWAY, "External system failed"),
        };
        let Failure { class, http_status, retry_after, .. } = failure;
        let mut details = json!({"class": class.as_str(), "remedy": class.remedy()});
        if let Some(status) = http_status {
            details["http_status"] = json!(status);
        }
        let wait = seconds(retry_after);
        let message = match wait {
            Some(wait) => format!("{message}; it is left alone for {wait} s, unless asked with refresh=true"),
            None => message,
        };
        let error = Self::new(status, name, message).details(details);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return error.header(header::RETRY_AFTER, &wait.unwrap_or(RETRY_AFTER).to_string());
        }
        error
    }
}

/// A wait as `Retry-After` says it: whole seconds, rounded up.
fn seconds(wait: Option<Duration>) -> Option<u64> {
    wait.map(|wait| wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX))
}
