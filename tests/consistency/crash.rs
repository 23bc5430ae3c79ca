//! A crash after every single storage operation of every kind of change, and after every operation of the repair that
//! follows: whatever is left, the next repair leaves the invariants whole.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crosswalk::{
    app::App,
    domain::Mapping,
    mappings::{Expected, MappingError, verify},
    tables::{Key, Table, TableError, Tables, When},
};
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::{
    around::{Around, Steps},
    harness::*,
    invariants,
};

/// A store whose world ends.
pub struct Ending {
    inner: Tables,
    /// The last operation, counted from 1, or the one that never happens.
    last: usize,
    mode: Mode,
    begun: AtomicUsize,
    done: AtomicUsize,
    ended: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// That operation happens, its answer never arrives, and nothing happens after it.
    StopAfter,
    /// That operation never happens; those that were begun beside it do.
    Lose,
}

impl Ending {
    pub fn around(inner: &Tables, mode: Mode, last: usize) -> Arc<Around<Self>> {
        Arc::new(Around(Self {
            inner: Arc::clone(inner),
            last,
            mode,
            begun: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            ended: Notify::new(),
        }))
    }

    /// How many operations there were.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub fn has_ended(&self) -> bool {
        self.begun() >= self.last
    }

    /// The end, and with it the end of what had been begun beside the last operation: else it would still be on its way
    /// while the next process is looked at.
    pub async fn over(&self) {
        self.ended.notified().await;
        let others = || match self.mode {
            Mode::StopAfter => self.last - 1,
            Mode::Lose => self.begun.load(Ordering::SeqCst) - 1,
        };
        while self.done.load(Ordering::SeqCst) < others() {
            tokio::task::yield_now().await;
        }
    }
}

impl Steps for Ending {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, TableError>> + Send,
    ) -> Result<T, TableError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        match self.mode {
            Mode::StopAfter if number == self.last => {
                let _ = operation.await;
                self.ended.notify_one();
                pending().await
            }
            Mode::StopAfter if number > self.last => pending().await,
            Mode::Lose if number == self.last => {
                self.ended.notify_one();
                pending().await
            }
            Mode::StopAfter | Mode::Lose => {
                let outcome = operation.await;
                self.done.fetch_add(1, Ordering::SeqCst);
                outcome
            }
        }
    }
}

type Outcome<'a> = BoxFuture<'a, Result<(), MappingError>>;

/// A kind of change: what was there before, and the change.
struct Case {
    name: &'static str,
    before: fn(&App) -> Outcome<'_>,
    change: fn(&App) -> Outcome<'_>,
}

/// Every kind of change, on rows of this service and of other programs.
const CASES: &[Case] = &[
    Case { name: "create", before: |_| done(), change: |app| create(app, "a", "1") },
    Case { name: "create of a duplicate", before: |app| create(app, "a", "1"), change: |app| create(app, "b", "1") },
    Case { name: "set that creates", before: |_| done(), change: |app| put(app, None, "1") },
    Case { name: "set that changes", before: |app| create(app, "a", "1"), change: |app| put(app, None, "2") },
    Case { name: "set that restores", before: deactivated, change: |app| put(app, Some("a"), "2") },
    Case {
        name: "new name",
        before: |app| create(app, "a", "1"),
        change: |app| Box::pin(async { change(app, "a", named("new")).await }),
    },
    Case {
        name: "new external id",
        before: |app| create(app, "a", "1"),
        change: |app| Box::pin(async { change(app, "a", external_id("2")).await }),
    },
    Case {
        name: "deactivate",
        before: |app| create(app, "a", "1"),
        change: |app| Box::pin(async { app.mappings.deactivate(key("a"), Expected::Any, actor()).await }),
    },
    Case {
        name: "restore",
        before: deactivated,
        change: |app| Box::pin(async { change(app, "a", active(true)).await }),
    },
    Case { name: "test", before: |app| create(app, "a", "1"), change: |app| Box::pin(tested(app, "a")) },
    Case {
        name: "new external id of a tested mapping",
        before: |app| {
            Box::pin(async {
                create(app, "a", "1").await?;
                tested(app, "a").await
            })
        },
        change: |app| Box::pin(async { change(app, "a", external_id("2")).await }),
    },
    Case {
        name: "a row of another program is tested",
        before: |app| {
            Box::pin(async {
                foreign(&*app.tables, "a", "1").await;
                Ok(())
            })
        },
        change: |app| Box::pin(tested(app, "a")),
    },
    Case {
        name: "a row of another program gets a new external id",
        before: |app| {
            Box::pin(async {
                foreign(&*app.tables, "a", "1").await;
                Ok(())
            })
        },
        change: |app| Box::pin(async { change(app, "a", external_id("2")).await }),
    },
    Case {
        name: "a row of another program is deactivated",
        before: |app| {
            Box::pin(async {
                foreign(&*app.tables, "a", "1").await;
                Ok(())
            })
        },
        change: |app| Box::pin(async { change(app, "a", active(false)).await }),
    },
    Case {
        name: "create where another program removed the mapping and left its guard",
        before: |app| {
            Box::pin(async {
                create(app, "a", "1").await?;
                app.drain(Duration::from_secs(5)).await;
                for (table, key) in [
                    (Table::OrgIntegrationMappings, Key::new(ORG, "halo_mapping_a")),
                    (Table::IntegrationMappings, Key::new(INTEGRATION, "acme_mapping_a")),
                ] {
                    app.tables.delete(table, &key, &When::Any).await?;
                }
                for event in invariants::rows(&*app.tables, Table::AuditEvents).await {
                    app.tables.delete(Table::AuditEvents, &event.row.key, &When::Any).await?;
                }
                Ok(())
            })
        },
        change: |app| create(app, "b", "1"),
    },
];

