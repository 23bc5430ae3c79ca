//! What went wrong in one attempt, and when to make another.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use azure_core::error::ErrorKind;
use tokio::time::Instant;

use crate::{azure::Failure, tables::TableError};

/// Of one call of the port, with all its attempts and waits: an outage has to be answered within five seconds, and a
/// request makes a call that fails only once.
const DEADLINE: Duration = Duration::from_millis(3500);
/// Of an operation that may be repeated.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before the third.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Why one attempt failed. Its reason is made of words from here: the SDK's errors hold bodies and headers.
#[derive(Debug)]
pub(super) struct Fault {
    /// What the table service answered, if it did.
    pub status: Option<u16>,
    pub reason: String,
    pub retry_after: Option<Duration>,
    /// The next attempt may fare better.
    pub transient: bool,
    /// The table itself is missing, not a row of it.
    pub table_missing: bool,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { status: None, reason: reason.into(), retry_after: None, transient: false, table_missing: false }
    }

    /// A refusal that came with a status, as an answer of its own or inside the answer to a batch.
    pub(super) fn status(status: u16) -> Self {
        let transient = matches!(status, 408 | 429 | 500..=599);
        Self { status: Some(status), transient, ..Self::new(format!("status {status}")) }
    }

    /// What the caller can act on. The status alone decides: Azure does not always say more.
    pub(super) fn into_error(self, doing: &str) -> TableError {
        let reason = match self.status {
            _ if self.table_missing => format!("{doing}: the table is gone; the next call makes it again"),
            Some(404) => return TableError::NotFound,
            Some(409) => return TableError::AlreadyExists,
            Some(412) => return TableError::Precondition,
            Some(400 | 413) => return TableError::Invalid(format!("{doing}: {}", self.reason)),
            Some(401 | 403) => format!(
                "{doing}: {}; check the account key, or give the service's identity the role Storage Table Data \
                 Contributor on the storage account",
                self.reason
            ),
            _ => format!("{doing}: {}", self.reason),
        };
        TableError::Unavailable { reason, retry_after: self.retry_after }
    }
}

impl From<azure_core::Error> for Fault {
    fn from(error: azure_core::Error) -> Self {
        // Tokens are fetched inside the SDK's pipeline: a 404 of the identity endpoint must not look like a missing row.
        let token = *error.kind() == ErrorKind::Credential;
        let mut fault = match Failure::inside(&error) {
            Some(Failure::Refused { status, code, retry_after }) => Self {
                retry_after: *retry_after,
                table_missing: code.as_deref() == Some("TableNotFound"),
                ..Self::status(*status)
            },
            Some(Failure::Broken(reason)) => Self { transient: true, ..Self::new(*reason) },
            None if token => Self::new("no credentials"),
            None => Self::new("an answer that can't be read"),
        };
        if token {
            fault.status = None;
            fault.reason = format!(
                "the managed identity gave no token: {}; check that it is assigned to this app, and \
                 AzureWebJobsStorage__clientId",
                fault.reason
            );
        }
        fault
    }
}

/// When a call that begins now has to be over.
pub(super) fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// Ends at the deadline. What was under way then may still happen.
pub(super) async fn in_time<T>(deadline: Instant, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(Fault::new("no answer in time")))
}

/// Makes up to three attempts, numbered from 1. Only for what may happen twice. `deadline` bounds the waits between.
pub(super) async fn repeated<T, F>(deadline: Instant, mut attempt: impl FnMut(u32) -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut number = 1;
    loop {
        let fault = match attempt(number).await {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        let wait = fault.retry_after.unwrap_or_else(|| back_off(number));
        if !fault.transient || number == ATTEMPTS || Instant::now() + wait >= deadline {
            return Err(fault);
        }
        tracing::debug!(attempt = number, reason = fault.reason, "the table service is asked again");
        tokio::time::sleep(wait).await;
        number += 1;
    }
}

/// Doubled each time, and spread over half to one and a half of that: instances that failed together come back apart.
fn back_off(number: u32) -> Duration {
    // Every `RandomState` has fresh keys; good enough for a spread, and no crate for it.
    let random = RandomState::new().hash_one(number) % 1000;
    let spread = 0.5 + f64::from(u32::try_from(random).unwrap_or_default()) / 1000.0;
    (FIRST_WAIT * 2_u32.pow(number - 1)).mul_f64(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_beyond_the_deadline_is_not_begun() {
        let fault = Fault { retry_after: Some(Duration::from_mins(1)), ..Fault::status(503) };
        let mut fault = Some(fault);
        let mut attempts = 0;
        let result: Result<(), Fault> = repeated(deadline(), |_| {
            attempts += 1;
            std::future::ready(Err(fault.take().unwrap_or_else(|| Fault::status(503))))
        })
        .await;
        assert_eq!(attempts, 1);
        let TableError::Unavailable { retry_after, .. } = result.unwrap_err().into_error("get X") else {
            panic!("not unavailable")
        };
        assert_eq!(retry_after, Some(Duration::from_mins(1)));
    }

    #[test]
    fn the_status_decides() {
        let say = |status| format!("{}", Fault::status(status).into_error("put Users"));
        assert_eq!(say(404), "no such row");
        assert_eq!(say(409), "the row exists already");
        assert_eq!(say(412), "the row was changed by someone else");
        assert_eq!(say(400), "the table store refuses this: put Users: status 400");
        assert!(say(403).contains("Storage Table Data Contributor"));
        assert_eq!(say(503), "the table store is unavailable: put Users: status 503");
    }

    #[test]
    fn waits_grow_and_stay_small() {
        for _ in 0..100 {
            let (first, second) = (back_off(1), back_off(2));
            assert!((50..150).contains(&first.as_millis()), "{first:?}");
            assert!((100..300).contains(&second.as_millis()), "{second:?}");
        }
    }
}
