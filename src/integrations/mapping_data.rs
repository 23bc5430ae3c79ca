//! The fields of `mapping_data` that an integration declares: what may be given, what of it a row keeps, what is shown.
//! Plain data; must not know where rows and secrets are stored.
//!
//! An integration that declares none takes any JSON object, and it stays as it was written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json, value::RawValue};

use super::ConfigField;
use crate::{
    domain::{IntegrationName, InvalidValue, MappingData, Members, OrgId, Secret, SecretReference},
    secrets::VALUE_LIMIT,
};

/// Shown in the place of every secret. Sent back, it leaves the secret as it is.
const MASK: &str = "********";

/// What is wrong, by the field: `mapping_data.api_key`. No value is in it.
pub type Problems = BTreeMap<String, String>;

/// Those that one integration declares.
#[derive(Clone, Copy, Debug)]
pub struct DataFields<'a>(&'a [ConfigField]);

/// `mapping_data` as it was given: checked, its secrets apart from the rest.
#[derive(Clone, Debug)]
pub struct GivenData {
    members: Given,
    /// To be stored before a row may refer to them.
    pub secrets: Vec<(SecretReference, Secret)>,
}

#[derive(Clone, Debug)]
enum Given {
    Free(MappingData),
    Declared(BTreeMap<String, Member>),
}

#[derive(Clone, Debug)]
enum Member {
    Text(String),
    Secret(SecretReference),
    /// Whatever is stored now.
    Kept,
}

/// A declared field as a row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    Unset,
    Text(String),
    Secret(SecretReference),
    /// Something that is no value of it.
    Unusable,
}

impl<'a> DataFields<'a> {
    pub fn new(fields: &'a [ConfigField]) -> Self {
        Self(fields)
    }

    fn field(&self, key: &str) -> Option<&'a ConfigField> {
        self.0.iter().find(|field| field.key == key)
    }

    /// What a caller may write, before it is known what is there.
    ///
    /// # Errors
    /// Every member that no field takes.
    pub fn take(
        &self,
        data: MappingData,
        org_id: &OrgId,
        integration: &IntegrationName,
    ) -> Result<GivenData, Problems> {
        let (mut given, mut problems) = (BTreeMap::new(), Problems::new());
        let Members(members) = serde_json::from_str(data.as_str()).unwrap_or_default();
        for (key, value) in members {
            let value: Value = serde_json::from_str(value.get()).unwrap_or_default();
            if SecretReference::is_claimed_by(&value) {
                problems.insert(named(&key), "must be a value, not the reference to a secret".to_owned());
            }
            let twice = given.insert(key.clone(), value).is_some();
            if twice && !self.0.is_empty() {
                problems.entry(named(&key)).or_insert("must be given once".to_owned());
            }
        }
        if self.0.is_empty() {
            let given = GivenData { members: Given::Free(data), secrets: Vec::new() };
            return if problems.is_empty() { Ok(given) } else { Err(problems) };
        }
        let (mut declared, mut secrets) = (BTreeMap::new(), Vec::new());
        for (key, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
            match self.member(&key, value) {
                Err(problem) => {
                    problems.entry(named(&key)).or_insert(problem);
                }
                Ok((_, text)) if text == MASK => {
                    declared.insert(key, Member::Kept);
                }
                Ok((field, text)) if field.is_secret() => {
                    let reference = SecretReference::new(org_id, integration, &key);
                    secrets.push((reference.clone(), Secret::new(text)));
                    declared.insert(key, Member::Secret(reference));
                }
                Ok((_, text)) => {
                    declared.insert(key, Member::Text(text));
                }
            }
        }
        if problems.is_empty() { Ok(GivenData { members: Given::Declared(declared), secrets }) } else { Err(problems) }
    }

    /// The field of a member, and its text.
    fn member(&self, key: &str, value: Value) -> Result<(&'a ConfigField, String), String> {
        let Some(field) = self.field(key) else {
            let known: Vec<_> = self.0.iter().map(|field| field.key.as_str()).collect();
            return Err(format!("is no field of this integration's mapping_data; its fields are {}", known.join(", ")));
        };
        let Value::String(text) = value else { return Err("must be a string".to_owned()) };
        // Of any field: one that was secret when the mapping was written is shown as a mask, too.
        if text == MASK {
            return Ok((field, text));
        }
        if text.is_empty() {
            return Err("must not be empty; leave it out instead".to_owned());
        }
        if field.is_secret() && (text.len() > VALUE_LIMIT || text.contains('\0')) {
            return Err(format!("must have at most {VALUE_LIMIT} bytes, none of them zero"));
        }
        match field.problem(&text) {
            Some(problem) => Err(problem),
            None => Ok((field, text)),
        }
    }

    /// # Errors
    /// Every required field that is not there.
    pub fn complete(&self, data: Option<&MappingData>) -> Result<(), Problems> {
        let there = data.map(members).unwrap_or_default();
        let missing = self.0.iter().filter(|field| field.is_required() && !there.contains_key(&field.key));
        let problems: Problems = missing
            .map(|field| (named(&field.key), format!("must be given: {}. {}", field.title, field.help)))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What an answer may show. Also of a value that was stored before its field was declared secret, and of a reference
    /// whose field is declared no more.
    pub fn masked(&self, data: MappingData) -> MappingData {
        self.change_secrets(data, || Some(raw(&json!(MASK))))
    }

    /// What a deactivated mapping keeps.
    pub fn without_secrets(&self, data: MappingData) -> MappingData {
        self.change_secrets(data, || None)
    }

    fn change_secrets(&self, data: MappingData, change: impl Fn() -> Option<Box<RawValue>>) -> MappingData {
        if !self.0.iter().any(ConfigField::is_secret) && !may_refer(&data) {
            return data;
        }
        // By the text of each, so that the others stay as they were written.
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(data.as_str()).unwrap_or_default();
        let is_secret = |key: &str, value: &RawValue| {
            self.field(key).is_some_and(ConfigField::is_secret)
                || serde_json::from_str(value.get()).is_ok_and(|value| SecretReference::is_claimed_by(&value))
        };
        if !members.iter().any(|(key, value)| is_secret(key, value)) {
            return data;
        }
        let changed = members.into_iter().filter_map(|(key, value)| {
            let value = if is_secret(&key, &value) { change()? } else { value };
            Some((key, value))
        });
        MappingData::of_members(&changed.collect())
    }

    /// What each declared field is set to in a row, or its default. It may have been stored before the field was declared, so
    /// it may be none that the field can have. The reference of another organization or field is of no use.
    pub fn stored(
        &self,
        data: Option<&MappingData>,
        org_id: &OrgId,
        integration: &IntegrationName,
    ) -> Vec<(&'a ConfigField, StoredValue)> {
        let mut there = data.map(members).unwrap_or_default();
        let value = |field: &'a ConfigField| match there.remove(&field.key) {
            Some(Value::String(text)) if !text.is_empty() => StoredValue::Text(text),
            None | Some(Value::String(_)) => field.default.clone().map_or(StoredValue::Unset, StoredValue::Text),
            Some(other) => match SecretReference::of_value(&other) {
                Some(reference) if field.is_secret() && reference.is_of(org_id, integration, &field.key) => {
                    StoredValue::Secret(reference)
                }
                _ => StoredValue::Unusable,
            },
        };
        self.0.iter().zip(self.0.iter().map(value)).collect()
    }

    /// JSON Schema for whoever enters the data; none where anything goes.
    pub fn schema(&self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let properties: Map<String, Value> = self.0.iter().map(|field| (field.key.clone(), property(field))).collect();
        let required: Vec<_> =
            self.0.iter().filter(|field| field.is_required()).map(|field| field.key.as_str()).collect();
        Some(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }))
    }
}

