//! Two writers at once, and many, each with an eye of its own on the same store, and repair running beside them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crosswalk::{
    app::App,
    domain::{ExternalOrgName, MappingData},
    mappings::{Expected, MappingError},
    tables::Tables,
};
use futures::future::join_all;

use crate::{harness::*, invariants};

/// Each case on both stores.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod memory { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(crate::harness::memory().await).await; })* }
        mod azurite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(crate::harness::azurite().await).await; })* }
    };
}

on_both_stores!(
    one_of_many_creates_wins,
    one_of_many_sets_creates,
    changes_of_different_fields_all_stay,
    a_change_against_a_deactivation,
    only_one_holder_of_a_version_changes_it,
    swaps_of_external_ids_never_make_two,
    repair_beside_live_traffic,
);

/// As many processes as there are writers.
fn processes(tables: &Tables, count: usize) -> Vec<App> {
    (0..count).map(|_| app(Arc::clone(tables))).collect()
}

async fn settle(tables: &Tables, processes: Vec<App>) {
    for process in processes {
        process.drain(Duration::from_secs(30)).await;
    }
    invariants::hold(tables, &[]).await;
}

async fn one_of_many_creates_wins(tables: Tables) {
    let processes = processes(&tables, 12);
    let outcomes =
        join_all(processes.iter().enumerate().map(|(number, process)| async move {
            process.mappings.create(new(&number.to_string(), "1"), actor()).await
        }));
    let outcomes = outcomes.await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:#?}");
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(error, MappingError::Duplicate { .. }), "{error}");
    }
    settle(&tables, processes).await;
}

async fn one_of_many_sets_creates(tables: Tables) {
    let processes = processes(&tables, 8);
    let outcomes = join_all(processes.iter().enumerate().map(|(number, process)| async move {
        process.mappings.set(set(None, &number.to_string()), actor()).await.map(|(_, created)| created)
    }));
    let outcomes = outcomes.await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count(), 1, "{outcomes:#?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:#?}");
    settle(&tables, processes).await;
    assert_eq!(invariants::mappings(&*tables).await.len(), 1);
}

async fn changes_of_different_fields_all_stay(tables: Tables) {
    let processes = processes(&tables, 3);
    processes[0].mappings.create(new("a", "1"), actor()).await.unwrap();
    for round in 0..5 {
        let (name, data, id) = (format!("name {round}"), format!("{{\"round\":{round}}}"), format!("id {round}"));
        let patches = [named(&name), with_data(&data), external_id(&id)];
        let changes = processes
            .iter()
            .zip(patches)
            .map(|(process, patch)| process.mappings.update(key("a"), patch, Expected::Any, actor()));
        for outcome in join_all(changes).await {
            outcome.unwrap();
        }
        let found = processes[0].mappings.get(&key("a"), true).await.unwrap().mapping;
        let fields = (
            found.external_org_name.as_ref().map(ExternalOrgName::as_str),
            found.data.as_ref().map(MappingData::as_str),
            found.external_org_id.as_str(),
        );
        assert_eq!(fields, (Some(name.as_str()), Some(data.as_str()), id.as_str()));
    }
    settle(&tables, processes).await;
    assert_eq!(invariants::events(&*tables).await.into_values().next().unwrap().len(), 16);
}

async fn a_change_against_a_deactivation(tables: Tables) {
    let processes = processes(&tables, 2);
    for round in 0..6 {
        let id = round.to_string();
        processes[0].mappings.create(new(&id, &id), actor()).await.unwrap();
        let (changed, deactivated) = tokio::join!(
            processes[0].mappings.update(key(&id), named("changed"), Expected::Any, actor()),
            processes[1].mappings.deactivate(key(&id), Expected::Any, actor()),
        );
        deactivated.unwrap();
        let found = processes[0].mappings.get(&key(&id), false).await.unwrap().mapping;
        assert!(!found.is_active, "the change brought it back to life");
        match changed {
            Ok(_) => assert!(found.external_org_name.is_some(), "an acknowledged change is lost"),
            Err(MappingError::MappingNotFound { .. }) => assert!(found.external_org_name.is_none()),
            Err(error) => panic!("{error}"),
        }
    }
    settle(&tables, processes).await;
}

async fn only_one_holder_of_a_version_changes_it(tables: Tables) {
    let processes = processes(&tables, 8);
    let version = processes[0].mappings.create(new("a", "1"), actor()).await.unwrap().version;
    let outcomes = join_all(processes.iter().enumerate().map(|(number, process)| {
        let expected = Expected::OneOf(vec![version.as_str().to_owned()]);
        process.mappings.update(key("a"), named(&number.to_string()), expected, actor())
    }));
    let outcomes = outcomes.await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:#?}");
    let stale = outcomes.iter().filter(|outcome| matches!(outcome, Err(MappingError::Stale))).count();
    assert_eq!(stale, 7, "{outcomes:#?}");
    settle(&tables, processes).await;
}

/// Mappings that move among a few external ids, come and go: never two active ones of one id.
async fn swaps_of_external_ids_never_make_two(tables: Tables) {
    let processes = processes(&tables, 4);
    for id in ["a", "b", "c"] {
        processes[0].mappings.create(new(id, id), actor()).await.unwrap();
    }
    join_all(processes.iter().enumerate().map(|(number, process)| async move {
        for round in 0..8 {
            let step = number * 5 + round * 3;
            let id = ["a", "b", "c"][step % 3];
            let patch = match step % 4 {
                0 => active(false),
                1 => active(true),
                _ => external_id(["x", "y"][step % 2]),
            };
            match process.mappings.update(key(id), patch, Expected::Any, actor()).await {
                Ok(_) | Err(MappingError::Duplicate { .. } | MappingError::MappingNotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }))
    .await;
    settle(&tables, processes).await;
}

async fn repair_beside_live_traffic(tables: Tables) {
    let processes = processes(&tables, 4);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let traffic = async {
        join_all(processes[1..].iter().enumerate().map(|(number, process)| async move {
            let id = number.to_string();
            process.mappings.create(new(&id, &id), actor()).await.unwrap();
            for round in 0..8 {
                let patch = named(&format!("{number} {round}"));
                process.mappings.update(key(&id), patch, Expected::Any, actor()).await.unwrap();
            }
        }))
        .await;
        stop.send(true).unwrap();
    };
    let repair = async {
        let mut passes = 0;
        while !*stopped.borrow_and_update() {
            let report = processes[0].mappings.repair().run_once(SystemTime::now()).await.unwrap();
            assert_eq!(report.failed, 0, "{report}");
            passes += 1;
            // A pass over nothing waits for nothing: without this, the traffic would never get its turn.
            tokio::task::yield_now().await;
        }
        passes
    };
    let ((), passes) = tokio::join!(traffic, repair);
    assert!(passes > 1, "repair never ran beside the traffic");
    settle(&tables, processes).await;
    let events: usize = invariants::events(&*tables).await.values().map(Vec::len).sum();
    assert_eq!(events, 27);
}
