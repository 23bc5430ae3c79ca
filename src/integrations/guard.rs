//! What every call of an integration is held to, whoever wrote it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tracing::error;

use super::{Failure, FailureClass, IntegrationError};
use crate::domain::IntegrationName;

/// The outcome of a call that ends in time, whatever the integration does; a panic of it is a failure like others.
///
/// # Errors
/// Those of the call; [`FailureClass::Timeout`]; [`FailureClass::BadResponse`] for a panic.
pub async fn guarded<T>(
    integration: &IntegrationName,
    deadline: Duration,
    call: impl Future<Output = Result<T, IntegrationError>>,
) -> Result<T, IntegrationError> {
    let failed = |class, message: String| {
        Err(IntegrationError::Failed { integration: integration.clone(), failure: Failure::new(class, message) })
    };
    match tokio::time::timeout(deadline, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            error!(%integration, "an integration panicked");
            failed(FailureClass::BadResponse, "it broke down on what the external system answered".to_owned())
        }
        Err(_) => failed(FailureClass::Timeout, format!("the external system took longer than {deadline:?}")),
    }
}
