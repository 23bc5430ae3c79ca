//! Repair: finishing what a crash left unfinished, and rebuilding everything that follows from the source of truth.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    guards,
    journal::Journal,
    keys,
    verify::{self, Difference},
};
use crate::{
    domain::OrgId,
    tables::{Table, TableError, Tables, scan_all},
};

/// How long a marker without an intent is kept: its writer may still be on the way to its transaction. Writers give up after
/// 10 seconds; the rest is for clocks that differ and requests that are slow.
pub const REPAIR_GRACE: Duration = Duration::from_mins(15);

/// Unfinished changes that are finished side by side.
const CONCURRENCY: usize = 8;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Changes that had happened and are complete now.
    pub finished: usize,
    /// Markers of changes that never happened, or had been complete.
    pub discarded: usize,
    /// Markers of changes that may still be on their way.
    pub waiting: usize,
    /// Changes that could not be finished now; the log says why.
    pub failed: usize,
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finished, discarded, waiting, failed } = self;
        write!(
            f,
            "{finished} unfinished changes finished, {discarded} old markers removed, {waiting} still in flight, {failed} failed"
        )
    }
}

enum Outcome {
    Finished,
    Discarded,
    Waiting,
}

/// Finishes changes. Its cost grows with the number of unfinished changes, not of mappings; it may run beside live traffic and
/// beside itself.
pub struct Repair {
    tables: Tables,
    journal: Journal,
}

impl Repair {
    pub(super) fn new(tables: Tables, journal: Journal) -> Self {
        Self { tables, journal }
    }

    /// One pass over the markers. `now` decides which of them are old.
    ///
    /// # Errors
    /// The markers cannot be read. A change that cannot be finished is counted, logged and tried again next time.
    pub async fn run_once(&self, now: SystemTime) -> Result<RepairReport, TableError> {
        let markers = scan_all(&*self.tables, Table::OrgIntegrationMappings, &keys::markers()).await?;
        let outcomes = stream::iter(markers)
            .map(|marker| async move {
                let Some((org_id, change)) = keys::marked(&marker.row.key) else {
                    return Err(TableError::Invalid(format!("marker {} cannot be read", marker.row.key.row)));
                };
                self.finish(&org_id, change, now).await
            })
            .buffer_unordered(CONCURRENCY);
        let mut report = RepairReport::default();
        futures::pin_mut!(outcomes);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(Outcome::Finished) => report.finished += 1,
                Ok(Outcome::Discarded) => report.discarded += 1,
                Ok(Outcome::Waiting) => report.waiting += 1,
                Err(error) => {
                    warn!(%error, "an unfinished change");
                    report.failed += 1;
                }
            }
        }
        if report != RepairReport::default() {
            info!("repair: {report}");
        }
        Ok(report)
    }

    async fn finish(&self, org_id: &OrgId, change: Uuid, now: SystemTime) -> Result<Outcome, TableError> {
        if self.journal.roll_forward(org_id, change).await? {
            self.journal.remove_marker(org_id, change).await;
            return Ok(Outcome::Finished);
        }
        let age = began(change).and_then(|began| now.duration_since(began).ok()).unwrap_or_default();
        if age < REPAIR_GRACE {
            return Ok(Outcome::Waiting);
        }
        self.journal.abandon(org_id, change).await?;
        Ok(Outcome::Discarded)
    }

    /// Makes index and guards what the source of truth implies, from every row of it: for rows that other programs wrote, and
    /// after a table was lost. Reads both tables in full. The answer is what was different before.
    ///
    /// # Errors
    /// Storage.
    pub async fn rebuild(&self) -> Result<Vec<Difference>, TableError> {
        let differences = verify::verify(&*self.tables).await?;
        for difference in &differences {
            match difference {
                Difference::MissingInIndex(key) | Difference::DiffersInIndex(key) | Difference::OnlyInIndex(key) => {
                    self.journal.sync_index(key).await?;
                }
                // A secret that can't be removed must not keep the tables from being mended.
                Difference::UnfinishedChange { org_id, change } => {
                    match self.journal.roll_forward(org_id, *change).await {
                        Ok(_) => self.journal.remove_marker(org_id, *change).await,
                        Err(error) => warn!(%org_id, %error, "an unfinished change"),
                    }
                }
                Difference::MissingGuard { mapping, external_org_id } => {
                    guards::restore(&*self.tables, mapping, external_org_id).await?;
                }
                Difference::LeftoverGuard(key) => guards::remove_leftover(&*self.tables, key).await?,
                // Only a person can say which one is right.
                Difference::Unreadable { .. }
                | Difference::Duplicate { .. }
                | Difference::Foreign { .. }
                | Difference::ForeignInIndex(_) => {}
            }
        }
        Ok(differences)
    }
}

/// When a change began, from its UUIDv7.
fn began(change: Uuid) -> Option<SystemTime> {
    let (seconds, nanos) = change.get_timestamp()?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}
