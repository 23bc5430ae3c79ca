//! The real program under concurrent writes, killed with SIGKILL at random moments, started again, and again. In the end
//! every acknowledged write is there, every audit event once, and `repair` and `verify` agree.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crosswalk::tables::{EmbeddedTables, Property, Tables};
use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::{azurite::Azurite, harness::*, invariants};

const PROGRAM: &str = env!("CARGO_BIN_EXE_crosswalk");
/// Callers that write side by side, each its own mappings.
const WRITERS: usize = 6;
/// At most so many acknowledged writes between two kills.
const WRITES: usize = 25;

/// Where the program keeps its rows.
enum Store {
    Embedded(tempfile::TempDir),
    Azurite(String),
}

impl Store {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env_clear().env("CROSSWALK_AUTH", "development").env("CROSSWALK_PORT", "0");
        match self {
            Self::Embedded(folder) => command.env("CROSSWALK_DATA_DIR", folder.path()),
            Self::Azurite(account) => command.env("AzureWebJobsStorage", account),
        };
        command
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn open(&self) -> Tables {
        match self {
            Self::Embedded(folder) => Arc::new(EmbeddedTables::open(folder.path()).unwrap()),
            Self::Azurite(account) => azure(account),
        }
    }
}

/// The running program; dropped, it is killed, as every time.
struct Running {
    process: Child,
    address: String,
}

impl Running {
    fn start(store: &Store) -> Self {
        let mut process = store.command(&["serve"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                serde_json::from_str::<serde_json::Value>(&line).ok()?["address"].as_str().map(str::to_owned)
            })
            .expect("the program says where it listens");
        // Its log must be read on, or it would block.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { process, address }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What one writer knows of one of its mappings.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The last name that was acknowledged, if any.
    acknowledged: Option<String>,
    /// Names that were sent later, without an answer.
    unanswered: Vec<String>,
    acknowledgements: usize,
}

/// Creates mappings and renames them until the program is gone; returns what it knows.
async fn write(address: String, writer: usize, round: usize, acknowledged: Arc<AtomicUsize>) -> HashMap<String, Known> {
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut known: HashMap<String, Known> = HashMap::new();
    for number in 0.. {
        let id = format!("r{round}w{writer}m{number}");
        for step in 0..4 {
            let name = format!("{id} step {step}");
            let url = format!("{address}/api/organizations/{ORG}/integrations");
            let request = match step {
                0 => client.post(&url).json(&json!({
                    "integration_name": "example_psa", "mapping_id": format!("mapping_{id}"),
                    "external_org_id": id, "external_org_name": name
                })),
                // The last step changes the guard as well.
                3 => client
                    .patch(format!("{url}/example_psa/mapping_{id}"))
                    .json(&json!({"external_org_name": name, "external_org_id": format!("{id} moved")})),
                _ => client.patch(format!("{url}/example_psa/mapping_{id}")).json(&json!({"external_org_name": name})),
            };
            let mapping = known.entry(id.clone()).or_default();
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    mapping.acknowledged = Some(name);
                    mapping.unanswered.clear();
                    mapping.acknowledgements += 1;
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    mapping.unanswered.push(name);
                    break;
                }
                Ok(answer) => panic!("{id}: {} {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(_) => {
                    mapping.unanswered.push(name);
                    return known;
                }
            }
        }
    }
    known
}

async fn killed_again_and_again(store: Store, kills: usize) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let organizations = json!({"Organizations": [{"PartitionKey": "ORG", "RowKey": ORG, "IsActive": true}]});
    std::fs::write(file.path(), organizations.to_string()).unwrap();
    store.succeed(&["seed", file.path().to_str().unwrap()]);

    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut known = HashMap::new();
    for round in 0..kills {
        let mut running = Running::start(&store);
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(running.address.clone(), writer, round, Arc::clone(&acknowledged))))
            .collect();
        // A moment that depends on the traffic, so that others are in the middle of a write.
        let moment = random.usize(..WRITES);
        while acknowledged.load(Ordering::SeqCst) < moment {
            assert!(!writers.iter().any(tokio::task::JoinHandle::is_finished), "a writer ended before the kill");
            tokio::task::yield_now().await;
        }
        running.kill();
        for writer in writers {
            known.extend(writer.await.unwrap());
        }
    }
    store.succeed(&["repair"]);
    assert!(store.succeed(&["verify"]).contains("agree"));
    check(&store, &known).await;
}

async fn check(store: &Store, known: &HashMap<String, Known>) {
    let tables = store.open();
    invariants::hold(&tables, &[]).await;
    let (rows, events) = (invariants::mappings(&*tables).await, invariants::events(&*tables).await);
    let mut acknowledgements = 0;
    for (id, known) in known {
        let key = (ORG.to_owned(), format!("example_psa_mapping_{id}"));
        let stored = rows.get(&key).and_then(|row| row["ExternalOrgName"].text());
        let possible: Vec<_> = known.acknowledged.iter().chain(&known.unanswered).cloned().map(Some).collect();
        assert!(
            possible.contains(&stored) || (known.acknowledged.is_none() && stored.is_none()),
            "{id}: {stored:?} is stored, {known:?}"
        );
        let events = events.get(&key).map_or(&[][..], Vec::as_slice);
        let mut names: Vec<_> = events.iter().map(|event| event["AfterExternalOrgName"].text()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{id}: an event twice");
        let most = known.acknowledgements + known.unanswered.len();
        assert!((known.acknowledgements..=most).contains(&count), "{id}: {count} events, {known:?}");
        acknowledgements += known.acknowledgements;
    }
    assert!(acknowledgements > 0, "nothing was ever acknowledged");
    assert!(events.keys().all(|(_, row)| known.contains_key(row.trim_start_matches("example_psa_mapping_"))));
    let deactivated = rows.values().filter(|row| row["IsActive"] != Property::Bool(true)).count();
    assert_eq!(deactivated, 0);
    println!("{} mappings, {acknowledgements} acknowledged writes", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_store() {
    killed_again_and_again(Store::Embedded(tempfile::tempdir().unwrap()), 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azurite() {
    killed_again_and_again(Store::Azurite(Azurite::start().account()), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: `cargo test --test consistency -- --ignored`"]
async fn on_the_embedded_store_200_times() {
    killed_again_and_again(Store::Embedded(tempfile::tempdir().unwrap()), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: `cargo test --test consistency -- --ignored`"]
async fn on_azurite_200_times() {
    killed_again_and_again(Store::Azurite(Azurite::start().account()), 200).await;
}
