//! `cargo run --example operator -- --tables URI verify`: runs a command of Crosswalk on deployed tables, as whoever is signed in
//! to the Azure CLI.
//!
//! The tables take no keys, only tokens, and the program gets its own from an endpoint that Azure gives the app. Here a server on
//! loopback plays that endpoint while the command runs, and answers with the token that `az account get-access-token` gave at the
//! start: it lasts longer than any command. An example and not a part of the product, so that nothing on the service can get
//! tokens in another way than from its identity.

#[path = "../package/nested.rs"]
mod nested;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::spawn_blocking};
use uuid::Uuid;
use warp::Filter;

/// Run `crosswalk` on the tables of a deployment, as whoever is signed in to the Azure CLI
///
/// Needs `az login` and, on the storage account, the role Storage Table Data Contributor.
#[derive(Parser)]
#[command(name = "operator", after_help = EXAMPLES)]
struct Arguments {
    /// Where the tables are: `AZURE_TABLE_SERVICE_URI` among the outputs of the deployment
    #[arg(long, value_name = "URI")]
    tables: String,
    /// Run this program instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<OsString>,
    /// The command of crosswalk with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Of every storage account in every cloud.
const RESOURCE: &str = "https://storage.azure.com";

const EXAMPLES: &str = "\
Examples:
  cargo run --example operator -- --tables \"$AZURE_TABLE_SERVICE_URI\" verify
  cargo run --example operator -- --tables \"$AZURE_TABLE_SERVICE_URI\" repair --full
  cargo run --example operator -- --tables \"$AZURE_TABLE_SERVICE_URI\" seed platform.json";

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let token = token()?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let endpoint = format!("http://{}/token", listener.local_addr()?);
    // Only the command knows it, so nobody else on this machine gets the token.
    let header = Uuid::new_v4().to_string();
    // As Azure has it: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
    let shown = warp::header::exact("x-identity-header", header.clone().leak());
    let answer = warp::path!("token").and(shown).map(move || warp::reply::json(&token));
    tokio::spawn(warp::serve(answer).incoming(listener).run());

    let mut command = arguments.binary.map_or_else(build_and_run, Command::new);
    command
        .args(&arguments.command)
        .envs([("AzureWebJobsStorage__tableServiceUri", &arguments.tables)])
        .envs([("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", &header)])
        // They would come first, or ask for another identity.
        .env_remove("AzureWebJobsStorage")
        .env_remove("AzureWebJobsStorage__clientId");
    let program = command.get_program().to_owned();
    let status = spawn_blocking(move || command.status())
        .await?
        .with_context(|| format!("{}: can't be started", program.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn build_and_run() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    nested::as_if_by_hand(&mut cargo).args(["run", "--quiet", "--locked", "--bin", "crosswalk"]).args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        "--",
    ]);
    cargo
}

/// A token for tables, as the endpoint answers it.
fn token() -> Result<Value> {
    let az = if cfg!(windows) { "az.cmd" } else { "az" };
    let mut command = Command::new(az);
    command.args(["account", "get-access-token", "--output", "json", "--resource", RESOURCE]).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("{az}: can't be started; install the Azure CLI"))?;
    if !output.status.success() {
        // What it wrote to standard error has the reason and no token.
        bail!("az account get-access-token: {}; run `az login`", String::from_utf8_lossy(&output.stderr).trim());
    }
    let token: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match (&token["accessToken"], token["expires_on"].as_i64()) {
        (Value::String(value), Some(expires)) => Ok(json!({
            "access_token": value, "expires_on": expires.to_string(), "resource": RESOURCE, "token_type": "Bearer"
        })),
        _ => bail!("az account get-access-token: no accessToken or expires_on in its answer; update the Azure CLI"),
    }
}
