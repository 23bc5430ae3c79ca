//! The table port in one file of this machine: for development, tests and installations without a cloud.
//!
//! Owns: the file, its layout, its durability. Must not know: what the rows are for. Behaves as Azure Table Storage
//! does, never the reverse. `record` is the layout of keys and rows, `writer` the one thread that changes them.

mod record;
mod writer;

use std::{fs, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{
    TryStreamExt,
    stream::{self, BoxStream, StreamExt},
};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, backends::InMemoryBackend};
use tokio::time::timeout;

use self::writer::Writer;
use super::{
    Etag, Key, Operation, PAGE_LIMIT, Page, Put, Range, Row, Stored, Table, TableError, TableStore, When, key,
};

/// The file inside the folder that was named.
const FILE: &str = "crosswalk.redb";
/// The whole process shall stay under 30 MB; the operating system caches the rest of the file.
const CACHE_BYTES: usize = 8 << 20;
/// For one write, waiting for others included. A disk that takes longer is as good as gone.
const DEADLINE: Duration = Duration::from_millis(3500);

/// Tables in one file, for one process. Durable when a write returns, also over a kill or a loss of power.
///
/// Reads run where they are called, without a thread of their own: they take microseconds from a page cache, less than
/// handing them over would, and no write makes them wait.
pub struct EmbeddedTables {
    // Before the database: it is dropped first, and waits for what was begun.
    writer: Writer,
    database: Arc<Database>,
}

impl EmbeddedTables {
    /// Opens the store in that folder, which is made if need be.
    ///
    /// The error names the file, and says what to do where another process has it open.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        let file = folder.join(FILE);
        let shown = file.display();
        fs::create_dir_all(folder).map_err(|error| {
            TableError::unavailable(format!("the folder {} can't be made: {error}", folder.display()))
        })?;
        let database = builder().create(&file).map_err(|error| {
            TableError::unavailable(match error {
                DatabaseError::DatabaseAlreadyOpen => {
                    format!("{shown} is open in another process: stop the other crosswalk, or choose another folder")
                }
                error => format!("{shown} can't be opened: {error}"),
            })
        })?;
        Self::start(database)
    }

    /// A store that is gone with the value.
    pub fn in_memory() -> Result<Self, TableError> {
        Self::start(builder().create_with_backend(InMemoryBackend::new()).map_err(failed)?)
    }

    fn start(database: Database) -> Result<Self, TableError> {
        let database = Arc::new(database);
        Ok(Self { writer: Writer::start(&database)?, database })
    }

    async fn write(&self, table: Table, batch: Vec<Operation>) -> Result<Vec<Option<Etag>>, TableError> {
        match timeout(DEADLINE, self.writer.write(table, batch)).await {
            Ok(result) => result,
            Err(_) => Err(TableError::unavailable("the disk did not take a write in time")),
        }
    }

    /// Up to `limit` rows with keys from `from` up to, not including, `to`; None: to the end.
    fn read(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Stored>, redb::Error> {
        let rows = self.database.begin_read()?.open_table(record::rows(table))?;
        let found = match to {
            Some(to) if from >= to => return Ok(Vec::new()),
            Some(to) => rows.range(from..to)?,
            None => rows.range(from..)?,
        };
        found
            .take(limit)
            .map(|entry| entry.map_err(Into::into).and_then(|(key, value)| record::decode(key.value(), value.value())))
            .collect()
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn failed(error: impl Into<redb::Error>) -> TableError {
    TableError::unavailable(format!("the embedded store failed: {}", error.into()))
}

#[async_trait]
impl TableStore for EmbeddedTables {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Stored>, TableError> {
        key.check()?;
        let bytes = record::key(&key.partition, &key.row);
        let get = || {
            let rows = self.database.begin_read()?.open_table(record::rows(table))?;
            rows.get(bytes.as_slice())?.map(|value| record::decode(&bytes, value.value())).transpose()
        };
        get().map_err(|error: redb::Error| failed(error))
    }

    async fn put(&self, table: Table, row: &Row, mode: &Put) -> Result<Etag, TableError> {
        super::check_row(row)?;
        let tags = self.write(table, vec![Operation::Put(row.clone(), mode.clone())]).await?;
        tags.into_iter().flatten().next().ok_or_else(|| TableError::unavailable("a write without a tag"))
    }

    async fn delete(&self, table: Table, key: &Key, when: &When) -> Result<(), TableError> {
        key.check()?;
        self.write(table, vec![Operation::Delete(key.clone(), when.clone())]).await.map(drop)
    }

    async fn scan(&self, table: Table, range: &Range, limit: usize) -> Result<Page, TableError> {
        range.check()?;
        let limit = limit.clamp(1, PAGE_LIMIT);
        let from = record::key(&range.partition, &range.from);
        let to = record::key(&range.partition, &range.to);
        let mut rows = self.read(table, &from, Some(&to), limit + 1).map_err(failed)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| key::after(&last.row.key.row));
        Ok(Page { rows, next })
    }

    async fn commit(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, TableError> {
        super::check_batch(batch)?;
        self.write(table, batch.to_vec()).await
    }

    fn scan_table(&self, table: Table) -> BoxStream<'_, Result<Stored, TableError>> {
        // In pages, as the remote does: one transaction over the whole table would keep every page that is freed meanwhile.
        let pages = stream::try_unfold(Some(Vec::new()), move |from: Option<Vec<u8>>| async move {
            let Some(from) = from else {
                return Ok(None);
            };
            let rows = self.read(table, &from, None, PAGE_LIMIT).map_err(failed)?;
            let last = rows.last().filter(|_| rows.len() == PAGE_LIMIT).map(|last| &last.row.key);
            let next = last.map(|last| record::key(&last.partition, &key::after(&last.row)));
            Ok::<_, TableError>(Some((stream::iter(rows.into_iter().map(Ok)), next)))
        });
        pages.try_flatten().boxed()
    }
}
