//! Two writers, every interleaving with one switch: the whole change of one happens between any two operations of the
//! other. What chance would find once in a hundred runs is found in each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crosswalk::{
    app::App,
    mappings::{Expected, MappingError, Patch},
    tables::{TableError, Tables},
};
use futures::future::BoxFuture;

use crate::{
    around::{Around, Steps},
    harness::*,
    invariants,
};

type Outcome<'a> = BoxFuture<'a, Result<(), MappingError>>;
type Change = fn(&App) -> Outcome<'_>;

/// A store in which another writer's whole change happens before one operation.
struct Interrupted {
    inner: Tables,
    /// The operation before which it happens, counted from 1.
    at: usize,
    other: Change,
    begun: AtomicUsize,
}

impl Steps for Interrupted {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, TableError>> + Send,
    ) -> Result<T, TableError> {
        if self.begun.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let other = app(Arc::clone(&self.inner));
            accepted((self.other)(&other).await, "the other writer");
            other.drain(Duration::from_mins(1)).await;
        }
        operation.await
    }
}

/// What one of two writers may be told.
fn accepted(outcome: Result<(), MappingError>, who: &str) {
    match outcome {
        Ok(())
        | Err(
            MappingError::Duplicate { .. }
            | MappingError::IdTaken(_)
            | MappingError::MappingNotFound { .. }
            | MappingError::MultipleMappings { .. },
        ) => {}
        Err(error) => panic!("{who}: {error}"),
    }
}

fn update(app: &App, patch: Patch) -> Outcome<'_> {
    Box::pin(async move { app.mappings.update(key("a"), patch, Expected::Any, actor()).await.map(drop) })
}

fn create<'a>(app: &'a App, id: &'a str) -> Outcome<'a> {
    Box::pin(async move { app.mappings.create(new(id, "contested"), actor()).await.map(drop) })
}

fn put<'a>(app: &'a App, external_org_id: &'a str) -> Outcome<'a> {
    Box::pin(async move { app.mappings.set(set(None, external_org_id), actor()).await.map(drop) })
}

fn repair(app: &App) -> Outcome<'_> {
    Box::pin(async move {
        let report = app.mappings.repair().run_once(SystemTime::now()).await?;
        assert_eq!(report.failed, 0, "{report}");
        Ok(())
    })
}

/// Changes of an empty organization.
const ON_NOTHING: &[(&str, Change)] = &[
    ("create a", |app| create(app, "a")),
    ("create b of the same external id", |app| create(app, "b")),
    ("set", |app| put(app, "set")),
    ("set something else", |app| put(app, "set else")),
    ("set the external id that others create", |app| put(app, "contested")),
    ("repair", repair),
];

/// Changes of one mapping.
const ON_ONE: &[(&str, Change)] = &[
    ("name", |app| update(app, named("name"))),
    ("data", |app| update(app, with_data("{}"))),
    ("external id", |app| update(app, external_id("contested"))),
    ("deactivate", |app| update(app, active(false))),
    ("restore", |app| update(app, active(true))),
    ("test", |app| Box::pin(tested(app, "a"))),
    ("set", |app| put(app, "set")),
    ("create of the external id that others take", |app| create(app, "b")),
    ("repair", repair),
];

/// Every pair of them, at every operation. `before` is what was there.
async fn every_pair(changes: &[(&str, Change)], before: impl AsyncFn(&App)) {
    for (one, change) in changes {
        for (other, interrupting) in changes {
            for at in 1.. {
                let tables = memory().await;
                let process = app(Arc::clone(&tables));
                before(&process).await;
                process.drain(Duration::from_mins(1)).await;

                let interrupted =
                    Interrupted { inner: Arc::clone(&tables), at, other: *interrupting, begun: AtomicUsize::new(0) };
                let interrupted = Arc::new(Around(interrupted));
                let process = app(interrupted.clone());
                let moment = format!("{one}, interrupted at operation {at} by: {other}");
                accepted(change(&process).await, &moment);
                process.drain(Duration::from_mins(1)).await;
                let finished = interrupted.0.begun.load(Ordering::SeqCst) < at;
                println!("{moment}");
                invariants::hold(&tables, &[]).await;

                // Sets without an id never make a second active mapping; only a create does, or a restore.
                let creates = |name: &&str| name.starts_with("create") || *name == "restore";
                let creates = creates(one) || creates(other);
                let rows = invariants::mappings(&*tables).await;
                let active = rows.values().filter(|row| row["IsActive"] == true.into()).count();
                assert!(active <= 1 || creates, "{moment}: {rows:#?}");
                if finished {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn changes_of_an_empty_organization() {
    every_pair(ON_NOTHING, async |_| {}).await;
}

#[tokio::test]
async fn changes_of_an_active_mapping() {
    every_pair(ON_ONE, async |app| drop(app.mappings.create(new("a", "1"), actor()).await.unwrap())).await;
}

#[tokio::test]
async fn changes_of_an_inactive_mapping() {
    every_pair(ON_ONE, async |app| {
        app.mappings.create(new("a", "1"), actor()).await.unwrap();
        app.mappings.deactivate(key("a"), Expected::Any, actor()).await.unwrap();
    })
    .await;
}
