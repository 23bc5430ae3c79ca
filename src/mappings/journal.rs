//! The write order that keeps two tables in step through a crash.
//!
//! Azure has transactions only inside one partition of one table, and a process may end between any two requests. So a
//! change is written as:
//!
//! 1. a *marker* in the partition of markers: "organization X may have an unfinished change C";
//! 2. one transaction in the organization's partition: the mapping, its guards, and an *intent* that holds the audit event.
//!    From here on the change has happened, whatever follows;
//! 3. the index row and the audit event, side by side;
//! 4. the intent goes, then the marker.
//!
//! Secrets of a mapping's data are in another store still. New ones are stored under new names before 2, and their names are
//! in the marker; those that nothing refers to after 2 are in the intent, and go before it does. A change that did not
//! happen takes back what it stored, and its marker stays where the store did not say whether it has them.
//!
//! [`super::Repair`] walks the markers and does again what follows the transaction; all of it can be repeated. Index rows are
//! written only over the index row that was read *before* the source, so a late writer never puts an old state back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};
use uuid::Uuid;

use super::keys;
use crate::{
    audit::AuditEvent,
    domain::{MappingKey, OrgId, Secret, SecretReference},
    secrets::{SecretError, SecretStore},
    tables::{Key, Operation, Properties, Property, Put, Row, Stored, Table, TableError, Tables, When, scan_all},
};

/// How long a change may take from its marker to its transaction. Far shorter than the time after which repair takes a
/// marker without an intent for abandoned.
pub(super) const COMMIT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the answer to a committed change waits for its index row and audit event.
const FINISH_DEADLINE: Duration = Duration::from_secs(2);
const COMMIT_TRIES: u32 = 3;
const INDEX_TRIES: u32 = 20;
/// The property of an intent that names the row of its audit event.
const AUDIT_ROW: &str = "AuditRow";
/// Of a marker: the secrets that were stored for the change. Of an intent: those to be removed after it.
const SECRETS: &str = "Secrets";

/// A change that may be unfinished: one per write, so that removing it never removes somebody else's.
#[derive(Clone, Debug)]
pub struct Marker {
    pub org_id: OrgId,
    pub change: Uuid,
    /// Those that are stored for it.
    pub secrets: Vec<SecretReference>,
    since: Instant,
}

impl Marker {
    pub fn new(org_id: OrgId, secrets: Vec<SecretReference>) -> Self {
        Self { org_id, change: Uuid::now_v7(), secrets, since: Instant::now() }
    }
}

/// Everything that one change writes.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: MappingKey,
    /// The mapping's properties after the change.
    pub properties: Properties,
    /// Create, or replace of the row that was read.
    pub mode: Put,
    /// Create, or replace of the index row that was read before or beside the mapping.
    pub index: Put,
    /// Guards to take and to free.
    pub guards: Vec<Operation>,
    /// Secrets that nothing refers to after the change.
    pub forget: Vec<SecretReference>,
    pub event: AuditEvent,
    /// The event as a row.
    pub event_properties: Properties,
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub enum CommitError {
    /// Somebody else was first: read again and decide again.
    Conflict,
    /// It may or may not have happened; if it did, repair finishes it.
    Storage(TableError),
}

/// Writes changes in that order.
#[derive(Clone)]
pub struct Journal {
    tables: Tables,
    secrets: Arc<dyn SecretStore>,
    /// What goes on after an answer: tidying up, and finishing what took too long.
    tasks: TaskTracker,
}

impl Journal {
    pub fn new(tables: Tables, secrets: Arc<dyn SecretStore>, tasks: TaskTracker) -> Self {
        Self { tables, secrets, tasks }
    }

    /// Step 1. May run beside the reads that decide about the change.
    pub async fn mark(&self, marker: &Marker) -> Result<(), TableError> {
        let mut row = Row { key: keys::marker(&marker.org_id, marker.change), properties: Properties::new() };
        if !marker.secrets.is_empty() {
            row.properties.insert(SECRETS.to_owned(), names(&marker.secrets).into());
        }
        self.tables.put(Table::OrgIntegrationMappings, &row, &Put::Upsert).await.map(drop)
    }

