//! What a caller is told when a request fails: the only place that knows status codes of errors.
//!
//! A 5xx answer never shows its source; the log does.

use serde_json::{Value, json};
use tracing::{error, warn};
use utoipa::ToSchema;
use warp::http::{HeaderValue, StatusCode, header};

use super::response::{Response, json_response};
use crate::{domain::MappingId, mappings::MappingError, tables::TableError};

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

    pub fn unknown_integration(name: &str, known: &[String]) -> Self {
        let message = format!("Integration '{name}' is unknown; known are: {}", known.join(", "));
        Self::new(StatusCode::NOT_FOUND, "Integration not found", message).details(json!({"known": known}))
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

    pub fn into_response(self) -> Response {
        let body = ErrorBody { error: self.error, message: self.message, details: self.details };
        let mut response = json_response(self.status, &body);
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<TableError> for ApiError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Unavailable { ref reason, retry_after } => {
                warn!(reason, "storage");
                Self::storage_unavailable(retry_after.map(|wait| wait.as_secs().max(1)))
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
            MappingError::Stale => (StatusCode::PRECONDITION_FAILED, "Precondition failed", Value::Null),
            MappingError::Contended => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message).header(header::RETRY_AFTER, "1");
            }
            MappingError::Storage(error) => return error.into(),
        };
        Self::new(status, name, message).details(details)
    }
}
