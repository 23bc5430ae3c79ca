//! The embedded store: the suite, and what a file brings with it.

use std::{collections::BTreeMap, path::Path};

use crosswalk::tables::{
    EmbeddedTables, Etag, Key, Operation, Property, Put, Range, Row, Stored, Table, TableError, TableStore, When,
    scan_all,
};
use futures::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::conformance;

mod in_memory {
    use super::*;

    conformance::run_on!((EmbeddedTables::in_memory().unwrap(), ()));
}

mod on_disk {
    use super::*;

    conformance::run_on!(on_disk());
}

/// A store in a folder that goes with the second value.
fn on_disk() -> (EmbeddedTables, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (EmbeddedTables::open(folder.path()).unwrap(), folder)
}

const TABLE: Table = Table::OrgIntegrationMappings;

fn row(key: &str, name: &str) -> Row {
    Row { key: Key::new("p", key), properties: [("Name".to_owned(), Property::from(name))].into() }
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("made").join("on demand");
    let first = EmbeddedTables::open(&inside).unwrap();
    let etag = first.put(TABLE, &row("r", "x"), &Put::Create).await.unwrap();
    drop(first);
    let second = EmbeddedTables::open(&inside).unwrap();
    let found = second.get(TABLE, &Key::new("p", "r")).await.unwrap();
    assert_eq!(found, Some(Stored { row: row("r", "x"), etag: etag.clone() }));
    // Tags go on where they were.
    let next = second.put(TABLE, &row("r", "x"), &Put::Upsert).await.unwrap();
    assert_ne!(next, etag);
    let stale = second.put(TABLE, &row("r", "x"), &Put::Replace(etag)).await;
    assert!(matches!(stale, Err(TableError::Precondition)));
}

#[tokio::test]
async fn a_second_opening_names_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let _first = EmbeddedTables::open(folder.path()).unwrap();
    let refused = EmbeddedTables::open(folder.path()).err().unwrap().to_string();
    let file = folder.path().join("crosswalk.redb");
    assert_eq!(
        refused,
        format!(
            "the table store is unavailable: {} is open in another process: stop the other crosswalk, or choose \
             another folder",
            file.display()
        )
    );
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crosswalk.redb");
    std::fs::write(&file, "this is not a database, and long enough to look at".repeat(1000)).unwrap();
    let refused = EmbeddedTables::open(folder.path()).err().unwrap().to_string();
    assert!(refused.contains("crosswalk.redb can't be opened"), "{refused}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"this is not"), "and left as it is");
    let refused = EmbeddedTables::open(Path::new(&file)).err().unwrap().to_string();
    assert!(refused.contains("can't be made"), "{refused}");
}

/// The state of a file while it is open is what a kill leaves behind.
#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let killed = tempfile::tempdir().unwrap();
    let store = EmbeddedTables::open(folder.path()).unwrap();
    for n in 0..20 {
        let batch =
            [Operation::Put(row(&format!("{n:02}"), "x"), Put::Create), Operation::Put(row("~", "y"), Put::Upsert)];
        let tags = store.commit(TABLE, &batch).await.unwrap();
        std::fs::copy(folder.path().join("crosswalk.redb"), killed.path().join("crosswalk.redb")).unwrap();
        let after = EmbeddedTables::open(killed.path()).unwrap();
        let rows = scan_all(&after, TABLE, &Range::new("p", "", "~~")).await.unwrap();
        assert_eq!(rows.len(), n + 2);
        assert_eq!(Some(&rows[n].etag), tags[0].as_ref());
    }
}

/// An operation on few keys, so that they meet. A tag is meant by its age: the n-th last of all that were given.
#[derive(Clone, Debug)]
enum Step {
    Single(Change),
    Batch(Vec<Change>),
    Reopen,
}

#[derive(Clone, Debug)]
struct Change {
    key: u8,
    value: u8,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Create,
    Upsert,
    Replace(usize),
    DeleteAny,
    DeleteMatching(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let kind = prop_oneof![
        Just(Kind::Create),
        Just(Kind::Upsert),
        (0..4_usize).prop_map(Kind::Replace),
        Just(Kind::DeleteAny),
        (0..4_usize).prop_map(Kind::DeleteMatching),
    ];
    (0..4_u8, any::<u8>(), kind).prop_map(|(key, value, kind)| Change { key, value, kind })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => change().prop_map(Step::Single),
        8 => proptest::collection::vec(change(), 0..4).prop_map(Step::Batch),
        1 => Just(Step::Reopen),
    ]
}

