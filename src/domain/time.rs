//! Times as text.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

use super::InvalidValue;

/// ISO 8601 in UTC with milliseconds: how times look in tables and answers.
pub fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Times of other programs may lack an offset; they are UTC then, like all times of the tables.
///
/// # Errors
/// The rule, as a phrase for a person.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, InvalidValue> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc()))
        .map_err(|_| InvalidValue("is no ISO 8601 time".to_owned()))
}
