//! The table port on Azure Table Storage, through the last SDK for Rust that has tables (0.21).
//!
//! Owns: what is sent, what is repeated, what an answer means. Must not know: what the rows are for. `account` says how
//! the service is reached, `entity` translates rows, `retry` decides what is tried again. The SDK's defects that shape
//! the code here are named where they do.

mod account;
mod entity;
mod retry;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use azure_core::Continuable;
use azure_data_tables::{
    IfMatchCondition, Top,
    clients::{EntityClient, TableClient, TableServiceClient},
    operations::QueryEntityResponse,
};
use futures::{
    StreamExt, TryFutureExt, TryStreamExt,
    future::try_join_all,
    stream::{self, BoxStream},
};
use tokio::{sync::Mutex, time::Instant};

pub use self::account::AzureAccount;
use self::{
    entity::Entity,
    retry::{Fault, deadline, in_time, repeated},
};
use super::{
    Etag, Key, Operation, PAGE_LIMIT, Page, Put, Range, Row, Stored, Table, TableError, TableStore, When, key,
};

/// Where a query goes on: the next partition key and row key, encoded by the service.
type Continuation = (String, Option<String>);

/// The tables of one storage account.
///
/// Reads, upserts and unconditional deletes are tried up to three times, all else once: a lost answer to a conditional
/// write does not tell whether it happened, and repeating it would answer its author's own success with a conflict.
/// Every call ends after 3.5 seconds.
pub struct AzureTables {
    client: TableServiceClient,
    /// The tables were there. Until then every call sees to it first.
    made: AtomicBool,
    making: Mutex<()>,
}

impl AzureTables {
    /// Asks nothing of the service yet: the first call makes the tables that are missing.
    pub fn new(account: &AzureAccount) -> Self {
        Self { client: account.client(), made: AtomicBool::new(false), making: Mutex::default() }
    }

    /// With the tables there, a 404 means the row.
    async fn make_tables(&self, deadline: Instant) -> Result<(), Fault> {
        if self.made.load(Ordering::Acquire) {
            return Ok(());
        }
        let _making = self.making.lock().await;
        if self.made.load(Ordering::Acquire) {
            return Ok(());
        }
        let make = |table: Table| {
            repeated(deadline, move |_| async move {
                match self.table(table).create().await.map_err(Fault::from) {
                    Err(Fault { status: Some(409), .. }) => Ok(()), // it exists
                    result => result.map(drop),
                }
            })
        };
        try_join_all(Table::ALL.map(make)).await?;
        self.made.store(true, Ordering::Release);
        Ok(())
    }

    fn table(&self, table: Table) -> TableClient {
        self.client.table_client(table.name())
    }

    fn entity(&self, table: Table, key: &Key) -> EntityClient {
        // The SDK pastes keys unescaped between quotes: one with a quote would name another row, and succeed.
        debug_assert!(key.check().is_ok(), "an unchecked key reached the SDK");
        self.table(table).partition_key_client(&key.partition).entity_client(&key.row)
    }

    /// One call of the port: the tables are there, it ends in time, its fault becomes what the caller can act on.
    async fn call<T>(
        &self,
        verb: &str,
        table: Table,
        deadline: Instant,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, TableError> {
        let result = in_time(deadline, async {
            self.make_tables(deadline).await?;
            work.await
        });
        result.await.map_err(|fault| {
            if fault.table_missing {
                self.made.store(false, Ordering::Release);
            }
            fault.into_error(&format!("{verb} {table}"))
        })
    }

    /// One page of a query, of up to `top` rows. It may be empty and yet have a continuation.
    async fn page(
        &self,
        table: Table,
        filter: Option<&str>,
        top: usize,
        from: Option<&Continuation>,
    ) -> Result<(Vec<Stored>, Option<Continuation>), Fault> {
        let mut query = self.table(table).query().top(Top::new(u32::try_from(top).unwrap_or(u32::MAX)));
        if let Some(filter) = filter {
            query = query.filter(filter.to_owned());
        }
        if let Some((partition, row)) = from {
            query = query.initial_partition_key(partition);
            if let Some(row) = row {
                query = query.initial_row_key(row);
            }
        }
        // Only the first page of the SDK's stream is taken: a stream that failed can't be repeated.
        let answer: QueryEntityResponse<Entity> = match query.into_stream().next().await {
            Some(answer) => answer?,
            None => return Ok((Vec::new(), None)),
        };
        let next = answer.continuation();
        let rows = answer.entities.into_iter().map(entity::into_stored).collect::<azure_core::Result<_>>()?;
        Ok((rows, next))
    }

    async fn scan_pages(&self, table: Table, filter: &str, limit: usize) -> Result<Page, Fault> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let (page, next) = self.page(table, Some(filter), limit - rows.len(), from.as_ref()).await?;
            rows.extend(page);
            let more = next.is_some() || rows.len() > limit;
            rows.truncate(limit);
            if rows.len() == limit || next.is_none() {
                let last = rows.last().filter(|_| more).map(|last: &Stored| key::after(&last.row.key.row));
                return Ok(Page { rows, next: last });
            }
            from = next;
        }
    }

    async fn send_batch(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, Fault> {
        let Some(first) = batch.first() else {
            return Ok(Vec::new());
        };
        let mut transaction = self.table(table).partition_key_client(&first.key().partition).transaction();
        for operation in batch {
            transaction = match operation {
                Operation::Put(row, Put::Create) => transaction.insert(entity::from_row(row))?,
                // Never `update` without a condition: the SDK would send an upsert.
                Operation::Put(row, Put::Replace(etag)) => {
                    transaction.update(&row.key.row, entity::from_row(row), Some(entity::matching(etag)))?
                }
                Operation::Put(row, Put::Upsert) => {
                    transaction.insert_or_replace(&row.key.row, entity::from_row(row))?
                }
                Operation::Delete(key, when) => transaction.delete(&key.row, Some(condition(when)))?,
            };
        }
        // A batch that failed is `Ok` to the SDK: one answer with the status of the operation that failed.
        let answers = transaction.await?.operation_responses;
        if let Some(failed) = answers.iter().find(|answer| u16::from(answer.status_code) >= 400) {
            let mut fault = Fault::status(failed.status_code.into());
            let needs_row = |op: &Operation| matches!(op, Operation::Delete(..) | Operation::Put(_, Put::Replace(_)));
            fault.table_missing = fault.status == Some(404) && !batch.iter().any(needs_row);
            return Err(fault);
        }
        if answers.len() != batch.len() {
            return Err(Fault::new(format!("{} answers to a batch of {}", answers.len(), batch.len())));
        }
        let tags = batch.iter().zip(answers).map(|(operation, answer)| match (operation, answer.etag) {
            (Operation::Delete(..), _) => Ok(None),
            (Operation::Put(..), Some(etag)) => Ok(Some(Etag(etag.to_string()))),
            (Operation::Put(..), None) => Err(Fault::new("an answer to a batch without a tag")),
        });
        tags.collect()
    }
}

