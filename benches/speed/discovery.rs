//! Discovery: the list of an external system, which is played by a thread of this process.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::future::try_join_all;
use tempfile::TempDir;
use warp::Filter;

use super::{
    Plan,
    embedded::cpu,
    http::{Connection, request},
    load::{Target, latencies, throughput},
    process::Process,
    report::{Report, megabytes, millis, times},
};

/// What a system takes for a page, in the rows that say so.
const THINKING: Duration = Duration::from_millis(200);
const MEGABYTE: f64 = 1e6;

/// `count` organizations on pages of `size`: by a cursor, which only the page before tells, or by numbers.
fn manifest(id: &str, paginator: &str, size: usize) -> String {
    let paginator = match paginator {
        "cursor" => "{type: cursor, cursor_param: page, cursor_path: /next}",
        _ => "{type: page_number, page_param: page, start_page: 0, total_path: /total}",
    };
    format!(
        "id: {id}\nname: {id}\ndocs_url: https://{id}.example.test\nconfidence: high\n\
         base_url: https://{id}.example.test/{size}\nauth: {{type: none}}\nlist_organizations:\n  request: {{path: /list}}\n  \
         record_selector: /items\n  paginator: {paginator}\n  mapping: {{id: /id, name: /name}}\nrate_limit: {{concurrency: 8}}\n"
    )
}

/// An external system: `/{size of a page}/list?page=`, as many organizations as the host's name says.
struct System {
    port: u16,
    pages: Arc<AtomicUsize>,
}

impl System {
    fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (port, pages) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&pages);
        // A thread of its own: the client must not wait for it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let page = warp::path!(usize / "list")
                    .and(warp::header("host"))
                    .and(warp::query::raw().or(warp::any().map(String::new)).unify());
                let page = page.then(move |size, host: String, query: String| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let number = query.strip_prefix("page=").and_then(|number| number.parse().ok()).unwrap_or(0);
                    async move {
                        let (count, wait) =
                            if host.starts_with("many") { (100_000, Duration::ZERO) } else { (1000, THINKING) };
                        tokio::time::sleep(wait).await;
                        body(count, size, number)
                    }
                });
                let listener = tokio::net::TcpListener::from_std(listener)?;
                warp::serve(page).incoming(listener).run().await;
                Ok::<_, std::io::Error>(())
            })
        });
        Ok(Self { port, pages })
    }
}

