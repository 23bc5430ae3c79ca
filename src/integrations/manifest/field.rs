//! What an administrator enters, once for an integration or once for each mapping.

use schemars::JsonSchema;
use serde::Deserialize;

use super::names::Pattern;

/// One setting or credential, of the integration or of one mapping.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigField {
    /// The name in `config.x` or `mapping.x`: at most 39 lower-case letters, digits, underscores; without the integration's name.
    pub key: String,
    /// What people call it.
    pub title: String,
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// The values there are, for `enum`.
    #[serde(default)]
    pub options: Vec<String>,
    /// A regular expression that the whole value has to match.
    #[serde(default)]
    pub pattern: Option<Pattern>,
    /// What counts when nothing is set; not for secrets.
    #[serde(default)]
    pub default: Option<String>,
    /// Whether it has to be set; true unless there is a default.
    #[serde(default)]
    pub required: Option<bool>,
    /// Where to find the value, in one sentence.
    pub help: String,
}

impl ConfigField {
    pub fn is_secret(&self) -> bool {
        self.kind == FieldKind::Secret
    }

    pub fn is_required(&self) -> bool {
        self.required.unwrap_or(self.default.is_none())
    }

    /// Why the field can't have that value, in words that don't show it.
    pub fn problem(&self, value: &str) -> Option<String> {
        if !self.options.is_empty() && !self.options.iter().any(|option| option == value) {
            return Some(format!("must be one of {}", self.options.join(", ")));
        }
        let pattern = self.pattern.as_ref().filter(|pattern| !pattern.matches(value))?;
        Some(format!("must match {}", pattern.as_str()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    String,
    /// Kept in the secret store, never shown.
    Secret,
    Enum,
}
