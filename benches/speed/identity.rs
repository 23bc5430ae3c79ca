//! What it costs to know who is calling: the service with tokens and permission rows against itself in development mode.

use chrono::Utc;
use crosswalk::tables::{Key, Property, Put, Row, Table, TableStore};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Plan,
    azure::{self, FEW},
    data,
    http::request,
    load::{Target, latencies},
    process::Process,
    provider::Provider,
    report::{Report, times},
    tokens::{AUDIENCE, Parts, TENANT},
};

/// Read one mapping on Azurite: by a user who keeps reading, and by users of whom nothing is known yet.
pub async fn read(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let account = azure::account(FEW).await?;
    let strangers = plan.requests / 5;
    users(&account.tables()?, strangers * 2).await?;
    let provider = Provider::start().await;
    let settings = [
        ("AzureWebJobsStorage", account.connection_string.clone()),
        ("CROSSWALK_AUTH", "entra".to_owned()),
        ("AZURE_TENANT_ID", TENANT.to_owned()),
        ("CROSSWALK_AUDIENCE", AUDIENCE.to_owned()),
        ("AZURE_AUTHORITY_HOST", format!("http://{}", provider.address)),
        // Development mode has the example without being told.
        ("CROSSWALK_INTEGRATIONS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/integrations").to_owned()),
    ];
    let entra = Process::service(&settings, "/api/health")?;
    let development = azure::service(&account.connection_string)?;
    let trusted = Target { port: development.port, requests: data::reads(FEW), process: None };
    let by = |users: Vec<String>| {
        let tokens: Vec<_> = users.iter().map(|user| token(&provider, user)).collect();
        let paths = data::scattered(FEW, tokens.len().max(data::REQUESTS)).map(data::mapping_path);
        let reads = paths
            .zip(tokens.iter().cycle())
            .map(|(path, token)| request("GET", &path, &format!("Authorization: Bearer {token}\r\n"), ""));
        Target { port: entra.port, requests: reads.collect(), process: None }
    };

    let known = by(vec![user(0)]);
    let [our, their] = latencies([&known, &trusted], plan.requests).await?;
    let what = "Azurite: read one mapping with a token against development mode, median latency";
    report.at_most(what, our.median() / their.median(), 1.3, times);
    report.detail(format!(
        "Azurite read with a token and a permission row: median {:.0} µs against {:.0} µs in development mode, p95 {:.0} \
         against {:.0}",
        our.median(),
        their.median(),
        our.percentile(95),
        their.percentile(95)
    ));

    let unknown = by((1..strangers * 2).map(user).collect());
    let [our, their] = latencies([&unknown, &trusted], strangers).await?;
    report.detail(format!(
        "the same by a user whose rows have to be read first, two more requests and one more round trip: median {:.0} µs \
         against {:.0} µs",
        our.median(),
        their.median()
    ));
    Ok(())
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

fn token(provider: &Provider, user: &str) -> String {
    let now = Utc::now().timestamp();
    Parts::user(provider).with("oid", user).with("iat", now).with("nbf", now).with("exp", now + 3600).token()
}

/// Users who may manage the first organization.
async fn users(tables: &dyn TableStore, count: usize) -> anyhow::Result<()> {
    let row = |key, name: &str| {
        let properties = [("UserType", Property::from("MSP")), (name, true.into())];
        Row { key, properties: properties.map(|(name, value)| (name.to_owned(), value)).into() }
    };
    let rows = (0..count).flat_map(|number| {
        let permission = Key::new(user(number), data::organization(0));
        [
            (Table::Users, row(Key::new("USER", user(number)), "IsActive")),
            (Table::UserPermissions, row(permission, "CanManageConfig")),
        ]
    });
    let puts = rows.map(|(table, row)| async move { tables.put(table, &row, &Put::Upsert).await.map(drop) });
    Ok(stream::iter(puts).buffer_unordered(32).try_collect().await?)
}
