//! Secrets of mappings, in a third store: after a crash at any step of any change none is left over, none is missing, and a
//! mapping has the value that it had before the change or the one after it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use crosswalk::{
    app::App,
    domain::Secret,
    mappings::{Expected, MappingError, REPAIR_GRACE},
    secrets::{SecretError, SecretStore},
    tables::{Key, Table, TableError, Tables, When},
};
use futures::future::{BoxFuture, join_all};

use crate::{
    around::{Around, Steps},
    crash::{Ending, Mode},
    harness::*,
    invariants,
    vault::*,
};

type Outcome<'a> = BoxFuture<'a, Result<(), MappingError>>;

struct Case {
    name: &'static str,
    before: fn(&App) -> Outcome<'_>,
    change: fn(&App) -> Outcome<'_>,
    /// The values in the store when it has not happened, and when it has.
    values: [&'static [&'static str]; 2],
}

const OLD: &str = r#"{"api_key": "old", "site": "7"}"#;
const NEW: &str = r#"{"api_key": "new", "site": "7"}"#;
const KEPT: &str = r#"{"api_key": "********", "site": "8"}"#;

const CASES: &[Case] = &[
    Case { name: "create", before: |_| done(), change: |app| create(app, "a", NEW), values: [&[], &["new"]] },
    Case {
        name: "create of a duplicate",
        before: |app| create(app, "a", OLD),
        change: |app| create(app, "b", NEW),
        values: [&["old"], &["old"]],
    },
    Case { name: "set", before: |app| create(app, "a", OLD), change: set, values: [&["old"], &["new"]] },
    Case {
        name: "a new value",
        before: |app| create(app, "a", OLD),
        change: |app| patch(app, NEW),
        values: [&["old"], &["new"]],
    },
    Case {
        name: "the mask",
        before: |app| create(app, "a", OLD),
        change: |app| patch(app, KEPT),
        values: [&["old"], &["old"]],
    },
    Case {
        name: "left out",
        before: |app| create(app, "a", OLD),
        change: |app| patch(app, "{}"),
        values: [&["old"], &[]],
    },
    Case {
        name: "deactivate",
        before: |app| create(app, "a", OLD),
        change: |app| Box::pin(async { app.mappings.deactivate(vaulted("a"), Expected::Any, actor()).await }),
        values: [&["old"], &[]],
    },
    Case {
        name: "restore",
        before: |app| {
            Box::pin(async {
                create(app, "a", OLD).await?;
                app.mappings.deactivate(vaulted("a"), Expected::Any, actor()).await
            })
        },
        change: |app| {
            let patch = crosswalk::mappings::Patch { is_active: Some(true), ..with_data(NEW) };
            Box::pin(change(app, "a", patch))
        },
        values: [&[], &["new"]],
    },
    Case {
        name: "deactivate with a new value",
        before: |app| create(app, "a", OLD),
        change: |app| {
            let patch = crosswalk::mappings::Patch { is_active: Some(false), ..with_data(NEW) };
            Box::pin(change(app, "a", patch))
        },
        values: [&["old"], &[]],
    },
];

fn done() -> Outcome<'static> {
    Box::pin(async { Ok(()) })
}

fn create<'a>(app: &'a App, id: &'a str, data: &'a str) -> Outcome<'a> {
    Box::pin(async move { app.mappings.create(wanted(id, "1", data), actor()).await.map(drop) })
}

fn set(app: &App) -> Outcome<'_> {
    Box::pin(async { app.mappings.set(wanted("a", "2", NEW), actor()).await.map(drop) })
}

fn patch<'a>(app: &'a App, data: &'a str) -> Outcome<'a> {
    Box::pin(change(app, "a", with_data(data)))
}

#[derive(Clone)]
struct Stores {
    tables: Tables,
    vault: Arc<Vault>,
}

impl Stores {
    /// As they were before the change, complete.
    async fn before(case: &Case) -> Self {
        let stores = Self { tables: memory().await, vault: Arc::default() };
        let process = stores.process();
        (case.before)(&process).await.unwrap();
        process.drain(Duration::from_secs(5)).await;
        is_exact(&stores.tables, &stores.vault).await;
        stores
    }

    fn process(&self) -> App {
        process(Arc::clone(&self.tables), Arc::<Vault>::clone(&self.vault))
    }

    fn ending(&self, mode: Mode, last: usize) -> (Arc<Around<Ending>>, App) {
        let world = Ending::around(&self.tables, mode, last);
        let secrets = Stepping { world: Arc::clone(&world), vault: Arc::clone(&self.vault) };
        (Arc::clone(&world), process(world, Arc::new(secrets)))
    }
}

