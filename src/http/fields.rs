//! A JSON body field by field, so that one answer names every mistake.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use warp::http::StatusCode;

use super::error::ApiError;
use crate::domain::{InvalidValue, Members};

/// The fields of a body that have not been asked for yet, and the mistakes so far.
pub struct Fields {
    values: BTreeMap<String, Box<RawValue>>,
    errors: BTreeMap<String, Vec<String>>,
    known: Vec<&'static str>,
}

/// A field may be left out, may be null, or has a value.
enum Field {
    Absent,
    Null,
    Value(Box<RawValue>),
}

impl Fields {
    /// # Errors
    /// The body is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let Members(members) = serde_json::from_slice(body).map_err(|error| {
            // The parser's own words may quote the body, and a secret with it.
            let (line, column) = (error.line(), error.column());
            let message = format!("The body must be a JSON object; it is none at line {line}, column {column}");
            ApiError::new(StatusCode::BAD_REQUEST, "Malformed JSON", message)
        })?;
        let mut fields = Self { values: BTreeMap::new(), errors: BTreeMap::new(), known: Vec::new() };
        for (name, value) in members {
            if fields.values.insert(name.clone(), value).is_some() {
                fields.errors.insert(name, vec!["must be given once".to_owned()]);
            }
        }
        Ok(fields)
    }

    /// A text that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        match self.take(name) {
            Field::Absent | Field::Null => {
                self.error(name, "must be given");
                None
            }
            Field::Value(value) => self.text(name, &value, parse),
        }
    }

    /// A text that may be left out or null.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        self.nullable(name, parse).flatten()
    }

    /// A text that may be left out (None) or null (Some(None)).
    pub fn nullable<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Option<Option<T>> {
        match self.take(name) {
            Field::Absent => None,
            Field::Null => Some(None),
            Field::Value(value) => self.text(name, &value, parse).map(Some),
        }
    }

    /// Any JSON, as its text, that may be left out (None) or null (Some(None)).
    pub fn raw<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<Option<T>> {
        match self.take(name) {
            Field::Absent => None,
            Field::Null => Some(None),
            Field::Value(value) => match parse(value.get()) {
                Ok(value) => Some(Some(value)),
                Err(InvalidValue(reason)) => {
                    self.error(name, reason);
                    None
                }
            },
        }
    }

    /// A boolean that may be left out; null is a mistake.
    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name) {
            Field::Absent => None,
            Field::Value(value) if matches!(value.get(), "true" | "false") => Some(value.get() == "true"),
            Field::Null | Field::Value(_) => {
                self.error(name, "must be true or false");
                None
            }
        }
    }

    /// Adds a mistake that another rule found.
    pub fn error(&mut self, name: &str, reason: impl Into<String>) {
        self.errors.entry(name.to_owned()).or_default().push(reason.into());
    }

    /// All mistakes at once, among them every field that nothing asked for.
    ///
    /// # Errors
    /// There was a mistake.
    pub fn finish(mut self) -> Result<(), ApiError> {
        let known = self.known.join(", ");
        for name in std::mem::take(&mut self.values).into_keys() {
            self.error(&name, format!("is no field of this request; its fields are {known}"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::validation(&self.errors)) }
    }

    fn take(&mut self, name: &'static str) -> Field {
        self.known.push(name);
        match self.values.remove(name) {
            None => Field::Absent,
            Some(value) if value.get() == "null" => Field::Null,
            Some(value) => Field::Value(value),
        }
    }

    fn text<T>(
        &mut self,
        name: &'static str,
        value: &RawValue,
        parse: impl FnOnce(String) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let outcome = match serde_json::from_str::<String>(value.get()) {
            Ok(text) => parse(text),
            Err(_) => Err(InvalidValue("must be a string".to_owned())),
        };
        outcome.map_err(|InvalidValue(reason)| self.error(name, reason)).ok()
    }
}
