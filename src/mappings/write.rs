//! Deciding about a change: what a create, set, update or deactivation means for the rows that are there now.
//!
//! A decision is made on rows that were just read and holds only if they are still the same when it is written; if not, it
//! is made again. So no change of another writer is ever overwritten by one who had not seen it.

use std::time::Instant;

use chrono::Utc;
use tracing::Instrument;

use super::{
    Found, MappingError, Mappings, Siblings, Version, Versioned,
    data::DataChange,
    draft::{Draft, set_slot},
    guards,
    journal::{COMMIT_DEADLINE, Change, CommitError, Marker},
    keys, rows,
};
use crate::{
    domain::{
        Actor, ExternalOrgId, ExternalOrgName, IntegrationName, Mapping, MappingData, MappingId, MappingKey, OrgId,
        TestOutcome,
    },
    secrets::SecretError,
    tables::{Key, Operation, Put, Stored, Table, TableError, When},
};

/// How often a change is decided anew when others keep getting in first.
const ATTEMPTS: u32 = 32;

/// What a create or a set wants a mapping to say. A set of an existing mapping leaves as it is what is left out here, except
/// the name of another external organization.
#[derive(Clone, Debug)]
pub struct WantedMapping {
    pub org_id: OrgId,
    pub integration: IntegrationName,
    /// A create generates one if none is given; a set takes the only mapping there is.
    pub id: Option<MappingId>,
    pub external_org_id: ExternalOrgId,
    pub external_org_name: Option<ExternalOrgName>,
    pub data: Option<MappingData>,
}

/// What an update says: `None` leaves a field as it is, `Some(None)` empties it.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    pub external_org_id: Option<ExternalOrgId>,
    pub external_org_name: Option<Option<ExternalOrgName>>,
    pub data: Option<Option<MappingData>>,
    pub is_active: Option<bool>,
}

/// Which versions of a mapping a caller is willing to change.
#[derive(Clone, Debug)]
pub enum Expected {
    Any,
    OneOf(Vec<String>),
}

impl Expected {
    fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.iter().any(|expected| expected == version.as_str()),
        }
    }
}

/// A change as it is asked for.
#[derive(Clone, Debug)]
enum Request {
    Create(WantedMapping),
    Set(WantedMapping),
    Update { key: MappingKey, patch: Patch, expected: Expected },
    Record { tested: Mapping, outcome: TestOutcome },
}

impl Request {
    fn org_id(&self) -> &OrgId {
        match self {
            Self::Create(new) => &new.org_id,
            Self::Set(set) => &set.org_id,
            Self::Update { key, .. } => &key.org_id,
            Self::Record { tested, .. } => &tested.key.org_id,
        }
    }
}

/// What a request comes to, given the rows that are there.
enum Decision {
    /// Everything is as asked already.
    Nothing(Box<Found>),
    Write(Box<Change>),
}

/// A mapping after a change.
struct Written {
    found: Found,
    created: bool,
}

impl Mappings {
    /// Creates a mapping. Three round trips one after another, the first with two reads side by side.
    ///
    /// # Errors
    /// Unknown or inactive organization, unknown integration, duplicate external id, taken mapping id, storage.
    pub async fn create(&self, mut new: WantedMapping, actor: Actor) -> Result<Versioned, MappingError> {
        self.mappable(new.integration.as_str())?;
        let data = self.data_change(&new.org_id, &new.integration, new.data.take().map(Some))?;
        Ok(self.write(Request::Create(new), data, actor).await?.found.versioned())
    }

    /// What a workflow writes: creates the mapping, or changes the one there is. True if it was created.
    ///
    /// # Errors
    /// As [`Self::create`]; several mappings and no id; a row among them that cannot be read.
    pub async fn set(&self, mut set: WantedMapping, actor: Actor) -> Result<(Versioned, bool), MappingError> {
        self.mappable(set.integration.as_str())?;
        let data = self.data_change(&set.org_id, &set.integration, set.data.take().map(Some))?;
        let written = self.write(Request::Set(set), data, actor).await?;
        Ok((written.found.versioned(), written.created))
    }

    /// Changes, deactivates or restores a mapping. An inactive one can only be restored.
    ///
    /// # Errors
    /// Not found, stale version, duplicate external id, unreadable row, storage.
    pub async fn update(
        &self,
        key: MappingKey,
        mut patch: Patch,
        expected: Expected,
        actor: Actor,
    ) -> Result<Versioned, MappingError> {
        let data = self.data_change(&key.org_id, &key.integration, patch.data.take())?;
        Ok(self.write(Request::Update { key, patch, expected }, data, actor).await?.found.versioned())
    }

