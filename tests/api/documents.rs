//! JSON bodies as tests write and show them.

use serde_json::{Value, json};

/// The body of a create.
pub fn new_mapping(integration: &str, external_org_id: &str) -> Value {
    json!({"integration_name": integration, "external_org_id": external_org_id})
}

/// The same with a chosen id.
pub fn named_mapping(integration: &str, external_org_id: &str, id: &str) -> Value {
    json!({"integration_name": integration, "external_org_id": external_org_id, "mapping_id": id})
}

/// A document to compare, with what differs from run to run replaced, after a check that it looks as promised.
pub fn stable(value: &Value) -> String {
    serde_json::to_string_pretty(&replaced("", value)).unwrap()
}

fn replaced(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), replaced(name, value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| replaced("", item)).collect(),
        Value::String(text) if name.ends_with("_at") => {
            let time = chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let age = chrono::Utc::now().signed_duration_since(time).num_seconds();
            assert!(text.ends_with('Z') && (-5..600).contains(&age), "{name} is {text}");
            "<now>".into()
        }
        Value::String(text) if is_generated(text) => "mapping_<generated>".into(),
        other => other.clone(),
    }
}

/// Whether a mapping id is one that the service makes: UUIDv7 without hyphens.
pub fn is_generated(id: &str) -> bool {
    let digits = id.strip_prefix("mapping_").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits.as_bytes()[12] == b'7'
}
