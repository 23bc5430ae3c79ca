//! The one thread that changes the file.
//!
//! A commit waits for the disk, and that is most of its cost: all writes that are waiting by then go into the next one
//! together. Each of them still happens as a whole or not at all, and has an outcome of its own.

use std::{
    iter,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use super::{failed, record};
use crate::tables::{Etag, Operation, Put, Table, TableError, When};

/// Most writes in one transaction, to bound how long the first of them waits.
const TOGETHER: usize = 256;

type Outcome = Result<Vec<Option<Etag>>, TableError>;

/// A batch of operations on one partition, checked by the port's rules: no row twice.
struct Write {
    table: Table,
    batch: Vec<Operation>,
    reply: oneshot::Sender<Outcome>,
}

/// Hands writes to the thread. Dropped, it waits for those that were handed over.
pub(super) struct Writer {
    writes: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: &Arc<Database>) -> Result<Self, TableError> {
        make_tables(database).map_err(failed)?;
        let (writes, waiting) = mpsc::channel();
        let database = Arc::clone(database);
        let thread = thread::Builder::new()
            .name("embedded-tables".into())
            .spawn(move || run(&database, &waiting))
            .map_err(|error| TableError::unavailable(format!("no thread for the embedded store: {error}")))?;
        Ok(Self { writes: Some(writes), thread: Some(thread) })
    }

    pub(super) async fn write(&self, table: Table, batch: Vec<Operation>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let ended = || TableError::unavailable("the writer of the embedded store has ended: restart crosswalk");
        let writes = self.writes.as_ref().ok_or_else(ended)?;
        writes.send(Write { table, batch, reply }).map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.writes.take());
        if let Some(thread) = self.thread.take() {
            // It fails only where the thread panicked, and then there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

/// With the tables there, no read has to tell a missing table from an empty one.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    if database.begin_read()?.open_table(record::COUNTERS).is_ok() {
        return Ok(()); // and the others, which were made in the same transaction
    }
    let transaction = begin(database)?;
    transaction.open_table(record::COUNTERS)?;
    for table in Table::ALL {
        transaction.open_table(record::rows(table))?;
    }
    Ok(transaction.commit()?)
}

/// Every commit also saves which pages are free. Without that, opening after a kill reads the whole file.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Until nobody is left who could send.
fn run(database: &Database, waiting: &mpsc::Receiver<Write>) {
    while let Ok(first) = waiting.recv() {
        let writes: Vec<Write> = iter::once(first).chain(waiting.try_iter().take(TOGETHER - 1)).collect();
        let outcomes = commit(database, &writes);
        let outcomes = outcomes.unwrap_or_else(|error| {
            let error = failed(error);
            writes.iter().map(|_| Err(error.clone())).collect()
        });
        for (write, outcome) in iter::zip(writes, outcomes) {
            // Nobody listens where the caller gave up waiting. The write has happened, as a remote one would have.
            let _ = write.reply.send(outcome);
        }
    }
}

/// An outcome for each write. An error is one of the file, and then nothing has happened.
fn commit(database: &Database, writes: &[Write]) -> Result<Vec<Outcome>, redb::Error> {
    let transaction = begin(database)?;
    let mut outcomes = Vec::with_capacity(writes.len());
    {
        let mut counters = transaction.open_table(record::COUNTERS)?;
        let mut revision = counters.get(record::REVISION)?.map_or(0, |revision| revision.value());
        for write in writes {
            outcomes.push(apply(&transaction, write, &mut revision)?);
        }
        counters.insert(record::REVISION, revision)?;
    }
    if outcomes.iter().any(Result::is_ok) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(outcomes)
}

/// First every condition, then every change. As no row is named twice, no change can spoil a condition.
fn apply(transaction: &WriteTransaction, write: &Write, revision: &mut u64) -> Result<Outcome, redb::Error> {
    let mut rows = transaction.open_table(record::rows(write.table))?;
    for operation in &write.batch {
        let key = operation.key();
        let found = rows.get(record::key(&key.partition, &key.row).as_slice())?;
        let found = found.map(|value| record::revision(value.value())).transpose()?.map(record::tag);
        if let Err(error) = check(operation, found.as_ref()) {
            return Ok(Err(error));
        }
    }
    let mut tags = Vec::with_capacity(write.batch.len());
    for operation in &write.batch {
        let key = operation.key();
        let key = record::key(&key.partition, &key.row);
        tags.push(match operation {
            Operation::Put(row, _) => {
                *revision += 1;
                rows.insert(key.as_slice(), record::encode(row, *revision)?.as_slice())?;
                Some(record::tag(*revision))
            }
            Operation::Delete(..) => {
                rows.remove(key.as_slice())?;
                None
            }
        });
    }
    Ok(Ok(tags))
}

/// Whether an operation may happen to a row with that tag, or to none. A missing row comes before a stale tag, as on Azure.
fn check(operation: &Operation, found: Option<&Etag>) -> Result<(), TableError> {
    let matches = |etag: &Etag| match found {
        None => Err(TableError::NotFound),
        Some(found) if found != etag => Err(TableError::Precondition),
        Some(_) => Ok(()),
    };
    match operation {
        Operation::Put(_, Put::Create) => found.map_or(Ok(()), |_| Err(TableError::AlreadyExists)),
        Operation::Put(_, Put::Upsert) => Ok(()),
        Operation::Put(_, Put::Replace(etag)) | Operation::Delete(_, When::Matches(etag)) => matches(etag),
        Operation::Delete(_, When::Any) => found.map(drop).ok_or(TableError::NotFound),
    }
}
