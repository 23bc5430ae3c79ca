//! When the look at the rights and the work that they allow happen: what waits for what, how many round trips a read costs,
//! and what happens when the rights can't be read.

use std::{
    future::IntoFuture,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crosswalk::{app::App, auth::Right, secrets::NoSecrets, tables::*};
use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    around::{Around, Read, Steps},
    client::Answer,
    entra::{Entra, ask},
    matrix::operations,
    server::{Server, registry},
};

const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";
const PERMISSIONS: [Table; 2] = [Table::Users, Table::UserPermissions];
const PATIENCE: Duration = Duration::from_secs(30);
const SOURCE: &str = "OrgIntegrationMappings acme halo_mapping_1";

/// A store that answers no reads of some tables.
struct Gate {
    inner: Tables,
    closed: watch::Sender<Vec<Table>>,
    /// The reads that have begun.
    began: watch::Sender<Vec<Table>>,
}

impl Gate {
    fn new() -> Arc<Around<Self>> {
        let inner = Arc::new(EmbeddedTables::in_memory().unwrap());
        Arc::new(Around(Self { inner, closed: watch::Sender::default(), began: watch::Sender::default() }))
    }

    fn close(&self, tables: &[Table]) {
        self.closed.send_replace(tables.to_vec());
    }

    /// Waits until a read of that table has begun.
    async fn begun(&self, table: Table) {
        let mut began = self.began.subscribe();
        let begun = tokio::time::timeout(PATIENCE, began.wait_for(|began| began.contains(&table))).await;
        begun.unwrap_or_else(|_| panic!("no read of {table} begins")).unwrap();
    }
}

impl Steps for Gate {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn read(&self, table: Table, _of: Read<'_>) -> Result<(), TableError> {
        self.began.send_modify(|began| began.push(table));
        self.closed.subscribe().wait_for(|closed| !closed.contains(&table)).await.unwrap();
        Ok(())
    }
}

/// With a mapping, and a technician who read it so long ago that their rights have to be read again.
async fn start() -> (Entra, Arc<Around<Gate>>) {
    let gate = Gate::new();
    let entra = Entra::on(gate.clone()).await;
    let mapping = json!({"integration_name": "halo", "external_org_id": "1", "mapping_id": "mapping_1"});
    entra.of("admin").post("/organizations/acme/integrations", &mapping).await.is(201);
    entra.of("technician").get(ONE).await.is(200);
    later(&entra, &gate);
    (entra, gate)
}

/// Nothing that was read counts any longer.
fn later(entra: &Entra, gate: &Gate) {
    entra.provider.later(5);
    entra.reads();
    gate.began.send_replace(Vec::new());
}

/// What is answered when the rights take long to read: whatever may begin meanwhile has begun.
async fn slowly(gate: &Gate, request: impl Future<Output = Answer>) -> Answer {
    gate.close(&PERMISSIONS);
    let look = async {
        gate.begun(Table::UserPermissions).await;
        gate.close(&[]);
    };
    futures::join!(request, look).0
}

async fn revoke(entra: &Entra) {
    entra.server.row(Table::UserPermissions, "technician", "acme", &[("CanManageConfig", false.into())]).await;
}

#[tokio::test]
async fn reads_in_one_round_trip_as_in_development_mode() {
    let (entra, gate) = start().await;
    let technician = entra.of("technician");
    let rights = ["Users USER technician", "UserPermissions technician acme"];
    technician.get(ONE).await.is(200);
    assert_eq!(entra.reads(), [rights[0], rights[1], SOURCE], "side by side, see below");
    technician.get(ONE).await.is(200);
    assert_eq!(entra.reads(), [SOURCE]);
    later(&entra, &gate);
    for path in
        ["/organizations/acme/integrations/halo", "/organizations/acme/integrations", "/organizations/acme/audit"]
    {
        technician.get(path).await.is(200);
    }
    let permissions = entra.reads().into_iter().filter(|read| read.starts_with("User")).count();
    assert_eq!(permissions, 2, "for all three");

    let development = Server::with(App::new(gate.clone(), registry(), Arc::new(NoSecrets))).await;
    gate.began.send_replace(Vec::new());
    development.api.get(ONE).await.is(200);
    assert_eq!(*gate.began.borrow(), [Table::OrgIntegrationMappings]);
}

