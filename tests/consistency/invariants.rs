//! What must hold after every test: the two tables agree, every change has exactly one audit event and every audit event is
//! a change, and nothing unfinished is left.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crosswalk::{
    app::App,
    mappings::{Difference, REPAIR_GRACE, verify},
    tables::{Properties, Property, Stored, Table, TableStore, Tables},
};
use futures::TryStreamExt;

use crate::harness::app;

/// The fields that an audit event keeps.
const FIELDS: [&str; 7] = [
    "ExternalOrgId",
    "ExternalOrgName",
    "MappingData",
    "IsActive",
    "LastTestedAt",
    "LastTestResult",
    "LastTestSucceeded",
];

pub async fn rows(tables: &dyn TableStore, table: Table) -> Vec<Stored> {
    tables.scan_table(table).try_collect().await.unwrap()
}

/// The mappings' rows by partition and row key.
pub async fn mappings(tables: &dyn TableStore) -> BTreeMap<(String, String), Properties> {
    let rows = rows(tables, Table::OrgIntegrationMappings).await.into_iter().map(|stored| stored.row);
    rows.filter(|row| row.key.row.contains("_mapping_"))
        .map(|row| ((row.key.partition, row.key.row), row.properties))
        .collect()
}

/// Audit events of each mapping.
pub async fn events(tables: &dyn TableStore) -> BTreeMap<(String, String), Vec<Properties>> {
    let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for stored in rows(tables, Table::AuditEvents).await {
        let text = |name: &str| stored.row.properties[name].text().unwrap();
        let mapping = (stored.row.key.partition.clone(), format!("{}_{}", text("IntegrationName"), text("MappingId")));
        events.entry(mapping).or_default().push(stored.row.properties);
    }
    events
}

/// Everything holds, once a new process has repaired what was left. `before` are differences that other programs had made.
pub async fn hold(tables: &Tables, before: &[Difference]) {
    hold_after(&app(tables.clone()), before).await;
}

/// The same, repaired by that process.
pub async fn hold_after(process: &App, before: &[Difference]) {
    let tables = &process.tables;
    let report = process.mappings.repair().run_once(SystemTime::now()).await.unwrap();
    assert_eq!(report.failed, 0, "{report}");
    process.drain(Duration::from_secs(10)).await;

    let differences = verify(&**tables).await.unwrap();
    let made: Vec<_> = differences.iter().filter(|difference| !before.contains(difference)).collect();
    assert!(made.is_empty(), "{made:#?}");
    audited(&**tables).await;

    // A marker of a change that never happened stays for its grace; then nothing of ours is left.
    let later = SystemTime::now() + REPAIR_GRACE * 2;
    let report = process.mappings.repair().run_once(later).await.unwrap();
    assert_eq!((report.finished, report.waiting, report.failed), (0, 0, 0), "{report}");
    for stored in rows(&**tables, Table::OrgIntegrationMappings).await {
        let key = &stored.row.key.row;
        assert!(!key.starts_with("INTENT_") && !key.starts_with("MARKER_"), "{key} is left");
    }
}

/// The events of every mapping lead, each taken once, from nothing to what its row says now: field by field, every value
/// that was come to was left again, but for the last one. A missing event or one too many upsets the balance.
pub async fn audited(tables: &dyn TableStore) {
    let mut events = events(tables).await;
    for (mapping, row) in mappings(tables).await {
        let steps = events.remove(&mapping).unwrap_or_default();
        let created = steps.iter().filter(|step| step["EventType"] == "integration_mapping.created".into()).count();
        assert!(created <= 1, "{mapping:?} was created {created} times");
        for field in FIELDS {
            let mut balance: BTreeMap<String, i32> = BTreeMap::new();
            let mut count = |value: Option<&Property>, by: i32| {
                *balance.entry(format!("{value:?}")).or_default() += by;
            };
            for step in &steps {
                count(step.get(&format!("Before{field}")), 1);
                count(step.get(&format!("After{field}")), -1);
            }
            count(row.get(field), 1);
            if created == 1 {
                count(None, -1);
            }
            balance.retain(|_, value| *value != 0);
            // A row of another program began with some value.
            let whole = if created == 1 { balance.is_empty() } else { balance.values().eq([&1]) };
            assert!(whole, "{mapping:?}, {field}: {balance:?}\n{steps:#?}\n{row:#?}");
        }
    }
    assert!(events.is_empty(), "events of mappings that are not there: {events:#?}");
}
