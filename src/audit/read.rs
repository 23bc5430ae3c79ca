//! Reading the history back. Rows of other programs, and of earlier versions, are read as far as they can be.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::warn;

use super::{FIELDS, Kind, LAST_MILLIS};
use crate::{
    domain::{MappingData, OrgId, parse_time, time_text},
    tables::{Properties, Property, Range, Row, Table, TableError, TableStore},
};

/// An event as it was stored. What a row does not say is none.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvent {
    pub id: String,
    pub at: DateTime<Utc>,
    pub event_type: String,
    pub integration_name: Option<String>,
    pub mapping_id: Option<String>,
    pub actor: Option<String>,
    pub source: Option<String>,
    pub correlation_id: Option<String>,
    /// The fields that changed.
    pub changes: BTreeMap<&'static str, Change>,
}

/// A field's value before and after; none where it had none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub before: Option<Value>,
    pub after: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Flag(bool),
    Data(MappingData),
}

/// One page of events, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    pub events: Vec<RecordedEvent>,
    /// Where older ones begin, if there are any.
    pub next: Option<String>,
}

/// The events of an organization from that bound on, at most `limit`. One read of a range.
///
/// New events sort before all others, so pages that follow one another hold each event once, whatever is written meanwhile.
///
/// # Errors
/// The store is unavailable.
pub async fn page(
    tables: &dyn TableStore,
    org_id: &OrgId,
    limit: usize,
    from: Option<String>,
) -> Result<AuditPage, TableError> {
    let range = Range::new(org_id.as_str(), from.unwrap_or_default(), "~");
    let page = tables.scan(Table::AuditEvents, &range, limit).await?;
    let read = |row: &Row| {
        let event = event(row);
        if event.is_none() {
            warn!(%org_id, row = row.key.row, "an audit event without a type or a time is left out");
        }
        event
    };
    Ok(AuditPage { events: page.rows.iter().filter_map(|stored| read(&stored.row)).collect(), next: page.next })
}

/// None: the row says neither what happened nor when.
fn event(row: &Row) -> Option<RecordedEvent> {
    let text = |name: &str| row.properties.get(name).and_then(Property::text).filter(|text| !text.is_empty());
    let (reverse, id) = row.key.row.split_once('_').unwrap_or(("", &row.key.row));
    let at_of_key = || DateTime::from_timestamp_millis(LAST_MILLIS - reverse.parse::<i64>().ok()?);
    let changes = FIELDS.iter().filter_map(|field| {
        let value = |moment: &str| value(row, &format!("{moment}{}", field.property), field.kind);
        let change = Change { before: value("Before"), after: value("After") };
        (change.before != change.after).then_some((field.name, change))
    });
    Some(RecordedEvent {
        event_type: text("EventType")?,
        at: text("At").and_then(|at| parse_time(&at).ok()).or_else(at_of_key)?,
        id: text("EventId").unwrap_or_else(|| id.to_owned()),
        integration_name: text("IntegrationName"),
        mapping_id: text("MappingId"),
        actor: text("ActorId"),
        source: text("Source"),
        correlation_id: text("CorrelationId"),
        changes: changes.collect(),
    })
}

fn value(row: &Row, name: &str, kind: Kind) -> Option<Value> {
    let property = Properties::get(&row.properties, name)?;
    let text = match property {
        Property::Bool(flag) if kind == Kind::Flag => return Some(Value::Flag(*flag)),
        Property::Bool(flag) => flag.to_string(),
        Property::Double(number) => number.to_string(),
        other => other.text()?,
    };
    match kind {
        Kind::Data => {
            let data = MappingData::parse(&text).ok();
            if data.is_none() {
                // Not shown: secrets in it could not be told from the rest.
                warn!(row = row.key.row, property = name, "mapping data in an audit event is no JSON object");
            }
            data.map(Value::Data)
        }
        Kind::Time => Some(Value::Text(parse_time(&text).map_or(text, time_text))),
        Kind::Flag | Kind::Text => Some(Value::Text(text)),
    }
}
