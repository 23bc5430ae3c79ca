//! JSON Pointers (RFC 6901): where a value is. Unlike dotted paths they can name keys such as `@odata.nextLink`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::Value;

/// Where a value is in a JSON document; the empty one is the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(String);

impl Pointer {
    /// # Errors
    /// What is wrong with it, for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = if !text.is_empty() && !text.starts_with('/') {
            Some(format!("a JSON Pointer begins with '/': write \"/{}\"", text.replace('.', "/")))
        } else if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            Some("in a JSON Pointer '~' is written ~0 and a '/' inside a key ~1".to_owned())
        } else {
            None
        };
        problem.map_or_else(|| Ok(Self(text.to_owned())), |problem| Err(format!("'{text}': {problem}")))
    }

    /// What is there; none if nothing is.
    pub fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }

    /// As [`Self::find`], where null is nothing, too.
    pub fn find_value<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.find(document).filter(|value| !value.is_null())
    }

    /// Puts a value there and makes the objects on the way. Of an array, only places that exist.
    ///
    /// # Errors
    /// Something on the way is neither object nor array.
    pub fn set(&self, document: &mut Value, value: Value) -> Result<(), String> {
        let mut place = document;
        for key in self.0.split('/').skip(1) {
            let key = key.replace("~1", "/").replace("~0", "~");
            if place.is_null() {
                *place = Value::Object(serde_json::Map::new());
            }
            place = match place {
                Value::Object(map) => map.entry(key).or_insert(Value::Null),
                Value::Array(items) => key
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get_mut(index))
                    .ok_or_else(|| format!("'{self}' has no place in the body: no such array item"))?,
                _ => return Err(format!("'{self}' has no place in the body: '{key}' would be inside a plain value")),
            };
        }
        *place = value;
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Pointer {
    fn schema_name() -> Cow<'static, str> {
        "Pointer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "JSON Pointer (RFC 6901): \"\" is everything, \"/data/items\" what is under these keys.",
            "type": "string",
            "pattern": "^(/([^~]|~[01])*)?$",
        })
    }
}

/// One pointer, or several to try in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers(pub Vec<Pointer>);

impl<'de> Deserialize<'de> for Pointers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Pointers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON Pointer or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pointers, E> {
                Ok(Pointers(vec![Pointer::parse(text).map_err(E::custom)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Pointers, A::Error> {
                let mut all = Vec::new();
                while let Some(pointer) = items.next_element()? {
                    all.push(pointer);
                }
                if all.is_empty() {
                    Err(de::Error::custom("give at least one JSON Pointer"))
                } else {
                    Ok(Pointers(all))
                }
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Pointers {
    fn schema_name() -> Cow<'static, str> {
        "Pointers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pointer = generator.subschema_for::<Pointer>();
        json_schema!({"anyOf": [pointer, {"type": "array", "minItems": 1, "items": pointer}]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_dotted_paths_cannot() {
        let document = json!({"@odata.nextLink": "x", "a/b": [{"m~n": 0}], "null": null});
        let find = |pointer| Pointer::parse(pointer).unwrap().find(&document).cloned();
        assert_eq!(find("/@odata.nextLink"), Some(json!("x")));
        assert_eq!(find("/a~1b/0/m~0n"), Some(json!(0)));
        assert_eq!(find(""), Some(document.clone()));
        assert_eq!(find("/absent"), None);
        assert_eq!(Pointer::parse("/null").unwrap().find_value(&document), None);
    }

    #[test]
    fn a_mistake_is_told_with_its_remedy() {
        let told = |text| Pointer::parse(text).unwrap_err();
        insta::assert_snapshot!(told("data.items"), @r#"'data.items': a JSON Pointer begins with '/': write "/data/items""#);
        insta::assert_snapshot!(told("/a~b"), @"'/a~b': in a JSON Pointer '~' is written ~0 and a '/' inside a key ~1");
    }

    #[test]
    fn sets_and_makes_the_way() {
        let mut body = json!({"params": {"page": 1}, "list": [1]});
        Pointer::parse("/params/page").unwrap().set(&mut body, json!(2)).unwrap();
        Pointer::parse("/auth/visa").unwrap().set(&mut body, json!("v")).unwrap();
        Pointer::parse("/list/0").unwrap().set(&mut body, json!(3)).unwrap();
        assert_eq!(body, json!({"params": {"page": 2}, "list": [3], "auth": {"visa": "v"}}));
        assert!(Pointer::parse("/list/9").unwrap().set(&mut body, json!(1)).is_err());
        assert!(Pointer::parse("/params/page/x").unwrap().set(&mut body, json!(1)).is_err());
    }
}
