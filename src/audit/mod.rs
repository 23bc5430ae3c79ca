//! Audit events: what changed, who did it, from what to what. Must not know how a change is written; the mapping service
//! makes the event part of the change itself. `read.rs` reads them back.

mod read;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::read::{AuditPage, Change, RecordedEvent, Value, page};
use crate::{
    domain::{Actor, MappingKey, time_text},
    tables::{Key, Properties},
};

/// What happened to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Created,
    Updated,
    Deactivated,
    Restored,
    /// A connection test was stored.
    Tested,
}

impl EventType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "integration_mapping.created",
            Self::Updated => "integration_mapping.updated",
            Self::Deactivated => "integration_mapping.deactivated",
            Self::Restored => "integration_mapping.restored",
            Self::Tested => "integration_mapping.tested",
        }
    }
}

/// A time of the row key counts down from here.
const LAST_MILLIS: i64 = 999_999_999_999_999;

/// A field of a mapping whose values an event keeps.
struct Field {
    /// In tables.
    property: &'static str,
    /// In answers.
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Time,
    Flag,
    Data,
}

/// Each value is a property of its own, `Before…` and `After…`, since two values of `MappingData` would not fit into one
/// property. A field that did not change has neither.
const FIELDS: [Field; 7] = [
    Field { property: "ExternalOrgId", name: "external_org_id", kind: Kind::Text },
    Field { property: "ExternalOrgName", name: "external_org_name", kind: Kind::Text },
    Field { property: "MappingData", name: "mapping_data", kind: Kind::Data },
    Field { property: "IsActive", name: "is_active", kind: Kind::Flag },
    Field { property: "LastTestedAt", name: "last_tested_at", kind: Kind::Time },
    Field { property: "LastTestResult", name: "last_test_result", kind: Kind::Text },
    Field { property: "LastTestSucceeded", name: "last_test_succeeded", kind: Kind::Flag },
];

/// One change of one mapping.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub event_type: EventType,
    pub mapping: MappingKey,
    pub actor: Actor,
}

impl AuditEvent {
    /// Where the event is stored: in the organization's partition, newest first.
    pub fn key(&self) -> Key {
        let reverse = (LAST_MILLIS - self.at.timestamp_millis()).max(0);
        Key::new(self.mapping.org_id.as_str(), format!("{reverse:015}_{}", self.id.simple()))
    }

    /// The event as properties of a row, with the values of the mapping's row before and after.
    pub fn properties(&self, before: &Properties, after: &Properties) -> Properties {
        let mut properties = Properties::from([
            ("EventId".to_owned(), self.id.simple().to_string().into()),
            ("EventType".to_owned(), self.event_type.as_str().into()),
            ("At".to_owned(), time_text(self.at).into()),
            ("OrgId".to_owned(), self.mapping.org_id.as_str().into()),
            ("IntegrationName".to_owned(), self.mapping.integration.as_str().into()),
            ("MappingId".to_owned(), self.mapping.id.as_str().into()),
            ("ActorId".to_owned(), self.actor.id.clone().into()),
            ("Source".to_owned(), self.actor.source.as_str().into()),
        ]);
        if let Some(correlation_id) = &self.actor.correlation_id {
            properties.insert("CorrelationId".to_owned(), correlation_id.clone().into());
        }
        for Field { property: field, .. } in FIELDS {
            if before.get(field) != after.get(field) {
                for (moment, values) in [("Before", before), ("After", after)] {
                    if let Some(value) = values.get(field) {
                        properties.insert(format!("{moment}{field}"), value.clone());
                    }
                }
            }
        }
        properties
    }
}
