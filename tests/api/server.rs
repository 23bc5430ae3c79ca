//! A server of its own for each test: on a free port, on a store in memory, with the integrations and organizations below.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use crosswalk::{
    app::App,
    context::OrganizationContext,
    domain::{Actor, ExternalOrganization, IntegrationName, OrgId, Source},
    http,
    integrations::{ConfigField, Integration, IntegrationError, Registry, Settings, manifest::FieldKind},
    mappings,
    secrets::NoSecrets,
    tables::{EmbeddedTables, Key, Properties, Property, Put, Range, Row, Table, Tables, scan_all},
};
use tokio::net::TcpListener;

use crate::{client::Client, external::field};

/// Names that begin alike and hold what separates names in keys; `chat` cannot be mapped.
const INTEGRATIONS: [(&str, bool); 4] = [("halo", true), ("halo_psa", true), ("halo_mapping", true), ("chat", false)];

/// Lists where organizations can be mapped, and needs the table `Config` for that.
struct Fake {
    name: IntegrationName,
    mapping: bool,
    config: Vec<ConfigField>,
}

#[async_trait]
impl Integration for Fake {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &'static str {
        "An external system"
    }

    fn config(&self) -> &[ConfigField] {
        &self.config
    }

    fn supports_org_mapping(&self) -> bool {
        self.mapping
    }

    fn supports_discovery(&self) -> bool {
        self.mapping
    }

    async fn list_organizations(&self, _settings: &Settings) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        Ok(Vec::new())
    }
}

pub fn registry() -> Registry {
    Registry::new(INTEGRATIONS.map(|(name, mapping)| {
        let config = vec![ConfigField { default: Some("eu".into()), ..field("region", FieldKind::String) }];
        Arc::new(Fake { name: IntegrationName::parse(name).unwrap(), mapping, config }) as Arc<dyn Integration>
    }))
}

pub struct Server {
    pub api: Client,
    pub app: Arc<App>,
    pub tables: Tables,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start() -> Self {
        Self::on(Arc::new(EmbeddedTables::in_memory().unwrap())).await
    }

    /// On that store.
    pub async fn on(tables: Tables) -> Self {
        Self::with(App::new(tables, registry(), Arc::new(NoSecrets))).await
    }

    /// With those services, whose store gets the organizations `acme`, `globex` and, inactive, `hooli`.
    pub async fn with(app: App) -> Self {
        let tables = Arc::clone(&app.tables);
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(http::serve(Arc::clone(&app), listener, std::future::pending()));
        let server = Self { api: Client::new(format!("http://{address}")), app, tables, address };
        for (id, name, is_active) in
            [("acme", "Acme Corp", true), ("globex", "Globex", true), ("hooli", "Hooli", false)]
        {
            server.organization(id, &[("Name", name.into()), ("IsActive", is_active.into())]).await;
        }
        server
    }

    /// Stores an organization as the platform does.
    pub async fn organization(&self, id: &str, properties: &[(&str, Property)]) {
        self.row(Table::Organizations, "ORG", id, properties).await;
    }

    /// Stores a row behind the service's back.
    pub async fn row(&self, table: Table, partition: &str, row: &str, properties: &[(&str, Property)]) {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let row = Row { key: Key::new(partition, row), properties };
        self.tables.put(table, &row, &Put::Upsert).await.unwrap();
    }

    /// The audit events of an organization, oldest first.
    pub async fn audit(&self, org_id: &str) -> Vec<Properties> {
        let rows = scan_all(&*self.tables, Table::AuditEvents, &Range::new(org_id, "", "~")).await.unwrap();
        rows.into_iter().rev().map(|stored| stored.row.properties).collect()
    }

    /// The audit events of an organization as one line each: what happened, to what, by whom, from what to what.
    pub async fn history(&self, org_id: &str) -> String {
        let line = |event: Properties| {
            let text = |name: &str| event.get(name).map_or("-".to_owned(), |value| value.text().unwrap());
            let value = |value: &Property| match value {
                Property::Bool(value) => value.to_string(),
                value => value.text().unwrap(),
            };
            let values: BTreeMap<_, _> = event
                .iter()
                .filter(|(name, _)| name.starts_with("Before") || name.starts_with("After"))
                .filter(|(name, _)| !name.ends_with("LastTestedAt"))
                .map(|(name, found)| (name.as_str(), value(found)))
                .collect();
            let head = ["EventType", "IntegrationName", "MappingId", "ActorId", "Source"].map(text);
            format!("{} {values:?}", head.join(" "))
        };
        self.audit(org_id).await.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Waits for what goes on after an answer.
    pub async fn idle(&self) {
        while !self.app.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for what goes on after its answer; then both tables agree, and nothing is unfinished.
    pub async fn settled(&self) {
        self.app.drain(Duration::from_secs(20)).await;
        let differences = mappings::verify(&*self.tables).await.unwrap();
        assert!(differences.is_empty(), "{differences:#?}");
        let markers = scan_all(&*self.tables, Table::OrgIntegrationMappings, &Range::new("_unfinished", "", "~")).await;
        assert_eq!(markers.unwrap(), [], "markers of changes that are complete");
    }

    pub fn context(&self, org_id: &str) -> OrganizationContext {
        let actor = Actor { id: "workflow-7".into(), source: Source::Workflow, correlation_id: None };
        self.app.context(OrgId::parse(org_id).unwrap(), actor)
    }
}
