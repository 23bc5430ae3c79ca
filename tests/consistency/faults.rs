//! A store that fails at one operation and works again: the operation happened and its answer was lost, or it never
//! happened. The author of a change never meets his own first attempt as somebody else's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crosswalk::{
    mappings::{Expected, MappingError, verify},
    tables::{TableError, Tables},
};

use crate::{
    around::{Around, Steps},
    harness::*,
    invariants,
};

/// Fails at one operation, counted from 1, or at all from there to the last one.
struct Failing {
    inner: Tables,
    at: usize,
    last: usize,
    /// Whether the operation happens all the same.
    lands: bool,
    begun: AtomicUsize,
}

impl Steps for Failing {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, TableError>> + Send,
    ) -> Result<T, TableError> {
        let fails = (self.at..=self.last).contains(&(self.begun.fetch_add(1, Ordering::SeqCst) + 1));
        if fails && !self.lands {
            return Err(unavailable());
        }
        let outcome = operation.await;
        if fails { Err(unavailable()) } else { outcome }
    }
}

fn failing(tables: &Tables, at: usize, last: usize, lands: bool) -> Arc<Around<Failing>> {
    Arc::new(Around(Failing { inner: Arc::clone(tables), at, last, lands, begun: AtomicUsize::new(0) }))
}

fn unavailable() -> TableError {
    TableError::Unavailable { reason: "the connection broke".into(), retry_after: None }
}

/// Runs a few changes with a fault at each operation in turn, until there are no more operations.
async fn with_every_fault(lands: bool) {
    for at in 1.. {
        let tables = memory().await;
        let failing = failing(&tables, at, at, lands);
        let process = app(failing.clone());
        let outcomes = [
            process.mappings.create(new("a", "1"), actor()).await.map(drop),
            process.mappings.update(key("a"), external_id("2"), Expected::Any, actor()).await.map(drop),
            tested(&process, "a").await,
            process.mappings.set(set(None, "3"), actor()).await.map(drop),
        ];
        process.drain(Duration::from_secs(10)).await;
        let begun = failing.0.begun.load(Ordering::SeqCst);
        invariants::hold(&tables, &[]).await;
        let created = outcomes[0].is_ok();
        for outcome in outcomes {
            match outcome {
                Ok(()) | Err(MappingError::Storage(TableError::Unavailable { .. })) => {}
                Err(MappingError::MappingNotFound { .. }) => assert!(!created, "operation {at}"),
                Err(error) => panic!("operation {at}, lands {lands}: {error}"),
            }
        }
        if begun < at {
            assert!(at > 20, "only {at} operations in four changes");
            return;
        }
    }
}

#[tokio::test]
async fn an_answer_is_lost() {
    with_every_fault(true).await;
}

#[tokio::test]
async fn an_operation_is_lost() {
    with_every_fault(false).await;
}

/// The transaction lands and its answer is lost: its author hears of success, not of a conflict with himself.
#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_acknowledged() {
    let tables = memory().await;
    let mut acknowledged = 0;
    for at in 1..=8 {
        let failing = failing(&tables, at, at, true);
        let process = app(failing);
        let id = at.to_string();
        let outcome = process.mappings.create(new(&id, &id), actor()).await;
        process.drain(Duration::from_secs(10)).await;
        if outcome.is_ok() {
            acknowledged += 1;
        } else {
            // Only a fault of the reads or of the marker, so before the transaction, is told to the caller.
            assert!(matches!(outcome, Err(MappingError::Storage(_))), "{outcome:?}");
            assert!(!invariants::mappings(&*tables).await.contains_key(&(ORG.into(), format!("halo_mapping_{id}"))));
        }
    }
    assert_eq!(acknowledged, 5, "reads and marker are three operations, everything after them is acknowledged");
    invariants::hold(&tables, &[]).await;
}

/// Repair meets a fault at each of its operations: what it could not finish stays for the next time.
#[tokio::test]
async fn repair_meets_a_fault() {
    for lands in [true, false] {
        for at in 1.. {
            let tables = memory().await;
            // Marker and two reads, the transaction, and from then on nothing.
            let process = app(failing(&tables, 5, usize::MAX, false));
            process.mappings.create(new("a", "1"), actor()).await.unwrap();
            process.drain(Duration::from_secs(10)).await;
            assert!(!verify(&*tables).await.unwrap().is_empty(), "nothing was left to repair");

            let fault = failing(&tables, at, at, lands);
            let process = app(fault.clone());
            let report = process.mappings.repair().run_once(SystemTime::now()).await;
            let begun = fault.0.begun.load(Ordering::SeqCst);
            if begun < at {
                assert_eq!(report.unwrap().finished, 1);
                assert!(at > 5, "repair of a change takes only {begun} operations");
                break;
            }
            invariants::hold(&tables, &[]).await;
        }
    }
}
