//! The commands that run to their end: `seed`, `verify`, `repair`.

use std::{path::Path, sync::Arc, time::Duration};

use crosswalk::{
    app::App,
    domain::{Actor, ExternalOrgId, IntegrationName, MappingId, OrgId, Source},
    mappings::WantedMapping,
    secrets::NoSecrets,
    tables::{EmbeddedTables, Key, Property, Put, Range, Row, Table, TableStore, When, scan_all},
};

use crate::{
    process::{Ended, run},
    server::registry,
    valve::{Flow, Valve},
};

fn command(folder: &Path, arguments: &[&str]) -> Ended {
    run(folder, arguments, &[("CROSSWALK_DATA_DIR", "store"), ("RUST_LOG", "warn")])
}

/// Opens the store of the folder; nothing else may have it open.
fn open(folder: &Path) -> EmbeddedTables {
    EmbeddedTables::open(&folder.join("store")).unwrap()
}

/// Maps `acme` to an external organization, on a store that may fail on the way.
async fn create(tables: Arc<Valve>, external_org_id: &str) {
    let app = App::new(tables, registry(), Arc::new(NoSecrets));
    let new = WantedMapping {
        org_id: OrgId::parse("acme").unwrap(),
        integration: IntegrationName::parse("halo").unwrap(),
        id: Some(MappingId::parse(format!("mapping_{external_org_id}")).unwrap()),
        external_org_id: ExternalOrgId::parse(external_org_id).unwrap(),
        external_org_name: None,
        data: None,
    };
    let actor = Actor { id: "ann".into(), source: Source::Cli, correlation_id: None };
    app.mappings.create(new, actor).await.unwrap();
    app.drain(Duration::from_secs(20)).await;
}

const ORGANIZATIONS: &str = r#"{
    "Organizations": [{"PartitionKey": "ORG", "RowKey": "acme", "Name": "Acme", "IsActive": true, "Seats": 12, "Share": 0.5, "None": null}],
    "UserPermissions": [{"PartitionKey": "ann", "RowKey": "acme", "CanManageConfig": true, "Big": 9007199254740993}]
}"#;

fn seeded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seed.json"), ORGANIZATIONS).unwrap();
    let seed = command(folder.path(), &["seed", "seed.json"]);
    assert_eq!((seed.code, &*seed.err), (Some(0), ""));
    insta::allow_duplicates! {
        insta::assert_snapshot!(seed.out, @r"
        Organizations: 1 rows
        UserPermissions: 1 rows
        ");
    }
    folder
}

#[tokio::test]
async fn seed_stores_typed_rows_and_may_run_again() {
    let folder = seeded();
    assert_eq!(command(folder.path(), &["seed", "seed.json"]).code, Some(0));
    let tables = open(folder.path());
    let row = async |table, key: Key| tables.get(table, &key).await.unwrap().unwrap().row.properties;
    let acme = row(Table::Organizations, Key::new("ORG", "acme")).await;
    assert_eq!(acme["Seats"], Property::Int32(12));
    assert_eq!(acme["Share"], Property::Double(0.5));
    assert!(!acme.contains_key("None"));
    let ann = row(Table::UserPermissions, Key::new("ann", "acme")).await;
    assert_eq!((&ann["CanManageConfig"], &ann["Big"]), (&true.into(), &Property::Int64(9_007_199_254_740_993)));
}

