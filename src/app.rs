//! Every service wired once.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    auth::Auth,
    cache::system_clock,
    context::OrganizationContext,
    discovery::{self, Discovery},
    domain::{Actor, OrgId},
    integrations::Registry,
    mappings::Mappings,
    organizations::Organizations,
    secrets::SecretStore,
    settings::SettingsReader,
    tables::{Key, Table, Tables},
};

/// How long a look at the store may take before it counts as unreachable.
const HEALTH_DEADLINE: Duration = Duration::from_secs(3);
/// How long the external system has for a connection test.
const EXTERNAL_TEST_DEADLINE: Duration = Duration::from_secs(25);

/// What the HTTP layer and the commands work with.
pub struct App {
    pub tables: Tables,
    /// Who is calling and what they may do; whoever serves anybody but developers puts another one here.
    pub auth: Auth,
    pub registry: Arc<Registry>,
    pub organizations: Organizations,
    pub mappings: Mappings,
    pub settings: SettingsReader,
    pub discovery: Discovery,
    pub test_deadline: Duration,
    /// Whose web pages may call from a browser, as browsers write origins.
    pub cors_origins: Vec<String>,
    /// Work that goes on after its answer.
    pub tasks: TaskTracker,
}

impl App {
    /// With development identity.
    pub fn new(tables: Tables, registry: Registry, secrets: Arc<dyn SecretStore>) -> Self {
        let registry = Arc::new(registry);
        let organizations = Organizations::new(Arc::clone(&tables));
        let tasks = TaskTracker::new();
        let mappings = Mappings::new(
            Arc::clone(&tables),
            Arc::clone(&secrets),
            organizations.clone(),
            Arc::clone(&registry),
            tasks.clone(),
        );
        let settings = SettingsReader::new(Arc::clone(&tables), Arc::clone(&registry), secrets, system_clock());
        let discovery = Discovery::new(tasks.clone(), discovery::Limits::default());
        let auth = Auth::development(Arc::clone(&tables));
        Self {
            tables,
            auth,
            registry,
            organizations,
            mappings,
            settings,
            discovery,
            test_deadline: EXTERNAL_TEST_DEADLINE,
            cors_origins: Vec::new(),
            tasks,
        }
    }

    /// What a workflow holds. `actor` is who the audit log will name.
    pub fn context(&self, org_id: OrgId, actor: Actor) -> OrganizationContext {
        OrganizationContext::new(self.mappings.clone(), self.settings.clone(), org_id, actor)
    }

    /// Whether the store answers.
    pub async fn storage_reachable(&self) -> bool {
        let key = Key::new("ORG", "health");
        let look = self.tables.get(Table::Organizations, &key);
        match tokio::time::timeout(HEALTH_DEADLINE, look).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                warn!(%error, "health");
                false
            }
            Err(_) => false,
        }
    }

    /// Waits until everything that goes on after its answer is done, but not longer than that.
    pub async fn drain(&self, deadline: Duration) {
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            warn!("stopped before everything was tidied up; the next start repairs unfinished changes");
        }
    }
}