/// What the store should hold: the obvious code.
#[derive(Clone, Default)]
struct Model {
    rows: BTreeMap<Key, Stored>,
}

impl Model {
    /// Whether one operation may happen.
    fn check(&self, operation: &Operation) -> Result<(), &'static str> {
        let found = self.rows.get(operation.key()).map(|stored| &stored.etag);
        match (operation, found) {
            (Operation::Put(_, Put::Create), Some(_)) => Err("already exists"),
            (Operation::Put(_, Put::Create | Put::Upsert), _) | (Operation::Delete(_, When::Any), Some(_)) => Ok(()),
            (_, None) => Err("not found"),
            (Operation::Put(_, Put::Replace(etag)) | Operation::Delete(_, When::Matches(etag)), Some(found)) => {
                if etag == found { Ok(()) } else { Err("precondition") }
            }
        }
    }

    fn expect(&self, batch: &[Operation]) -> Result<(), &'static str> {
        let mut keys: Vec<&Key> = batch.iter().map(Operation::key).collect();
        keys.sort();
        if batch.is_empty() || keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("invalid");
        }
        batch.iter().try_for_each(|operation| self.check(operation))
    }

    fn apply(&mut self, operation: &Operation, tag: Option<Etag>) {
        match operation {
            Operation::Put(row, _) => {
                self.rows.insert(row.key.clone(), Stored { row: row.clone(), etag: tag.expect("a put has a tag") });
            }
            Operation::Delete(key, _) => {
                assert_eq!(tag, None);
                self.rows.remove(key);
            }
        }
    }
}

fn kind<T>(result: &Result<T, TableError>) -> Result<(), &'static str> {
    match result {
        Ok(_) => Ok(()),
        Err(TableError::NotFound) => Err("not found"),
        Err(TableError::AlreadyExists) => Err("already exists"),
        Err(TableError::Precondition) => Err("precondition"),
        Err(TableError::Invalid(_)) => Err("invalid"),
        Err(error @ TableError::Unavailable { .. }) => panic!("{error}"),
    }
}

fn operation(change: &Change, tags: &[Etag]) -> Operation {
    let row = row(&format!("{}", change.key), &format!("{}", change.value));
    let tag = |age: usize| tags.iter().rev().nth(age).cloned().unwrap_or(Etag("W/\"0\"".into()));
    match change.kind {
        Kind::Create => Operation::Put(row, Put::Create),
        Kind::Upsert => Operation::Put(row, Put::Upsert),
        Kind::Replace(age) => Operation::Put(row, Put::Replace(tag(age))),
        Kind::DeleteAny => Operation::Delete(row.key, When::Any),
        Kind::DeleteMatching(age) => Operation::Delete(row.key, When::Matches(tag(age))),
    }
}

async fn compare_with_model(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = EmbeddedTables::open(folder.path()).unwrap();
    let mut model = Model::default();
    let mut tags: Vec<Etag> = Vec::new();
    for step in steps {
        let (batch, result) = match &step {
            Step::Reopen => {
                drop(store);
                store = EmbeddedTables::open(folder.path()).unwrap();
                continue;
            }
            Step::Single(change) => {
                let operation = operation(change, &tags);
                let result = match &operation {
                    Operation::Put(row, mode) => store.put(TABLE, row, mode).await.map(|tag| vec![Some(tag)]),
                    Operation::Delete(key, when) => store.delete(TABLE, key, when).await.map(|()| vec![None]),
                };
                (vec![operation], result)
            }
            Step::Batch(changes) => {
                let batch: Vec<Operation> = changes.iter().map(|change| operation(change, &tags)).collect();
                let result = store.commit(TABLE, &batch).await;
                (batch, result)
            }
        };
        assert_eq!(kind(&result), model.expect(&batch), "{batch:?}");
        for (operation, tag) in batch.iter().zip(result.into_iter().flatten()) {
            if let Some(tag) = &tag {
                assert!(!tags.contains(tag), "{tag:?} given twice");
                tags.push(tag.clone());
            }
            model.apply(operation, tag);
        }
        let rows: Vec<Stored> = store.scan_table(TABLE).try_collect().await.unwrap();
        assert_eq!(rows, model.rows.values().cloned().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(compare_with_model(steps));
    }
}
