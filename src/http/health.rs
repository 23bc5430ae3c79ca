//! `GET /health`: whether this process lives and reaches its store. Anonymous; no secrets, no counts.

use std::sync::Arc;

use utoipa::ToSchema;
use warp::http::{StatusCode, header};

use super::{
    error::{ApiError, RETRY_AFTER},
    response::{Response, json_response, with_header},
};
use crate::app::App;

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({"status": "ok", "version": "0.1.0", "storage": {"reachable": true}}))]
pub struct HealthBody {
    /// `ok`, or `degraded` when the store cannot be reached.
    status: &'static str,
    version: &'static str,
    storage: StorageBody,
}

#[derive(serde::Serialize, ToSchema)]
struct StorageBody {
    reachable: bool,
}

/// Liveness, version, and whether the store can be reached.
#[utoipa::path(
    get, path = "/api/health", tag = "service",
    responses(
        (status = 200, body = HealthBody),
        (status = 503, body = HealthBody, description = "The store cannot be reached"),
    )
)]
pub async fn health(app: Arc<App>) -> Result<Response, ApiError> {
    let reachable = app.storage_reachable().await;
    let (status, word) = if reachable { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "degraded") };
    let storage = StorageBody { reachable };
    let response = json_response(status, &HealthBody { status: word, version: env!("CARGO_PKG_VERSION"), storage });
    let response = with_header(response, header::CACHE_CONTROL, "no-cache");
    Ok(if reachable { response } else { with_header(response, header::RETRY_AFTER, &RETRY_AFTER.to_string()) })
}
