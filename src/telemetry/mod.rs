//! Logs on standard output: lines for a person on a terminal, JSON lines elsewhere. And the fence that keeps what the Azure
//! crates say below INFO out of every log, whatever the filter: at DEBUG they print the `authorization` header and bodies.
//!
//! A JSON line has the fields of its event and of the spans around it at the top, so that a query for `trace_id` needs to
//! know nothing of spans.
//!
//! Standard output, since the Functions host takes every line of standard error for an error.

mod json;

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Logs what `filter` lets through, `info` without one.
///
/// # Errors
/// The filter is no filter; the text says what is wrong with it.
pub fn init(filter: Option<&str>) -> Result<(), String> {
    subscriber(filter, io::stdout().is_terminal(), io::stdout)?.try_init().map_err(|error| error.to_string())
}

/// The subscriber that [`init`] installs, writing wherever it is told.
///
/// # Errors
/// As [`init`].
pub fn subscriber<W>(
    filter: Option<&str>,
    for_a_person: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = EnvFilter::try_new(filter.unwrap_or("info")).map_err(|error| error.to_string())?;
    let fence = filter::filter_fn(is_safe);
    let layer = if for_a_person {
        fmt::layer().with_writer(writer).with_target(false).boxed()
    } else {
        let layer = fmt::layer().with_ansi(false).with_writer(writer);
        layer.fmt_fields(json::Fields).event_format(json::Lines).boxed()
    };
    Ok(tracing_subscriber::registry().with(layer.with_filter(fence)).with(wanted))
}

/// `azure_core` 0.21 prints tokens and secrets at DEBUG and TRACE (RUSTSEC-2026-0275), the others whole requests; `hyper`
/// and `reqwest` print headers at TRACE.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let fenced = ["azure_", "hyper", "reqwest", "h2", "rustls"];
    *metadata.level() <= Level::INFO || !fenced.iter().any(|name| metadata.target().starts_with(name))
}
