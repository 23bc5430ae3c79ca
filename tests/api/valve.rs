//! A store that can be taken down, made to hang, or made to wait just before it commits.

use std::sync::Arc;

use async_trait::async_trait;
use crosswalk::tables::{
    EmbeddedTables, Etag, Key, Operation, Page, Put, Range, Row, Stored, Table, TableError, TableStore, When,
};
use futures::stream::BoxStream;
use tokio::sync::{Notify, watch};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Open,
    /// Commits wait.
    Held,
    /// The next commit happens, and then nothing works: what a crash between two writes looks like.
    LastCommit,
    /// Nothing works.
    Down,
    /// Nothing is answered.
    Hung,
}

pub struct Valve {
    inner: EmbeddedTables,
    flow: watch::Sender<Flow>,
    /// A commit has begun to wait.
    pub waiting: Notify,
}

impl Valve {
    pub fn new() -> Arc<Self> {
        Self::of(EmbeddedTables::in_memory().unwrap())
    }

    pub fn of(inner: EmbeddedTables) -> Arc<Self> {
        Arc::new(Self { inner, flow: watch::Sender::new(Flow::Open), waiting: Notify::new() })
    }

    pub fn turn(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    async fn up(&self) -> Result<(), TableError> {
        self.flow.subscribe().wait_for(|flow| *flow != Flow::Hung).await.unwrap();
        if *self.flow.borrow() == Flow::Down {
            return Err(TableError::Unavailable { reason: "secret-host refused".into(), retry_after: None });
        }
        Ok(())
    }
}

#[async_trait]
impl TableStore for Valve {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Stored>, TableError> {
        self.up().await?;
        self.inner.get(table, key).await
    }

    async fn put(&self, table: Table, row: &Row, mode: &Put) -> Result<Etag, TableError> {
        self.up().await?;
        self.inner.put(table, row, mode).await
    }

    async fn delete(&self, table: Table, key: &Key, when: &When) -> Result<(), TableError> {
        self.up().await?;
        self.inner.delete(table, key, when).await
    }

    async fn scan(&self, table: Table, range: &Range, limit: usize) -> Result<Page, TableError> {
        self.up().await?;
        self.inner.scan(table, range, limit).await
    }

    async fn commit(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, TableError> {
        self.up().await?;
        let mut flow = self.flow.subscribe();
        if *flow.borrow() == Flow::Held {
            self.waiting.notify_one();
            flow.wait_for(|flow| *flow != Flow::Held).await.unwrap();
        }
        let outcome = self.inner.commit(table, batch).await;
        if *self.flow.borrow() == Flow::LastCommit {
            self.turn(Flow::Down);
        }
        outcome
    }

    fn scan_table(&self, table: Table) -> BoxStream<'_, Result<Stored, TableError>> {
        self.inner.scan_table(table)
    }
}