/// Makes the change until its world ends: what was answered, if anything, and how many operations there were.
async fn run(case: &Case, stores: &Stores, mode: Mode, last: usize) -> (Option<Result<(), MappingError>>, usize) {
    let (world, process) = stores.ending(mode, last);
    let answer = tokio::select! {
        biased;
        () = world.0.over() => None,
        outcome = (case.change)(&process) => {
            tokio::select! {
                () = world.0.over() => {}
                () = process.drain(Duration::from_mins(1)) => {}
            }
            Some(outcome)
        }
    };
    (answer, world.0.begun())
}

async fn crash(case: &Case, mode: Mode, last: usize) {
    let stores = Stores::before(case).await;
    let rows_before = invariants::mappings(&*stores.tables).await;
    let (answer, _) = run(case, &stores, mode, last).await;
    let moment = format!("{}, {mode:?} operation {last}", case.name);

    // Repairs that come later, each of which ends after one operation more.
    for later in [SystemTime::now(), SystemTime::now() + REPAIR_GRACE * 2] {
        for step in 1.. {
            let (world, process) = stores.ending(Mode::StopAfter, step);
            let repair = process.mappings.repair();
            tokio::select! {
                biased;
                () = world.0.over() => {}
                report = repair.run_once(later) => {
                    assert_eq!(report.unwrap().failed, 0, "{moment}");
                    break;
                }
            }
        }
    }
    invariants::hold_after(&stores.process(), &[]).await;
    is_exact(&stores.tables, &stores.vault).await;

    let happened = invariants::mappings(&*stores.tables).await != rows_before;
    assert_eq!(stores.vault.values(), case.values[usize::from(happened)], "{moment}");
    match answer {
        Some(Ok(())) => assert!(happened, "{moment}: acknowledged and lost"),
        Some(Err(error)) => assert!(!happened, "{moment}: {error}, and yet it happened"),
        None => {}
    }
}

#[tokio::test]
async fn after_every_operation_of_every_change() {
    for case in CASES {
        let (answer, length) = run(case, &Stores::before(case).await, Mode::StopAfter, usize::MAX).await;
        assert!(answer.is_some() && length >= 4, "{}: {length} operations", case.name);
        for last in 1..=length {
            crash(case, Mode::StopAfter, last).await;
            crash(case, Mode::Lose, last).await;
        }
    }
}

/// Stores in which another writer's whole change, or a repair, happens before one operation.
struct Interrupted {
    stores: Stores,
    at: usize,
    other: fn(&App) -> Outcome<'_>,
    begun: AtomicUsize,
}

impl Steps for Interrupted {
    fn inner(&self) -> &Tables {
        &self.stores.tables
    }

    async fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, TableError>> + Send,
    ) -> Result<T, TableError> {
        if self.begun.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let other = self.stores.process();
            let _ = (self.other)(&other).await;
            other.drain(Duration::from_mins(1)).await;
        }
        operation.await
    }
}

