//! What is tested: an integration made of a manifest's text, led to a [`System`], with settings and short waits.

use std::{collections::BTreeMap, time::Duration};

use crosswalk::{
    domain::{
        ExternalOrgId, ExternalOrganization, IntegrationName, Mapping, MappingId, MappingKey, OrgId, Secret,
        TestOutcome,
    },
    integrations::{
        Failure, Integration, IntegrationError, Scope, Setting, Settings,
        manifest::{FieldKind, Manifest},
        runner::{ManifestIntegration, Timing},
    },
};

use crate::system::System;

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
}

impl Subject {
    /// Every setting is global.
    pub fn new(manifest: &str, settings: &[(&str, &str)], system: &System) -> Self {
        let manifest = load(manifest);
        let settings = settings_of(&manifest, settings, Scope::Global);
        let integration = ManifestIntegration::new(manifest, system.outbound()).unwrap().with_timing(QUICK);
        Self { integration, settings }
    }

    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.integration = self.integration.with_timing(timing);
        self
    }

    pub async fn list(&self) -> Result<Vec<ExternalOrganization>, Failure> {
        self.integration.list_organizations(&self.settings).await.map_err(failure)
    }

    /// The failure, or none where the mapping works.
    pub async fn test(&self, external_org_id: &str) -> Option<Failure> {
        self.integration.test_connection(&self.settings, &mapping(external_org_id)).await.unwrap().failure
    }
}

pub fn load(manifest: &str) -> Manifest {
    let document: serde_json::Value = serde_saphyr::from_str(manifest).unwrap();
    let id = document["id"].as_str().unwrap();
    Manifest::load(&format!("{id}.yaml"), manifest).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub fn settings_of(manifest: &Manifest, settings: &[(&str, &str)], scope: Scope) -> Settings {
    let values: BTreeMap<_, _> = settings
        .iter()
        .map(|(key, value)| {
            let field = manifest.config.iter().find(|field| field.key == *key);
            let secret = field.is_some_and(|field| field.kind == FieldKind::Secret);
            ((*key).to_owned(), Setting { value: Secret::new(*value), secret, scope })
        })
        .collect();
    Settings::new(values)
}

pub fn failure(error: IntegrationError) -> Failure {
    match error {
        IntegrationError::Failed { failure, .. } => failure,
        other => panic!("{other}"),
    }
}

pub fn mapping(external_org_id: &str) -> Mapping {
    Mapping {
        key: MappingKey {
            org_id: OrgId::parse("acme").unwrap(),
            integration: IntegrationName::parse("any").unwrap(),
            id: MappingId::parse("mapping_1").unwrap(),
        },
        external_org_id: ExternalOrgId::parse(external_org_id).unwrap(),
        external_org_name: None,
        data: None,
        is_active: true,
        created_at: None,
        created_by: None,
        updated_at: None,
        updated_by: None,
        last_test: TestOutcome::default(),
    }
}
