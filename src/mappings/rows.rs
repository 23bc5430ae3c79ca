//! A mapping as a row and back. Both tables hold the same properties.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        ExternalOrgId, ExternalOrgName, InvalidValue, Mapping, MappingData, MappingKey, TestOutcome, parse_time,
        time_text,
    },
    tables::{Properties, Property},
};

/// Why a row cannot be read as a mapping. It is reported, and left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mapping {key} cannot be read: {property} {reason}")]
pub struct UnreadableRow {
    pub key: String,
    pub property: &'static str,
    pub reason: String,
}

/// Reads a row. A missing optional property is none; a missing external id or activity makes the row unreadable, since a
/// guess could name another customer.
pub fn read(key: MappingKey, properties: &Properties) -> Result<Mapping, UnreadableRow> {
    let reader = Reader { key: &key, properties };
    for (property, expected) in
        [("MappingId", key.id.as_str()), ("OrgId", key.org_id.as_str()), ("IntegrationName", key.integration.as_str())]
    {
        if reader.text(property)?.is_some_and(|text| text != expected) {
            return Err(reader.unreadable(property, "differs from the row's key"));
        }
    }
    let external_org_id = reader
        .parsed("ExternalOrgId", ExternalOrgId::parse)?
        .ok_or_else(|| reader.unreadable("ExternalOrgId", "is missing"))?;
    let is_active = reader.bool("IsActive")?.ok_or_else(|| reader.unreadable("IsActive", "is missing"))?;
    Ok(Mapping {
        external_org_id,
        external_org_name: reader.parsed("ExternalOrgName", ExternalOrgName::parse)?.flatten(),
        data: reader.parsed("MappingData", |text| data(&text))?.flatten(),
        is_active,
        created_at: reader.time("CreatedAt")?,
        created_by: reader.owned_text("CreatedBy")?,
        updated_at: reader.time("UpdatedAt")?,
        updated_by: reader.owned_text("UpdatedBy")?,
        last_test: TestOutcome {
            at: reader.time("LastTestedAt")?,
            result: reader.owned_text("LastTestResult")?,
            succeeded: reader.bool("LastTestSucceeded")?,
        },
        key,
    })
}

/// Writes a mapping over the properties of its row: what other programs keep there stays, and so does the type they gave to
/// a value that did not change.
pub fn write(mapping: &Mapping, properties: &mut Properties) {
    let text = |text: &str| Some(Property::from(text));
    let time = |time: Option<DateTime<Utc>>| time.map(|time| time_text(time).into());
    let own: [(&str, Option<Property>); 14] = [
        ("MappingId", text(mapping.key.id.as_str())),
        ("OrgId", text(mapping.key.org_id.as_str())),
        ("IntegrationName", text(mapping.key.integration.as_str())),
        ("ExternalOrgId", text(mapping.external_org_id.as_str())),
        ("ExternalOrgName", mapping.external_org_name.as_ref().and_then(|name| text(name.as_str()))),
        ("MappingData", mapping.data.as_ref().and_then(|data| text(data.as_str()))),
        ("IsActive", Some(mapping.is_active.into())),
        ("CreatedAt", time(mapping.created_at)),
        ("CreatedBy", mapping.created_by.clone().map(Into::into)),
        ("UpdatedAt", time(mapping.updated_at)),
        ("UpdatedBy", mapping.updated_by.clone().map(Into::into)),
        ("LastTestedAt", time(mapping.last_test.at)),
        ("LastTestResult", mapping.last_test.result.clone().map(Into::into)),
        ("LastTestSucceeded", mapping.last_test.succeeded.map(Into::into)),
    ];
    let before = read(mapping.key.clone(), properties).ok();
    for (name, value) in own {
        match value {
            Some(value) if before.is_some() && same_value(name, properties.get(name), &value) => {}
            Some(value) => {
                properties.insert(name.to_owned(), value);
            }
            None => {
                properties.remove(name);
            }
        }
    }
}

/// Whether a stored value already says what is to be written, perhaps in another type or spelling.
fn same_value(name: &str, stored: Option<&Property>, value: &Property) -> bool {
    match (stored, value) {
        (Some(stored), Property::Text(text)) if name.ends_with("At") => {
            stored.text().is_some_and(|stored| parse_time(&stored).is_ok_and(|time| time_text(time) == *text))
        }
        (Some(stored), Property::Text(text)) => stored.text().as_ref() == Some(text),
        (stored, value) => stored == Some(value),
    }
}

