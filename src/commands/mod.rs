//! The subcommands. Each builds what it needs from the settings, does one thing, and tells a person what happened.

pub mod dev;
mod example_system;
pub mod integrations;
pub mod live;
pub mod repair;
pub mod seed;
pub mod serve;
pub mod verify;

use std::{path::Path, sync::Arc};

use anyhow::{anyhow, bail};
use tracing::warn;

use crate::{
    app::App,
    config::{Rows, Storage},
    integrations::{
        Broken, Integration, Registry, catalogue::Catalogue, examples, manifest::Manifest, runner::ManifestIntegration,
    },
    outbound::{HostMap, Outbound},
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

/// Every service on that store.
///
/// # Errors
/// As [`open`]; the file of secrets cannot be read.
pub fn app(storage: &Storage, registry: Registry) -> anyhow::Result<App> {
    let secrets: Arc<dyn SecretStore> = match (&storage.key_vault, &storage.secrets_file) {
        (Some(key_vault), _) => Arc::new(key_vault.clone()),
        (None, Some(path)) => {
            Arc::new(LocalSecrets::open(path).map_err(|problem| anyhow!("CROSSWALK_SECRETS_FILE: {problem}"))?)
        }
        (None, None) => Arc::new(NoSecrets),
    };
    Ok(App::new(open(storage)?, registry, secrets))
}

/// What sends to external systems.
///
/// # Errors
/// TLS cannot be set up on this machine.
pub fn outbound(host_map: Option<HostMap>) -> anyhow::Result<Outbound> {
    host_map.map_or_else(Outbound::new, Outbound::with_host_map).map_err(|problem| anyhow!(problem))
}

/// The integrations that are compiled in: examples, which answer what no external system does.
///
/// # Errors
/// Never, as their names are good.
pub fn compiled_in(development: bool) -> anyhow::Result<Vec<Arc<dyn Integration>>> {
    if !development {
        return Ok(Vec::new());
    }
    examples().map_err(|rule| anyhow!("a built-in integration: its name {rule}"))
}

/// The compiled-in integrations and those of the folder. A manifest that is wrong, or named like a compiled-in integration,
/// is logged and kept among the broken ones.
pub fn registry(
    compiled_in: Vec<Arc<dyn Integration>>,
    manifests: &Path,
    outbound: &Outbound,
) -> anyhow::Result<Registry> {
    let mut catalogue = Catalogue::read(manifests);
    catalogue.refuse_names(&compiled_in);
    let Catalogue { manifests, broken } = catalogue;
    let mut all = compiled_in;
    for (_, manifest) in manifests {
        all.push(Arc::new(described(manifest, outbound)?));
    }
    for Broken { file, problems } in &broken {
        for problem in problems {
            warn!("{}:{problem}", file.display());
        }
    }
    Ok(Registry::new(all).with_broken(broken))
}

fn described(manifest: Manifest, outbound: &Outbound) -> anyhow::Result<ManifestIntegration> {
    let id = manifest.id.clone();
    ManifestIntegration::new(manifest, outbound.clone()).map_err(|rule| anyhow!("integration {id}: its name {rule}"))
}

/// What a person reads about where rows are kept.
pub fn describe(storage: &Storage) -> String {
    match &storage.rows {
        Rows::Azure(account) => format!("Azure Tables at {}", account.endpoint()),
        Rows::Embedded(folder) => format!("embedded store in {}", folder.display()),
    }
}
