//! `crosswalk dev`: everything works at once on one machine: embedded store, demo organizations, trusted callers.

use anyhow::Context;

use super::{seed, serve};
use crate::{
    config::{Server, Storage},
    http::DEV_USER,
};

/// Loaded where there is no organization yet.
const DEMO: &str = include_str!("../../examples/seed.json");

/// # Errors
/// As [`serve::run`]; the demo organizations cannot be stored.
pub async fn run(server: Server, storage: Storage) -> anyhow::Result<()> {
    let app = super::app(&storage)?;
    if app.organizations.list().await?.is_empty() {
        let rows = seed::parse(DEMO).context("the demo organizations")?;
        seed::load(&*app.tables, &rows, |_, _| {}).await?;
    }
    let organizations = app.organizations.list().await?;
    let names: Vec<_> = organizations.iter().map(|organization| organization.id.as_str()).collect();
    let names = names.join(", ");
    let first = organizations.first().map_or("acme", |organization| organization.id.as_str()).to_owned();
    let announce = move |address: &str| {
        format!(
            "\n  Crosswalk on {address}   (Ctrl-C stops it)\n\
             \n  you are       {DEV_USER}; another user with -H 'X-Dev-User: NAME'\
             \n  organizations {names}\
             \n  description   {address}/api/openapi.json\n\
             \n  See who there is over there, map an organization, then ask who it is:\n\
             \n  curl -s {address}/api/integrations/example_psa/discover\
             \n  curl -sX PUT {address}/api/organizations/{first}/integrations/example_psa \\\
             \n       -H 'Content-Type: application/json' -d '{{\"external_org_id\": \"1001\"}}'\
             \n  curl -s {address}/api/organizations/{first}/integrations/example_psa\n\n"
        )
    };
    serve::run(&server, &storage, app, announce).await
}
