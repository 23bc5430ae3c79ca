//! Verify: reads both tables in full and compares them row by row, with nothing of the code that writes them.

use std::{collections::BTreeMap, fmt};

use futures::StreamExt;
use uuid::Uuid;

use super::{guards, keys, keys::RowKind, rows};
use crate::{
    domain::{ExternalOrgId, MappingKey, OrgId},
    tables::{Key, Properties, Stored, Table, TableError, TableStore},
};

/// How often what differs is looked at again: with live traffic, a change may be between its two tables.
const LOOKS: u32 = 3;

/// One thing that is not as the source of truth implies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    MissingInIndex(MappingKey),
    DiffersInIndex(MappingKey),
    OnlyInIndex(MappingKey),
    /// Several active mappings of one external id.
    Duplicate {
        mapping: MappingKey,
        other: MappingKey,
    },
    MissingGuard {
        mapping: MappingKey,
        external_org_id: ExternalOrgId,
    },
    LeftoverGuard(Key),
    UnfinishedChange {
        org_id: OrgId,
        change: Uuid,
    },
    Unreadable {
        mapping: MappingKey,
        reason: String,
    },
    /// A row in the source of truth whose key is none of this service.
    Foreign {
        key: Key,
    },
    /// A row in the index whose key is none of this service.
    ForeignInIndex(Key),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rebuild = "`crosswalk repair --full` mends it";
        match self {
            Self::MissingInIndex(key) => write!(f, "{key}: missing in IntegrationMappings; {rebuild}"),
            Self::DiffersInIndex(key) => write!(f, "{key}: IntegrationMappings says something else; {rebuild}"),
            Self::OnlyInIndex(key) => write!(f, "{key}: only in IntegrationMappings; {rebuild}"),
            Self::Duplicate { mapping, other } => {
                write!(f, "{mapping}: active with the same external id as {other}; deactivate one of them")
            }
            Self::MissingGuard { mapping, .. } => write!(f, "{mapping}: active without a guard; {rebuild}"),
            Self::LeftoverGuard(key) => {
                write!(f, "{}/{}: a guard that no active mapping needs; {rebuild}", key.partition, key.row)
            }
            Self::UnfinishedChange { org_id, change } => {
                write!(f, "{org_id}: change {change} is unfinished; `crosswalk repair` finishes it")
            }
            Self::Unreadable { reason, .. } => write!(f, "{reason}; mend or remove that row"),
            Self::Foreign { key } => write!(
                f,
                "{}/{}: a row of OrgIntegrationMappings that names no mapping; remove it",
                key.partition, key.row
            ),
            Self::ForeignInIndex(key) => write!(
                f,
                "{}/{}: a row of IntegrationMappings that names no mapping; remove it",
                key.partition, key.row
            ),
        }
    }
}

/// Compares the two tables. Everything that differs now and still differs when looked at again.
///
/// # Errors
/// Storage.
pub async fn verify(tables: &dyn TableStore) -> Result<Vec<Difference>, TableError> {
    let mut differences = Snapshot::read(tables).await?.differences();
    for _ in 1..LOOKS {
        if differences.is_empty() {
            break;
        }
        let again = Snapshot::read(tables).await?.differences();
        differences.retain(|difference| again.contains(difference));
    }
    Ok(differences)
}

/// Both tables at about one moment.
struct Snapshot {
    mappings: BTreeMap<MappingKey, Properties>,
    index: BTreeMap<MappingKey, Properties>,
    /// Guards with the mapping they name.
    guards: BTreeMap<Key, Option<String>>,
    intents: Vec<(OrgId, Uuid)>,
    foreign: Vec<Difference>,
}

impl Snapshot {
    async fn read(tables: &dyn TableStore) -> Result<Self, TableError> {
        let mut snapshot = Self {
            mappings: BTreeMap::new(),
            index: BTreeMap::new(),
            guards: BTreeMap::new(),
            intents: Vec::new(),
            foreign: Vec::new(),
        };
        let mut rows = tables.scan_table(Table::OrgIntegrationMappings);
        while let Some(stored) = rows.next().await {
            snapshot.add(stored?);
        }
        let mut rows = tables.scan_table(Table::IntegrationMappings);
        while let Some(stored) = rows.next().await {
            let row = stored?.row;
            match keys::mapping_of_index(&row.key) {
                Some(key) => drop(snapshot.index.insert(key, row.properties)),
                None => snapshot.foreign.push(Difference::ForeignInIndex(row.key)),
            }
        }
        Ok(snapshot)
    }

    fn add(&mut self, stored: Stored) {
        match RowKind::of(&stored.row.key) {
            RowKind::Mapping(key) => drop(self.mappings.insert(key, stored.row.properties)),
            RowKind::Guard => drop(self.guards.insert(stored.row.key.clone(), guards::holder_id(&stored))),
            RowKind::Intent(org_id, change) => self.intents.push((org_id, change)),
            // A marker without an intent is no difference: its change never happened, or is complete.
            RowKind::Marker(..) | RowKind::SetSlot => {}
            RowKind::Foreign => self.foreign.push(Difference::Foreign { key: stored.row.key }),
        }
    }

    fn differences(&self) -> Vec<Difference> {
        let mut differences = self.foreign.clone();
        for (key, properties) in &self.mappings {
            match self.index.get(key) {
                None => differences.push(Difference::MissingInIndex(key.clone())),
                Some(index) if index != properties => differences.push(Difference::DiffersInIndex(key.clone())),
                Some(_) => {}
            }
        }
        let orphans = self.index.keys().filter(|key| !self.mappings.contains_key(key));
        differences.extend(orphans.cloned().map(Difference::OnlyInIndex));
        differences.extend(self.guard_differences());
        let unfinished = self.intents.iter().cloned();
        differences.extend(unfinished.map(|(org_id, change)| Difference::UnfinishedChange { org_id, change }));
        differences
    }

    /// Every active mapping holds exactly the guard of its external id; no other guard exists.
    fn guard_differences(&self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut implied: BTreeMap<Key, MappingKey> = BTreeMap::new();
        for (key, properties) in &self.mappings {
            let mapping = match rows::read(key.clone(), properties) {
                Ok(mapping) => mapping,
                Err(error) => {
                    differences.push(Difference::Unreadable { mapping: key.clone(), reason: error.to_string() });
                    continue;
                }
            };
            if !mapping.is_active {
                continue;
            }
            let guard = keys::guard(&key.org_id, &key.integration, &mapping.external_org_id);
            if let Some(other) = implied.get(&guard) {
                differences.push(Difference::Duplicate { mapping: key.clone(), other: other.clone() });
                continue;
            }
            if self.guards.get(&guard).and_then(Option::as_deref) != Some(key.id.as_str()) {
                let external_org_id = mapping.external_org_id;
                differences.push(Difference::MissingGuard { mapping: key.clone(), external_org_id });
            }
            implied.insert(guard, key.clone());
        }
        let leftover = self.guards.keys().filter(|guard| !implied.contains_key(guard));
        differences.extend(leftover.cloned().map(Difference::LeftoverGuard));
        differences
    }
}