    /// Stores the secrets of a marker.
    pub async fn store(&self, secrets: &[(SecretReference, Secret)]) -> Result<(), SecretError> {
        let store = secrets.iter().map(|(reference, value)| self.secrets.set(reference.name(), value));
        // All to their end: one that is let go may still arrive after it was taken back.
        join_all(store).await.into_iter().collect()
    }

    /// Undoes step 1, and what was stored since, after the answer.
    pub fn discard(&self, marker: Marker, stored: bool) {
        let journal = self.clone();
        let discard = async move {
            if stored && let Err(error) = journal.forget(&marker.secrets).await {
                warn!(%error, "secrets of a change that did not happen are left to repair");
                return;
            }
            journal.remove_marker(&marker.org_id, marker.change).await;
        };
        self.tasks.spawn(discard.in_current_span());
    }

    /// Removes what was stored, after the answer. The marker stays: what the store gave no answer to may still arrive, and
    /// repair removes it once more.
    pub fn take_back(&self, marker: Marker) {
        let journal = self.clone();
        let take_back = async move {
            if let Err(error) = journal.forget(&marker.secrets).await {
                warn!(%error, "secrets of a change that did not happen are left to repair");
            }
        };
        self.tasks.spawn(take_back.in_current_span());
    }

    /// Undoes what a marker says of a change whose writer is gone. What a mapping refers to by now stays: the change may have
    /// happened, and have been finished.
    pub async fn abandon(&self, org_id: &OrgId, change: Uuid) -> Result<(), TableError> {
        let key = keys::marker(org_id, change);
        let marker = self.tables.get(Table::OrgIntegrationMappings, &key).await?;
        let secrets = marker.map(|marker| references(&marker.row.properties)).unwrap_or_default();
        if !secrets.is_empty() {
            let range = keys::mappings_of_org(org_id);
            let mappings = scan_all(&*self.tables, Table::OrgIntegrationMappings, &range).await?;
            // Also in a row that cannot be read as a mapping.
            let needed = |reference: &SecretReference| {
                let texts =
                    mappings.iter().flat_map(|stored| stored.row.properties.values()).filter_map(Property::text);
                texts.into_iter().any(|text| text.contains(reference.name()))
            };
            let unneeded: Vec<_> = secrets.into_iter().filter(|reference| !needed(reference)).collect();
            self.forget(&unneeded).await?;
        }
        self.remove_marker(org_id, change).await;
        Ok(())
    }

    async fn forget(&self, secrets: &[SecretReference]) -> Result<(), TableError> {
        let removed = join_all(secrets.iter().map(|reference| self.secrets.delete(reference.name()))).await;
        // To whoever repairs, one store is as unavailable as the other.
        removed.into_iter().collect::<Result<(), _>>().map_err(|error| TableError::unavailable(error.to_string()))
    }

    /// Steps 2 to 4. The answer is the mapping's row as it is stored.
    pub async fn commit(&self, marker: Marker, change: Change) -> Result<Stored, CommitError> {
        let stored = self.transact(&marker, &change).await?;
        let journal = self.clone();
        let finish = self.tasks.spawn(async move { journal.finish(&marker, &change).await }.in_current_span());
        // The change has happened: a store that fails now only delays what repair would do as well.
        if tokio::time::timeout(FINISH_DEADLINE, finish).await.is_err() {
            warn!("a committed change still waits for its index row or audit event");
        }
        Ok(stored)
    }

