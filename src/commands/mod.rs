//! The subcommands. Each builds what it needs from the settings, does one thing, and tells a person what happened.

pub mod dev;
mod example_system;
pub mod integrations;
pub mod repair;
pub mod seed;
pub mod serve;
pub mod verify;

use std::sync::Arc;

use anyhow::{anyhow, bail};

use crate::{
    app::App,
    config::Storage,
    integrations::{Registry, examples},
    tables::{AzureTables, EmbeddedTables, TableError, Tables},
};

/// The store that the settings name.
///
/// # Errors
/// The embedded store cannot be opened.
pub fn open(storage: &Storage) -> anyhow::Result<Tables> {
    Ok(match storage {
        Storage::Azure(account) => Arc::new(AzureTables::new(account)),
        Storage::Embedded(folder) => match EmbeddedTables::open(folder) {
            Ok(tables) => Arc::new(tables),
            Err(TableError::Unavailable { reason, .. }) => bail!("CROSSWALK_DATA_DIR: {reason}"),
            Err(error) => bail!("CROSSWALK_DATA_DIR: {error}"),
        },
    })
}

/// Every service on that store.
///
/// # Errors
/// As [`open`].
pub fn app(storage: &Storage) -> anyhow::Result<App> {
    let examples = examples().map_err(|error| anyhow!("a compiled-in integration: {error}"))?;
    Ok(App::new(open(storage)?, Registry::new(examples)))
}

/// What a person reads about where rows are kept.
pub fn describe(storage: &Storage) -> String {
    match storage {
        Storage::Azure(account) => format!("Azure Tables at {}", account.endpoint()),
        Storage::Embedded(folder) => format!("embedded store in {}", folder.display()),
    }
}
