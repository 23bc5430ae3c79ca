//! The service on the embedded store.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crosswalk::tables::{EmbeddedTables, Table, TableStore};
use tempfile::TempDir;

use super::{
    Plan, data,
    http::{Connection, request},
    load::{Target, latencies, throughput},
    process::{PROGRAM, Process},
    report::{Report, megabytes, millis, times},
};

const FEW: usize = 100;
const MANY: usize = 100_000;
const MEGABYTE: f64 = 1e6;

/// A store with that many mappings.
async fn store(mappings: usize) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    data::fill(&EmbeddedTables::open(folder.path())?, mappings).await?;
    Ok(folder)
}

/// Read one mapping, against a warp route that returns a constant of the same size.
pub async fn read(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let folder = store(FEW).await?;
    let path = data::mapping_path(0);
    let service = Process::embedded(folder.path(), &path)?;
    let mut connection = Connection::open(service.port).await?;
    let size = connection.ask(&request("GET", &path, "", "")).await?.body.len();
    let constant = Process::constant(size, &path)?;
    let requests = data::reads(FEW);
    let a = Target { port: service.port, requests: requests.clone(), process: Some(&service) };
    let b = Target { port: constant.port, requests, process: Some(&constant) };

    let throughput = throughput([&a, &b], 16, plan.stretch, plan.stretches).await?;
    let ([low, ratio, high], [ours, theirs]) = (throughput.ratios(), throughput.rates());
    report.at_least("embedded: read one mapping, throughput against a constant", ratio, 0.5, times);
    report.detail(format!(
        "embedded read, {size} bytes, 16 connections: {ours:.0}/s against {theirs:.0}/s; 8 of 10 stretches between \
         {low:.2} and {high:.2}{}",
        cpu(throughput.cpu)
    ));
    let [ours, theirs] = latencies([&a, &b], plan.requests).await?;
    report.detail(format!(
        "embedded read, 1 connection: median {:.0} µs against {:.0} µs, p95 {:.0} against {:.0}",
        ours.median(),
        theirs.median(),
        ours.percentile(95),
        theirs.percentile(95)
    ));
    Ok(())
}

/// Processor time, where the system tells it.
pub fn cpu(cpu: [Option<f64>; 2]) -> String {
    match cpu {
        [Some(ours), Some(theirs)] => {
            format!("; processor time for one request {ours:.0} µs against {theirs:.0} µs ({:.1} times)", ours / theirs)
        }
        _ => String::new(),
    }
}

/// Everything for which a large store is wanted: reading from it against a small one, starting on it, memory.
pub async fn large(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let began = Instant::now();
    let (few, many) = (store(FEW).await?, store(MANY).await?);
    report.detail(format!("embedded store: {MANY} mappings written in {:.1} s", began.elapsed().as_secs_f64()));
    growth(plan, report, few.path(), many.path()).await?;
    memory(report, many.path()).await?;
    start(plan, report, many.path()).await
}

/// The same mapping again and again, which shows the depth of the tree; and any of them, of which most are not in the store's
/// own memory. Time for one read when there is no idle time, since waking up takes longer than reading.
async fn growth(plan: &Plan, report: &mut Report, few: &Path, many: &Path) -> anyhow::Result<()> {
    let path = data::mapping_path(0);
    let (few_service, many_service) = (Process::embedded(few, &path)?, Process::embedded(many, &path)?);
    for (which, of_few, of_many) in [("the same one", 1, 1), ("any one", FEW, MANY)] {
        let few = Target { port: few_service.port, requests: data::reads(of_few), process: Some(&few_service) };
        let many = Target { port: many_service.port, requests: data::reads(of_many), process: Some(&many_service) };
        let throughput = throughput([&few, &many], 16, plan.stretch, plan.stretches).await?;
        let ([low, ratio, high], [few, many]) = (throughput.ratios(), throughput.rates());
        let what = format!("embedded: read {which}, 100,000 stored against 100");
        report.at_most(&what, ratio, 1.2, times);
        report.detail(format!(
            "{what}: {few:.0}/s with 100, {many:.0}/s with 100,000; 8 of 10 stretches between {low:.2} and {high:.2}{}",
            cpu(throughput.cpu)
        ));
    }
    drop((few_service, many_service));
    let (few, many) = (get_alone(few, FEW).await?, get_alone(many, MANY).await?);
    report.detail(format!("the store alone, without HTTP: {many:.1} µs against {few:.1} µs"));
    Ok(())
}

