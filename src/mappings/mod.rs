//! The mapping service: which organization is which external organization, kept in two tables that never disagree.
//!
//! Owns the invariants: an acknowledged change is never lost and never half there, at most one active mapping per
//! organization, integration and external id, no lost update, no table scanned by a request. Must not know HTTP, nor who may
//! do what. Start here for reading, `write.rs` for deciding about a change, `journal.rs` for the order it is written in.

mod data;
mod draft;
mod error;
mod guards;
mod journal;
mod keys;
mod repair;
mod rows;
mod verify;
mod write;

use std::{pin::pin, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{StreamExt, stream};
use tokio_util::task::TaskTracker;
use tracing::warn;

use self::journal::Journal;
pub use self::{
    error::MappingError,
    repair::{REPAIR_GRACE, Repair, RepairReport},
    rows::UnreadableRow,
    verify::{Difference, verify},
    write::{Expected, Patch, WantedMapping},
};
use crate::{
    domain::{ExternalOrgId, IntegrationName, Mapping, MappingId, MappingKey, OrgId},
    integrations::Registry,
    organizations::Organizations,
    secrets::SecretStore,
    tables::{self, PAGE_LIMIT, Range, Stored, Table, TableError, Tables, scan_all},
};

/// Most rows that one reverse lookup reads before it answers with what it has found and a cursor.
const LOOKUP_BUDGET: usize = 10 * PAGE_LIMIT;
/// Most organizations whose ranges one reverse lookup reads before it does, where it may not read all.
const LOOKUP_RANGES: usize = 500;
/// Ranges that are read at once.
const LOOKUP_SIDE_BY_SIDE: usize = 16;

/// A mapping with the version that conditional requests compare. Its data refers to secrets; who shows it puts masks there.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    pub mapping: Mapping,
    pub version: Version,
}