#[tokio::test]
async fn a_seed_file_that_is_wrong_stores_nothing_and_is_explained_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"PartitionKey": "ORG", "RowKey": "good", "IsActive": true}"#;
    for (text, word) in [
        ("not JSON".to_owned(), "seed.json"),
        (r#"{"OrgIntegrationMappings": []}"#.to_owned(), "OrgIntegrationMappings"),
        (r#"{"Organisations": []}"#.to_owned(), "Organisations"),
        (format!(r#"{{"Organizations": [{good}, {{"PartitionKey": "ORG"}}]}}"#), "row 2"),
        (format!(r#"{{"Organizations": [{good}, {{"PartitionKey": "ORG", "RowKey": "O'Brien"}}]}}"#), "O'Brien"),
        (format!(r#"{{"Organizations": [{good}, {{"PartitionKey": "ORG", "RowKey": "x", "A b": 1}}]}}"#), "A b"),
        (format!(r#"{{"Organizations": [{good}, {{"PartitionKey": "ORG", "RowKey": "x", "List": []}}]}}"#), "List"),
        (format!(r#"{{"Organizations": [{good}], "Users": [{{"PartitionKey": "a/b", "RowKey": "x"}}]}}"#), "a/b"),
    ] {
        std::fs::write(folder.path().join("seed.json"), &text).unwrap();
        let ended = command(folder.path(), &["seed", "seed.json"]);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{text}: {ended:?}");
        assert!(ended.err.contains(word), "{text}: {ended:?}");
        let tables = open(folder.path());
        let rows = scan_all(&tables, Table::Organizations, &Range::new("ORG", "", "~")).await.unwrap();
        assert_eq!(rows, [], "{text}");
    }
    let missing = command(folder.path(), &["seed", "nothing.json"]);
    assert_eq!((missing.code, missing.err.lines().count()), (Some(1), 1), "{missing:?}");
    assert!(missing.err.contains("nothing.json"), "{missing:?}");
}

#[tokio::test]
async fn verify_names_every_planted_difference_and_full_repair_mends_what_a_program_can() {
    let folder = seeded();
    let verify = || command(folder.path(), &["verify"]);
    assert_eq!(verify().code, Some(0), "an empty store");
    for external in ["1", "2", "3"] {
        create(Valve::of(open(folder.path())), external).await;
    }
    assert_eq!(verify().code, Some(0));
    {
        let tables = open(folder.path());
        let index = |id: u32| Key::new("halo", format!("acme_mapping_{id}"));
        tables.delete(Table::IntegrationMappings, &index(1), &When::Any).await.unwrap();
        let mut other = tables.get(Table::IntegrationMappings, &index(2)).await.unwrap().unwrap().row;
        other.properties.insert("ExternalOrgId".into(), "666".into());
        tables.put(Table::IntegrationMappings, &other, &Put::Upsert).await.unwrap();
        other.key = index(4);
        tables.put(Table::IntegrationMappings, &other, &Put::Upsert).await.unwrap();
        // Of another program, without index row and guard.
        let properties = [("ExternalOrgId".to_owned(), "5".into()), ("IsActive".to_owned(), true.into())].into();
        let row = Row { key: Key::new("acme", "halo_mapping_5"), properties };
        tables.put(Table::OrgIntegrationMappings, &row, &Put::Upsert).await.unwrap();
    }
    let found = verify();
    assert_eq!((found.code, &*found.err), (Some(1), ""));
    insta::assert_snapshot!(found.out, @r"
    acme/halo/mapping_1: missing in IntegrationMappings; `crosswalk repair --full` mends it
    acme/halo/mapping_2: IntegrationMappings says something else; `crosswalk repair --full` mends it
    acme/halo/mapping_5: missing in IntegrationMappings; `crosswalk repair --full` mends it
    acme/halo/mapping_4: only in IntegrationMappings; `crosswalk repair --full` mends it
    acme/halo/mapping_5: active without a guard; `crosswalk repair --full` mends it
    5 differences
    ");
    // Looking changes nothing, and nor does the repair of unfinished changes, since there are none.
    assert_eq!(command(folder.path(), &["repair"]).code, Some(0));
    assert_eq!(verify().out, found.out);
    let full = command(folder.path(), &["repair", "--full"]);
    assert_eq!(full.code, Some(0), "{full:?}");
    let after = verify();
    assert_eq!(after.code, Some(0), "{after:?}");
}

#[tokio::test]
async fn repair_finishes_a_change_that_a_crash_left_unfinished() {
    let folder = seeded();
    {
        let valve = Valve::of(open(folder.path()));
        valve.turn(Flow::LastCommit);
        create(valve, "1").await;
    }
    let verify = command(folder.path(), &["verify"]);
    assert_eq!(verify.code, Some(1), "{verify:?}");
    assert!(verify.out.contains("`crosswalk repair` finishes it"), "{verify:?}");
    let repair = command(folder.path(), &["repair"]);
    assert_eq!(repair.code, Some(0), "{repair:?}");
    insta::assert_snapshot!(repair.out, @r"1 unfinished changes finished, 0 old markers removed, 0 still in flight, 0 failed");
    let again = command(folder.path(), &["repair"]);
    insta::assert_snapshot!(again.out, @r"0 unfinished changes finished, 0 old markers removed, 0 still in flight, 0 failed");
    assert_eq!(command(folder.path(), &["verify"]).code, Some(0));
    let tables = open(folder.path());
    let events = scan_all(&tables, Table::AuditEvents, &Range::new("acme", "", "~")).await.unwrap();
    assert_eq!(events.len(), 1);
}
