//! A small check of JSON against the schemas of the OpenAPI document: the keywords that the document uses, and no others, so
//! that a keyword this check does not know fails instead of passing.
//!
//! Stricter than JSON Schema in one way: an object has no other properties than its schema names.

use std::sync::LazyLock;

use serde_json::Value;

/// The document of this build.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(crosswalk::http::openapi()).unwrap());

/// What is wrong with a value, each with its place.
pub fn mistakes(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(schema) = schema.as_object() else { return Vec::new() };
    let mut mistakes = Vec::new();
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$ref" => mistakes.extend(self::mistakes(referenced(rule), value, at)),
            "type" if !is_of_type(rule, value) => mistakes.push(format!("{at}: {value} is not {rule}")),
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() && value.is_object() {
                        mistakes.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(schema) => mistakes.extend(self::mistakes(schema, value, &format!("{at}.{name}"))),
                        None => mistakes.push(format!("{at}: {name} is in no schema")),
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    mistakes.extend(self::mistakes(rule, value, &format!("{at}[{index}]")));
                }
            }
            "minimum" if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) => {
                mistakes.push(format!("{at}: {value} is less than {rule}"));
            }
            "type" | "minimum" | "format" | "description" | "example" | "additionalProperties" => {}
            other => panic!("this check does not know the keyword {other}"),
        }
    }
    mistakes
}

fn referenced(pointer: &Value) -> &'static Value {
    let pointer = pointer.as_str().unwrap().strip_prefix('#').unwrap();
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document"))
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    if let Some(several) = rule.as_array() {
        return several.iter().any(|one| is_of_type(one, value));
    }
    match rule.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("this check does not know the type {other}"),
    }
}

#[test]
fn the_check_finds_mistakes() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"type": ["string", "null"]}}, "n": {"type": "integer", "minimum": 0}}
    });
    let find = |text: &str| mistakes(&schema, &serde_json::from_str(text).unwrap(), "body");
    assert!(find(r#"{"a": ["x", null], "n": 1}"#).is_empty());
    for bad in ["[]", "{}", r#"{"a": 1}"#, r#"{"a": [1]}"#, r#"{"a": [], "b": 1}"#, r#"{"a": [], "n": -1}"#] {
        assert_eq!(find(bad).len(), 1, "{bad}");
    }
}
