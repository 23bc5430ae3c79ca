//! Three compiled-in examples: one of each kind of support an external system can have.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Integration, IntegrationError, Settings};
use crate::domain::{ExternalOrgId, ExternalOrganization, IntegrationName, InvalidValue};

/// `example_psa` lists and maps, `example_rmm` maps ids entered by hand, `example_chat` does neither.
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
}
