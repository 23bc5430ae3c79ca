//! What is wrong with a manifest, as the person who writes it reads it.

use std::fmt;

/// One mistake. Written after the file's name and a colon: `halopsa.yaml:12: base_url: ends in a slash; leave it out`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Where in the file: `list_organizations.paginator.page_size`; empty for the file as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub fn new(line: usize, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, field: field.into(), message: message.into() }
    }

    /// Without the line.
    pub fn text(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.text())
    }
}

/// What was probably meant: `pageSize` or `page_sise` for `page_size`.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let given = plain(given);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &plain(name)), name))
        .filter(|(distance, _)| *distance <= 1 + given.chars().count() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
