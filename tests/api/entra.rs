//! A server whose callers show tokens of an identity provider on loopback, and that notes what it reads.

use std::sync::{Arc, Mutex};

use crosswalk::{app::App, auth::Auth, http::Route, secrets::NoSecrets, tables::*};
use serde_json::{Value, json};

use crate::{
    around::{Around, Read, Steps},
    client::{Answer, Client},
    provider::Provider,
    routes::sample,
    schema::DOCUMENT,
    server::{Server, registry},
    tokens::Parts,
};

/// Notes every read.
pub struct Noting {
    inner: Tables,
    reads: Mutex<Vec<String>>,
}

impl Noting {
    fn note(&self, read: String) {
        self.reads.lock().unwrap().push(read);
    }
}

impl Steps for Noting {
    fn inner(&self) -> &Tables {
        &self.inner
    }

    async fn read(&self, table: Table, of: Read<'_>) -> Result<(), TableError> {
        self.note(match of {
            Read::Row(key) => format!("{table} {} {}", key.partition, key.row),
            Read::Rows(range) => format!("{table} {} {}..{}", range.partition, range.from, range.to),
        });
        Ok(())
    }

    fn read_all(&self, table: Table) {
        self.note(format!("all of {table}"));
    }
}

pub struct Entra {
    pub server: Server,
    pub provider: Provider,
    noting: Arc<Around<Noting>>,
}

impl Entra {
    pub async fn start() -> Self {
        Self::on(Arc::new(EmbeddedTables::in_memory().unwrap())).await
    }

    /// On that store, with the users of [`Self::users`].
    pub async fn on(tables: Tables) -> Self {
        let provider = Provider::start().await;
        let noting = Arc::new(Around(Noting { inner: tables, reads: Mutex::default() }));
        let tables: Tables = Arc::clone(&noting) as Tables;
        let mut app = App::new(Arc::clone(&tables), registry(), Arc::new(NoSecrets));
        app.auth = Auth::entra(provider.tokens(), tables);
        let entra = Self { server: Server::with(app).await, provider, noting };
        entra.users().await;
        entra
    }

    /// Users and what they may do; `acme` is the organization in question.
    async fn users(&self) {
        let user = |kind: &str, is_active: bool, is_admin: bool| {
            [("UserType", kind.into()), ("IsActive", is_active.into()), ("IsMspAdmin", is_admin.into())]
        };
        for (id, row) in [
            ("admin", user("MSP", true, true)),
            ("former-admin", user("MSP", false, true)),
            ("technician", user("MSP", true, false)),
            ("former-technician", user("MSP", false, false)),
            ("newcomer", user("MSP", true, false)),
            ("elsewhere", user("MSP", true, false)),
            ("operator", user("MSP", true, false)),
            ("customer", user("ORG", true, false)),
        ] {
            self.server.row(Table::Users, "USER", id, &row).await;
        }
        for (id, org, permission) in [
            ("technician", "acme", "CanManageConfig"),
            ("former-technician", "acme", "CanManageConfig"),
            ("stranger", "acme", "CanManageConfig"),
            ("elsewhere", "globex", "CanManageConfig"),
            ("operator", "acme", "CanExecuteWorkflows"),
            ("customer", "acme", "CanManageConfig"),
        ] {
            self.may(id, org, permission).await;
        }
    }

    pub async fn may(&self, user: &str, org: &str, permission: &str) {
        self.server.row(Table::UserPermissions, user, org, &[(permission, true.into())]).await;
    }

    /// The good token of a user.
    pub fn token(&self, user: &str) -> String {
        Parts::user(&self.provider).with("oid", user).token()
    }

    /// A client that shows that token with every request.
    pub fn with(&self, token: &str) -> Client {
        Client::showing(format!("http://{}", self.server.address), &format!("Bearer {token}"))
    }

    /// A client of that user.
    pub fn of(&self, user: &str) -> Client {
        self.with(&self.token(user))
    }

    /// What was read since this was last asked.
    pub fn reads(&self) -> Vec<String> {
        std::mem::take(&mut self.noting.reads.lock().unwrap())
    }
}

/// The method of a route, and HEAD where it is GET.
pub fn methods(route: &'static Route) -> impl Iterator<Item = reqwest::Method> {
    let all = route.methods.iter().map(|(method, ..)| method.as_str());
    let head = all.clone().any(|method| method == "GET").then_some("HEAD");
    all.chain(head).map(|method| method.parse().unwrap())
}

/// A request as the document says it should be, about an organization given as it stands in a path.
pub async fn ask(client: &Client, method: &reqwest::Method, route: &Route, org: &str) -> Answer {
    let mut path = sample(route).replace("/organizations/acme", &format!("/organizations/{org}"));
    if route.template.ends_with("/discover") {
        path = format!("{path}?orgId={org}");
    }
    let call = client.call(method.clone(), &path);
    match body(method, route, org) {
        Some(body) => call.json(&body).await,
        None => call.await,
    }
}

/// The example of the document, for the integrations and that organization of the tests.
fn body(method: &reqwest::Method, route: &Route, org: &str) -> Option<Value> {
    let operation = &DOCUMENT["paths"][format!("/api/{}", route.template)][method.as_str().to_lowercase()];
    let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()?;
    let mut body = DOCUMENT.pointer(&schema[1..])?["example"].clone();
    for (field, value) in [("integration_name", "halo"), ("scope", org)] {
        if body.get(field).is_some() {
            body[field] = json!(value);
        }
    }
    Some(body)
}
