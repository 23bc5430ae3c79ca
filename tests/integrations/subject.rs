//! What is tested: an integration made of a manifest's text, led to a [`System`], with settings and short waits.

use std::time::Duration;

use crosswalk::{
    domain::{ExternalOrgId, ExternalOrganization, IntegrationName, Mapping, MappingId, MappingKey, OrgId, Secret},
    integrations::{
        Failure, Integration, IntegrationError, OrganizationClient, Scope, Setting, Settings, TestResult,
        manifest::{FieldKind, Manifest},
        runner::{ManifestIntegration, Timing},
    },
};

use serde_json::json;

use crate::system::{Reply, System};

/// No test waits long for a deadline or a back-off.
pub const QUICK: Timing = Timing {
    attempt: Duration::from_secs(5),
    back_off: Duration::from_millis(2),
    longest_wait: Duration::from_secs(2),
    list: Duration::from_secs(20),
    test: Duration::from_secs(10),
};

pub struct Subject {
    pub integration: ManifestIntegration,
    pub settings: Settings,
    /// The data of every mapping.
    pub data: Settings,
}

impl Subject {
    /// Every setting is global.
    pub fn new(manifest: &str, settings: &[(&str, &str)], system: &System) -> Self {
        let manifest = load(manifest);
        let settings = settings_of(&manifest, settings, Scope::Global);
        let integration = ManifestIntegration::new(manifest, system.outbound()).unwrap().with_timing(QUICK);
        Self { integration, settings, data: Settings::none() }
    }

    /// Mappings have that data: secret if the field's name says so.
    pub fn with_data(self, data: &[(&str, &str)]) -> Self {
        let value = |(key, value): &(&str, &str)| {
            let secret = key.ends_with("secret");
            ((*key).to_owned(), Setting { value: Secret::new(*value), secret, scope: Scope::Organization })
        };
        Self { data: Settings::new(data.iter().map(value).collect()), ..self }
    }

    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.integration = self.integration.with_timing(timing);
        self
    }

    /// Some settings are global, some of the organization itself.
    pub fn scoped(manifest: &str, global: &[(&str, &str)], own: &[(&str, &str)], system: &System) -> Self {
        let subject = Self::new(manifest, &[], system);
        let manifest = subject.integration.manifest();
        let (global, own) = (values(manifest, global, Scope::Global), values(manifest, own, Scope::Organization));
        let settings = Settings::new(global.chain(own).collect());
        Self { settings, ..subject }
    }

    pub async fn list(&self) -> Result<Vec<ExternalOrganization>, Failure> {
        self.integration.list_organizations(&self.settings).await.map_err(failure)
    }

    /// The failure, or none where the mapping works.
    pub async fn test(&self, external_org_id: &str) -> Option<Failure> {
        self.result(external_org_id).await.failure
    }

    pub async fn result(&self, external_org_id: &str) -> TestResult {
        self.integration.test_connection(&self.settings, &mapping(external_org_id), &self.data).await.unwrap()
    }

    pub async fn client(&self, external_org_id: &str) -> Result<OrganizationClient, Failure> {
        self.integration.get_client(&self.settings, &mapping(external_org_id), &self.data).await.map_err(failure)
    }
}

/// A manifest of `parts`, and of the least there can be where they do not say it. Settings are those that it names:
/// secret if their name says so, optional if it begins with `optional`.
pub fn manifest(parts: &str) -> String {
    let mut names: Vec<_> = parts
        .split("config.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut text = "id: any\nname: Any\ndocs_url: https://docs.example.com\nconfidence: low\n".to_owned();
    if !parts.contains("config:\n") {
        let fields = names.iter().map(|name| {
            let kind = if name.ends_with("secret") { "secret" } else { "string" };
            let required = !name.starts_with("optional");
            format!("  - {{key: {name}, title: {name}, type: {kind}, required: {required}, help: None}}\n")
        });
        text += "config:\n";
        text.extend(fields);
        if names.is_empty() {
            text += "  []\n";
        }
    }
    for (key, default) in [
        ("base_url", "https://api.example.com/v1"),
        ("auth", "{type: none}"),
        (
            "list_organizations",
            "{request: {path: /orgs}, record_selector: /items, paginator: {type: json_link, next_url_path: /next}, \
             mapping: {id: /id, name: /name}}",
        ),
        ("get_organization", "{request: {path: '/orgs/{{org.id}}'}}"),
    ] {
        if !parts.lines().any(|line| line.trim_start_matches("# no ").starts_with(&format!("{key}:"))) {
            text.extend([key, ": ", default, "\n"]);
        }
    }
    text + parts
}

/// A page with organization 1 alone.
pub fn one_page() -> Reply {
    Reply::json(&json!({"items": [{"id": 1, "name": "One"}]}))
}

/// Without the rules of the check: the runner has to stand by itself where a manifest got past them.
pub fn load(manifest: &str) -> Manifest {
    serde_saphyr::from_str(manifest).unwrap()
}

pub fn settings_of(manifest: &Manifest, settings: &[(&str, &str)], scope: Scope) -> Settings {
    Settings::new(values(manifest, settings, scope).collect())
}

fn values<'a>(
    manifest: &'a Manifest,
    settings: &'a [(&str, &str)],
    scope: Scope,
) -> impl Iterator<Item = (String, Setting)> {
    settings.iter().map(move |(key, value)| {
        let field = manifest.config.iter().find(|field| field.key == *key);
        let secret = field.is_some_and(|field| field.kind == FieldKind::Secret);
        ((*key).to_owned(), Setting { value: Secret::new(*value), secret, scope })
    })
}

pub fn failure(error: IntegrationError) -> Failure {
    match error {
        IntegrationError::Failed { failure, .. } => failure,
        other => panic!("{other}"),
    }
}

pub fn mapping(external_org_id: &str) -> Mapping {
    let key = MappingKey {
        org_id: OrgId::parse("acme").unwrap(),
        integration: IntegrationName::parse("any").unwrap(),
        id: MappingId::parse("mapping_1").unwrap(),
    };
    Mapping::new(key, ExternalOrgId::parse(external_org_id).unwrap())
}
