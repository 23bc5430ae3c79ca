//! Keys and ranges of keys, in the alphabet that every store takes and no store has to escape.
//!
//! Azure's client pastes keys unescaped into a quoted URL segment and into filter text (a quote in a key writes another
//! row and answers success), and orders by UTF-16 units. With this alphabet neither can show.

use super::TableError;

/// Longest key in characters: 1 KiB of UTF-16, the limit of Azure.
const LIMIT: usize = 512;

/// Names one row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub partition: String,
    pub row: String,
}

impl Key {
    pub fn new(partition: impl Into<String>, row: impl Into<String>) -> Self {
        Self { partition: partition.into(), row: row.into() }
    }

    /// Refuses what no adapter may pass to its store: other characters than `A-Z a-z 0-9 _ - . : @ ~`, or too many.
    pub(super) fn check(&self) -> Result<(), TableError> {
        for (what, text) in [("partition key", &self.partition), ("row key", &self.row)] {
            if text.is_empty() || text.len() > LIMIT || !text.bytes().all(in_alphabet) {
                let shown: String = text.chars().take(80).collect();
                return Err(TableError::Invalid(format!("{what} {shown:?}: 1 to {LIMIT} of A-Z a-z 0-9 _ - . : @ ~")));
            }
        }
        Ok(())
    }
}

/// Rows of one partition whose row keys are at least `from` and less than `to`, in ordinal order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub partition: String,
    pub from: String,
    pub to: String,
}

impl Range {
    pub fn new(partition: impl Into<String>, from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { partition: partition.into(), from: from.into(), to: to.into() }
    }

    /// All rows whose keys begin with that text. Its last character must not be the last of the alphabet.
    pub fn prefix(partition: impl Into<String>, prefix: &str) -> Self {
        let mut to = prefix.as_bytes().to_vec();
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        Self::new(partition, prefix, String::from_utf8(to).unwrap_or_default())
    }

    /// Bounds may hold any printable ASCII but quotes: they are compared, and name no row.
    ///
    /// # Errors
    /// [`TableError::Invalid`] with what is wrong.
    pub fn check(&self) -> Result<(), TableError> {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte) && !matches!(byte, b'\'' | b'"');
        Key::new(&self.partition, "any").check()?;
        for bound in [&self.from, &self.to] {
            if bound.len() > LIMIT + 1 || !bound.bytes().all(printable) {
                let shown: String = bound.chars().take(80).collect();
                return Err(TableError::Invalid(format!("bound {shown:?} of a range")));
            }
        }
        Ok(())
    }
}

/// The smallest bound above a row key: a space sorts before everything a key can hold.
pub fn after(row_key: &str) -> String {
    format!("{row_key} ")
}

const fn in_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'@' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_outside_the_alphabet_are_refused() {
        for bad in ["", "a'b", "a/b", "a b", "a%27", "é", "a\tb", "a`", &"x".repeat(513)] {
            assert!(Key::new("p", bad).check().is_err(), "{bad:?}");
            assert!(Key::new(bad, "r").check().is_err(), "{bad:?}");
        }
        assert!(Key::new("acme-1", "GUARD_halopsa_0f").check().is_ok());
    }

    #[test]
    fn a_bound_that_could_end_a_filter_literal_is_refused() {
        assert!(Range::new("p", "a' or 'b", "z").check().is_err());
        assert!(Range::new("p'", "a", "z").check().is_err());
    }

    #[test]
    fn a_prefix_range_holds_what_begins_with_it() {
        let range = Range::prefix("p", "halo_mapping_");
        assert_eq!(range.to, "halo_mapping`");
        for other in ["halo_psa_mapping_1", "halo_mapping_mapping_1", "halopsa_mapping_1"] {
            let inside = range.from.as_str() <= other && other < range.to.as_str();
            assert_eq!(inside, other == "halo_mapping_mapping_1", "{other}");
        }
    }
}