fn property(field: &ConfigField) -> Value {
    let mut property = json!({"type": "string", "title": field.title, "description": field.help, "minLength": 1});
    if field.is_secret() {
        property["writeOnly"] = json!(true);
        property["format"] = json!("password");
    }
    if !field.options.is_empty() {
        property["enum"] = json!(field.options);
    }
    if let Some(pattern) = &field.pattern {
        // Who enters the rest anew sends the mask of a secret back.
        let mask = if field.is_secret() { format!("|[*]{{{}}}", MASK.len()) } else { String::new() };
        property["pattern"] = json!(format!("^(?:{}{mask})$", pattern.as_str()));
    }
    if let Some(default) = &field.default {
        property["default"] = json!(default);
    }
    property
}

impl GivenData {
    /// The data for a row, given what is there now.
    ///
    /// # Errors
    /// A mask where there is nothing to keep; the whole is too long.
    pub fn over(&self, before: Option<&MappingData>) -> Result<MappingData, Problems> {
        let declared = match &self.members {
            Given::Free(data) => return Ok(data.clone()),
            Given::Declared(declared) => declared,
        };
        let there = before.map(members).unwrap_or_default();
        let (mut data, mut problems) = (BTreeMap::new(), Problems::new());
        for (key, member) in declared {
            let value = match member {
                Member::Text(text) => json!(text),
                Member::Secret(reference) => reference.to_value(),
                Member::Kept => {
                    let Some(value) = there.get(key) else {
                        let problem = format!("{MASK} stands for a stored value, and none is stored; send the value");
                        problems.insert(named(key), problem);
                        continue;
                    };
                    value.clone()
                }
            };
            data.insert(key.clone(), raw(&value));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let data = MappingData::of_members(&data).within_limit();
        data.map_err(|InvalidValue(reason)| Problems::from([("mapping_data".to_owned(), reason)]))
    }
}

/// A field as callers know it.
fn named(key: &str) -> String {
    format!("mapping_data.{key}")
}

/// The secrets that a row refers to, without those of another organization or field: what was copied is not its own.
pub fn references(
    data: Option<&MappingData>,
    org_id: &OrgId,
    integration: &IntegrationName,
) -> BTreeSet<SecretReference> {
    let referring = data.filter(|data| may_refer(data)).map(members).unwrap_or_default();
    let own = referring.iter().filter_map(|(key, value)| {
        SecretReference::of_value(value).filter(|reference| reference.is_of(org_id, integration, key))
    });
    own.collect()
}

/// Cheap, and true of all data with a reference in it, also where another program has written `$` as an escape.
fn may_refer(data: &MappingData) -> bool {
    data.as_str().contains("$secret") || data.as_str().contains("\\u")
}

/// Null counts as none.
fn members(data: &MappingData) -> BTreeMap<String, Value> {
    let mut members: BTreeMap<String, Value> = serde_json::from_str(data.as_str()).unwrap_or_default();
    members.retain(|_, value| !value.is_null());
    members
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::integrations::manifest::FieldKind;

    fn fields() -> Vec<ConfigField> {
        let field = |key: &str, kind| ConfigField {
            key: key.to_owned(),
            title: key.to_owned(),
            kind,
            options: Vec::new(),
            pattern: None,
            default: None,
            required: Some(false),
            help: String::new(),
        };
        vec![field("pin", FieldKind::Secret), field("key", FieldKind::Secret), field("site", FieldKind::String)]
    }

    fn names() -> (OrgId, IntegrationName) {
        (OrgId::parse("acme").unwrap(), IntegrationName::parse("psa").unwrap())
    }

    fn parse(value: &Value) -> MappingData {
        MappingData::parse(&value.to_string()).unwrap()
    }

    proptest! {
        /// Whatever is entered: the row and what is shown hold no secret, the row leads to each of them, and sending back what was
        /// shown changes nothing.
        #[test]
        fn secrets_are_apart_and_come_back(
            pin in proptest::option::of("[^\0]{4,12}"), key in proptest::option::of("[^\0]{4,12}"), site in proptest::option::of(".{1,12}")
        ) {
            let fields = fields();
            let (fields, (org_id, integration)) = (DataFields::new(&fields), names());
            prop_assume!(pin.as_deref() != Some(MASK) && key.as_deref() != Some(MASK));
            let given = json!({"pin": pin, "key": key, "site": site});
            let taken = fields.take(parse(&given), &org_id, &integration).unwrap();
            let row = taken.over(None).unwrap();
            let stored = fields.stored(Some(&row), &org_id, &integration);
            for (field, value) in [("pin", &pin), ("key", &key)] {
                let reference = match stored.iter().find(|(known, _)| known.key == field) {
                    Some((_, StoredValue::Secret(reference))) => Some(reference),
                    Some((_, StoredValue::Unset)) => None,
                    other => panic!("{other:?} is in the row"),
                };
                let found = reference.and_then(|wanted| taken.secrets.iter().find(|(reference, _)| reference == wanted));
                prop_assert_eq!(found.map(|(_, secret)| secret.expose()), value.as_deref());
            }
            prop_assert_eq!(references(Some(&row), &org_id, &integration).len(), taken.secrets.len());

            let shown = fields.masked(row.clone());
            let shown_value: Value = serde_json::from_str(shown.as_str()).unwrap();
            for (field, value) in [("pin", &pin), ("key", &key)] {
                prop_assert_eq!(&shown_value[field], &value.as_ref().map_or(Value::Null, |_| json!(MASK)));
            }
            prop_assert_eq!(&shown_value["site"], &json!(site));
            let again = fields.take(shown, &org_id, &integration).unwrap();
            prop_assert!(again.secrets.is_empty());
            prop_assert_eq!(again.over(Some(&row)).unwrap(), row);
        }
    }

    #[test]
    fn a_row_has_its_limit_also_where_references_are_longer_than_what_was_given() {
        let fields = fields();
        let (fields, (org_id, integration)) = (DataFields::new(&fields), names());
        let site = "x".repeat(MappingData::LIMIT - 60);
        let taken = fields.take(parse(&json!({"pin": "1234", "site": site})), &org_id, &integration).unwrap();
        let problems = taken.over(None).unwrap_err();
        assert!(problems["mapping_data"].contains("32000 UTF-16 units"), "{problems:?}");
    }

    #[test]
    fn without_declared_fields_anything_but_a_reference_is_taken_as_it_is() {
        let (fields, (org_id, integration)) = (DataFields::new(&[]), names());
        let text = r#"{ "n": 12345678901234567890123, "api_key" : "********" }"#;
        let taken = fields.take(MappingData::parse(text).unwrap(), &org_id, &integration).unwrap();
        assert_eq!(fields.masked(taken.over(None).unwrap()).as_str(), text);
        let claim = parse(&json!({"a": {"$secret": "mapping-1"}}));
        assert!(fields.take(claim.clone(), &org_id, &integration).is_err());
        assert_eq!(fields.masked(claim).as_str(), r#"{"a":"********"}"#, "its field is declared no more");
    }
}