#[async_trait]
impl TableStore for AzureTables {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Stored>, TableError> {
        key.check()?;
        let deadline = deadline();
        let entity = self.entity(table, key);
        let work = repeated(deadline, |_| async { Ok(entity::into_stored(entity.get().await?.entity)?) });
        match self.call("get", table, deadline, work).await {
            Err(TableError::NotFound) => Ok(None),
            result => result.map(Some),
        }
    }

    async fn put(&self, table: Table, row: &Row, mode: &Put) -> Result<Etag, TableError> {
        super::check_row(row)?;
        let deadline = deadline();
        let body = entity::from_row(row);
        let entity = self.entity(table, &row.key);
        let etag = match mode {
            Put::Create => {
                let work = async { Ok(self.table(table).insert::<_, Entity>(&body)?.await?.etag) };
                self.call("create", table, deadline, work).await
            }
            Put::Replace(etag) => {
                let work = async { Ok(entity.update(&body, entity::matching(etag))?.await?.etag) };
                self.call("replace", table, deadline, work).await
            }
            Put::Upsert => {
                let upsert = async |_| match entity.insert_or_replace(&body)?.await {
                    Ok(answer) => Ok(answer.etag),
                    Err(error) => Err(unconditional(error.into())),
                };
                self.call("upsert", table, deadline, repeated(deadline, upsert)).await
            }
        };
        etag.map(|etag| Etag(etag.to_string()))
    }

    async fn delete(&self, table: Table, key: &Key, when: &When) -> Result<(), TableError> {
        key.check()?;
        let deadline = deadline();
        let entity = self.entity(table, key);
        let once = async || Ok(entity.delete().if_match(condition(when)).await.map(drop)?);
        let again = async |number| match once().await {
            // Gone by the attempt whose answer was lost.
            Err(Fault { status: Some(404), .. }) if number > 1 => Ok(()),
            result => result,
        };
        match when {
            When::Matches(_) => self.call("delete", table, deadline, once()).await,
            When::Any => self.call("delete", table, deadline, repeated(deadline, again)).await,
        }
    }

    async fn scan(&self, table: Table, range: &Range, limit: usize) -> Result<Page, TableError> {
        range.check()?;
        let deadline = deadline();
        // Nothing that was checked can end a literal: neither keys nor bounds hold quotes.
        let Range { partition, from, to } = range;
        let filter = format!("PartitionKey eq '{partition}' and RowKey ge '{from}' and RowKey lt '{to}'");
        let limit = limit.clamp(1, PAGE_LIMIT);
        let work = repeated(deadline, |_| self.scan_pages(table, &filter, limit)).map_err(of_table);
        self.call("scan", table, deadline, work).await
    }

    async fn commit(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, TableError> {
        super::check_batch(batch)?;
        self.call("commit", table, deadline(), self.send_batch(table, batch)).await
    }

    fn scan_table(&self, table: Table) -> BoxStream<'_, Result<Stored, TableError>> {
        // None before the first page, Some(None) after the last one.
        let pages = stream::try_unfold(None, move |state: Option<Option<Continuation>>| async move {
            if matches!(state, Some(None)) {
                return Ok(None);
            }
            let deadline = deadline();
            let from = state.flatten();
            let page = |_| self.page(table, None, PAGE_LIMIT, from.as_ref());
            let work = repeated(deadline, page).map_err(of_table);
            let (rows, next) = self.call("scan", table, deadline, work).await?;
            Ok::<_, TableError>(Some((stream::iter(rows.into_iter().map(Ok)), Some(next))))
        });
        pages.try_flatten().boxed()
    }
}

fn condition(when: &When) -> IfMatchCondition {
    match when {
        When::Any => IfMatchCondition::Any,
        When::Matches(etag) => entity::matching(etag),
    }
}

/// An upsert depends on no row. Azurite still answers 409 or 404 when two of them, or one and a delete, meet: it looks
/// for the row in one step and writes in the next. Trying again is right.
fn unconditional(fault: Fault) -> Fault {
    match fault.status {
        Some(404 | 409) if !fault.table_missing => Fault { status: None, transient: true, ..fault },
        _ => fault,
    }
}

/// A query that finds nothing is answered with an empty page; a 404 can only mean the table.
fn of_table(fault: Fault) -> Fault {
    Fault { table_missing: fault.table_missing || fault.status == Some(404), ..fault }
}
