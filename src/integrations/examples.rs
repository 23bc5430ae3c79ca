//! Three compiled-in examples: one of each kind of support an external system can have.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Failure, FailureClass, Integration, IntegrationError, Settings, TestResult};
use crate::domain::{ExternalOrgId, ExternalOrganization, IntegrationName, InvalidValue, Mapping};

/// `example_psa` lists, maps and tests, `example_rmm` maps ids entered by hand, `example_chat` does neither.
///
/// # Errors
/// Never: the names and ids below are valid.
pub fn examples() -> Result<Vec<Arc<dyn Integration>>, InvalidValue> {
    let customers = [("1001", "Fabrikam Dental Group"), ("1002", "Northwind Traders"), ("1003", "Tailspin Toys")];
    let customers = customers
        .into_iter()
        .map(|(id, name)| {
            Ok(ExternalOrganization {
                id: ExternalOrgId::parse(id)?,
                name: name.to_owned(),
                metadata: serde_json::Map::new(),
            })
        })
        .collect::<Result<_, InvalidValue>>()?;
    let example = |name: &str, title, mapping, organizations| {
        let name = IntegrationName::parse(name)?;
        Ok(Arc::new(Example { name, title, mapping, organizations }) as Arc<dyn Integration>)
    };
    Ok(vec![
        example("example_psa", "Example PSA (lists its customers)", true, Some(customers))?,
        example("example_rmm", "Example RMM (ids are entered by hand)", true, None)?,
        example("example_chat", "Example Chat (cannot be mapped)", false, None)?,
    ])
}

struct Example {
    name: IntegrationName,
    title: &'static str,
    mapping: bool,
    organizations: Option<Vec<ExternalOrganization>>,
}

#[async_trait]
impl Integration for Example {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &str {
        self.title
    }

    fn supports_org_mapping(&self) -> bool {
        self.mapping
    }

    fn supports_discovery(&self) -> bool {
        self.organizations.is_some()
    }

    async fn list_organizations(&self, _settings: &Settings) -> Result<Vec<ExternalOrganization>, IntegrationError> {
        self.organizations
            .clone()
            .ok_or_else(|| IntegrationError::DiscoveryNotSupported { integration: self.name.clone() })
    }

    async fn test_connection(
        &self,
        _settings: &Settings,
        mapping: &Mapping,
        _data: &Settings,
    ) -> Result<TestResult, IntegrationError> {
        let Some(organizations) = &self.organizations else {
            return Err(IntegrationError::NotSupported {
                integration: self.name.clone(),
                what: "cannot test a connection; look at the mapping in the external system itself",
            });
        };
        let id = &mapping.external_org_id;
        let found = organizations.iter().find(|one| one.id == *id);
        let message = found
            .map_or_else(|| format!("There is no organization '{id}'"), |found| format!("{} is '{id}'", found.name));
        let failure = found.is_none().then(|| Failure::new(FailureClass::NotFound, message.clone()));
        Ok(TestResult { failure, message, latency: Duration::ZERO, http_status: None })
    }
}
