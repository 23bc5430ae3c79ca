//! The values of a row: the types of Azure Table Storage, so that rows of other programs survive a rewrite by this one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BINARY_LIMIT, NAME_LIMIT, PROPERTIES_LIMIT, ROW_LIMIT, Row, TEXT_LIMIT, TableError};

/// The types of [`Property::Typed`]; every other type has a variant of its own.
const TYPES: [&str; 3] = ["Edm.DateTime", "Edm.Guid", "Edm.Binary"];
/// What a batch adds to each operation: its headers and boundaries.
const ENVELOPE: usize = 700;

/// The properties of a row by name. A null is an absent property, as in the store.
pub type Properties = BTreeMap<String, Property>;

/// One value. This service writes only text and booleans; the rest is what other programs may have written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    Text(String),
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Double(f64),
    /// `Edm.DateTime`, `Edm.Guid` or `Edm.Binary`, in the text form the store uses.
    Typed {
        edm: String,
        text: String,
    },
}

impl Property {
    /// The value as text, where that is exact: texts, whole numbers, times and ids; not booleans and doubles.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Typed { text, .. } => Some(text.clone()),
            Self::Int32(number) => Some(number.to_string()),
            Self::Int64(number) => Some(number.to_string()),
            Self::Bool(_) | Self::Double(_) => None,
        }
    }
}

impl From<String> for Property {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Property {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Property {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Refuses what Azure would refuse: names, types, numbers and sizes outside its limits.
pub(super) fn check(row: &Row) -> Result<(), TableError> {
    let invalid = |reason: String| Err(TableError::Invalid(reason));
    let properties = &row.properties;
    if properties.len() > PROPERTIES_LIMIT {
        return invalid(format!("{} properties, at most {PROPERTIES_LIMIT}", properties.len()));
    }
    for (name, value) in properties {
        if !is_name(name) {
            return invalid(format!(
                "property name {name:?}: letters, digits and _, 1 to {NAME_LIMIT}, none of the store's own"
            ));
        }
        match value {
            Property::Text(text) if units(text) > TEXT_LIMIT => {
                return invalid(format!("property {name} over {TEXT_LIMIT} UTF-16 units"));
            }
            Property::Typed { edm, .. } if !TYPES.contains(&edm.as_str()) => {
                return invalid(format!("property {name} of type {edm}, which is none of {}", TYPES.join(", ")));
            }
            Property::Typed { edm, text } if edm == "Edm.Binary" && decoded(text) > BINARY_LIMIT => {
                return invalid(format!("property {name} over {BINARY_LIMIT} bytes"));
            }
            _ => {}
        }
    }
    let size = size(row);
    if size > ROW_LIMIT {
        return invalid(format!("a row of {size} bytes as the store counts, at most {ROW_LIMIT}"));
    }
    Ok(())
}

/// Bytes that the row takes in the body of a request, within a few hundred.
pub(super) fn wire_size(row: &Row) -> usize {
    let properties = row.properties.iter().map(|(name, value)| {
        let value = match value {
            Property::Text(text) | Property::Typed { text, .. } => json_length(text),
            Property::Bool(_) | Property::Int32(_) | Property::Int64(_) | Property::Double(_) => 24,
        };
        2 * name.len() + value + 40
    });
    ENVELOPE + 2 * (row.key.partition.len() + row.key.row.len()) + properties.sum::<usize>()
}

fn json_length(text: &str) -> usize {
    let escaped = |byte| match byte {
        0..b' ' => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// Azure's own formula, in which a character of a text counts twice.
fn size(row: &Row) -> usize {
    let value = |value: &Property| match value {
        Property::Text(text) => 4 + 2 * units(text),
        Property::Bool(_) => 1,
        Property::Int32(_) => 4,
        Property::Int64(_) | Property::Double(_) => 8,
        Property::Typed { edm, text } => match edm.as_str() {
            "Edm.DateTime" => 8,
            "Edm.Guid" => 16,
            _ => 4 + decoded(text),
        },
    };
    let properties = row.properties.iter().map(|(name, property)| 8 + 2 * units(name) + value(property));
    4 + 2 * (row.key.partition.len() + row.key.row.len()) + properties.sum::<usize>()
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Bytes in that base64.
fn decoded(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// A C# identifier, and none of the properties that every row has by itself.
fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_alphabetic() || c == '_';
    name.starts_with(begins)
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && units(name) <= NAME_LIMIT
        && !matches!(name, "PartitionKey" | "RowKey" | "Timestamp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Key;

    fn row(name: &str, value: Property) -> Row {
        Row { key: Key::new("p", "r"), properties: [(name.to_owned(), value)].into() }
    }

    #[test]
    fn names_that_no_store_takes_are_refused() {
        for bad in ["", "1a", "a b", "a-b", "a.b", "odata.type", "A@odata.type", "RowKey", &"a".repeat(256)] {
            assert!(check(&row(bad, true.into())).is_err(), "{bad:?}");
        }
        for good in ["A", "_a1", "Größe", &"a".repeat(255)] {
            assert!(check(&row(good, true.into())).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn only_the_types_of_the_store_are_taken() {
        let typed = |edm: &str, text: &str| Property::Typed { edm: edm.into(), text: text.into() };
        assert!(check(&row("A", typed("Edm.Guid", "4185404a-5818-48c3-b9be-f217df0dba6f"))).is_ok());
        assert!(check(&row("A", typed("Edm.Int64", "1"))).is_err());
        assert!(check(&row("A", typed("Edm.Binary", &"A".repeat(4 * BINARY_LIMIT / 3)))).is_ok());
        assert!(check(&row("A", typed("Edm.Binary", &"A".repeat(4 * BINARY_LIMIT / 3 + 4)))).is_err());
    }

    #[test]
    fn the_size_on_the_wire_is_never_guessed_too_small() {
        for text in ["", "plain", "\"\\\n\u{1}", "\u{1F600}é"] {
            let row = row("Name", Property::from(text.repeat(1000)));
            let json = serde_json::to_string(&row.properties).unwrap_or_default();
            assert!(wire_size(&row) >= json.len() - 20, "{text:?}");
        }
    }
}
