//! `crosswalk integrations check --live`: the manifests against the external systems themselves, with the credentials that
//! are set. Reads only.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, bail};

use super::{described, integrations};
use crate::{
    app::App,
    domain::{ExternalOrgId, IntegrationName, Mapping, MappingId, MappingKey, OrgId},
    integrations::{
        Integration, IntegrationError, Settings, catalogue::Catalogue, manifest::Manifest, runner::ManifestIntegration,
    },
    outbound::Outbound,
    settings::SettingsError,
};

/// What became of one manifest.
enum Outcome {
    Works(String),
    /// Nothing is set for it, so it was not tried.
    NotSet(String),
    Fails(String),
}

/// Says of every manifest whether its system lets itself be listed and one organization be read. Exit code 1 if one does
/// not, or if none could be tried.
///
/// # Errors
/// There is no such organization; the store is unavailable; the output cannot be written.
pub async fn check(
    catalogue: Catalogue,
    app: &App,
    outbound: &Outbound,
    org: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let org = org.map(|org| OrgId::parse(org).with_context(|| format!("--org {org}"))).transpose()?;
    if let Some(org) = &org
        && app.organizations.get(org).await?.is_none()
    {
        bail!("--org {org}: there is no such organization");
    }
    let colours = io::stdout().is_terminal();
    let (mut works, mut fails) = (0, !catalogue.broken.is_empty());
    let mut out = io::stdout();
    if fails {
        out.write_all(integrations::report(&catalogue, colours).as_bytes())?;
    }
    for (_, manifest) in catalogue.manifests {
        let id = manifest.id.clone();
        write!(out, "{id} ... ")?;
        out.flush()?;
        let (colour, line) = match try_one(manifest, app, outbound, org.as_ref()).await? {
            Outcome::Works(line) => {
                works += 1;
                ("32", line)
            }
            Outcome::NotSet(line) => ("33", format!("not tried: {line}")),
            Outcome::Fails(line) => {
                fails = true;
                ("31", line)
            }
        };
        if colours { writeln!(out, "\x1b[{colour}m{line}\x1b[0m")? } else { writeln!(out, "{line}")? }
    }
    if works == 0 && !fails {
        writeln!(out, "nothing could be tried: give the settings of an integration")?;
    }
    Ok(if fails || works == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn try_one(manifest: Manifest, app: &App, outbound: &Outbound, org: Option<&OrgId>) -> anyhow::Result<Outcome> {
    let integration = described(manifest, outbound)?;
    let settings = match app.settings.resolve(&integration, org, true).await {
        Ok(settings) => settings,
        Err(SettingsError::Invalid { fields, .. }) => {
            return Ok(Outcome::NotSet(fields.into_values().collect::<Vec<_>>().join("; ")));
        }
        Err(SettingsError::Name(error)) => return Ok(Outcome::Fails(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    Ok(match read_all(&integration, &settings).await {
        Ok(line) => Outcome::Works(line),
        Err(IntegrationError::Failed { failure, .. }) => {
            Outcome::Fails(format!("{}: {failure}. {}", failure.class.as_str(), failure.class.remedy()))
        }
        Err(error) => Outcome::Fails(error.to_string()),
    })
}

async fn read_all(integration: &ManifestIntegration, settings: &Settings) -> Result<String, IntegrationError> {
    if !integration.supports_discovery() {
        let answered = integration.check(settings).await?;
        return Ok(if answered { "the credentials work".to_owned() } else { "nothing to try".to_owned() });
    }
    let began = Instant::now();
    let organizations = integration.list_organizations(settings).await?;
    let mut listed = format!("{} organizations in {:.1} s", organizations.len(), began.elapsed().as_secs_f64());
    let Some(first) = organizations.first() else {
        return Ok(format!("{listed}: may the credentials see none?"));
    };
    if organizations.iter().all(|organization| organization.name == organization.id.as_str()) {
        listed += ", none of them with a name (is mapping.name right?)";
    }
    if integration.mapping_data().complete(None).is_err() {
        return Ok(format!("{listed}; none tested, as a mapping needs data that is entered with it"));
    }
    let test =
        integration.test_connection(settings, &mapping(integration.name(), &first.id)?, &Settings::none()).await?;
    match test.failure {
        None => Ok(format!("{listed}; {}", test.message)),
        Some(failure) => Err(IntegrationError::Failed { integration: integration.name().clone(), failure }),
    }
}

/// A mapping that is stored nowhere, for the test.
fn mapping(integration: &IntegrationName, external: &ExternalOrgId) -> Result<Mapping, IntegrationError> {
    let org_id = OrgId::parse("live-check")
        .map_err(|_| IntegrationError::NotSupported { integration: integration.clone(), what: "cannot be tested" })?;
    let key = MappingKey { org_id, integration: integration.clone(), id: MappingId::generate() };
    Ok(Mapping::new(key, external.clone()))
}
