//! Identifiers and who acts: newtypes that only `parse` makes.

use std::fmt;

/// Why a text is not a value of its type, as a phrase that follows the field's name: "must be …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The only way to make one.
            ///
            /// # Errors
            /// The rule, as a phrase for a person.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidValue($rule.to_owned())) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(
    /// A customer of the MSP: `[A-Za-z0-9-]{1,64}`, usually a UUID.
    OrgId,
    "must be 1 to 64 letters, digits or hyphens",
    |text| is_word(text)
);

text_type!(
    /// An external system by its name in the registry: `[a-z][a-z0-9_]{0,49}`.
    IntegrationName,
    "must begin with a lower-case letter and hold at most 50 lower-case letters, digits and underscores",
    |text| {
        (1..=50).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    }
);

text_type!(
    /// A mapping of one organization and integration: `mapping_[A-Za-z0-9-]{1,64}`.
    MappingId,
    "must be `mapping_` and 1 to 64 letters, digits or hyphens",
    |text| text.strip_prefix("mapping_").is_some_and(is_word)
);

text_type!(
    /// A customer, tenant or site inside an external system, in that system's own words: 1 to 200 characters, none of
    /// `< > " '`, no control characters.
    ExternalOrgId,
    "must be 1 to 200 characters, none of < > \" ' and no control characters",
    |text| {
        (1..=200).contains(&text.chars().count())
            && !text.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | '"' | '\''))
    }
);

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl MappingId {
    /// A new one, never used before: UUIDv7 without hyphens, so that ids sort by the time they were made.
    pub fn generate() -> Self {
        Self(format!("mapping_{}", uuid::Uuid::now_v7().simple()))
    }
}

/// Who changes something, and through which door: what an audit event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user's or application's id.
    pub id: String,
    pub source: Source,
    /// The caller's trace id, to find the request in other logs.
    pub correlation_id: Option<String>,
}

/// The door a change came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Api,
    Workflow,
    Cli,
}

impl Source {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Workflow => "workflow",
            Self::Cli => "cli",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organization_ids() {
        for good in ["a", "6f9619ff-8b86-d011-b42d-00c04fc964ff", &"x".repeat(64)] {
            assert!(OrgId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a_b", "a b", "O'Brien", "a/b", "..", "é", "a\0", &"x".repeat(65)] {
            assert!(OrgId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn integration_names() {
        for good in ["m365", "halopsa", "halo_psa", "halo_mapping", &"a".repeat(50)] {
            assert!(IntegrationName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "365m", "_a", "Halo", "halo-psa", "halo psa", &"a".repeat(51)] {
            assert!(IntegrationName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mapping_ids() {
        assert!(MappingId::parse("mapping_001").is_ok());
        assert!(MappingId::parse(MappingId::generate().as_str()).is_ok());
        for bad in ["", "mapping_", "001", "mapping_a_b", "mapping_a b", &format!("mapping_{}", "x".repeat(65))] {
            assert!(MappingId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn external_organization_ids() {
        for good in ["12345", "a/b", "#1?", "Straße 🏢", "%27", "..", " ", &"🏢".repeat(200)] {
            assert!(ExternalOrgId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a'b", "a\"b", "<a", "a>", "a\tb", "a\0", "a\u{85}", &"🏢".repeat(201)] {
            assert!(ExternalOrgId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