/// The median time of one read through the table port.
async fn get_alone(folder: &Path, mappings: usize) -> anyhow::Result<f64> {
    let tables = EmbeddedTables::open(folder)?;
    let mut micros = Vec::new();
    for number in data::scattered(mappings, 20_000) {
        let key = data::source_key(number);
        let began = Instant::now();
        anyhow::ensure!(tables.get(Table::OrgIntegrationMappings, &key).await?.is_some(), "a mapping is missing");
        micros.push(began.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Ok(micros[micros.len() / 2])
}

/// After 10,000 requests of every kind on 16 connections.
async fn memory(report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    let service = Process::embedded(folder, &data::mapping_path(0))?;
    let requests = data::scattered(MANY, 10_000).map(mixed).collect();
    let target = Target { port: service.port, requests, process: None };
    super::load::exactly(&target, 16, 10_000).await?;
    let what = "resident memory after 10,000 requests, 100,000 mappings stored";
    match service.resident() {
        Some(bytes) => {
            #[expect(clippy::cast_precision_loss, reason = "no memory is so large")]
            report.at_most(what, bytes as f64 / MEGABYTE, 30.0, megabytes);
        }
        None => report.failed(what, &anyhow::anyhow!("there is no /proc here")),
    }
    Ok(())
}

/// Mostly reads of single mappings, some lists, resolves, reverse lookups and creates.
fn mixed(number: usize) -> Vec<u8> {
    let organization = data::organization(number / data::PER_ORGANIZATION);
    let (list, integration) = (format!("/api/organizations/{organization}/integrations"), data::INTEGRATION);
    match number % 20 {
        0 => request("GET", &list, "", ""),
        1 if number % 400 == 1 => {
            request("GET", &format!("/api/integrations/{integration}/mappings?externalOrgId={number}"), "", "")
        }
        2 => data::create(number / data::PER_ORGANIZATION),
        _ => request("GET", &data::mapping_path(number), "", ""),
    }
}

/// From the start of the process to its first answer.
async fn start(plan: &Plan, report: &mut Report, many: &Path) -> anyhow::Result<()> {
    let path = data::mapping_path(0);
    let few = store(FEW).await?;
    let (mut small, mut fresh, mut killed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.starts {
        small.push(Process::embedded(few.path(), &path)?.first_answer);
        fresh.push(Process::embedded(&tempfile::tempdir()?.path().join("new"), "/api/health")?.first_answer);
        killed.push(after_a_kill(many, &path).await?);
    }
    let worst = |durations: Vec<Duration>| durations.into_iter().max().unwrap_or_default().as_secs_f64() * 1000.0;
    let worst = [small, fresh, killed].map(worst);
    for (what, worst) in
        ["100 mappings stored", "a new store", "100,000 stored, after a SIGKILL"].into_iter().zip(worst)
    {
        report.at_most(&format!("embedded: start to first answer, {what} (worst)"), worst, 100.0, millis);
    }
    Ok(())
}

/// Kills the service in the middle of creates, and starts it again.
async fn after_a_kill(folder: &Path, path: &str) -> anyhow::Result<Duration> {
    let service = Process::embedded(folder, path)?;
    let creators = (0..4).map(|_| tokio::spawn(create_until_it_ends(service.port)));
    let creators: Vec<_> = creators.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(service);
    let mut created = 0;
    for creator in creators {
        created += creator.await?;
    }
    anyhow::ensure!(created > 0, "nothing was created before the kill");
    Ok(Process::embedded(folder, path)?.first_answer)
}

async fn create_until_it_ends(port: u16) -> usize {
    let Ok(mut connection) = Connection::open(port).await else { return 0 };
    let mut created = 0;
    while connection.ask(&data::create(created)).await.is_ok() {
        created += 1;
    }
    created
}

/// The size of the program: the packaged one, if there is one.
pub fn size(report: &mut Report) -> anyhow::Result<()> {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/functionapp/crosswalk");
    let (what, program) = if packaged.is_file() {
        ("size of the packaged program", packaged.as_path())
    } else {
        ("size of the release program (none is packaged)", Path::new(PROGRAM))
    };
    #[expect(clippy::cast_precision_loss, reason = "no program is so large")]
    report.at_most(what, std::fs::metadata(program)?.len() as f64 / MEGABYTE, 12.0, megabytes);
    Ok(())
}
