//! Templates: text with `{{config.x}}`, `{{connection.x}}`, `{{org.id}}`, `{{org.metadata.x}}`, `{{mapping.x}}`,
//! `{{session.token}}` in it, and nothing else. What a value looks like where it is put is decided by the place: a path, a
//! header, a JSON body.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// All but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a template can stand for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Config(String),
    Connection(String),
    OrgId,
    OrgMetadata(String),
    Mapping(String),
    SessionToken,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(key) => write!(f, "config.{key}"),
            Self::Connection(key) => write!(f, "connection.{key}"),
            Self::OrgId => f.write_str("org.id"),
            Self::OrgMetadata(key) => write!(f, "org.metadata.{key}"),
            Self::Mapping(key) => write!(f, "mapping.{key}"),
            Self::SessionToken => f.write_str("session.token"),
        }
    }
}

/// What has names below it that a manifest gives.
const ROOTS: [&str; 4] = ["config", "connection", "mapping", "org.metadata"];

/// Where the values come from while a request is made.
pub trait Values {
    /// None if it is not set.
    fn value(&self, reference: &Reference) -> Option<Value>;
}

/// Why a template could not be filled in. Holds no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("{0} is not set")]
    Unset(Reference),
    #[error("{reference} {reason}")]
    Unfit { reference: Reference, reason: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Reference(Reference),
}

/// Text with references in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// # Errors
    /// What is wrong with it, for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, after)) = after.split_once("}}") else {
                return Err(format!("'{text}': a '{{{{' without its '}}}}'"));
            };
            if !before.is_empty() {
                parts.push(plain_text(before).map_err(|problem| format!("'{text}': {problem}"))?);
            }
            parts.push(Part::Reference(reference(inside.trim()).map_err(|problem| format!("'{text}': {problem}"))?));
            rest = after;
        }
        if rest.contains("}}") {
            return Err(format!("'{text}': a '}}}}' without its '{{{{'"));
        }
        if !rest.is_empty() {
            parts.push(plain_text(rest).map_err(|problem| format!("'{text}': {problem}"))?);
        }
        Ok(Self { parts })
    }

    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Text(_) => None,
        })
    }

    /// The text up to the first reference.
    pub fn begin(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The template as it was written, with every reference replaced by what `fill` makes of it.
    pub fn fill<E>(&self, mut fill: impl FnMut(&Reference) -> Result<String, E>) -> Result<String, E> {
        self.fill_after(|_, reference| fill(reference))
    }

    /// As [`Self::fill`], where `fill` also gets the text before the reference, filled in.
    pub fn fill_after<E>(&self, mut fill: impl FnMut(&str, &Reference) -> Result<String, E>) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.parts {
            let part = match part {
                Part::Text(part) => part.clone(),
                Part::Reference(reference) => fill(&text, reference)?,
            };
            text.push_str(&part);
        }
        Ok(text)
    }

    /// As it is, for a form field, a user name, a query parameter that is encoded later.
    ///
    /// # Errors
    /// A value is not set, or is no text, number or truth value.
    pub fn text(&self, values: &dyn Values) -> Result<String, RenderError> {
        self.fill(|reference| plain(reference, values))
    }

    /// As a header's value, marked as secret.
    ///
    /// # Errors
    /// As [`Self::text`]; a line break or another control character.
    pub fn header(&self, values: &dyn Values) -> Result<HeaderValue, RenderError> {
        let text = self.fill(|reference| {
            let text = plain(reference, values)?;
            let fits = HeaderValue::from_str(&text).is_ok();
            if fits { Ok(text) } else { Err(unfit(reference, "must not have line breaks or control characters here")) }
        })?;
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| unfit(&Reference::SessionToken, "cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// As part of a URL's path: every value is one segment or a part of one.
    ///
    /// # Errors
    /// As [`Self::text`]; `.` and `..` would mean another path, however encoded.
    pub fn path(&self, values: &dyn Values) -> Result<String, RenderError> {
        self.fill(|reference| segment(reference, &plain(reference, values)?))
    }

    /// The host of an address as it is written, references in braces; none if the address begins with a reference.
    pub fn host(&self) -> Option<String> {
        let braced = |reference: &Reference| Ok::<_, std::convert::Infallible>(format!("{{{{{reference}}}}}"));
        let written = self.fill(braced).unwrap_or_default();
        let rest = written.strip_prefix("https://")?;
        Some(rest.split(['/', '?', '#', ':']).next().unwrap_or_default().to_owned())
    }

    /// As JSON: the value itself where the template is nothing but one reference, else a string.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn json(&self, values: &dyn Values) -> Result<Value, RenderError> {
        match self.parts.as_slice() {
            [Part::Reference(reference)] => {
                values.value(reference).ok_or_else(|| RenderError::Unset(reference.clone()))
            }
            _ => self.text(values).map(Value::String),
        }
    }
}

/// A value as one segment of a path, or a part of one.
pub fn segment(reference: &Reference, text: &str) -> Result<String, RenderError> {
    if matches!(text, "." | ".." | "") {
        return Err(unfit(reference, "must not be empty, '.' or '..' in a path"));
    }
    Ok(utf8_percent_encode(text, SEGMENT).to_string())
}

/// What is no text cannot be part of one.
pub fn plain(reference: &Reference, values: &dyn Values) -> Result<String, RenderError> {
    match values.value(reference).ok_or_else(|| RenderError::Unset(reference.clone()))? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(unfit(reference, "must be text, a number or true/false"))
        }
    }
}

pub fn unfit(reference: &Reference, reason: &'static str) -> RenderError {
    RenderError::Unfit { reference: reference.clone(), reason }
}