/// Changes with every change of a mapping: what HTTP shows as its entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// The store's own tag in letters that need no care: Azure's hold quotes.
    fn of(stored: &Stored) -> Self {
        Self(URL_SAFE_NO_PAD.encode(&stored.etag.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page of a reverse lookup.
#[derive(Clone, Debug)]
pub struct LookupPage {
    pub mappings: Vec<Mapping>,
    /// Where the rest begins; none: there is no more.
    pub next: Option<String>,
}

/// A mapping beside the row it was read from.
#[derive(Clone, Debug)]
struct Found {
    mapping: Mapping,
    stored: Stored,
}

impl Found {
    fn versioned(self) -> Versioned {
        Versioned { version: Version::of(&self.stored), mapping: self.mapping }
    }
}

/// The mappings of one organization to one integration.
#[derive(Debug, Default)]
struct Siblings {
    readable: Vec<Found>,
    unreadable: Vec<(MappingId, UnreadableRow)>,
}

impl Siblings {
    fn active(&self) -> impl Iterator<Item = &Found> {
        self.readable.iter().filter(|found| found.mapping.is_active)
    }

    fn active_with(&self, external_org_id: &ExternalOrgId) -> impl Iterator<Item = &Found> {
        self.active().filter(move |found| found.mapping.external_org_id == *external_org_id)
    }

    /// An answer that one unreadable row could make wrong is no answer.
    fn all_readable(&self) -> Result<(), MappingError> {
        match self.unreadable.first() {
            Some((id, row)) => Err(MappingError::Unreadable { id: id.clone(), row: row.clone() }),
            None => Ok(()),
        }
    }

    fn unreadable(&self, id: &MappingId) -> Result<(), MappingError> {
        match self.unreadable.iter().find(|(unreadable, _)| unreadable == id) {
            Some((id, row)) => Err(MappingError::Unreadable { id: id.clone(), row: row.clone() }),
            None => Ok(()),
        }
    }
}

/// Reads and writes mappings. Cheap to clone.
#[derive(Clone)]
pub struct Mappings {
    tables: Tables,
    organizations: Organizations,
    registry: Arc<Registry>,
    journal: Journal,
    tasks: TaskTracker,
}

impl Mappings {
    /// `tasks` holds what goes on after an answer; whoever stops the process waits for it, up to a deadline.
    pub fn new(
        tables: Tables,
        secrets: Arc<dyn SecretStore>,
        organizations: Organizations,
        registry: Arc<Registry>,
        tasks: TaskTracker,
    ) -> Self {
        let journal = Journal::new(tables.clone(), secrets, tasks.clone());
        Self { tables, organizations, registry, journal, tasks }
    }

    /// The integrations that mappings are checked against.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Finishes what a crash left unfinished.
    pub fn repair(&self) -> Repair {
        Repair::new(self.tables.clone(), self.journal.clone())
    }

    /// One mapping. One round trip; a second one when it is missing, to say what exactly is.
    ///
    /// # Errors
    /// Not found, also when inactive and not asked for; unreadable; storage.
    pub async fn get(&self, key: &MappingKey, active_only: bool) -> Result<Versioned, MappingError> {
        let Some(stored) = self.tables.get(Table::OrgIntegrationMappings, &keys::source(key)).await? else {
            return Err(self.missing(&key.org_id, &key.integration, Some(&key.id)).await);
        };
        let mapping = rows::read(key.clone(), &stored.row.properties)
            .map_err(|row| MappingError::Unreadable { id: key.id.clone(), row })?;
        if active_only && !mapping.is_active {
            return Err(self.missing(&key.org_id, &key.integration, Some(&key.id)).await);
        }
        Ok(Found { mapping, stored }.versioned())
    }

    /// The mappings of an organization in the order of their keys. A row that cannot be read is logged and left out.
    ///
    /// # Errors
    /// The organization is unknown; storage.
    pub async fn list(
        &self,
        org_id: &OrgId,
        integration: Option<&IntegrationName>,
        active_only: bool,
    ) -> Result<Vec<Versioned>, MappingError> {
        let range = match integration {
            Some(integration) => keys::mappings_of_integration(org_id, integration),
            None => keys::mappings_of_org(org_id),
        };
        let found = self.read(&range, integration).await?.readable;
        if found.is_empty() && self.organizations.get(org_id).await?.is_none() {
            return Err(MappingError::OrganizationNotFound(org_id.clone()));
        }
        let wanted = found.into_iter().filter(|found| !active_only || found.mapping.is_active);
        Ok(wanted.map(Found::versioned).collect())
    }

    /// What a workflow asks: the one active mapping, or the named one. Never a guess. Two reads side by side.
    ///
    /// # Errors
    /// Unknown or inactive organization; none or several; a row among them that cannot be read; storage.
    pub async fn resolve(
        &self,
        org_id: &OrgId,
        integration: &IntegrationName,
        id: Option<&MappingId>,
    ) -> Result<Versioned, MappingError> {
        let (organization, siblings) =
            tokio::try_join!(self.active_organization(org_id), self.siblings(org_id, integration))?;
        let () = organization;
        let not_found = || MappingError::MappingNotFound {
            org_id: org_id.clone(),
            integration: integration.clone(),
            id: id.cloned(),
        };
        if let Some(id) = id {
            siblings.unreadable(id)?;
            let named = siblings.active().find(|found| found.mapping.key.id == *id);
            return named.cloned().map(Found::versioned).ok_or_else(not_found);
        }
        siblings.all_readable()?;
        let mut active = siblings.active();
        match (active.next(), active.next()) {
            (None, _) => Err(not_found()),
            (Some(only), None) => Ok(only.clone().versioned()),
            (Some(_), Some(_)) => Err(siblings.multiple(org_id, integration)),
        }
    }

    /// The active mappings of one integration, in the order of their rows: the reverse lookup. Of these organizations
    /// alone, if there are any given. `from` is the `next` of an earlier page, and only ever leaves out what comes before
    /// it. Reads one partition, at most about 10,000 rows of it; a page may be short and still have a next one.
    ///
    /// # Errors
    /// Storage; a `from` that is no bound of a range is [`TableError::Invalid`].
    pub async fn lookup(
        &self,
        integration: &IntegrationName,
        organizations: Option<&[OrgId]>,
        external_org_id: Option<&ExternalOrgId>,
        limit: usize,
        from: Option<String>,
    ) -> Result<LookupPage, TableError> {
        let page_size = if external_org_id.is_some() { PAGE_LIMIT } else { limit.min(PAGE_LIMIT) };
        let mut ranges = keys::index_of(integration, organizations, &from.unwrap_or_default());
        let rest = ranges.split_off(ranges.len().min(LOOKUP_RANGES));
        let begins = |number: usize| ranges.iter().chain(&rest).nth(number).map(|range| range.from.clone());
        let scan = async |range: &Range| self.tables.scan(Table::IntegrationMappings, range, page_size).await;
        let mut first_pages = pin!(stream::iter(&ranges).map(scan).buffered(LOOKUP_SIDE_BY_SIDE).enumerate());
        let mut mappings = Vec::new();
        let mut budget = LOOKUP_BUDGET;
        while let Some((number, page)) = first_pages.next().await {
            let (mut page, mut range) = (page?, ranges[number].clone());
            loop {
                budget = budget.saturating_sub(page.rows.len());
                let mut rows = page.rows.into_iter();
                while let Some(stored) = rows.next() {
                    let row_key = stored.row.key.row.clone();
                    let Some(key) = keys::mapping_of_index(&stored.row.key) else { continue };
                    match rows::read(key, &stored.row.properties) {
                        Ok(mapping)
                            if mapping.is_active && external_org_id.is_none_or(|id| *id == mapping.external_org_id) =>
                        {
                            mappings.push(mapping);
                        }
                        Ok(_) => {}
                        Err(error) => warn!(%error, "left out of a reverse lookup"),
                    }
                    if mappings.len() == limit {
                        let more = rows.len() > 0 || page.next.is_some() || begins(number + 1).is_some();
                        return Ok(LookupPage { mappings, next: more.then(|| tables::after(&row_key)) });
                    }
                }
                let next = page.next.take();
                if budget == 0 {
                    return Ok(LookupPage { mappings, next: next.or_else(|| begins(number + 1)) });
                }
                let Some(next) = next else { break };
                range.from = next;
                page = scan(&range).await?;
            }
        }
        Ok(LookupPage { mappings, next: begins(ranges.len()) })
    }

    /// The integration of that name, if organizations can be mapped to it.
    ///
    /// # Errors
    /// [`MappingError::IntegrationNotFound`] with the names of those they can be mapped to.
    pub fn mappable(&self, name: &str) -> Result<IntegrationName, MappingError> {
        match self.registry.get(name) {
            Some(known) if known.supports_org_mapping() => Ok(known.name().clone()),
            _ => Err(MappingError::IntegrationNotFound { name: name.to_owned(), known: self.registry.mappable() }),
        }
    }

    async fn active_organization(&self, org_id: &OrgId) -> Result<(), MappingError> {
        match self.organizations.get(org_id).await? {
            None => Err(MappingError::OrganizationNotFound(org_id.clone())),
            Some(organization) if !organization.is_active => Err(MappingError::OrganizationInactive(org_id.clone())),
            Some(_) => Ok(()),
        }
    }

    async fn siblings(&self, org_id: &OrgId, integration: &IntegrationName) -> Result<Siblings, MappingError> {
        self.read(&keys::mappings_of_integration(org_id, integration), Some(integration)).await
    }

    async fn read(&self, range: &Range, integration: Option<&IntegrationName>) -> Result<Siblings, MappingError> {
        let mut siblings = Siblings::default();
        for stored in scan_all(&*self.tables, Table::OrgIntegrationMappings, range).await? {
            let Some(key) = keys::mapping_of(&stored.row.key) else { continue };
            if integration.is_some_and(|name| *name != key.integration) {
                continue;
            }
            let id = key.id.clone();
            match rows::read(key, &stored.row.properties) {
                Ok(mapping) => siblings.readable.push(Found { mapping, stored }),
                Err(error) => {
                    warn!(%error, "a row of the mappings table");
                    siblings.unreadable.push((id, error));
                }
            }
        }
        Ok(siblings)
    }

    /// The organization if that is what is missing, else the mapping.
    async fn missing(&self, org_id: &OrgId, integration: &IntegrationName, id: Option<&MappingId>) -> MappingError {
        match self.organizations.get(org_id).await {
            Err(error) => error.into(),
            Ok(None) => MappingError::OrganizationNotFound(org_id.clone()),
            Ok(Some(_)) => MappingError::MappingNotFound {
                org_id: org_id.clone(),
                integration: integration.clone(),
                id: id.cloned(),
            },
        }
    }
}

impl Siblings {
    fn multiple(&self, org_id: &OrgId, integration: &IntegrationName) -> MappingError {
        MappingError::MultipleMappings {
            org_id: org_id.clone(),
            integration: integration.clone(),
            ids: self.active().map(|found| found.mapping.key.id.clone()).collect(),
        }
    }
}