fn done() -> Outcome<'static> {
    Box::pin(async { Ok(()) })
}

fn create<'a>(app: &'a App, id: &'a str, external_org_id: &'a str) -> Outcome<'a> {
    Box::pin(async move { app.mappings.create(new(id, external_org_id), actor()).await.map(drop) })
}

fn put<'a>(app: &'a App, id: Option<&'a str>, external_org_id: &'a str) -> Outcome<'a> {
    Box::pin(async move { app.mappings.set(set(id, external_org_id), actor()).await.map(drop) })
}

async fn change(app: &App, id: &str, patch: crosswalk::mappings::Patch) -> Result<(), MappingError> {
    app.mappings.update(key(id), patch, Expected::Any, actor()).await.map(drop)
}

fn deactivated(app: &App) -> Outcome<'_> {
    Box::pin(async {
        create(app, "a", "1").await?;
        app.mappings.deactivate(key("a"), Expected::Any, actor()).await
    })
}

/// A store as it was before the change, complete.
async fn before(case: &Case) -> Tables {
    let tables = memory().await;
    let process = app(Arc::clone(&tables));
    (case.before)(&process).await.unwrap();
    process.drain(Duration::from_secs(5)).await;
    tables
}

/// Runs a change until the world ends. None: it ended before there was an answer.
async fn run(case: &Case, world: &Arc<Around<Ending>>) -> Option<Result<(), MappingError>> {
    let process = app(world.clone());
    tokio::select! {
        biased;
        () = world.0.over() => None,
        outcome = (case.change)(&process) => {
            // What goes on after the answer belongs to the change.
            tokio::select! {
                () = world.0.over() => {}
                () = process.drain(Duration::from_mins(1)) => {}
            }
            Some(outcome)
        }
    }
}

/// How many operations a change takes when nothing ends.
async fn length(case: &Case) -> usize {
    let world = Ending::around(&before(case).await, Mode::StopAfter, usize::MAX);
    let _ = run(case, &world).await;
    world.0.begun()
}

/// One crash at one moment; then repairs that crash at every moment of theirs; then a whole one.
async fn crash(case: &Case, mode: Mode, last: usize) {
    let tables = before(case).await;
    let made_before = verify(&*tables).await.unwrap();
    let rows_before = invariants::mappings(&*tables).await;
    let world = Ending::around(&tables, mode, last);
    let answer = run(case, &world).await;
    let moment = format!("{}, {mode:?} operation {last}", case.name);
    assert!(world.0.has_ended(), "{moment}: never got there");

    for step in 1.. {
        let world = Ending::around(&tables, Mode::StopAfter, step);
        let process = app(world.clone());
        let repair = process.mappings.repair();
        tokio::select! {
            biased;
            () = world.0.over() => {}
            report = repair.run_once(SystemTime::now()) => {
                assert_eq!(report.unwrap().failed, 0, "{moment}");
                break;
            }
        }
    }
    invariants::hold(&tables, &made_before).await;

    let happened = invariants::mappings(&*tables).await != rows_before;
    match answer {
        Some(Ok(())) => assert!(happened, "{moment}: acknowledged and lost"),
        Some(Err(error)) => assert!(!happened, "{moment}: {error}, and yet it happened"),
        None => {}
    }
    again(case, &tables, happened, &moment).await;
}

/// The caller who got no answer tries again, in a new process.
async fn again(case: &Case, tables: &Tables, happened: bool, moment: &str) {
    let process = app(Arc::clone(tables));
    match (case.change)(&process).await {
        Ok(()) => {}
        Err(MappingError::IdTaken(_)) => assert!(happened, "{moment}: refused as done, and was not"),
        Err(MappingError::MappingNotFound { .. }) => assert!(happened, "{moment}: gone before it was deactivated"),
        Err(MappingError::Duplicate { .. }) => assert_eq!(case.name, "create of a duplicate", "{moment}"),
        Err(error) => panic!("{moment}, again: {error}"),
    }
    process.drain(Duration::from_secs(5)).await;
    let active: Vec<Mapping> = process
        .mappings
        .list(&org(), Some(&integration()), true)
        .await
        .unwrap()
        .into_iter()
        .map(|found| found.mapping)
        .collect();
    assert!(active.len() <= 1, "{moment}, again: {active:#?}");
    invariants::audited(&**tables).await;
}

#[tokio::test]
async fn after_every_operation() {
    for case in CASES {
        let length = length(case).await;
        assert!(length >= 4, "{}: {length} operations", case.name);
        for last in 1..=length {
            crash(case, Mode::StopAfter, last).await;
        }
    }
}

/// Index row and audit event are written side by side: either may be the one that is missing.
#[tokio::test]
async fn without_any_single_operation() {
    for case in CASES {
        for lost in 1..=length(case).await {
            crash(case, Mode::Lose, lost).await;
        }
    }
}