#[tokio::test]
async fn who_could_read_a_while_ago_has_it_read_while_their_rights_are() {
    let (entra, gate) = start().await;
    gate.close(&PERMISSIONS);
    for path in [ONE, "/organizations/acme/integrations/halo", "/organizations/acme/integrations"] {
        let request = tokio::spawn(entra.of("technician").get(path).into_future());
        gate.begun(Table::OrgIntegrationMappings).await;
        gate.begun(Table::UserPermissions).await;
        assert!(!request.is_finished(), "{path}: answered before the rights were known");
        gate.close(&[]);
        request.await.unwrap().is(200);
        later(&entra, &gate);
        gate.close(&PERMISSIONS);
    }
}

#[tokio::test]
async fn who_may_no_longer_read_is_refused_without_waiting_for_what_was_begun() {
    let (entra, gate) = start().await;
    revoke(&entra).await;
    gate.close(&[Table::OrgIntegrationMappings]);
    let began = Instant::now();
    let refused = entra.of("technician").get(ONE).await.is(403);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!refused.text().contains("mapping_1"), "{}", refused.text());
    // From now on nothing is read for them, as for anybody who never could.
    for user in ["technician", "newcomer", "elsewhere", "operator"] {
        later(&entra, &gate);
        slowly(&gate, entra.of(user).get(ONE).into_future()).await.is(403);
        let reads = entra.reads();
        assert!(reads.iter().all(|read| read.starts_with("User")), "{reads:?}");
    }
}

#[tokio::test]
async fn nothing_but_a_read_begins_before_the_rights_are_known() {
    let (entra, gate) = start().await;
    revoke(&entra).await;
    for (route, method, right) in operations().filter(|(_, method, right)| {
        let is_read = matches!(right, Right::ManageConfig | Right::Resolve) && (method == "GET" || method == "HEAD");
        !is_read && !matches!(right, Right::Anonymous | Right::Authenticated | Right::ListManageable)
    }) {
        let answer = slowly(&gate, ask(&entra.of("technician"), &method, route, "acme")).await.is(403);
        let reads = entra.reads();
        assert!(reads.iter().all(|read| read.starts_with("User")), "{right:?} {}: {reads:?}", answer.what);
        // And known again as who could.
        entra.may("technician", "acme", "CanManageConfig").await;
        entra.provider.later(5);
        entra.of("technician").get(ONE).await.is(200);
        revoke(&entra).await;
        later(&entra, &gate);
    }
    assert_eq!(entra.server.audit("acme").await.len(), 1);
}

/// Whether the store hangs for these tables alone or for good: nobody is let in, and everybody is told in time.
#[tokio::test]
async fn rights_that_cannot_be_read_in_time_let_nobody_in() {
    let (entra, gate) = start().await;
    let lately = entra.of("technician");
    for tables in [&[Table::UserPermissions][..], &Table::ALL] {
        gate.close(tables);
        let refused = Mutex::new(0);
        let all = operations().filter(|(.., right)| !matches!(right, Right::Anonymous | Right::Authenticated));
        let asked = all.map(async |(route, method, _)| {
            let began = Instant::now();
            let answer = ask(&lately, &method, route, "acme").await.is(503);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?}: {} without {tables:?}", answer.what);
            *refused.lock().unwrap() += 1;
        });
        join_all(asked).await;
        assert!(*refused.lock().unwrap() >= 10);
        gate.close(&[]);
        lately.get(ONE).await.is(200);
        later(&entra, &gate);
    }
    entra.server.settled().await;
}
