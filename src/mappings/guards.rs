//! Guards: rows that make an external id unique among the active mappings of an organization and integration.
//!
//! An active mapping holds the guard of its external id; taking and freeing it is part of the transaction that changes the
//! mapping. Whoever takes or frees a guard writes it, so its tag tells whether a look at it still holds.

use super::{keys, rows};
use crate::{
    domain::{ExternalOrgId, MappingId, MappingKey},
    tables::{Key, Properties, Property, Put, Row, Stored, Table, TableError, TableStore, When},
};

/// The guard of an external id, held by a mapping.
pub fn row(mapping: &MappingKey, external_org_id: &ExternalOrgId) -> Row {
    Row {
        key: keys::guard(&mapping.org_id, &mapping.integration, external_org_id),
        properties: Properties::from([
            ("IntegrationName".to_owned(), mapping.integration.as_str().into()),
            ("MappingId".to_owned(), mapping.id.as_str().into()),
            ("ExternalOrgId".to_owned(), external_org_id.as_str().into()),
        ]),
    }
}

/// The mapping id that a guard names.
pub fn holder_id(guard: &Stored) -> Option<String> {
    text(guard, "MappingId")
}

/// The active mapping that holds a guard by right; none if the guard is a leftover. The mapping is read after the guard.
pub async fn rightful_holder(tables: &dyn TableStore, guard: &Stored) -> Result<Option<MappingKey>, TableError> {
    let name = (text(guard, "IntegrationName"), text(guard, "MappingId"), text(guard, "ExternalOrgId"));
    let (Some(integration), Some(id), Some(external_org_id)) = name else { return Ok(None) };
    let source = Key::new(guard.row.key.partition.clone(), format!("{integration}_{id}"));
    let Some(holder) = keys::mapping_of(&source) else { return Ok(None) };
    let stored = tables.get(Table::OrgIntegrationMappings, &source).await?;
    let mapping = stored.and_then(|stored| rows::read(holder.clone(), &stored.row.properties).ok());
    let holds = mapping.is_some_and(|mapping| {
        mapping.is_active && mapping.external_org_id.as_str() == external_org_id && {
            keys::guard(&holder.org_id, &holder.integration, &mapping.external_org_id) == guard.row.key
        }
    });
    Ok(holds.then_some(holder))
}

/// Gives an active mapping its guard, unless another one holds it by right or the mapping has moved on.
pub async fn restore(
    tables: &dyn TableStore,
    mapping: &MappingKey,
    external_org_id: &ExternalOrgId,
) -> Result<(), TableError> {
    let row = row(mapping, external_org_id);
    let mode = match tables.get(Table::OrgIntegrationMappings, &row.key).await? {
        None => Put::Create,
        Some(guard) if rightful_holder(tables, &guard).await?.is_none() => Put::Replace(guard.etag),
        Some(_) => return Ok(()),
    };
    settled(tables.put(Table::OrgIntegrationMappings, &row, &mode).await.map(drop))
}

/// Removes a guard that no active mapping holds.
pub async fn remove_leftover(tables: &dyn TableStore, key: &Key) -> Result<(), TableError> {
    match tables.get(Table::OrgIntegrationMappings, key).await? {
        Some(guard) if rightful_holder(tables, &guard).await?.is_none() => {
            settled(tables.delete(Table::OrgIntegrationMappings, key, &When::Matches(guard.etag)).await)
        }
        _ => Ok(()),
    }
}

/// Whether that mapping id is the one a guard names.
pub fn is_held_by(guard: &Stored, id: &MappingId) -> bool {
    holder_id(guard).as_deref() == Some(id.as_str())
}

/// Somebody else was first: the guard is their business now.
fn settled(outcome: Result<(), TableError>) -> Result<(), TableError> {
    match outcome {
        Err(TableError::AlreadyExists | TableError::Precondition | TableError::NotFound) => Ok(()),
        outcome => outcome,
    }
}

fn text(guard: &Stored, name: &str) -> Option<String> {
    guard.row.properties.get(name).and_then(Property::text)
}
