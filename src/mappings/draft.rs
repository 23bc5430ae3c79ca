//! What a decision comes to: the mapping before and after, and from that the rows and the audit event to be written.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{
    Found, MappingError, Siblings,
    journal::{Change, Marker},
    keys, rows,
};
use crate::{
    audit::{AuditEvent, EventType},
    domain::{Actor, Mapping, MappingKey, TestOutcome},
    integrations,
    tables::{Operation, Properties, Put, Row, Stored},
};

/// A mapping before and after a change that is being decided.
pub struct Draft {
    pub before: Option<Found>,
    pub after: Mapping,
    pub index: Put,
    /// Of a set that creates.
    pub slot: Option<Operation>,
    pub siblings: Siblings,
}

impl Draft {
    /// At most one active mapping per external id.
    pub fn checked(self) -> Result<Self, MappingError> {
        let holds_already = self.before.as_ref().is_some_and(|found| {
            found.mapping.is_active && found.mapping.external_org_id == self.after.external_org_id
        });
        if self.after.is_active && !holds_already {
            let mut others = self.siblings.active_with(&self.after.external_org_id);
            if let Some(other) = others.find(|found| found.mapping.key != self.after.key) {
                return Err(MappingError::Duplicate {
                    external_org_id: self.after.external_org_id.clone(),
                    existing: other.mapping.key.id.clone(),
                });
            }
        }
        Ok(self)
    }

    pub fn is_unchanged(&self) -> bool {
        self.before.as_ref().is_some_and(|found| found.mapping == self.after)
    }

    pub fn into_change(self, actor: &Actor, marker: &Marker, at: DateTime<Utc>, mut guards: Vec<Operation>) -> Change {
        let mut after = self.after;
        let before = self.before.map(|found| (found.mapping, found.stored));
        let event_type = match &before {
            None => EventType::Created,
            // Only a test says something about tests.
            Some((before, _)) if before.last_test != after.last_test => EventType::Tested,
            Some((before, _)) if before.is_active && !after.is_active => EventType::Deactivated,
            Some((before, _)) if !before.is_active && after.is_active => EventType::Restored,
            Some(_) => EventType::Updated,
        };
        match &before {
            None => (after.created_at, after.created_by) = (Some(at), Some(actor.id.clone())),
            // A test speaks of what it tested: another external organization, or other data, has not been tested.
            Some((before, _)) if before.external_org_id != after.external_org_id || before.data != after.data => {
                after.last_test = TestOutcome::default();
            }
            Some(_) => {}
        }
        // A test changes nothing of what the mapping says.
        if event_type != EventType::Tested {
            (after.updated_at, after.updated_by) = (Some(at), Some(actor.id.clone()));
        }
        guards.extend(self.slot);

        // What was stored for this change and is not needed after all goes, too. What a copy of the row refers to stays.
        let references = |mapping: &Mapping| {
            integrations::references(mapping.data.as_ref(), &mapping.key.org_id, &mapping.key.integration)
        };
        let others = self.siblings.readable.iter().map(|found| &found.mapping);
        let others = others.filter(|mapping| mapping.key != after.key);
        let kept: BTreeSet<_> = others.chain([&after]).flat_map(references).collect();
        let mut forget = before.as_ref().map(|(before, _)| references(before)).unwrap_or_default();
        forget.extend(marker.secrets.iter().cloned());
        let forget = forget.difference(&kept).cloned().collect();

        let (old, mode) = match before {
            None => (Properties::new(), Put::Create),
            Some((_, stored)) => (stored.row.properties, Put::Replace(stored.etag)),
        };
        let mut properties = old.clone();
        rows::write(&after, &mut properties);
        let event = AuditEvent { id: marker.change, at, event_type, mapping: after.key.clone(), actor: actor.clone() };
        let event_properties = event.properties(&old, &properties);
        Change { key: after.key, properties, mode, index: self.index, guards, forget, event, event_properties }
    }
}

/// Two sets that both found nothing and create: the second finds the slot changed, and decides again.
pub fn set_slot(mapping: &MappingKey, slot: Option<Stored>) -> Operation {
    let row = Row {
        key: keys::set_slot(&mapping.org_id, &mapping.integration),
        properties: Properties::from([("MappingId".to_owned(), mapping.id.as_str().into())]),
    };
    Operation::Put(row, slot.map_or(Put::Create, |stored| Put::Replace(stored.etag)))
}
