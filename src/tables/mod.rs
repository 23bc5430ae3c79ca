//! The table port: what the service needs of a table store, and nothing that names a technology.
//!
//! Owns: [`TableStore`], rows, keys, conditional writes, the outcomes a caller acts on. Must not know: mappings,
//! HTTP, Azure. Adapters: [`AzureTables`] and [`EmbeddedTables`]; `tests/tables` runs one suite on both, and the
//! embedded one is bent to what Azure Table Storage does, never the reverse.
//!
//! No filter text passes the port, so nothing can be injected into one.

mod azure;
mod embedded;
mod key;
mod property;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::{
    azure::{AzureAccount, AzureTables},
    embedded::EmbeddedTables,
    key::{Key, Range, after},
    property::{Properties, Property},
};

/// Most operations in one [`TableStore::commit`]; the limit of an entity group transaction.
pub const BATCH_LIMIT: usize = 100;
/// Most rows in one page of [`TableStore::scan`]; the limit of one Azure query.
pub const PAGE_LIMIT: usize = 1000;
/// Most UTF-16 units in one text property; the limit of Azure (64 KiB).
pub const TEXT_LIMIT: usize = 32 * 1024;
/// Most properties of one row, keys and timestamp not counted; the limit of Azure.
pub const PROPERTIES_LIMIT: usize = 252;

/// Most UTF-16 units in the name of a property; the limit of Azure.
pub const NAME_LIMIT: usize = 255;
/// Most bytes in one binary property; the limit of Azure.
pub const BINARY_LIMIT: usize = 64 * 1024;
/// Most bytes of one row as Azure counts them, two for each UTF-16 unit of text; the limit of Azure.
pub const ROW_LIMIT: usize = 1024 * 1024;
/// Most bytes of one batch on the wire; the limit of Azure.
pub const BATCH_BYTES_LIMIT: usize = 4 * 1024 * 1024;

/// The tables of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Mappings by organization: the source of truth.
    OrgIntegrationMappings,
    /// Mappings by integration: the reverse index.
    IntegrationMappings,
    /// What changed, newest first.
    AuditEvents,
    /// The platform's organizations, read here.
    Organizations,
    /// The platform's rights of a user on an organization, read here.
    UserPermissions,
    /// The platform's users, read here.
    Users,
    /// The platform's configuration values, read here.
    Config,
}

impl Table {
    pub const ALL: [Self; 7] = [
        Self::OrgIntegrationMappings,
        Self::IntegrationMappings,
        Self::AuditEvents,
        Self::Organizations,
        Self::UserPermissions,
        Self::Users,
        Self::Config,
    ];

    /// The name in the storage account.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrgIntegrationMappings => "OrgIntegrationMappings",
            Self::IntegrationMappings => "IntegrationMappings",
            Self::AuditEvents => "AuditEvents",
            Self::Organizations => "Organizations",
            Self::UserPermissions => "UserPermissions",
            Self::Users => "Users",
            Self::Config => "Config",
        }
    }

    /// The table with that name in the storage account.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row as it is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: Key,
    pub properties: Properties,
}

/// A row as it was read, with the tag that a conditional write compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub row: Row,
    pub etag: Etag,
}

/// Changes with every write of a row; opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag(pub String);

/// When a put may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// Only if no such row exists; else [`TableError::AlreadyExists`].
    Create,
    /// Only over that very row; else [`TableError::Precondition`], or [`TableError::NotFound`] where it is gone.
    Replace(Etag),
    /// Always; what was there is gone.
    Upsert,
}

/// When a delete may happen. A missing row is [`TableError::NotFound`] in both cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Any,
    /// Only that very row; else [`TableError::Precondition`].
    Matches(Etag),
}

/// One operation of a batch. All of a batch share one partition; no two name the same row.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Put(Row, Put),
    Delete(Key, When),
}

impl Operation {
    /// The row that the operation is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put(row, _) => &row.key,
            Self::Delete(key, _) => key,
        }
    }
}

