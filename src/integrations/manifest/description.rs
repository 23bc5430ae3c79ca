//! What the schema says about a key. Must not judge what is there.

use serde_json::Value;

use super::json_schema;

/// The first sentence about `key` in what is at `field`, as the end of another one.
pub fn of(field: &str, key: &str) -> Option<String> {
    let schema = json_schema();
    // `config[0].key` is `key` of `items` of `config`.
    let mut steps = field.split('.').flat_map(|step| step.split('[')).filter(|step| !step.is_empty());
    let holder = steps.try_fold(&schema, |at, step| below(&schema, at, step))?;
    let sentence =
        below(&schema, holder, key)?.get("description")?.as_str()?.split(['\n']).next()?.split(". ").next()?;
    let mut chars = sentence.trim_end_matches('.').chars();
    let (first, second) = (chars.next()?, chars.next()?);
    let first = if second.is_uppercase() { first } else { first.to_ascii_lowercase() };
    Some([first, second].into_iter().chain(chars).collect())
}

fn below<'a>(schema: &'a Value, at: &'a Value, step: &str) -> Option<&'a Value> {
    if let Some(found) = at.get("properties").and_then(|keys| keys.get(step)) {
        return Some(found);
    }
    if step.ends_with(']') {
        return at.get("items");
    }
    let name = at.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    let definition = name.and_then(|name| schema.get("$defs")?.get(name));
    let either = at.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    definition.into_iter().chain(either).find_map(|one| below(schema, one, step))
}
