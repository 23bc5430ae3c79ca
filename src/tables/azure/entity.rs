//! Rows as Azure's JSON has them, and back.

use std::collections::BTreeMap;

use azure_core::{
    Etag as SdkEtag,
    error::{Error, ErrorKind},
};
use azure_data_tables::IfMatchCondition;
use serde_json::{Map, Number, Value, json};

use crate::tables::{Etag, Key, Properties, Property, Row, Stored};

/// An entity as the service sends and takes it.
pub(super) type Entity = Map<String, Value>;

const PARTITION: &str = "PartitionKey";
const ROW: &str = "RowKey";
const TIMESTAMP: &str = "Timestamp";
const TYPE: &str = "@odata.type";

/// The entity to send. What JSON can't tell apart by itself carries its type.
pub(super) fn from_row(row: &Row) -> Entity {
    let mut entity = Entity::new();
    entity.insert(PARTITION.into(), row.key.partition.clone().into());
    entity.insert(ROW.into(), row.key.row.clone().into());
    for (name, property) in &row.properties {
        let (value, edm) = match property {
            Property::Text(text) => (json!(text), None),
            Property::Bool(value) => (json!(value), None),
            Property::Int32(number) => (json!(number), None),
            // A JSON number is an Int32 to the service; longer ones are text.
            Property::Int64(number) => (json!(number.to_string()), Some("Edm.Int64")),
            Property::Double(number) => (double(*number), Some("Edm.Double")),
            Property::Typed { edm, text } => (json!(text), Some(edm.as_str())),
        };
        if let Some(edm) = edm {
            entity.insert(format!("{name}{TYPE}"), edm.into());
        }
        entity.insert(name.clone(), value);
    }
    entity
}

/// JSON has no infinities: the service takes them as text.
fn double(number: f64) -> Value {
    let text = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    Number::from_f64(number).map_or_else(|| text.into(), Value::Number)
}

/// The row of an entity that was read, with the tag from inside it.
pub(super) fn into_stored(mut entity: Entity) -> azure_core::Result<Stored> {
    let mut take = |name: &str| match entity.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Error::message(ErrorKind::DataConversion, "an entity without keys or tag")),
    };
    let etag = Etag(take("odata.etag")?);
    let key = Key { partition: take(PARTITION)?, row: take(ROW)? };
    Ok(Stored { row: Row { key, properties: properties(entity) }, etag })
}

/// Everything that is neither null nor the service's own. No value fails: what is not understood is kept as it came,
/// so that one odd row of another program can't hide the others.
fn properties(entity: Entity) -> Properties {
    let (mut types, mut values) = (BTreeMap::new(), Vec::new());
    for (mut name, value) in entity {
        if let (Some(length), Value::String(edm)) = (name.strip_suffix(TYPE).map(str::len), &value) {
            name.truncate(length);
            types.insert(name, edm.clone());
        } else if name != TIMESTAMP && !name.contains("odata.") && !value.is_null() {
            values.push((name, value));
        }
    }
    let typed = |(name, value)| {
        let property = property(value, types.get(&name).map(String::as_str));
        (name, property)
    };
    values.into_iter().map(typed).collect()
}

fn property(value: Value, edm: Option<&str>) -> Property {
    let told_by_json = matches!(edm, None | Some("Edm.String" | "Edm.Boolean" | "Edm.Int32"));
    match value {
        Value::String(text) if told_by_json => Property::Text(text),
        Value::Bool(value) if told_by_json => Property::Bool(value),
        Value::Number(number) if told_by_json => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => i32::try_from(number).map_or(Property::Int64(number), Property::Int32),
            (None, Some(number)) => Property::Double(number),
            (None, None) => Property::Text(number.to_string()),
        },
        value => {
            let text = match value {
                Value::String(text) => text,
                value => value.to_string(),
            };
            let known = match edm {
                None | Some("Edm.String" | "Edm.Boolean" | "Edm.Int32") => return Property::Text(text),
                Some("Edm.Int64") => text.parse().ok().map(Property::Int64),
                Some("Edm.Double") => text.parse().ok().map(Property::Double),
                Some(_) => None,
            };
            known.unwrap_or_else(|| Property::Typed { edm: edm.unwrap_or("Edm.String").to_owned(), text })
        }
    }
}