/// One page of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In ordinal order of their row keys.
    pub rows: Vec<Stored>,
    /// Where the rest begins: the same range with this lower bound. None: there is no more.
    pub next: Option<String>,
}

/// What a caller can act on. Nothing in it may be shown to a client: `Unavailable` carries the store's own words.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TableError {
    #[error("no such row")]
    NotFound,
    #[error("the row exists already")]
    AlreadyExists,
    #[error("the row was changed by someone else")]
    Precondition,
    /// The store will never take this: a key, a property or a batch outside its limits. A mistake of the program.
    #[error("the table store refuses this: {0}")]
    Invalid(String),
    /// The store is down, slow, throttling, or refuses the service's credentials. A write may or may not have happened.
    #[error("the table store is unavailable: {reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
}

impl TableError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: None }
    }
}

/// A table store. Every call ends within a few seconds, whatever the store does.
#[async_trait]
pub trait TableStore: Send + Sync + 'static {
    /// One row, or none.
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Stored>, TableError>;

    /// Writes one row; the answer is its new tag.
    async fn put(&self, table: Table, row: &Row, mode: &Put) -> Result<Etag, TableError>;

    /// Removes one row.
    async fn delete(&self, table: Table, key: &Key, when: &When) -> Result<(), TableError>;

    /// Up to `limit` rows (1 to [`PAGE_LIMIT`]) of one partition, from the lower bound of the range on.
    async fn scan(&self, table: Table, range: &Range, limit: usize) -> Result<Page, TableError>;

    /// All or nothing: 1 to [`BATCH_LIMIT`] operations on rows of one partition, no row twice. The answer has a tag per
    /// operation, None for a delete. The error is that of the first operation that could not be done.
    async fn commit(&self, table: Table, batch: &[Operation]) -> Result<Vec<Option<Etag>>, TableError>;

    /// Every row of a table, partition by partition in ordinal order. For verification and rebuilding only: no request may scan a table.
    fn scan_table(&self, table: Table) -> BoxStream<'_, Result<Stored, TableError>>;
}

/// Reads every page of a range.
pub async fn scan_all(tables: &dyn TableStore, table: Table, range: &Range) -> Result<Vec<Stored>, TableError> {
    let mut range = range.clone();
    let mut rows = Vec::new();
    loop {
        let page = tables.scan(table, &range, PAGE_LIMIT).await?;
        rows.extend(page.rows);
        match page.next {
            Some(next) => range.from = next,
            None => return Ok(rows),
        }
    }
}

/// What every adapter refuses before it asks its store, so that both refuse the same.
fn check_batch(batch: &[Operation]) -> Result<(), TableError> {
    let invalid = |reason: String| Err(TableError::Invalid(reason));
    let Some(first) = batch.first() else {
        return invalid("a batch without operations".into());
    };
    if batch.len() > BATCH_LIMIT {
        return invalid(format!("a batch of {} operations, at most {BATCH_LIMIT} are possible", batch.len()));
    }
    let mut rows = std::collections::HashSet::new();
    let mut bytes = 0;
    for operation in batch {
        let key = operation.key();
        key.check()?;
        if key.partition != first.key().partition {
            return invalid("a batch over two partitions".into());
        }
        if !rows.insert(&key.row) {
            return invalid("a batch that names one row twice".into());
        }
        if let Operation::Put(row, _) = operation {
            property::check(row)?;
            bytes += property::wire_size(row);
        }
    }
    if bytes > BATCH_BYTES_LIMIT {
        return invalid(format!("a batch of {bytes} bytes, at most {BATCH_BYTES_LIMIT} are possible"));
    }
    Ok(())
}

/// What every adapter refuses before it asks its store for a single row.
///
/// # Errors
/// [`TableError::Invalid`] with what is wrong.
pub fn check_row(row: &Row) -> Result<(), TableError> {
    row.key.check()?;
    property::check(row)
}

/// The port as services hold it.
pub type Tables = Arc<dyn TableStore>;
