//! From a page to organizations: which values are records, which of them count, and what of each is kept.
//!
//! Nothing of a record is kept but what the manifest names: records hold secrets of the organizations they describe.

use serde_json::{Map, Value};

use crate::{
    domain::{ExternalOrgId, ExternalOrganization},
    integrations::{
        Failure, FailureClass,
        manifest::{Decoder, Pointer, RecordFilter, RecordMapping},
    },
};

/// Longest name in characters.
const NAME: usize = 300;

/// The records of a page. Where there are none, the first page has to say so by an empty array or null; later ones may
/// leave the array out.
pub fn select<'a>(body: &'a Value, selector: &Pointer, decoder: Decoder, first: bool) -> Result<&'a [Value], Failure> {
    match selector.find(body) {
        Some(Value::Array(records)) => Ok(records),
        Some(Value::Null) => Ok(&[]),
        // XML writes a list of one like a single element, and a list of none like an empty text.
        Some(record @ Value::Object(_)) if decoder == Decoder::Xml => Ok(std::slice::from_ref(record)),
        Some(Value::String(text)) if decoder == Decoder::Xml && text.is_empty() => Ok(&[]),
        Some(_) => Err(bad(format!("the answer has no array at '{selector}'"))),
        None if !first && body.is_object() => Ok(&[]),
        None if decoder == Decoder::Xml && has_root(body, selector) => Ok(&[]),
        None => Err(bad(format!("the answer has nothing at '{selector}', where the organizations should be"))),
    }
}

/// Whether an XML document is the one that was meant: a web page can be XML, too, and has no organizations either.
fn has_root(body: &Value, selector: &Pointer) -> bool {
    selector.as_str().split('/').nth(1).is_some_and(|root| body.get(root).is_some())
}

/// Whether a record counts.
pub fn counts(record: &Value, filters: &[RecordFilter]) -> bool {
    filters.iter().all(|filter| {
        let found = filter.path.find_value(record);
        let among = |values: &[Value]| values.contains(found.unwrap_or(&Value::Null));
        filter.any_of.as_deref().is_none_or(among)
            && !filter.not_in.as_deref().is_some_and(among)
            && filter.is_null.is_none_or(|wanted| wanted == found.is_none())
    })
}

/// What tells one raw record from another: its id, or all of it where it has none.
pub fn identity(record: &Value, mapping: &RecordMapping) -> String {
    let id = if record.is_object() { mapping.id.find(record) } else { Some(record) };
    id.and_then(text).unwrap_or_else(|| record.to_string())
}

/// # Errors
/// There is no id, or one that cannot be a mapping's.
pub fn organization(record: &Value, mapping: &RecordMapping) -> Result<ExternalOrganization, Failure> {
    let id = mapping.id.find(record).and_then(text);
    let id = id.ok_or_else(|| bad(format!("an organization of the list has no id at '{}'", mapping.id)))?;
    let id = ExternalOrgId::parse(id).map_err(|rule| bad(format!("the id of an organization of the list {rule}")))?;
    let named =
        mapping.name.0.iter().filter_map(|pointer| pointer.find(record)).filter_map(text).map(|name| tidy(&name));
    let name = named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| id.as_str().to_owned());
    let mut metadata = Map::new();
    for (key, pointer) in &mapping.metadata {
        if let Some(value) = pointer.find_value(record) {
            metadata.insert(key.clone(), value.clone());
        }
    }
    Ok(ExternalOrganization { id, name, metadata })
}

/// Ids are texts or whole numbers.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A name on one line.
fn tidy(name: &str) -> String {
    let line: String = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME).collect();
    line.trim().to_owned()
}

fn bad(message: String) -> Failure {
    Failure::new(FailureClass::BadResponse, message)
}
