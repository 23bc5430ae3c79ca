//! JSON lines: time, level, the fields of the event, then those of the spans around it, all in one flat object.
//!
//! `tracing-subscriber` has JSON lines too, but nests spans in objects of their own, and parses their fields again for
//! every line.

use std::fmt::{self, Debug, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Writes lines. Expects the fields of spans as [`Fields`] writes them.
pub struct Lines;

impl<S> FormatEvent<S, Fields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(&self, context: &FmtContext<'_, S, Fields>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut members = Members::new(&mut out);
        event.record(&mut members);
        let Members { outcome, log_target, .. } = members;
        outcome?;
        let target = log_target.as_deref().unwrap_or_else(|| event.metadata().target());
        out.write_str(",\"target\":")?;
        quoted(&mut out, &target)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>() {
                out.write_str(fields)?;
            }
        }
        out.write_str("}\n")
    }
}

/// Writes the fields of a span, each with a comma before it, ready for the middle of an object.
pub struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members::new(&mut out);
        fields.record(&mut members);
        members.outcome
    }
}

/// Members of an object, each with a comma before it.
struct Members<'a, 'b> {
    out: &'a mut Writer<'b>,
    outcome: fmt::Result,
    /// Where an event of the crate `log` is from, which says so in fields.
    log_target: Option<String>,
}

impl<'a, 'b> Members<'a, 'b> {
    const fn new(out: &'a mut Writer<'b>) -> Self {
        Self { out, outcome: Ok(()), log_target: None }
    }

    fn member(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'b>) -> fmt::Result) {
        if field.name().starts_with("log.") {
            return;
        }
        let out = &mut *self.out;
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        let outcome = write!(out, ",\"{name}\":").and_then(|()| write(out));
        self.outcome = self.outcome.and(outcome);
    }
}

impl Visit for Members<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        self.member(field, |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.log_target = Some(value.to_owned());
        }
        self.member(field, |out| quoted(out, &value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |out| quoted(out, &format_args!("{value:?}")));
    }
}

/// A JSON string.
fn quoted(out: &mut Writer<'_>, value: &dyn fmt::Display) -> fmt::Result {
    out.write_char('"')?;
    write!(Escaped(out), "{value}")?;
    out.write_char('"')
}

/// Escapes what JSON wants escaped.
struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            match special.as_bytes()[0] {
                byte @ (b'"' | b'\\') => write!(self.0, "\\{}", char::from(byte))?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            rest = &special[1..];
        }
        self.0.write_str(rest)
    }
}
