//! The timer function `RepairTimer`: the Functions host posts to the function's name, outside of `/api`, and wants its own
//! shape of answer back.

use std::{sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use tracing::{Instrument, error};
use warp::http::{Method, StatusCode, header};

use super::{
    error::ApiError,
    response::{Response, json_response, ok},
};
use crate::app::App;

/// Where the host posts to.
pub const PATH: &str = "/RepairTimer";

/// One repair pass. Runs to its end even when the host stops waiting.
pub async fn run(app: Arc<App>, method: &Method) -> Response {
    if method != Method::POST {
        return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "The timer is a POST")
            .header(header::ALLOW, "POST")
            .into_response();
    }
    let repair = app.mappings.repair();
    let pass = app.tasks.spawn(async move { repair.run_once(SystemTime::now()).await }.in_current_span());
    match pass.await {
        // An empty answer would hang the invocation until its time is up; the log lines show up in the portal.
        Ok(Ok(report)) => ok(&json!({"Outputs": {}, "Logs": [report.to_string()], "ReturnValue": Value::Null})),
        Ok(Err(error)) => ApiError::from(error).into_response(),
        Err(error) => {
            error!(%error, "a repair pass ended early");
            json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({"Outputs": {}, "Logs": [], "ReturnValue": null}))
        }
    }
}