/// Text that was not meant to be a reference.
fn plain_text(text: &str) -> Result<Part, String> {
    if let Some(quote) = text.chars().find(|c| "“”".contains(*c)) {
        return Err(format!("{quote} is no quote in YAML; write the straight ones, \" or '"));
    }
    let inside = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0));
    match inside.map(str::trim).find(|inside| reference(inside).is_ok()) {
        Some(inside) => Err(format!("'{{{inside}}}' stands for nothing; write two braces: {{{{{inside}}}}}")),
        None => Ok(Part::Text(text.to_owned())),
    }
}

fn reference(text: &str) -> Result<Reference, String> {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let found = match text.split_once('.') {
        Some(("config", key)) if is_key(key) => Some(Reference::Config(key.to_owned())),
        Some(("connection", key)) if is_key(key) => Some(Reference::Connection(key.to_owned())),
        Some(("mapping", key)) if is_key(key) => Some(Reference::Mapping(key.to_owned())),
        Some(("org", "id")) => Some(Reference::OrgId),
        Some(("session", "token")) => Some(Reference::SessionToken),
        Some(("org", rest)) => {
            rest.strip_prefix("metadata.").filter(|key| is_key(key)).map(|key| Reference::OrgMetadata(key.to_owned()))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        let odd = text.rsplit_once('.').filter(|(root, key)| ROOTS.contains(root) && !key.is_empty());
        if let Some((root, key)) = odd {
            let near = key.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let rule = "names hold only lower-case letters, digits and underscores";
            return format!(
                "'{{{{{text}}}}}' stands for nothing: {rule}; call it {root}.{near}, and so where it is declared"
            );
        }
        format!(
            "'{{{{{text}}}}}' stands for nothing; there are {{{{config.x}}}}, {{{{connection.x}}}}, {{{{org.id}}}}, \
             {{{{org.metadata.x}}}}, {{{{mapping.x}}}} and {{{{session.token}}}}"
        )
    })
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text with {{config.x}}, {{connection.x}}, {{org.id}}, {{org.metadata.x}}, {{mapping.x}} or {{session.token}} in it.",
            "type": "string",
        })
    }
}

/// A JSON value whose strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyTemplate {
    Text(Template),
    Plain(Value),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl BodyTemplate {
    /// # Errors
    /// What is wrong with a template in it.
    pub fn parse(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(&text)?),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(map) => Self::Object(
                map.into_iter().map(|(key, value)| Ok((key, Self::parse(value)?))).collect::<Result<_, String>>()?,
            ),
            plain => Self::Plain(plain),
        })
    }

    /// # Errors
    /// As [`Template::json`].
    pub fn json(&self, values: &dyn Values) -> Result<Value, RenderError> {
        Ok(match self {
            Self::Text(template) => template.json(values)?,
            Self::Plain(value) => value.clone(),
            Self::Array(items) => {
                Value::Array(items.iter().map(|item| item.json(values)).collect::<Result<_, RenderError>>()?)
            }
            Self::Object(fields) => {
                let mut object = Map::new();
                for (key, value) in fields {
                    object.insert(key.clone(), value.json(values)?);
                }
                Value::Object(object)
            }
        })
    }

    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Text(template) => template.references().collect(),
            Self::Plain(_) => Vec::new(),
            Self::Array(items) => items.iter().flat_map(Self::references).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.references()).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for BodyTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for BodyTemplate {
    fn schema_name() -> Cow<'static, str> {
        "BodyTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Any JSON value; its strings are templates."})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fixed(Value);

    impl Values for Fixed {
        fn value(&self, reference: &Reference) -> Option<Value> {
            self.0.get(reference.to_string()).cloned()
        }
    }

    fn values() -> Fixed {
        Fixed(
            json!({"config.host": "h.example.com", "org.id": "a/b=?#", "connection.n": 7, "config.crlf": "a\r\nB: c"}),
        )
    }

    #[test]
    fn the_place_decides_how_a_value_is_written() {
        let parse = |text| Template::parse(text).unwrap();
        assert_eq!(parse("/orgs/{{org.id}}/x").path(&values()).unwrap(), "/orgs/a%2Fb%3D%3F%23/x");
        assert_eq!(parse("id={{ org.id }}").text(&values()).unwrap(), "id=a/b=?#");
        assert_eq!(parse("{{connection.n}}").json(&values()).unwrap(), json!(7));
        assert_eq!(parse("n{{connection.n}}").json(&values()).unwrap(), json!("n7"));
        assert_eq!(parse("Bearer {{connection.n}}").header(&values()).unwrap().to_str().unwrap(), "Bearer 7");
    }

    #[test]
    fn no_value_breaks_out_of_its_place() {
        let told = |text| Template::parse(text).unwrap().header(&values()).unwrap_err().to_string();
        assert_eq!(told("{{config.crlf}}"), "config.crlf must not have line breaks or control characters here");
        assert_eq!(told("{{config.absent}}"), "config.absent is not set");
        for dots in [".", "..", ""] {
            let values = Fixed(json!({"org.id": dots}));
            assert!(Template::parse("/o/{{org.id}}").unwrap().path(&values).is_err(), "{dots:?}");
        }
    }

    #[test]
    fn bodies_keep_their_types() {
        let body = json!({"page": 1, "all": true, "id": "{{org.id}}", "n": ["{{connection.n}}", "x{{connection.n}}"]});
        let rendered = BodyTemplate::parse(body).unwrap().json(&values()).unwrap();
        assert_eq!(rendered, json!({"page": 1, "all": true, "id": "a/b=?#", "n": [7, "x7"]}));
    }

    #[test]
    fn trap_31_what_stands_for_nothing_is_a_mistake_not_literal_text() {
        for bad in ["{{config}}", "{{org.name}}", "{{env.X}}", "{{config.x", "config.x}}", "{{}}", "{{config.a-b}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
