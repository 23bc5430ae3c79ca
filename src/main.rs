//! The program: arguments, settings, logs, one command.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use crosswalk::{
    commands::{self, dev, integrations, live, repair, seed, serve, verify},
    config::{Identity, Server, Storage, Systems, integrations_dir, is_development, process_environment},
    integrations::Registry,
    telemetry,
};

/// Which customer is which in every system a managed service provider uses.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "\
Try it:
  crosswalk dev                       everything on this machine: no cloud, no emulator
  curl -s localhost:7071/api/health

Settings come from the environment; README.md lists them. The ones you need first:
  CROSSWALK_AUTH=development          who calls: anybody, on this machine only; without it, users of Entra ID
  AZURE_TENANT_ID=...                 whose tenant they are from
  CROSSWALK_AUDIENCE=...              the client id of this API, which their tokens are for
  AzureWebJobsStorage=...             where rows are: a connection string, or UseDevelopmentStorage=true for Azurite
  CROSSWALK_DATA_DIR=./data           where rows are without it: the embedded store
  CROSSWALK_PORT=7071                 where to listen, on 127.0.0.1
  CROSSWALK_INTEGRATIONS_DIR=...      where manifests are; without it, integrations beside the program, else here
  RUST_LOG=info                       what to log"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API; what runs without a command, and what the Functions host starts
    Serve,
    /// Serve the API for trying it out: embedded store, demo organizations, no cloud
    Dev,
    /// Finish what a crash left unfinished
    Repair {
        /// Also compare every mapping with the index, and rebuild what differs
        #[arg(long)]
        full: bool,
    },
    /// Compare both tables in full; exit code 1 on any difference
    Verify,
    /// Check, begin and describe manifests: the files that say how external systems are read
    Integrations {
        #[command(subcommand)]
        command: Integrations,
    },
    /// Load platform tables: JSON, table name → rows
    Seed {
        /// For example examples/seed.json
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum Integrations {
    /// Say what is wrong with manifests; exit code 1 if anything is
    Check {
        /// Also read the list of each system whose settings are there, and one organization of it
        #[arg(long)]
        live: bool,
        /// With --live: the settings of this organization, not the global ones
        #[arg(long, requires = "live")]
        org: Option<String>,
        /// Files or folders; the configured folder without any
        paths: Vec<PathBuf>,
    },
    /// Write a manifest to begin with
    New {
        /// The name of the integration: lower-case letters, digits, underscores
        name: String,
    },
    /// Print the JSON Schema of manifests, for editors
    Schema,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command.unwrap_or(Command::Serve)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("crosswalk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let environment = &process_environment;
    let filter = process_environment("RUST_LOG");
    telemetry::init(filter.as_deref()).map_err(|problem| anyhow::anyhow!("RUST_LOG: {problem}"))?;
    match command {
        Command::Serve => {
            let (server, storage) = (Server::read(environment), Storage::read(environment));
            let systems = Systems::read(environment, is_development(environment));
            let ((server, storage), systems) = both(both(server, storage), systems.map_err(Into::into))?;
            let compiled_in = commands::compiled_in(matches!(server.identity, Identity::Development))?;
            let registry = commands::registry(compiled_in, &systems.manifests, &commands::outbound(systems.host_map)?)?;
            serve::run(&server, &storage, commands::app(&storage, registry)?, |_| String::new()).await?;
        }
        Command::Dev => {
            let (server, systems) = both(Server::development(environment), Systems::read(environment, true))?;
            dev::run(server, Storage::embedded(environment), systems).await?;
        }
        Command::Repair { full } => {
            repair::run(&commands::app(&Storage::read(environment)?, Registry::default())?, full).await?;
        }
        Command::Integrations { command } => {
            let (folder, development) = (integrations_dir(environment), is_development(environment));
            match command {
                Integrations::Check { paths, live, org } => {
                    let catalogue = integrations::read(&paths, &folder, &commands::compiled_in(development)?)?;
                    if !live {
                        return integrations::check(&catalogue);
                    }
                    let systems = Systems::read(environment, development);
                    let (storage, systems) = both(Storage::read(environment), systems)?;
                    let outbound = commands::outbound(systems.host_map)?;
                    let app = commands::app(&storage, Registry::default())?;
                    return Box::pin(live::check(catalogue, &app, &outbound, org.as_deref())).await;
                }
                Integrations::New { name } => integrations::new(&name, &folder)?,
                Integrations::Schema => integrations::schema()?,
            }
        }
        Command::Verify => return verify::run(&*commands::open(&Storage::read(environment)?)?).await,
        Command::Seed { file } => seed::run(&file, &*commands::open(&Storage::read(environment)?)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Both, or the mistakes of both.
fn both<A, B, E: std::fmt::Display>(a: Result<A, E>, b: Result<B, E>) -> anyhow::Result<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(anyhow::anyhow!("{a}\n{b}")),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(anyhow::anyhow!("{error}")),
    }
}