/// The tag as a header. One that is not of the service's shape can match no row, but sent as it is it would be a
/// malformed request, `*` would match every row, and a line break would add headers. Such a one is replaced by a tag
/// from before there was a service: the answer is then the right one, 412 or 404.
pub(super) fn matching(etag: &Etag) -> IfMatchCondition {
    let shaped = etag.0.strip_prefix("W/\"datetime'").and_then(|rest| rest.strip_suffix("'\"")).is_some_and(|time| {
        !time.is_empty() && time.bytes().all(|b| b.is_ascii_alphanumeric() || b"%:.-".contains(&b))
    });
    let tag = if shaped { etag.0.as_str() } else { "W/\"datetime'1601-01-01T00%3A00%3A00.0000000Z'\"" };
    IfMatchCondition::Etag(SdkEtag::from(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entity: Value) -> Properties {
        let Value::Object(entity) = entity else { panic!("not an object") };
        properties(entity)
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let typed = |edm: &str, text: &str| Property::Typed { edm: edm.into(), text: text.into() };
        let written: Properties = [
            ("Text", Property::from("a\u{0}\u{1F600}\"")),
            ("Bool", true.into()),
            ("Int32", Property::Int32(-7)),
            ("Int64", Property::Int64(i64::MIN)),
            ("Small64", Property::Int64(7)),
            ("Double", Property::Double(0.1)),
            ("Whole", Property::Double(3.0)),
            ("Infinite", Property::Double(f64::NEG_INFINITY)),
            ("Time", typed("Edm.DateTime", "2026-01-02T03:04:05.0000006Z")),
            ("Guid", typed("Edm.Guid", "4185404a-5818-48c3-b9be-f217df0dba6f")),
            ("Binary", typed("Edm.Binary", "AQID")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let row = Row { key: Key::new("p", "r"), properties: written.clone() };
        let mut entity = from_row(&row);
        entity.insert("odata.etag".into(), "tag".into());
        entity.insert("Timestamp".into(), "2026-01-01T00:00:00Z".into());
        entity.insert("Timestamp@odata.type".into(), "Edm.DateTime".into());
        let stored = into_stored(entity).unwrap();
        assert_eq!(stored, Stored { row, etag: Etag("tag".into()) });
    }

    #[test]
    fn odd_values_of_other_programs_are_kept_as_they_came() {
        let properties = read(json!({
            "Nothing": null,
            "Big": 5_000_000_000_i64,
            "Broken@odata.type": "Edm.Int64", "Broken": "twelve",
            "Decimal@odata.type": "Edm.Decimal", "Decimal": 12,
            "Nested": {"a": 1},
            "odata.type": "account.Table",
        }));
        insta::assert_debug_snapshot!(properties, @r#"
        {
            "Big": Int64(
                5000000000,
            ),
            "Broken": Typed {
                edm: "Edm.Int64",
                text: "twelve",
            },
            "Decimal": Typed {
                edm: "Edm.Decimal",
                text: "12",
            },
            "Nested": Text(
                "{\"a\":1}",
            ),
        }
        "#);
    }

    #[test]
    fn no_foreign_tag_reaches_a_header() {
        for hostile in ["*", "", "W/\"*\"", "W/\"datetime'a'\"\r\nx-ms-a: b'\"", "\"1\""] {
            let IfMatchCondition::Etag(sent) = matching(&Etag(hostile.into())) else { panic!("{hostile:?}") };
            assert!(sent.to_string().contains("1601"), "{hostile:?}");
        }
        let real = "W/\"datetime'2026-11-21T10%3A35%3A00.1234567Z'\"";
        assert_eq!(matching(&Etag(real.into())), IfMatchCondition::Etag(SdkEtag::from(real)));
    }
}