/// With as much about each organization as such systems tell.
fn body(count: usize, size: usize, page: usize) -> String {
    let records = (page * size..count).take(size).map(|id| {
        format!(r#"{{"id":{id},"name":"Organization number {id} of the example","status":"active","phone":"+1 555 0100","address":{{"street":"1 Main Street","city":"Springfield"}},"created":"2024-01-01T00:00:00Z"}}"#)
    });
    let records: Vec<_> = records.collect();
    let next = if (page + 1) * size < count { (page + 1).to_string() } else { "null".to_owned() };
    format!(r#"{{"total":{count},"next":{next},"items":[{}]}}"#, records.join(","))
}

fn service(system: &System, folder: &Path) -> anyhow::Result<Process> {
    let manifests = folder.join("integrations");
    std::fs::create_dir_all(&manifests)?;
    for (id, paginator, size) in [
        ("sequential", "cursor", 100),
        ("parallel", "page_number", 100),
        ("many", "page_number", 1000),
        ("cold", "cursor", 1000),
    ] {
        std::fs::write(manifests.join(format!("{id}.yaml")), manifest(id, paginator, size))?;
    }
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a folder's name that is no UTF-8");
    let settings = [
        ("CROSSWALK_DATA_DIR", text(&folder.join("data"))?),
        ("CROSSWALK_INTEGRATIONS_DIR", text(&manifests)?),
        ("CROSSWALK_HOST_MAP", format!("*=127.0.0.1:{}", system.port)),
    ];
    Process::service(&settings, "/api/integrations")
}

fn discover(id: &str, refresh: bool) -> Vec<u8> {
    let path = format!("/api/integrations/{id}/discover{}", if refresh { "?refresh=true" } else { "" });
    request("GET", &path, "", "")
}

pub async fn list(report: &mut Report) -> anyhow::Result<()> {
    let (system, folder): (_, TempDir) = (System::start()?, tempfile::tempdir()?);
    let service = service(&system, folder.path())?;
    for (id, how, target) in [("sequential", "one after another", 2.5), ("parallel", "side by side", 1.0)] {
        let mut connection = Connection::open(service.port).await?;
        let (began, before) = (Instant::now(), system.pages.load(Ordering::Relaxed));
        let answer = connection.ask(&discover(id, false)).await?;
        let (took, pages) = (began.elapsed().as_secs_f64(), system.pages.load(Ordering::Relaxed) - before);
        anyhow::ensure!(pages == 10 && answer.body.len() > 50_000, "the list was not read");
        let what = format!("discovery: 1,000 on 10 pages of {} ms, {how}", THINKING.as_millis());
        report.at_most(&what, took * 1000.0, target * 1000.0, millis);
    }
    let mut connection = Connection::open(service.port).await?;
    let before = service.resident();
    let began = Instant::now();
    let answer = connection.ask(&discover("many", false)).await?;
    let took = began.elapsed().as_secs_f64();
    anyhow::ensure!(answer.body.len() > 5_000_000, "the list was not read");
    report.at_most("discovery: 100,000 on 100 pages", took * 1000.0, 3000.0, millis);
    if let (Some(before), Some(peak)) = (before, service.peak()) {
        #[expect(clippy::cast_precision_loss, reason = "megabytes are exact enough")]
        let grown = peak.saturating_sub(before) as f64 / MEGABYTE;
        report.at_most("discovery: memory grown by 100,000, at its highest", grown, 200.0, megabytes);
    }
    Ok(())
}

pub async fn cached(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (system, folder) = (System::start()?, tempfile::tempdir()?);
    let service = service(&system, folder.path())?;
    let mut connection = Connection::open(service.port).await?;
    let asked = discover("parallel", false);
    let size = connection.ask(&asked).await?.body.len();
    let constant = Process::constant(size, "/api/integrations/parallel/discover")?;
    let a = Target { port: service.port, requests: vec![asked.clone()], process: Some(&service) };
    let b = Target { port: constant.port, requests: vec![asked], process: Some(&constant) };
    let throughput = throughput([&a, &b], 16, plan.stretch, plan.stretches).await?;
    let ([low, ratio, high], [ours, theirs]) = (throughput.ratios(), throughput.rates());
    report.at_least("discovery: a cached list of 1,000, throughput against a constant", ratio, 0.5, times);
    report.detail(format!(
        "cached list of 1,000, {size} bytes, 16 connections: {ours:.0}/s against {theirs:.0}/s; 8 of 10 stretches between \
         {low:.2} and {high:.2}{}",
        cpu(throughput.cpu)
    ));
    let [ours, theirs] = latencies([&a, &b], plan.requests).await?;
    report.at_most("discovery: a cached list of 1,000, p95", ours.percentile(95) / 1000.0, 5.0, millis);
    report.detail(format!(
        "cached list, 1 connection: median {:.0} µs against {:.0} µs, p95 {:.0} against {:.0}",
        ours.median(),
        theirs.median(),
        ours.percentile(95),
        theirs.percentile(95)
    ));

    let before = system.pages.load(Ordering::Relaxed);
    let connections = try_join_all((0..500).map(|_| Connection::open(service.port))).await?;
    let cold = discover("cold", false);
    let answers = connections.into_iter().map(|mut connection| {
        let cold = &cold;
        async move { connection.ask(cold).await.map(|answer| answer.body.len()) }
    });
    let answers = try_join_all(answers).await?;
    anyhow::ensure!(answers.iter().all(|size| *size > 50_000), "a list was not read");
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let fetches = (system.pages.load(Ordering::Relaxed) - before) as f64;
    report
        .at_most("discovery: fetches for 500 requests for one cold list", fetches, 1.0, |count| format!("{count:.0}"));
    Ok(())
}
