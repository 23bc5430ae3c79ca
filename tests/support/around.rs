//! A store around another one: something of the test's own happens at every operation.

use std::ops::Deref;

use async_trait::async_trait;
use crosswalk::tables::{
    Etag, Key, Operation, Page, Put, Range, Row, Stored, Table, TableError, TableStore, Tables, When,
};
use futures::stream::BoxStream;

/// What a read is of.
pub enum Read<'a> {
    Row(&'a Key),
    Rows(&'a Range),
}

/// What happens at an operation; nothing else than the operation, unless said so.
pub trait Steps: Send + Sync + 'static {
    /// The store that is wrapped.
    fn inner(&self) -> &Tables;

    /// Does the operation, or something else.
    fn step<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, TableError>> + Send,
    ) -> impl Future<Output = Result<T, TableError>> + Send {
        operation
    }

    /// Comes before a read.
    fn read(&self, _table: Table, _of: Read<'_>) -> impl Future<Output = Result<(), TableError>> + Send {
        async { Ok(()) }
    }

    /// Comes before a whole table is read.
    fn read_all(&self, _table: Table) {}
}

/// The store that takes those steps.
pub struct Around<S>(pub S);

impl<S> Deref for Around<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

#[async_trait]
impl<S: Steps> TableStore for Around<S> {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Stored>, TableError> {
        self.0.read(table, Read::Row(key)).await?;
        self.0.step(self.0.inner().get(table, key)).await
    }

    async fn put(&self, table: Table, row: &Row, mode: &Put) -> Result<Etag, TableError> {
        self.0.step(self.0.inner().put(table, row, mode)).await
    }

    async fn delete(&self, table: Table, key: &Key, when: &When) -> Result<(), TableError> {
        self.0.step(self.0.inner().delete(table, key, when)).await
    }

    async fn scan(&self, table: Table, range: &Range, limit: usize) -> Result<Page, TableError> {
        self.0.read(table, Read::Rows(range)).await?;
        self.0.step(self.0.inner().scan(table, range, limit)).await
    }

    async fn commit(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, TableError> {
        self.0.step(self.0.inner().commit(table, batch)).await
    }

    fn scan_table(&self, table: Table) -> BoxStream<'_, Result<Stored, TableError>> {
        self.0.read_all(table);
        self.0.inner().scan_table(table)
    }
}
