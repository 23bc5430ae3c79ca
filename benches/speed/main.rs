//! How fast the service is, as ratios of things that are measured by turns in the same run: `cargo bench`.
//!
//! The servers are processes of their own: the release program, Azurite, and a warp route that returns a constant. One
//! thread of this process is the client of all of them. `http` is that client, `load` takes turns, `process` starts
//! servers, `data` makes mappings; `embedded`, `azure`, `identity` and `discovery` are the measurements.

#[path = "../../tests/support/azurite.rs"]
#[allow(clippy::expect_used, clippy::panic, reason = "made for tests")]
mod azurite;

#[path = "../../tests/identity/provider.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "made for tests")]
mod provider;
#[path = "../../tests/identity/tokens.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "made for tests")]
mod tokens;

mod account;
mod azure;
mod data;
mod discovery;
mod embedded;
mod http;
mod identity;
mod load;
mod process;
mod proxy;
mod report;

use std::time::{Duration, Instant};

use clap::Parser;

use self::report::Report;

/// Measures the service against its targets: a table, then the numbers behind it. Exit code 0 whether they are met or not.
#[derive(Parser)]
#[command(name = "cargo bench --", no_binary_name = false)]
struct Arguments {
    /// Shorter, and less exact: under a minute
    #[arg(long)]
    quick: bool,
    /// Only what has one of these words in its name: read, large, azurite, trips, growth, size, discovery, identity
    only: Vec<String>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the server of a constant: port and size
    #[arg(long, hide = true, num_args = 2)]
    constant: Option<Vec<usize>>,
}

/// How much is measured.
pub struct Plan {
    /// One after another, to each server.
    pub requests: usize,
    /// How long one server gets all requests before it is the turn of the other.
    pub stretch: Duration,
    /// How often each of them has its turn.
    pub stretches: usize,
    pub starts: usize,
    pub many_on_azurite: usize,
}

const FULL: Plan =
    Plan { requests: 5000, stretch: Duration::from_secs(1), stretches: 15, starts: 10, many_on_azurite: 100_000 };
const QUICK: Plan =
    Plan { requests: 1000, stretch: Duration::from_millis(400), stretches: 5, starts: 3, many_on_azurite: 2000 };

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some([port, size]) = arguments.constant.as_deref() {
        return process::serve_constant(u16::try_from(*port)?, *size);
    }
    if !arguments.bench {
        println!("an unoptimized program says nothing about speed: run `cargo bench`");
        return Ok(());
    }
    // One thread: the processors are for the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&arguments, if arguments.quick { &QUICK } else { &FULL }));
    report.print();
    Ok(())
}

async fn measure(arguments: &Arguments, plan: &Plan) -> Report {
    let mut report = Report::default();
    if let Some(load) = others() {
        report.detail(load);
    }
    macro_rules! measure {
        ($what:literal, $measurement:expr) => {
            if arguments.only.is_empty() || arguments.only.iter().any(|word| $what.contains(word.as_str())) {
                let began = Instant::now();
                eprint!("{} ... ", $what);
                if let Err(error) = $measurement {
                    report.failed($what, &error);
                }
                eprintln!("{:.0} s", began.elapsed().as_secs_f64());
            }
        };
    }
    measure!("size of the program", embedded::size(&mut report));
    measure!("embedded store: read", embedded::read(plan, &mut report).await);
    measure!("embedded store: large, memory, start", embedded::large(plan, &mut report).await);
    measure!("discovery: read a list", discovery::list(&mut report).await);
    measure!("discovery: cached list", discovery::cached(plan, &mut report).await);
    measure!("azurite: read and list", azure::read(plan, &mut report).await);
    measure!("identity: with a token on azurite", identity::read(plan, &mut report).await);
    measure!("azurite: round trips", azure::round_trips(plan, &mut report).await);
    measure!("azurite: growth", azure::growth(plan, &mut report).await);
    report
}

/// What else the machine was doing. Servers and client want a processor each: on a busy machine they get in each other's
/// way, and what costs the service processor time costs it more.
fn others() -> Option<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let processors = std::thread::available_parallelism().ok()?;
    Some(format!("load average before the run: {} on {processors} processors", load.split(' ').next()?))
}
