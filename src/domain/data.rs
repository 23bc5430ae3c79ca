//! `mapping_data`: what an integration wants to know about one mapping, as the caller wrote it.

use std::{collections::BTreeMap, fmt};

use serde::{
    Serialize,
    de::{Deserialize, Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::InvalidValue;

/// A JSON object, kept as its text: numbers beyond what a double can hold come back digit by digit. `Debug` does not show it:
/// before its secrets are apart, they are in it.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct MappingData(Box<RawValue>);

impl MappingData {
    /// Longest text in UTF-16 units: the limit of a table property, less a little.
    pub const LIMIT: usize = 32_000;

    /// # Errors
    /// The text is not a JSON object, nests deeper than 127 levels, or is longer than [`Self::LIMIT`].
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        // A raw value alone would take any depth; whoever reads it as a value later could not.
        let _: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| {
            InvalidValue(if error.is_data() {
                "must be a JSON object".to_owned()
            } else {
                format!("must be a JSON object that can be read: {error}")
            })
        })?;
        let raw = RawValue::from_string(text.to_owned()).map_err(|error| InvalidValue(error.to_string()))?;
        Self(raw).within_limit()
    }

    /// An object of these members, however long.
    pub fn of_members(members: &BTreeMap<String, Box<RawValue>>) -> Self {
        Self(serde_json::value::to_raw_value(members).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// # Errors
    /// The text is longer than [`Self::LIMIT`].
    pub fn within_limit(self) -> Result<Self, InvalidValue> {
        // A text has no more units than bytes.
        if self.as_str().len() > Self::LIMIT {
            let units = self.as_str().encode_utf16().count();
            if units > Self::LIMIT {
                return Err(InvalidValue(format!("must be at most {} UTF-16 units as text, not {units}", Self::LIMIT)));
            }
        }
        Ok(self)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    pub fn into_raw(self) -> Box<RawValue> {
        self.0
    }
}

impl fmt::Debug for MappingData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[mapping data]")
    }
}

impl PartialEq for MappingData {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// The members of a JSON object as they were written, those with the same name too: to take the last one would be a guess.
#[derive(Default)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_unchanged() {
        for text in [
            r#"{"n":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":1E+2}"#,
            r#"{ "spaced" : "\u00e9" }"#,
            "{}",
        ] {
            let data = MappingData::parse(text).unwrap();
            assert_eq!((data.as_str(), format!("{data:?}").as_str()), (text, "[mapping data]"));
        }
    }

    #[test]
    fn only_objects_of_bounded_depth_and_length() {
        for bad in ["", "[]", "null", "1", "{", r#"{"a":}"#, "{\"a\":1e999}"] {
            assert!(MappingData::parse(bad).is_err(), "{bad}");
        }
        let nested = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(MappingData::parse(&nested(100)).is_ok());
        assert!(MappingData::parse(&nested(10_000)).is_err());
        let sized = |units: usize| format!(r#"{{"a":"{}"}}"#, "é".repeat(units - 8));
        assert!(MappingData::parse(&sized(MappingData::LIMIT)).is_ok());
        assert!(MappingData::parse(&sized(MappingData::LIMIT + 1)).is_err());
    }
}
