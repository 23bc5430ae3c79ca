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
    config::{Rows, Storage},
    integrations::{Registry, examples},
    secrets::{LocalSecrets, NoSecrets, SecretStore},
    tables::{AzureTables, EmbeddedTables, TableError, Tables},
};

/// The store that the settings name.
///
/// # Errors
/// The embedded store cannot be opened.
pub fn open(storage: &Storage) -> anyhow::Result<Tables> {
    Ok(match &storage.rows {
        Rows::Azure(account) => Arc::new(AzureTables::new(account)),
        Rows::Embedded(folder) => match EmbeddedTables::open(folder) {
            Ok(tables) => Arc::new(tables),
            Err(TableError::Unavailable { reason, .. }) => bail!("CROSSWALK_DATA_DIR: {reason}"),
            Err(error) => bail!("CROSSWALK_DATA_DIR: {error}"),
        },
    })
}

/// Every service on that store, with the compiled-in examples.
///
/// # Errors
/// As [`open`]; the file of secrets cannot be read.
pub fn app(storage: &Storage) -> anyhow::Result<App> {
    let examples = examples().map_err(|error| anyhow!("a compiled-in integration: {error}"))?;
    let secrets: Arc<dyn SecretStore> = match &storage.secrets_file {
        Some(path) => {
            Arc::new(LocalSecrets::open(path).map_err(|problem| anyhow!("CROSSWALK_SECRETS_FILE: {problem}"))?)
        }
        None => Arc::new(NoSecrets),
    };
    Ok(App::new(open(storage)?, Registry::new(examples), secrets))
}

/// What a person reads about where rows are kept.
pub fn describe(storage: &Storage) -> String {
    match &storage.rows {
        Rows::Azure(account) => format!("Azure Tables at {}", account.endpoint()),
        Rows::Embedded(folder) => format!("embedded store in {}", folder.display()),
    }
}
