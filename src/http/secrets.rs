//! `PUT /secrets/{key}`: stores a credential. Nothing here reads one, and no answer or log line shows what is stored.

use std::sync::Arc;

use tracing::info;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{
    error::{ApiError, ErrorBody},
    fields::Fields,
    in_storage_time,
    request::Request,
    response::{Response, empty},
};
use crate::{
    app::App,
    auth::Right,
    domain::{InvalidValue, OrgId, Secret},
    secrets::VALUE_LIMIT,
    settings::{SecretKey, SecretScope},
};

/// The body of a credential to be stored.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": "correct horse battery staple", "scope": "acme"}))]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; `Fields` reads it, so that all mistakes are reported at once"
)]
pub struct SecretBody {
    /// 1 to 24,000 bytes in UTF-8, none of them zero.
    value: String,
    /// `global`, for all organizations that have none of their own, or the id of one organization.
    scope: String,
}

/// Store a credential. What an integration calls `api_key` has the key `{integration}_api_key`. It counts at once, and is
/// never shown again.
#[utoipa::path(
    put, path = "/api/secrets/{key}", operation_id = "store_secret", tag = "integrations",
    params(("key" = String, Path, description = "`[a-z][a-z0-9_]{0,88}`")),
    request_body = SecretBody,
    responses(
        (status = 204),
        (status = 400, body = ErrorBody),
        (status = 404, description = "No such organization", body = ErrorBody),
        (status = 409, description = "The name could be that of another credential, or nothing can be stored under it",
            body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn store(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    request.require_json()?;
    let key = request.params.get("key").map_or("", String::as_str);
    let key = SecretKey::parse(key).map_err(|InvalidValue(rule)| ApiError::invalid("key", rule))?;
    let mut fields = Fields::parse(&request.body)?;
    let value = fields.required("value", parse_value);
    let scope = fields.required("scope", parse_scope);
    fields.finish()?;
    let (Some(value), Some(scope)) = (value, scope) else {
        return Err(ApiError::invalid("value", "must be given"));
    };
    // Before anything tells whether there is such an organization.
    let org_id = match &scope {
        SecretScope::Global => None,
        SecretScope::Organization(org_id) => Some(org_id),
    };
    in_storage_time(async { Ok(app.auth.authorize(request.caller.as_ref(), Right::ManageSecrets, org_id).await?) })
        .await?;
    let actor = request.actor()?;

    let place = in_storage_time(async { Ok(app.settings.secret_place(&scope, &key).await?) }).await?;
    app.settings.set_secret(&place, &value).await?;
    let scope = match &scope {
        SecretScope::Global => "global",
        SecretScope::Organization(org_id) => org_id.as_str(),
    };
    info!(actor = actor.id, correlation_id = actor.correlation_id, scope, key = key.as_str(), "secret stored");
    Ok(empty(StatusCode::NO_CONTENT))
}

fn parse_value(text: String) -> Result<Secret, InvalidValue> {
    if (1..=VALUE_LIMIT).contains(&text.len()) && !text.contains('\0') {
        Ok(Secret::new(text))
    } else {
        Err(InvalidValue(format!("must have 1 to {VALUE_LIMIT} bytes, none of them zero")))
    }
}

/// In any case `global` is what holds for all, which needs the wider right.
fn parse_scope(text: String) -> Result<SecretScope, InvalidValue> {
    if text.eq_ignore_ascii_case("global") {
        return Ok(SecretScope::Global);
    }
    OrgId::parse(text).map(SecretScope::Organization).map_err(|InvalidValue(rule)| {
        InvalidValue(format!("must be `global` or the id of an organization, which {rule}"))
    })
}
