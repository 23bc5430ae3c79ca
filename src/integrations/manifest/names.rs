//! Small values of a manifest that only parsing makes: names of headers, patterns of hosts and values.

use std::borrow::Cow;

use regex_lite::Regex;
use reqwest::header::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// The name of a header. Kept in lower case, since names differ by no more than that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderText(String);

impl HeaderText {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        HeaderName::try_from(text)
            .map(|name| Self(name.as_str().to_owned()))
            .map_err(|_| format!("'{}' is no name of a header", text.escape_debug()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which hosts may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`: everything below it, not the name itself. Kept with its dot.
    Below(String),
    /// `*`: any public host.
    Any,
}

impl HostPattern {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        // The last label tells an address from a name.
        let numeric = name.rsplit('.').next().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if numeric || !name.contains('.') || !name.split('.').all(label) {
            return Err(format!(
                "'{}' is no host: write a name in lower case, such as api.example.com or *.example.com, without scheme, \
                 port or path",
                text.escape_debug()
            ));
        }
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }

    /// `host` in lower case, as a parsed URL has it.
    pub fn allows(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(suffix) => host.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty()),
            Self::Any => true,
        }
    }
}

/// A regular expression that a whole value has to match.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Regex::new(&format!("^(?:{text})$"))
            .map(|whole| Self { text: text.to_owned(), whole })
            .map_err(|error| format!("'{text}' is no regular expression: {error}"))
    }

    pub fn matches(&self, value: &str) -> bool {
        self.whole.is_match(value)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

macro_rules! parsed_text {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

parsed_text!(HeaderText, {"description": "Name of a header.", "type": "string"});
parsed_text!(HostPattern, {"description": "api.example.com, *.example.com, or * for any public host.", "type": "string"});
parsed_text!(Pattern, {"description": "Regular expression for the whole value.", "type": "string", "format": "regex"});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let allows = |pattern, host| HostPattern::parse(pattern).unwrap().allows(host);
        assert!(allows("api.example.com", "api.example.com"));
        assert!(!allows("api.example.com", "x.api.example.com"));
        assert!(allows("*.example.com", "a.b.example.com"));
        for host in ["example.com", "badexample.com", ".example.com", "example.com.evil.org"] {
            assert!(!allows("*.example.com", host), "{host}");
        }
        assert!(allows("*", "anything.org"));
        for bad in
            ["", "*.", "com", "*.com", "https://a.b", "a.b/c", "a.b:1", "A.b", "1.2.3.4", "a..b", "*a.b", "x.*.b"]
        {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_means_the_whole_value() {
        let pattern = Pattern::parse("[a-z]+|x1").unwrap();
        assert!(pattern.matches("abc") && pattern.matches("x1"));
        assert!(!pattern.matches("abc1") && !pattern.matches("abc\n") && !pattern.matches(""));
    }

    #[test]
    fn trap_33_header_names_are_normalised() {
        assert_eq!(HeaderText::parse("clientId").unwrap().as_str(), "clientid");
        assert!(HeaderText::parse("client id").is_err() && HeaderText::parse("a:b").is_err());
    }
}