    async fn transact(&self, marker: &Marker, change: &Change) -> Result<Stored, CommitError> {
        let batch = Self::batch(marker, change);
        let mut error = TableError::unavailable("the change took too long before it was written");
        for attempt in 0..COMMIT_TRIES {
            if marker.since.elapsed() > COMMIT_DEADLINE {
                break;
            }
            match self.tables.commit(Table::OrgIntegrationMappings, &batch).await {
                Ok(etags) => {
                    let row = Row { key: keys::source(&change.key), properties: change.properties.clone() };
                    return match etags.into_iter().next().flatten() {
                        Some(etag) => Ok(Stored { row, etag }),
                        None => self.committed_row(change).await,
                    };
                }
                Err(unavailable @ TableError::Unavailable { .. }) => error = unavailable,
                Err(TableError::Invalid(reason)) => return Err(CommitError::Storage(TableError::Invalid(reason))),
                Err(_) if attempt == 0 => return Err(CommitError::Conflict),
                // An earlier attempt went unanswered: what is in the way may be this very change. If it is not there, it
                // may still arrive, so nothing else may be tried under its name.
                Err(_) => {
                    return match self.landed(marker, change).await {
                        Ok(true) => self.committed_row(change).await,
                        Ok(false) => Err(CommitError::Storage(error)),
                        Err(unavailable) => Err(CommitError::Storage(unavailable)),
                    };
                }
            }
            match self.landed(marker, change).await {
                Ok(true) => return self.committed_row(change).await,
                Ok(false) => {}
                Err(unavailable) => error = unavailable,
            }
        }
        Err(CommitError::Storage(error))
    }

    fn batch(marker: &Marker, change: &Change) -> Vec<Operation> {
        let mut intent = change.event_properties.clone();
        intent.insert(AUDIT_ROW.to_owned(), change.event.key().row.into());
        if !change.forget.is_empty() {
            intent.insert(SECRETS.to_owned(), names(&change.forget).into());
        }
        let mapping = Row { key: keys::source(&change.key), properties: change.properties.clone() };
        let intent = Row { key: keys::intent(&marker.org_id, marker.change), properties: intent };
        let mut batch = vec![Operation::Put(mapping, change.mode.clone()), Operation::Put(intent, Put::Create)];
        batch.extend(change.guards.iter().cloned());
        batch
    }

    /// Whether the transaction happened: its intent is there or, if repair was quicker, its audit event. In this order, as
    /// repair writes the event before it removes the intent.
    async fn landed(&self, marker: &Marker, change: &Change) -> Result<bool, TableError> {
        let intent = keys::intent(&marker.org_id, marker.change);
        if self.tables.get(Table::OrgIntegrationMappings, &intent).await?.is_some() {
            return Ok(true);
        }
        Ok(self.tables.get(Table::AuditEvents, &change.event.key()).await?.is_some())
    }

    /// The row after a transaction whose answer was lost: as it is now, so that its tag and its content belong together.
    async fn committed_row(&self, change: &Change) -> Result<Stored, CommitError> {
        match self.tables.get(Table::OrgIntegrationMappings, &keys::source(&change.key)).await {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => Err(CommitError::Storage(TableError::NotFound)),
            Err(error) => Err(CommitError::Storage(error)),
        }
    }

    /// Steps 3 and 4 of a change that this process has just committed.
    async fn finish(&self, marker: &Marker, change: &Change) {
        let row = Row { key: keys::index(&change.key), properties: change.properties.clone() };
        let index = async {
            match self.tables.put(Table::IntegrationMappings, &row, &change.index).await {
                Ok(_) => Ok(()),
                Err(_) => self.sync_index(&change.key).await,
            }
        };
        let event = Row { key: change.event.key(), properties: change.event_properties.clone() };
        let audit = self.tables.put(Table::AuditEvents, &event, &Put::Upsert);
        let (index, audit) = tokio::join!(index, audit);
        if let Err(error) = index.and(audit.map(drop)) {
            warn!(mapping = %change.key, %error, "a committed change is left to repair");
            return;
        }
        let journal = self.clone();
        let marker = marker.clone();
        let forget = change.forget.clone();
        let tidy = async move {
            if let Err(error) = journal.forget(&forget).await {
                warn!(%error, "secrets that nothing refers to are left to repair");
                return;
            }
            if journal.remove_intent(&marker.org_id, marker.change).await.is_ok() {
                journal.remove_marker(&marker.org_id, marker.change).await;
            }
        };
        self.tasks.spawn(tidy.in_current_span());
    }

