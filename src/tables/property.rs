//! The values of a row: the types of Azure Table Storage, so that rows of other programs survive a rewrite by this one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PROPERTIES_LIMIT, TEXT_LIMIT, TableError};

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
    Typed { edm: String, text: String },
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

/// Refuses what Azure would refuse: too many properties, or a text over its limit.
pub(super) fn check(properties: &Properties) -> Result<(), TableError> {
    if properties.len() > PROPERTIES_LIMIT {
        return Err(TableError::Invalid(format!("{} properties, at most {PROPERTIES_LIMIT}", properties.len())));
    }
    for (name, value) in properties {
        if let Property::Text(text) = value
            && text.encode_utf16().count() > TEXT_LIMIT
        {
            return Err(TableError::Invalid(format!("property {name} over {TEXT_LIMIT} UTF-16 units")));
        }
    }
    Ok(())
}
