//! What is deployed, held against what the program needs: without a subscription.
//!
//! [`bicep`] reads the files of `infra/`; [`names`] finds in them what a compiler would, [`settings`], [`tables`] and
//! [`access`] compare them with the code and with what is safe. [`pipeline`] looks at what publishes, [`page`] at `docs/deploy.md`,
//! [`operator`] at the commands for deployed tables.

mod access;
mod bicep;
mod names;
mod operator;
mod page;
mod pipeline;
mod program;
mod settings;
mod tables;
mod tools;

#[path = "../../examples/package/nested.rs"]
mod nested;

use std::path::Path;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