#[tokio::test]
async fn whoever_comes_between() {
    let changes: &[fn(&App) -> Outcome<'_>] = &[
        |app| patch(app, NEW),
        |app| patch(app, r#"{"api_key": "other"}"#),
        |app| patch(app, KEPT),
        |app| patch(app, "{}"),
        |app| create(app, "b", NEW),
        |app| Box::pin(async { app.mappings.deactivate(vaulted("a"), Expected::Any, actor()).await }),
        |app| {
            Box::pin(async {
                let report = app.mappings.repair().run_once(SystemTime::now()).await?;
                assert_eq!(report.failed, 0, "{report}");
                Ok(())
            })
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        for (by, other) in changes.iter().enumerate() {
            for at in 1.. {
                let stores = Stores { tables: memory().await, vault: Arc::default() };
                create(&stores.process(), "a", OLD).await.unwrap();
                let world = Interrupted { stores: stores.clone(), at, other: *other, begun: AtomicUsize::new(0) };
                let world = Arc::new(Around(world));
                let secrets = Stepping { world: Arc::clone(&world), vault: Arc::clone(&stores.vault) };
                let interrupted = process(world.clone(), Arc::new(secrets));
                let outcome = change(&interrupted).await;
                interrupted.drain(Duration::from_mins(1)).await;
                println!("change {number}, interrupted at {at} by {by}: {outcome:?}");
                invariants::hold_after(&stores.process(), &[]).await;
                is_exact(&stores.tables, &stores.vault).await;
                if world.0.begun.load(Ordering::SeqCst) < at {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn many_writers_leave_one_value() {
    let stores = Stores { tables: memory().await, vault: Arc::default() };
    let process = stores.process();
    create(&process, "a", OLD).await.unwrap();
    let texts: Vec<_> = (0..12).map(|number| format!(r#"{{"api_key": "value-{number}"}}"#)).collect();
    let outcomes = join_all(texts.iter().map(|text| patch(&process, text))).await;
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    process.drain(Duration::from_secs(20)).await;
    invariants::hold_after(&stores.process(), &[]).await;
    is_exact(&stores.tables, &stores.vault).await;
    assert_eq!(stores.vault.values().len(), 1);
}

/// Who comes second has stored a secret by then, and takes it back.
#[tokio::test]
async fn many_creates_of_one_external_organization_leave_one_value() {
    let stores = Stores { tables: memory().await, vault: Arc::default() };
    let process = stores.process();
    let names: Vec<_> = (0..12).map(|number| format!("m{number}")).collect();
    let outcomes = join_all(names.iter().map(|name| create(&process, name, NEW))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    process.drain(Duration::from_secs(20)).await;
    assert_eq!(stores.vault.values(), ["new"], "without any repair");
    is_exact(&stores.tables, &stores.vault).await;
    invariants::hold_after(&stores.process(), &[]).await;
}

/// A store whose answers are lost, and where what was to be stored arrives when everybody has gone.
#[derive(Default)]
struct Late {
    vault: Arc<Vault>,
    on_their_way: Mutex<Vec<(String, Secret)>>,
}

#[async_trait]
impl SecretStore for Late {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        self.vault.get(name).await
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        self.on_their_way.lock().unwrap().push((name.to_owned(), value.clone()));
        Err(SecretError::Unavailable { reason: "no answer".into(), retry_after: None })
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        self.vault.delete(name).await
    }
}

#[tokio::test]
async fn a_secret_that_arrives_after_it_was_taken_back_is_removed() {
    let (tables, late) = (memory().await, Arc::new(Late::default()));
    let process = process(Arc::clone(&tables), Arc::<Late>::clone(&late));
    let outcome = create(&process, "a", NEW).await;
    assert!(matches!(outcome, Err(MappingError::Secrets(SecretError::Unavailable { .. }))), "{outcome:?}");
    process.drain(Duration::from_mins(1)).await;
    let arriving = std::mem::take(&mut *late.on_their_way.lock().unwrap());
    for (name, value) in &arriving {
        late.vault.set(name, value).await.unwrap();
    }
    assert_eq!(late.vault.values(), ["new"]);
    let report = process.mappings.repair().run_once(SystemTime::now() + REPAIR_GRACE * 2).await.unwrap();
    assert_eq!((report.discarded, report.failed), (1, 0));
    is_exact(&tables, &late.vault).await;
}

/// A store that the service may write and not delete from.
struct Undeletable(Arc<Vault>);

#[async_trait]
impl SecretStore for Undeletable {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        self.0.get(name).await
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        self.0.set(name, value).await
    }

    async fn delete(&self, _name: &str) -> Result<(), SecretError> {
        Err(SecretError::Unavailable { reason: "403".into(), retry_after: None })
    }
}

#[tokio::test]
async fn a_secret_that_can_not_be_removed_keeps_no_table_from_being_mended() {
    let stores = Stores { tables: memory().await, vault: Arc::default() };
    let refused = process(Arc::clone(&stores.tables), Arc::new(Undeletable(Arc::clone(&stores.vault))));
    create(&refused, "a", OLD).await.unwrap();
    patch(&refused, NEW).await.unwrap();
    refused.drain(Duration::from_secs(5)).await;
    let index = Key::new("vaulted", "acme_mapping_a");
    stores.tables.delete(Table::IntegrationMappings, &index, &When::Any).await.unwrap();

    let repair = refused.mappings.repair();
    assert_eq!(repair.run_once(SystemTime::now()).await.unwrap().failed, 1, "it is told");
    repair.rebuild().await.unwrap();
    assert!(stores.tables.get(Table::IntegrationMappings, &index).await.unwrap().is_some());
    assert_eq!(stores.vault.values().len(), 2);
    // Once it may be removed, it is.
    invariants::hold_after(&stores.process(), &[]).await;
    is_exact(&stores.tables, &stores.vault).await;
}
