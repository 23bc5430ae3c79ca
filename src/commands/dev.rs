//! `crosswalk dev`: everything works at once on one machine: embedded store, demo organizations, trusted callers, and an
//! example external system with more organizations than fit on a page.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;

use super::{described, example_system, seed, serve};
use crate::{
    auth::DEV_USER,
    config::{Rows, Server, Storage, Systems},
    integrations::{Integration, manifest::Manifest},
    outbound::HostMap,
};

/// Loaded where there is no organization yet.
const DEMO: &str = include_str!("../../examples/seed.json");
const EXAMPLE_PSA: &str = include_str!("../../examples/integrations/example_psa.yaml");

/// # Errors
/// As [`serve::run`]; the demo organizations or the file of secrets cannot be stored.
pub async fn run(server: Server, mut storage: Storage, systems: Systems) -> anyhow::Result<()> {
    let secrets = match &storage.secrets_file {
        Some(file) => file.clone(),
        None => secrets_file(&storage.rows)?,
    };
    storage.secrets_file = Some(secrets.clone());

    let example = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the example system")?;
    let outbound = super::outbound(Some(host_map(systems.host_map, example.local_addr()?)))?;
    tokio::spawn(example_system::serve(example));
    let psa = Manifest::load("example_psa.yaml", EXAMPLE_PSA).map_err(|problems| anyhow!("{problems:?}"))?;
    let mut compiled_in = super::compiled_in(true)?;
    compiled_in.retain(|one| one.name().as_str() != psa.id);
    compiled_in.push(Arc::new(described(psa, &outbound)?) as Arc<dyn Integration>);
    let registry = super::registry(compiled_in, &systems.manifests, &outbound)?;
    let (count, broken) = (registry.iter().count(), registry.broken().len());

    let app = super::app(&storage, registry)?;
    if app.organizations.list().await?.is_empty() {
        let rows = seed::parse(DEMO).context("the demo organizations")?;
        seed::load(&*app.tables, &rows, |_, _| {}).await?;
    }
    let organizations = app.organizations.list().await?;
    let names: Vec<_> = organizations.iter().map(|organization| organization.id.as_str()).collect();
    let names = names.join(", ");
    let first = organizations.first().map_or("acme", |organization| organization.id.as_str()).to_owned();
    let there = if systems.manifests.is_dir() { "" } else { " (no such folder yet)" };
    let manifests = format!("{}{there}", systems.manifests.display());
    let announce = move |address: &str| {
        let broken = match broken {
            0 => String::new(),
            _ => format!(
                ", {broken} broken: CROSSWALK_AUTH=development crosswalk integrations check {}",
                systems.manifests.display()
            ),
        };
        format!(
            "\n  Crosswalk on {address}   (Ctrl-C stops it)\n\
             \n  you are       {DEV_USER}; another user with -H 'X-Dev-User: NAME'\
             \n  organizations {names}\
             \n  integrations  {count}{broken}; manifests in {manifests}\
             \n  secrets       {}\
             \n  description   {address}/api/openapi.json\n\
             \n  See who there is over there, map an organization, ask who it is, and try it:\n\
             \n  curl -s {address}/api/integrations/example_psa/discover\
             \n  curl -sX PUT {address}/api/organizations/{first}/integrations/example_psa \\\
             \n       -H 'Content-Type: application/json' -d '{{\"external_org_id\": \"1001\", \"mapping_id\": \"mapping_psa\"}}'\
             \n  curl -s {address}/api/organizations/{first}/integrations/example_psa\
             \n  curl -sX POST {address}/api/organizations/{first}/integrations/example_psa/mapping_psa/test\n\n",
            secrets.display()
        )
    };
    serve::run(&server, &storage, app, announce).await
}

/// The hosts of the example system, beside those that the setting names.
fn host_map(set: Option<HostMap>, example: SocketAddr) -> HostMap {
    example_system::HOSTS.iter().fold(set.unwrap_or_default(), |map, host| map.with(host, example))
}

/// A file of secrets beside the embedded store, to begin with: it lets the example system in.
fn secrets_file(rows: &Rows) -> anyhow::Result<PathBuf> {
    let folder = match rows {
        Rows::Embedded(folder) => folder.as_path(),
        Rows::Azure(_) => Path::new("."),
    };
    let file = folder.join("secrets.json");
    if !file.exists() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("CROSSWALK_DATA_DIR: {} cannot be made", folder.display()))?;
        let text = serde_json::json!({"example-psa-client-secret": example_system::CLIENT.1});
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        // Real credentials will be added to it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&file).and_then(|mut out| writeln!(out, "{text:#}"));
        written.with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(file)
}