/// Nothing, and the null that other programs may write for it, is no data.
fn data(text: &str) -> Result<Option<MappingData>, InvalidValue> {
    match text.trim() {
        "" | "null" => Ok(None),
        _ => MappingData::parse(text).map(Some),
    }
}

struct Reader<'a> {
    key: &'a MappingKey,
    properties: &'a Properties,
}

impl<'a> Reader<'a> {
    fn unreadable(&self, property: &'static str, reason: impl Into<String>) -> UnreadableRow {
        UnreadableRow { key: self.key.to_string(), property, reason: reason.into() }
    }

    fn text(&self, property: &'static str) -> Result<Option<Cow<'a, str>>, UnreadableRow> {
        match self.properties.get(property) {
            None => Ok(None),
            Some(Property::Text(text) | Property::Typed { text, .. }) => Ok(Some(Cow::Borrowed(text))),
            Some(value) => match value.text() {
                Some(text) => Ok(Some(Cow::Owned(text))),
                None => Err(self.unreadable(property, "is no text")),
            },
        }
    }

    fn owned_text(&self, property: &'static str) -> Result<Option<String>, UnreadableRow> {
        Ok(self.text(property)?.map(Cow::into_owned))
    }

    fn bool(&self, property: &'static str) -> Result<Option<bool>, UnreadableRow> {
        match self.properties.get(property) {
            None => Ok(None),
            Some(Property::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.unreadable(property, "is no boolean")),
        }
    }

    fn time(&self, property: &'static str) -> Result<Option<DateTime<Utc>>, UnreadableRow> {
        let parse = |text: Cow<'_, str>| if text.is_empty() { Ok(None) } else { parse_time(&text).map(Some) };
        Ok(self.parsed(property, parse)?.flatten())
    }

    fn parsed<T>(
        &self,
        property: &'static str,
        parse: impl FnOnce(Cow<'a, str>) -> Result<T, InvalidValue>,
    ) -> Result<Option<T>, UnreadableRow> {
        let parse = |text| parse(text).map_err(|InvalidValue(reason)| self.unreadable(property, reason));
        self.text(property)?.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{IntegrationName, MappingId, OrgId};

    fn key() -> MappingKey {
        MappingKey {
            org_id: OrgId::parse("acme").unwrap(),
            integration: IntegrationName::parse("halopsa").unwrap(),
            id: MappingId::parse("mapping_1").unwrap(),
        }
    }

    fn row(properties: &[(&str, Property)]) -> Properties {
        properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_row_of_another_program_is_read() {
        let time = Property::Typed { edm: "Edm.DateTime".into(), text: "2025-10-11T10:00:00.1234567Z".into() };
        let properties = row(&[
            ("ExternalOrgId", Property::Int64(12345)),
            ("IsActive", true.into()),
            ("CreatedAt", time.clone()),
            ("UpdatedAt", "2025-10-11T10:00:00".into()),
            ("Extra", Property::Double(0.5)),
        ]);
        let mut mapping = read(key(), &properties).unwrap();
        assert_eq!(mapping.external_org_id.as_str(), "12345");
        assert_eq!(time_text(mapping.updated_at.unwrap()), "2025-10-11T10:00:00.000Z");
        assert_eq!((&mapping.data, &mapping.created_by), (&None, &None));

        // Rewriting it keeps what is not ours, and the types of what did not change.
        mapping.is_active = false;
        let mut rewritten = properties.clone();
        write(&mapping, &mut rewritten);
        assert_eq!(rewritten["Extra"], Property::Double(0.5));
        assert_eq!(rewritten["CreatedAt"], time);
        assert_eq!(rewritten["ExternalOrgId"], Property::Int64(12345));
        assert_eq!(rewritten["IsActive"], false.into());
    }

    #[test]
    fn a_row_that_could_mean_another_customer_is_unreadable() {
        let good = row(&[("ExternalOrgId", "1".into()), ("IsActive", true.into())]);
        assert!(read(key(), &good).is_ok());
        for (name, value) in [
            ("ExternalOrgId", Some(Property::Double(1.0))),
            ("ExternalOrgId", Some("".into())),
            ("ExternalOrgId", None),
            ("IsActive", None),
            ("IsActive", Some("true".into())),
            ("OrgId", Some("globex".into())),
            ("MappingData", Some("[1]".into())),
            ("CreatedAt", Some("yesterday".into())),
        ] {
            let mut bad = good.clone();
            match value {
                Some(value) => bad.insert(name.to_owned(), value),
                None => bad.remove(name),
            };
            let error = read(key(), &bad).unwrap_err();
            assert_eq!(error.property, name, "{error}");
        }
    }
}