    /// Deactivates a mapping; its row stays, for the record and to be restored.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn deactivate(&self, key: MappingKey, expected: Expected, actor: Actor) -> Result<(), MappingError> {
        let patch = Patch { is_active: Some(false), ..Patch::default() };
        self.update(key, patch, expected, actor).await.map(drop)
    }

    /// Stores what a connection test found, if the mapping still says what was tested: the same external id and data, and
    /// still active. None: it does not, and nothing was stored. Neither an edit beside it nor the result is lost.
    ///
    /// # Errors
    /// Unreadable row, storage.
    pub async fn record_test(
        &self,
        tested: Mapping,
        outcome: TestOutcome,
        actor: Actor,
    ) -> Result<Option<Versioned>, MappingError> {
        match self.write(Request::Record { tested, outcome }, DataChange::Leave, actor).await {
            Ok(written) => Ok(Some(written.found.versioned())),
            Err(MappingError::Stale) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn data_change(
        &self,
        org_id: &OrgId,
        integration: &IntegrationName,
        data: Option<Option<MappingData>>,
    ) -> Result<DataChange, MappingError> {
        DataChange::of(self.registry.mapping_data(integration.as_str()), org_id, integration, data)
    }

    /// Runs to its end even when the caller goes away: a change that is begun is finished.
    async fn write(&self, request: Request, data: DataChange, actor: Actor) -> Result<Written, MappingError> {
        let mappings = self.clone();
        let write = async move { mappings.write_to_the_end(&request, &data, &actor).await };
        let task = self.tasks.spawn(write.in_current_span());
        task.await.map_err(|error| TableError::unavailable(format!("a write task ended early: {error}")))?
    }

    async fn write_to_the_end(
        &self,
        request: &Request,
        data: &DataChange,
        actor: &Actor,
    ) -> Result<Written, MappingError> {
        let began = Instant::now();
        let secrets = data.secrets();
        let marker =
            Marker::new(request.org_id().clone(), secrets.iter().map(|(reference, _)| reference.clone()).collect());
        let (marked, mut decision) =
            tokio::join!(self.journal.mark(&marker), self.decide(request, data, actor, &marker, 0));
        for attempt in 1..=ATTEMPTS {
            let change = match decision {
                Ok(Decision::Write(change)) => change,
                Ok(Decision::Nothing(found)) => {
                    self.journal.discard(marker, attempt > 1);
                    return Ok(Written { found: *found, created: false });
                }
                Err(error) => {
                    self.journal.discard(marker, attempt > 1);
                    return Err(error);
                }
            };
            if attempt == 1 {
                // The marker names them, and there is no other reason left not to make the change.
                marked.clone()?;
                if let Err(error) = self.journal.store(secrets).await {
                    match error {
                        SecretError::Unavailable { .. } => self.journal.take_back(marker),
                        SecretError::ReadOnly => self.journal.discard(marker, false),
                        _ => self.journal.discard(marker, true),
                    }
                    return Err(error.into());
                }
            }
            let created = change.mode == Put::Create;
            let key = change.key.clone();
            match self.journal.commit(marker.clone(), *change).await {
                Ok(stored) => {
                    let mapping = rows::read(key.clone(), &stored.row.properties)
                        .map_err(|row| MappingError::Unreadable { id: key.id, row })?;
                    return Ok(Written { found: Found { mapping, stored }, created });
                }
                // Its marker stays: repair finds out whether it happened.
                Err(CommitError::Storage(error)) => return Err(error.into()),
                Err(CommitError::Conflict) if began.elapsed() > COMMIT_DEADLINE => break,
                Err(CommitError::Conflict) => decision = self.decide(request, data, actor, &marker, attempt).await,
            }
        }
        self.journal.discard(marker, true);
        Err(MappingError::Contended)
    }

    async fn decide(
        &self,
        request: &Request,
        data: &DataChange,
        actor: &Actor,
        marker: &Marker,
        attempt: u32,
    ) -> Result<Decision, MappingError> {
        let at = Utc::now();
        let mut draft = match request {
            Request::Create(new) => self.decide_create(new).await?,
            Request::Set(set) => self.decide_set(set).await?,
            Request::Update { key, patch, expected } => self.decide_update(key, patch, expected).await?,
            Request::Record { tested, outcome } => self.decide_record(tested, outcome).await?,
        };
        let fields = self.registry.mapping_data(draft.after.key.integration.as_str());
        data.apply(fields, draft.before.as_ref().map(|found| &found.mapping), &mut draft.after)?;
        if draft.is_unchanged() {
            // Only an existing mapping can be unchanged.
            if let Some(found) = draft.before {
                return Ok(Decision::Nothing(Box::new(found)));
            }
            return Err(MappingError::Contended);
        }
        let guards = self.guards(&draft, attempt > 0).await?;
        Ok(Decision::Write(Box::new(draft.into_change(actor, marker, at, guards))))
    }

    async fn decide_create(&self, new: &WantedMapping) -> Result<Draft, MappingError> {
        let (siblings, ()) =
            tokio::try_join!(self.siblings(&new.org_id, &new.integration), self.active_organization(&new.org_id))?;
        if let Some(id) = &new.id
            && siblings.has(id)
        {
            return Err(MappingError::IdTaken(id.clone()));
        }
        let after = new.created();
        Draft { before: None, after, index: Put::Create, slot: None, siblings }.checked()
    }

    async fn decide_set(&self, set: &WantedMapping) -> Result<Draft, MappingError> {
        let (slot, index, ()) =
            tokio::try_join!(self.slot(set), self.index_of(set), self.active_organization(&set.org_id))?;
        // Only now: whoever creates writes the slot, so a mapping that this does not see makes the slot that was read stale.
        let siblings = self.siblings(&set.org_id, &set.integration).await?;
        let before = if let Some(id) = &set.id {
            siblings.unreadable(id)?;
            siblings.readable.iter().find(|found| found.mapping.key.id == *id)
        } else {
            siblings.all_readable()?;
            let mut active = siblings.active();
            let first = active.next();
            if active.next().is_some() {
                return Err(siblings.multiple(&set.org_id, &set.integration));
            }
            first
        };
        let Some(before) = before.cloned() else {
            let after = set.created();
            let slot = set.id.is_none().then(|| set_slot(&after.key, slot));
            return Draft { before: None, after, index: Put::Create, slot, siblings }.checked();
        };
        let mut after = before.mapping.clone();
        if after.external_org_id != set.external_org_id || set.external_org_name.is_some() {
            after.external_org_name.clone_from(&set.external_org_name);
        }
        after.external_org_id.clone_from(&set.external_org_id);
        after.is_active = true;
        let index = match &set.id {
            Some(_) => index,
            None => self.index_mode(&after.key).await?,
        };
        Draft { before: Some(before), after, index, slot: None, siblings }.checked()
    }

    /// The slot that a set without an id has to write if it creates.
    async fn slot(&self, set: &WantedMapping) -> Result<Option<Stored>, MappingError> {
        if set.id.is_some() {
            return Ok(None);
        }
        let key = keys::set_slot(&set.org_id, &set.integration);
        Ok(self.tables.get(Table::OrgIntegrationMappings, &key).await?)
    }

    /// How the index row of the mapping that a set names may be written.
    async fn index_of(&self, set: &WantedMapping) -> Result<Put, MappingError> {
        match &set.id {
            Some(id) => self.index_mode(&set.key(id)).await,
            None => Ok(Put::Create),
        }
    }

    async fn decide_update(&self, key: &MappingKey, patch: &Patch, expected: &Expected) -> Result<Draft, MappingError> {
        let (siblings, index) = tokio::try_join!(self.siblings(&key.org_id, &key.integration), self.index_mode(key))?;
        siblings.unreadable(&key.id)?;
        let before = siblings.readable.iter().find(|found| found.mapping.key == *key).cloned();
        let Some(before) = before.filter(|found| found.mapping.is_active || patch.is_active == Some(true)) else {
            return Err(self.missing(&key.org_id, &key.integration, Some(&key.id)).await);
        };
        if !expected.allows(&Version::of(&before.stored)) {
            return Err(MappingError::Stale);
        }
        let mut after = before.mapping.clone();
        if let Some(external_org_id) = &patch.external_org_id {
            after.external_org_id.clone_from(external_org_id);
        }
        if let Some(name) = &patch.external_org_name {
            after.external_org_name.clone_from(name);
        }
        if let Some(is_active) = patch.is_active {
            after.is_active = is_active;
        }
        Draft { before: Some(before), after, index, slot: None, siblings }.checked()
    }

    async fn decide_record(&self, tested: &Mapping, outcome: &TestOutcome) -> Result<Draft, MappingError> {
        let (stored, index) = tokio::try_join!(self.stored(&tested.key), self.index_mode(&tested.key))?;
        let stored = stored.ok_or(MappingError::Stale)?;
        let mapping = rows::read(tested.key.clone(), &stored.row.properties)
            .map_err(|row| MappingError::Unreadable { id: tested.key.id.clone(), row })?;
        let is_what_was_tested = mapping.external_org_id == tested.external_org_id
            && mapping.data == tested.data
            && mapping.is_active == tested.is_active;
        if !is_what_was_tested {
            return Err(MappingError::Stale);
        }
        let after = Mapping { last_test: outcome.clone(), ..mapping.clone() };
        // No sibling matters: the external id stays, and with it the guard.
        Ok(Draft { before: Some(Found { mapping, stored }), after, index, slot: None, siblings: Siblings::default() })
    }

    async fn stored(&self, key: &MappingKey) -> Result<Option<Stored>, MappingError> {
        Ok(self.tables.get(Table::OrgIntegrationMappings, &keys::source(key)).await?)
    }

    /// How the index row may be written, if it is still as it is now.
    async fn index_mode(&self, key: &MappingKey) -> Result<Put, MappingError> {
        let index = self.tables.get(Table::IntegrationMappings, &keys::index(key)).await?;
        Ok(index.map_or(Put::Create, |stored| Put::Replace(stored.etag)))
    }

    /// The guards to free and to take.
    ///
    /// The first attempt trusts that they are as the mappings imply, which spares a read. Rows of other programs may have
    /// none, or share one; then the guards are read.
    async fn guards(&self, draft: &Draft, mut careful: bool) -> Result<Vec<Operation>, MappingError> {
        let key = &draft.after.key;
        let held = |mapping: &Mapping| mapping.is_active.then(|| mapping.external_org_id.clone());
        let before = draft.before.as_ref().and_then(|found| held(&found.mapping));
        let after = held(&draft.after);
        if before == after {
            return Ok(Vec::new());
        }
        let mut operations = Vec::new();
        if let Some(freed) = before {
            careful |= draft.siblings.active_with(&freed).count() > 1;
            let guard = keys::guard(&key.org_id, &key.integration, &freed);
            if !careful {
                operations.push(Operation::Delete(guard, When::Any));
            } else if let Some(stored) = self.tables.get(Table::OrgIntegrationMappings, &guard).await?
                && guards::is_held_by(&stored, &key.id)
            {
                operations.push(Operation::Delete(guard, When::Matches(stored.etag)));
            }
        }
        if let Some(taken) = after {
            let guard = keys::guard(&key.org_id, &key.integration, &taken);
            let mode = if careful { self.take_over(&guard, &taken, key).await? } else { Put::Create };
            operations.push(Operation::Put(guards::row(key, &taken), mode));
        }
        Ok(operations)
    }

    /// How a guard can be taken that may be there: freely if it is a leftover.
    async fn take_over(&self, guard: &Key, taken: &ExternalOrgId, taker: &MappingKey) -> Result<Put, MappingError> {
        let Some(stored) = self.tables.get(Table::OrgIntegrationMappings, guard).await? else {
            return Ok(Put::Create);
        };
        match guards::rightful_holder(&*self.tables, &stored).await? {
            Some(holder) if holder != *taker => {
                Err(MappingError::Duplicate { external_org_id: taken.clone(), existing: holder.id })
            }
            _ => Ok(Put::Replace(stored.etag)),
        }
    }
}

impl Siblings {
    fn has(&self, id: &MappingId) -> bool {
        self.readable.iter().any(|found| found.mapping.key.id == *id)
            || self.unreadable.iter().any(|(unreadable, _)| unreadable == id)
    }
}

impl WantedMapping {
    fn key(&self, id: &MappingId) -> MappingKey {
        MappingKey { org_id: self.org_id.clone(), integration: self.integration.clone(), id: id.clone() }
    }

    /// The mapping if there is none yet, with the id that was given or a new one.
    fn created(&self) -> Mapping {
        let key = self.key(&self.id.clone().unwrap_or_else(MappingId::generate));
        let external_org_name = self.external_org_name.clone();
        Mapping { external_org_name, ..Mapping::new(key, self.external_org_id.clone()) }
    }
}