    /// Does again what follows a transaction. False if there is no such intent.
    pub async fn roll_forward(&self, org_id: &OrgId, change: Uuid) -> Result<bool, TableError> {
        let key = keys::intent(org_id, change);
        let Some(intent) = self.tables.get(Table::OrgIntegrationMappings, &key).await? else {
            return Ok(false);
        };
        let mut properties = intent.row.properties;
        let audit_row = properties.remove(AUDIT_ROW).as_ref().and_then(Property::text);
        let forget = references(&properties);
        properties.remove(SECRETS);
        let mapping = mapping_of_intent(org_id, &properties);
        let (Some(audit_row), Some(mapping)) = (audit_row, mapping) else {
            return Err(TableError::Invalid(format!("intent {} of organization {org_id} cannot be read", key.row)));
        };
        let event = Row { key: Key::new(org_id.as_str(), audit_row), properties };
        let audit = self.tables.put(Table::AuditEvents, &event, &Put::Upsert);
        let (index, audit) = tokio::join!(self.sync_index(&mapping), audit);
        index.and(audit.map(drop))?;
        self.forget(&forget).await?;
        self.remove_intent(org_id, change).await?;
        Ok(true)
    }

    /// Makes the index row say what the mapping's row says.
    ///
    /// The index is read first and written only if nobody wrote it meanwhile: whoever writes it has read the source after
    /// the last write of the index, so the last one to write has seen the last state.
    pub async fn sync_index(&self, mapping: &MappingKey) -> Result<(), TableError> {
        let key = keys::index(mapping);
        for _ in 0..INDEX_TRIES {
            let index = self.tables.get(Table::IntegrationMappings, &key).await?;
            let source = self.tables.get(Table::OrgIntegrationMappings, &keys::source(mapping)).await?;
            let outcome = match (index, source) {
                (None, None) => return Ok(()),
                (Some(index), Some(source)) if index.row.properties == source.row.properties => return Ok(()),
                (Some(index), None) => {
                    self.tables.delete(Table::IntegrationMappings, &key, &When::Matches(index.etag)).await
                }
                (index, Some(source)) => {
                    let mode = index.map_or(Put::Create, |index| Put::Replace(index.etag));
                    let row = Row { key: key.clone(), properties: source.row.properties };
                    self.tables.put(Table::IntegrationMappings, &row, &mode).await.map(drop)
                }
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(TableError::AlreadyExists | TableError::Precondition | TableError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TableError::unavailable(format!("the index row of {mapping} keeps changing")))
    }

    pub async fn remove_intent(&self, org_id: &OrgId, change: Uuid) -> Result<(), TableError> {
        let key = keys::intent(org_id, change);
        match self.tables.delete(Table::OrgIntegrationMappings, &key, &When::Any).await {
            Ok(()) | Err(TableError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A marker that stays costs repair one look and harms nothing.
    pub async fn remove_marker(&self, org_id: &OrgId, change: Uuid) {
        let key = keys::marker(org_id, change);
        match self.tables.delete(Table::OrgIntegrationMappings, &key, &When::Any).await {
            Ok(()) | Err(TableError::NotFound) => {}
            Err(error) => warn!(%org_id, %error, "a marker could not be removed; repair will"),
        }
    }
}

fn names(secrets: &[SecretReference]) -> String {
    secrets.iter().map(SecretReference::name).collect::<Vec<_>>().join(" ")
}

fn references(properties: &Properties) -> Vec<SecretReference> {
    let names = properties.get(SECRETS).and_then(Property::text).unwrap_or_default();
    names.split(' ').filter_map(SecretReference::parse).collect()
}

fn mapping_of_intent(org_id: &OrgId, properties: &Properties) -> Option<MappingKey> {
    let text = |name: &str| properties.get(name).and_then(Property::text);
    keys::mapping_of(&Key::new(org_id.as_str(), format!("{}_{}", text("IntegrationName")?, text("MappingId")?)))
}
