//! An external system that does as a test says: what it answers, when, and to whom.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crosswalk::{
    app::App,
    discovery::{Discovery, Limits},
    domain::{ExternalOrgId, ExternalOrganization, IntegrationName, Mapping, Secret},
    integrations::{
        ConfigField, Failure, FailureClass, Integration, IntegrationError, OrganizationClient, Registry, Settings,
        TestResult,
        manifest::{FieldKind, Pattern},
    },
    secrets::{SecretError, SecretStore},
    settings::SettingsReader,
    tables::{EmbeddedTables, Table, Tables},
};
use tokio::sync::watch;

use crate::server::Server;

/// A field of an integration's settings that has to be set.
pub fn field(key: &str, kind: FieldKind) -> ConfigField {
    ConfigField {
        key: key.into(),
        title: format!("The {key}"),
        kind,
        options: Vec::new(),
        pattern: None,
        default: None,
        required: None,
        help: "Ask your administrator".into(),
    }
}

/// What the external system does next.
#[derive(Clone)]
pub enum Does {
    /// Answers; a list shows the API key that it was asked with.
    Works,
    Fails(Failure),
    Lists(usize),
    Hangs,
    Panics,
}

impl Does {
    pub fn fails(class: FailureClass) -> Self {
        Self::Fails(Failure::new(class, "the external system's words"))
    }
}

/// The integration `psa`, with a secret `api_key` and a `region` that is `eu` unless set.
pub struct External {
    name: IntegrationName,
    config: Vec<ConfigField>,
    does: Mutex<Does>,
    /// Calls so far.
    calls: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl External {
    pub fn new() -> Arc<Self> {
        let region = ConfigField {
            default: Some("eu".into()),
            pattern: Some(Pattern::parse("[a-z]{2}").unwrap()),
            ..field("region", FieldKind::String)
        };
        Arc::new(Self {
            name: IntegrationName::parse("psa").unwrap(),
            config: vec![field("api_key", FieldKind::Secret), region],
            does: Mutex::new(Does::Works),
            calls: watch::Sender::new(0),
            open: watch::Sender::new(true),
        })
    }

    pub fn does(&self, next: Does) {
        *self.does.lock().unwrap() = next;
    }

    /// Every call waits until it is opened again.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Waits until so many calls have begun.
    pub async fn called(&self, times: usize) {
        self.calls.subscribe().wait_for(|calls| *calls >= times).await.unwrap();
    }

    async fn call<T>(&self, works: impl FnOnce(usize) -> T) -> Result<T, IntegrationError> {
        self.calls.send_modify(|calls| *calls += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let does = self.does.lock().unwrap().clone();
        match does {
            Does::Works => Ok(works(1)),
            Does::Lists(count) => Ok(works(count)),
            Does::Fails(failure) => Err(IntegrationError::Failed { integration: self.name.clone(), failure }),
            Does::Hangs => std::future::pending().await,
            Does::Panics => panic!("a mistake in an integration"),
        }
    }
}

#[async_trait]
impl Integration for External {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &'static str {
        "A PSA"
    }

    fn config(&self) -> &[ConfigField] {
        &self.config
    }

    fn supports_org_mapping(&self) -> bool {
        true
    }

    fn supports_discovery(&self) -> bool {
        true
    }

    async fn list_organizations(&self, settings: &Settings) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        let shown = settings.get("api_key").unwrap().value.expose();
        let one = |number| ExternalOrganization {
            id: ExternalOrgId::parse(format!("{number}")).unwrap(),
            name: format!("as {shown} sees it"),
            metadata: [("region".to_owned(), settings.get("region").unwrap().value.expose().into())]
                .into_iter()
                .collect(),
        };
        self.call(|count| (1..=count).map(one).collect()).await
    }

    /// There is none; the error says what it would have been made of.
    async fn get_client(
        &self,
        settings: &Settings,
        mapping: &Mapping,
        _data: &Settings,
    ) -> Result<OrganizationClient, IntegrationError> {
        let set: HashSet<_> = ["api_key", "region"].into_iter().filter(|key| settings.get(key).is_some()).collect();
        let message = format!("{} settings, {}", set.len(), mapping.external_org_id);
        let failure = Failure::new(FailureClass::Unreachable, message);
        Err(IntegrationError::Failed { integration: self.name.clone(), failure })
    }

    async fn test_connection(
        &self,
        _settings: &Settings,
        mapping: &Mapping,
        _data: &Settings,
    ) -> Result<TestResult, IntegrationError> {
        let message = format!("'{}' is there", mapping.external_org_id);
        let latency = Duration::from_millis(7);
        self.call(|_| TestResult { failure: None, message, latency, http_status: Some(200) }).await
    }
}

/// Secrets in memory.
#[derive(Default)]
pub struct Vault {
    values: Mutex<BTreeMap<String, String>>,
    pub down: watch::Sender<bool>,
}

impl Vault {
    pub fn of(values: &[(&str, &str)]) -> Arc<Self> {
        let vault = Self::default();
        for (name, value) in values {
            vault.set(name, value);
        }
        Arc::new(vault)
    }

    pub fn set(&self, name: &str, value: &str) {
        self.values.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Names and values.
    pub fn all(&self) -> Vec<(String, String)> {
        self.values.lock().unwrap().clone().into_iter().collect()
    }

    pub fn remove(&self, name: &str) {
        self.values.lock().unwrap().remove(name);
    }
}

#[async_trait]
impl SecretStore for Vault {
    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        if *self.down.borrow() {
            return Err(SecretError::Unavailable { reason: "secret-vault refused".into(), retry_after: None });
        }
        Ok(self.values.lock().unwrap().get(name).map(Secret::new))
    }

    async fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        if *self.down.borrow() {
            return Err(SecretError::Unavailable { reason: "secret-vault refused".into(), retry_after: None });
        }
        Self::set(self, name, value.expose());
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), SecretError> {
        self.remove(name);
        Ok(())
    }
}

/// A server with that external system, its credential, and a clock of the test's own for discovery and settings.
pub struct Lab {
    pub server: Server,
    pub external: Arc<External>,
    pub vault: Arc<Vault>,
    clock: Arc<Mutex<DateTime<Utc>>>,
}

impl Lab {
    pub async fn start() -> Self {
        Self::on(Arc::new(EmbeddedTables::in_memory().unwrap()), Duration::from_mins(2)).await
    }

    /// On that store; calls of the external system may take so long.
    pub async fn on(tables: Tables, deadline: Duration) -> Self {
        let (external, vault) = (External::new(), Vault::of(&[("psa-api-key", "global-k3y")]));
        let registry = Registry::new([Arc::clone(&external) as Arc<dyn Integration>]);
        let mut app = App::new(tables, registry, vault.clone());
        let clock = Arc::new(Mutex::new(Utc::now()));
        let told = Arc::clone(&clock);
        let limits = Limits { clock: Arc::new(move || *told.lock().unwrap()), deadline, ..Limits::default() };
        app.discovery = Discovery::new(app.tasks.clone(), limits);
        let told = Arc::clone(&clock);
        let seconds = Arc::new(move || told.lock().unwrap().timestamp());
        app.settings = SettingsReader::new(app.tables.clone(), app.registry.clone(), vault.clone(), seconds);
        app.test_deadline = deadline;
        Self { server: Server::with(app).await, external, vault, clock }
    }

    pub fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }

    /// Sets a value of the table `Config`.
    pub async fn config(&self, partition: &str, key: &str, value: &str) {
        self.server.row(Table::Config, partition, &format!("config:{key}"), &[("Value", value.into())]).await;
    }
}
