//! The service on Azurite.

use std::{panic::catch_unwind, time::Duration};

use anyhow::{Context, anyhow};

use super::{
    Plan,
    account::{Account, FULL, SHORT},
    azurite::Azurite,
    data,
    http::{Connection, request},
    load::{Target, latencies, throughput},
    process::Process,
    proxy::{Proxy, longest_chain},
    report::{Report, millis, times, trips},
};

pub const FEW: usize = data::PER_ORGANIZATION;
/// Long enough for what a change leaves to be done after its answer.
const QUIET: Duration = Duration::from_millis(500);

/// An account with that many mappings. Azurite is fetched and started by the first call.
pub async fn account(mappings: usize) -> anyhow::Result<Account> {
    let azurite = catch_unwind(Azurite::start).map_err(|_| anyhow!("Azurite could not be started, see above"))?;
    let account = Account::parse(azurite.account())?;
    data::fill(&account.tables()?, mappings).await?;
    Ok(account)
}

pub fn service(connection_string: &str) -> anyhow::Result<Process> {
    Process::service(&[("AzureWebJobsStorage", connection_string.to_owned())], &data::mapping_path(0))
}

fn bare(account: &Account, mappings: usize, accept: &str) -> anyhow::Result<Target<'static>> {
    let requests = data::scattered(mappings, data::REQUESTS).map(|number| account.read(number, accept));
    Ok(Target { port: account.port, requests: requests.collect::<Result<_, _>>()?, process: None })
}

/// Read one mapping, and list 100, against a bare client of the same store.
pub async fn read(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let account = account(FEW).await?;
    let service = service(&account.connection_string)?;
    let ours = Target { port: service.port, requests: data::reads(FEW), process: Some(&service) };
    let (theirs, full) = (bare(&account, FEW, SHORT)?, bare(&account, FEW, FULL)?);

    let [our, their, full] = latencies([&ours, &theirs, &full], plan.requests).await?;
    let what = "Azurite: read one mapping against a bare client, median latency";
    report.at_most(what, our.median() / their.median(), 1.6, times);
    report.detail(format!(
        "Azurite read, 1 connection: median {:.0} µs against {:.0} µs, p95 {:.0} against {:.0}; a bare client that asks for \
         types, as the service does, {:.0} µs",
        our.median(),
        their.median(),
        our.percentile(95),
        their.percentile(95),
        full.median()
    ));

    let throughput = throughput([&ours, &theirs], 16, plan.stretch, plan.stretches).await?;
    let ([low, ratio, high], [our, their]) = (throughput.ratios(), throughput.rates());
    report.at_least("Azurite: the same, throughput at 16 connections", ratio, 0.8, times);
    report.detail(format!(
        "Azurite read, 16 connections: {our:.0}/s against {their:.0}/s; 8 of 10 stretches between {low:.2} and {high:.2}{}",
        throughput.cpu[0].map_or_else(String::new, |cpu| format!("; the service takes {cpu:.0} µs of processor time a request"))
    ));

    let path = format!("/api/organizations/{}/integrations", data::organization(0));
    let ours = Target { port: service.port, requests: vec![request("GET", &path, "", "")], process: None };
    let theirs = Target { port: account.port, requests: vec![account.list(0, SHORT)?], process: None };
    let full = Target { port: account.port, requests: vec![account.list(0, FULL)?], process: None };
    let [our, their, full] = latencies([&ours, &theirs, &full], plan.requests / 5).await?;
    report.at_most("Azurite: list 100 mappings of an organization, p95", our.percentile(95) / 1000.0, 20.0, millis);
    report.detail(format!(
        "Azurite list: median {:.1} ms against {:.1} ms by the bare client, p95 {:.1} against {:.1}; with types {:.1} ms",
        our.median() / 1000.0,
        their.median() / 1000.0,
        our.percentile(95) / 1000.0,
        their.percentile(95) / 1000.0,
        full.median() / 1000.0
    ));
    Ok(())
}

/// Counts the round trips of each kind of request in a proxy between the service and Azurite.
pub async fn round_trips(_: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let account = account(FEW).await?;
    let proxy = Proxy::start(account.port).await?;
    // On the proxy's own thread nothing may wait for the proxy.
    let behind = account.behind(proxy.port);
    let service = tokio::task::spawn_blocking(move || service(&behind)).await??;
    let mut connection = Connection::open(service.port).await?;
    let list = format!("/api/organizations/{}/integrations", data::organization(0));
    let created = connection.ask(&data::create(0)).await?;
    let path = created.header("location").context("a created mapping without a location")?.to_owned();
    let resolved = format!("{list}/{}?mapping_id={}", data::INTEGRATION, path.rsplit('/').next().unwrap_or_default());
    let json = "Content-Type: application/json\r\n";
    let requests = [
        ("create", data::create(0)),
        ("read", request("GET", &path, "", "")),
        ("list", request("GET", &list, "", "")),
        ("resolve", request("GET", &resolved, "", "")),
        ("change", request("PATCH", &path, json, r#"{"external_org_id":"another"}"#)),
        ("deactivate", request("DELETE", &path, "", "")),
    ];
    let mut counted = Vec::new();
    for (what, request) in requests {
        tokio::time::sleep(QUIET).await;
        proxy.take();
        connection.ask(&request).await.with_context(|| what.to_owned())?;
        let before = proxy.take();
        tokio::time::sleep(QUIET).await;
        let after = proxy.take();
        let (count, chain, rest) = (before.len(), longest_chain(before), after.len());
        if what == "create" {
            report.at_most("create: round trips one after another", f64::from(u32::try_from(chain)?), 4.0, trips);
        }
        let later = if rest > 0 { format!(", {rest} after the answer") } else { String::new() };
        counted.push(format!("{what} {chain} ({count} in all{later})"));
    }
    report.detail(format!("round trips one after another: {}", counted.join("; ")));
    Ok(())
}

/// Read one mapping from a large account, against a small one.
pub async fn growth(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (few, many) = (account(FEW).await?, account(plan.many_on_azurite).await?);
    let services = [service(&few.connection_string)?, service(&many.connection_string)?];
    let a = Target { port: services[1].port, requests: data::reads(plan.many_on_azurite), process: None };
    let b = Target { port: services[0].port, requests: data::reads(FEW), process: None };
    let (c, d) = (bare(&many, plan.many_on_azurite, SHORT)?, bare(&few, FEW, SHORT)?);
    let [a, b, c, d] = latencies([&a, &b, &c, &d], plan.requests).await?.map(|latencies| latencies.median());
    let what = format!("Azurite: read one mapping, {} stored against 100", plan.many_on_azurite);
    report.at_most(&what, a / b, 1.2, times);
    report.detail(format!("{what}: {a:.0} µs against {b:.0} µs; the bare client {c:.0} µs against {d:.0} µs"));
    Ok(())
}
