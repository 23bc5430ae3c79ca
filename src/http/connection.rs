//! `POST …/{mappingId}/test`: whether a mapping works, asked of the external system, and stored with the mapping.

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    in_storage_time,
    mappings::tagged,
    request::Request,
    response::{Response, ok},
    routes::{STORAGE_DEADLINE, TEST_DEADLINE},
};
use crate::{
    app::App,
    domain::TestOutcome,
    integrations::{IntegrationError, TestResult, guarded},
    settings::SettingsError,
};

/// Most characters of a message that are stored; an external system may say more than a row can hold.
const STORED: usize = 1000;

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "success": false, "message": "There is no organization '1009'",
    "details": {
        "class": "not_found", "latency_ms": 184, "http_status": 404, "stored": true,
        "remedy": "Check the external organization's id; discover the organizations and choose it again"
    }
}))]
pub struct TestBody {
    success: bool,
    message: String,
    details: TestDetails,
}

#[derive(serde::Serialize, ToSchema)]
struct TestDetails {
    /// `ok`, `authentication`, `permission`, `not_found`, `mismatch`, `rate_limited`, `timeout`, `unreachable`, `tls`,
    /// `bad_response` or `configuration`.
    class: &'static str,
    latency_ms: u64,
    /// What the external system answered, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    /// False: the mapping was changed during the test, which says nothing about what it says now.
    stored: bool,
}

/// Tests the connection: reads the mapped external organization by its id. The result is stored with the mapping.
#[utoipa::path(
    post, path = "/api/organizations/{orgId}/integrations/{integrationName}/{mappingId}/test", operation_id = "test_mapping", tag = "mappings",
    params(
        ("orgId" = String, Path, example = "acme"), ("integrationName" = String, Path, example = "example_psa"),
        ("mappingId" = String, Path, example = "mapping_001"),
    ),
    responses(
        (status = 200, body = TestBody, description = "The test was made, whatever it found; with an ETag if it was stored"),
        (status = 400, body = ErrorBody, description = "A parameter is invalid, or the integration cannot test"),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "The stored row cannot be read"),
        (status = 408, body = ErrorBody, description = "The body took too long to arrive"),
        (status = 413, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn test(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let key = request.mapping_key(&app.registry)?;
    let integration = request.integration(&app.registry)?;
    let actor = request.actor()?;
    let prepared = async {
        let mapping = app.mappings.get(&key, true).await?.mapping;
        // Read anew: who has just mended a credential wants to know whether it works now.
        let settings = app.settings.resolve(&**integration, Some(&key.org_id), true);
        match tokio::try_join!(settings, app.settings.mapping_data(&**integration, &mapping)) {
            Ok(settings) => Ok((mapping, Ok(settings))),
            Err(SettingsError::Invalid { error, .. }) => Ok((mapping, Err(error))),
            Err(error) => Err(error.into()),
        }
    };
    let (mapping, settings) = in_storage_time(prepared).await?;
    let began = Instant::now();
    let outcome = match settings {
        Ok((settings, data)) => {
            // Afterwards there has to be time to store what was found.
            let left = TEST_DEADLINE.saturating_sub(STORAGE_DEADLINE + request.began.elapsed()).min(app.test_deadline);
            let call = integration.test_connection(&settings, &mapping, &data);
            guarded(integration.name(), left, call).await
        }
        Err(error) => Err(error),
    };
    let result = match outcome {
        Ok(result) => result,
        Err(IntegrationError::Failed { failure, .. }) => TestResult {
            message: failure.message.clone(),
            latency: began.elapsed(),
            http_status: failure.http_status,
            failure: Some(failure),
        },
        Err(error) => return Err(error.into()),
    };
    let stored = TestOutcome {
        at: Some(Utc::now()),
        result: Some(result.message.chars().take(STORED).collect()),
        succeeded: Some(result.failure.is_none()),
    };
    let stored = in_storage_time(async { Ok(app.mappings.record_test(mapping, stored, actor).await?) }).await?;
    let response = ok(&TestBody {
        success: result.failure.is_none(),
        message: result.message,
        details: TestDetails {
            class: result.failure.as_ref().map_or("ok", |failure| failure.class.as_str()),
            latency_ms: u64::try_from(result.latency.as_millis()).unwrap_or(u64::MAX),
            http_status: result.http_status,
            remedy: result.failure.as_ref().map(|failure| failure.class.remedy()),
            stored: stored.is_some(),
        },
    });
    Ok(match stored {
        Some(stored) => tagged(response, stored.version.as_str()),
        None => response,
    })
}
