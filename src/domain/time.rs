//! Times as text.

use chrono::{DateTime, SecondsFormat, Utc};

/// ISO 8601 in UTC with milliseconds: how times look in tables and answers.
pub fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
