//! Settings of integrations, and what `OrganizationContext` reads of them: whose value counts, and what is said about one
//! that is missing or wrong.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crosswalk::{
    cache::system_clock,
    context::ClientError,
    domain::{IntegrationName, OrgId},
    integrations::{
        ConfigField, FailureClass, Integration, IntegrationError, Scope,
        manifest::{FieldKind, Pattern},
    },
    mappings::MappingError,
    settings::{SettingsError, SettingsReader},
    tables::{EmbeddedTables, Key, Property, Put, Row, Table, Tables},
};

use crate::{
    external::{Lab, Vault, field},
    valve::{Flow, Valve},
};

/// An integration that is its settings.
struct Psa {
    name: IntegrationName,
    config: Vec<ConfigField>,
}

#[async_trait]
impl Integration for Psa {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &'static str {
        "A PSA"
    }

    fn config(&self) -> &[ConfigField] {
        &self.config
    }
}

fn psa() -> Psa {
    Psa {
        name: IntegrationName::parse("psa").unwrap(),
        config: vec![
            field("api_key", FieldKind::Secret),
            ConfigField { pattern: Some(Pattern::parse("[0-9]+").unwrap()), ..field("pin", FieldKind::Secret) },
            ConfigField {
                options: vec!["eu".into(), "us".into()],
                default: Some("eu".into()),
                ..field("region", FieldKind::Enum)
            },
            ConfigField {
                pattern: Some(Pattern::parse("https://.+").unwrap()),
                ..field("base_url", FieldKind::String)
            },
            ConfigField { required: Some(false), ..field("note", FieldKind::String) },
        ],
    }
}

async fn set(tables: &Tables, partition: &str, key: &str, value: impl Into<Property>) {
    let properties = [("Value".to_owned(), value.into()), ("Type".to_owned(), "string".into())].into();
    let row = Row { key: Key::new(partition, format!("config:{key}")), properties };
    tables.put(Table::Config, &row, &Put::Upsert).await.unwrap();
}

fn acme() -> OrgId {
    OrgId::parse("acme").unwrap()
}

/// What was resolved: key, value, scope.
async fn resolved(reader: &SettingsReader, org_id: Option<&OrgId>) -> Vec<(&'static str, String, Scope)> {
    let settings = reader.resolve(&psa(), org_id, true).await.unwrap();
    let keys = ["api_key", "pin", "region", "base_url", "note"];
    let found = keys.into_iter().filter_map(|key| Some((key, settings.get(key)?)));
    found
        .map(|(key, setting)| {
            assert_eq!(setting.secret, matches!(key, "api_key" | "pin"));
            (key, setting.value.expose().to_owned(), setting.scope)
        })
        .collect()
}

#[tokio::test]
async fn the_organizations_own_comes_before_the_global_and_that_before_the_default() {
    let tables: Tables = Arc::new(EmbeddedTables::in_memory().unwrap());
    let vault =
        Vault::of(&[("psa-api-key", "global"), ("psa-pin", "1"), ("acme-psa-pin", "2"), ("globex-psa-api-key", "x")]);
    let reader = SettingsReader::new(Arc::clone(&tables), Arc::default(), vault.clone(), system_clock());
    set(&tables, "GLOBAL", "psa_base_url", "https://global").await;
    set(&tables, "acme", "psa_base_url", "https://acme").await;
    // Another integration whose name begins alike, another organization, and a credential where none belongs.
    set(&tables, "acme", "psa_two_note", "other").await;
    set(&tables, "globex", "psa_note", "other").await;
    set(&tables, "acme", "psa_api_key", "from the table").await;
    set(&tables, "acme", "psa_note", "").await;
    let text = str::to_owned;
    assert_eq!(
        resolved(&reader, Some(&acme())).await,
        [
            ("api_key", text("global"), Scope::Global),
            ("pin", text("2"), Scope::Organization),
            ("region", text("eu"), Scope::Default),
            ("base_url", text("https://acme"), Scope::Organization),
        ]
    );
    assert_eq!(
        resolved(&reader, None).await,
        [
            ("api_key", text("global"), Scope::Global),
            ("pin", text("1"), Scope::Global),
            ("region", text("eu"), Scope::Default),
            ("base_url", text("https://global"), Scope::Global),
        ]
    );
    // An organization that is called as the partition of what is global has set nothing itself.
    assert_eq!(resolved(&reader, Some(&OrgId::parse("GLOBAL").unwrap())).await, resolved(&reader, None).await);
    // What other programs store as numbers is text here.
    set(&tables, "GLOBAL", "psa_note", Property::Int64(42)).await;
    assert_eq!(resolved(&reader, Some(&acme())).await.last().unwrap().1, "42");
}

#[tokio::test]
async fn everything_that_is_missing_or_wrong_is_told_at_once_and_no_value_is() {
    let tables: Tables = Arc::new(EmbeddedTables::in_memory().unwrap());
    let vault = Vault::of(&[("acme-psa-pin", "hunter2"), ("psa-api-key", "")]);
    let reader = SettingsReader::new(Arc::clone(&tables), Arc::default(), vault, system_clock());
    set(&tables, "acme", "psa_region", "hunter3").await;
    set(&tables, "GLOBAL", "psa_base_url", "http://hunter4").await;
    let error = reader.resolve(&psa(), Some(&acme()), false).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    let SettingsError::Invalid { error, fields } = error else { panic!("{error}") };
    assert!(matches!(&error, IntegrationError::Failed { failure, .. } if failure.class == FailureClass::Configuration));
    insta::assert_snapshot!(error, @"psa: A PSA is not configured. The api_key (api_key) is not set; PUT /api/secrets/psa_api_key stores it as the secret 'acme-psa-api-key' or 'psa-api-key'. The base_url (base_url) must match https://.+; set Value of row config:psa_base_url in table Config, partition acme or GLOBAL. The pin (pin) must match [0-9]+; PUT /api/secrets/psa_pin stores it as the secret 'acme-psa-pin' or 'psa-pin'. The region (region) must be one of eu, us; set Value of row config:psa_region in table Config, partition acme or GLOBAL");
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["api_key", "base_url", "pin", "region"]);
    // For no organization, no organization's names are told.
    let error = reader.resolve(&psa(), None, false).await.unwrap_err();
    assert!(!error.to_string().contains("acme"), "{error}");
}

#[tokio::test]
async fn settings_are_kept_until_read_anew_and_mistakes_are_not() {
    let lab = Lab::start().await;
    let (settings, integration) = (&lab.server.app.settings, lab.server.app.registry.get("psa").unwrap());
    lab.vault.remove("psa-api-key");
    settings.resolve(&**integration, None, false).await.unwrap_err();
    lab.vault.set("psa-api-key", "first");
    let key = async |refresh| {
        let settings = settings.resolve(&**integration, None, refresh).await.unwrap();
        settings.get("api_key").unwrap().value.expose().to_owned()
    };
    assert_eq!(key(false).await, "first");
    lab.vault.set("psa-api-key", "second");
    assert_eq!(key(false).await, "first");
    assert_eq!(key(true).await, "second");
    assert_eq!(key(false).await, "second");
    // A mistake that is read anew takes the place of what was right.
    lab.vault.remove("psa-api-key");
    settings.resolve(&**integration, None, true).await.unwrap_err();
    settings.resolve(&**integration, None, false).await.unwrap_err();
}

/// A change made elsewhere: the credential is as old as half a minute when the settings are made of it, and they as old again.
#[tokio::test]
async fn what_another_process_has_changed_counts_after_a_minute() {
    let lab = Lab::start().await;
    let (settings, integration) = (&lab.server.app.settings, lab.server.app.registry.get("psa").unwrap());
    let now = async || {
        let settings = settings.resolve(&**integration, None, false).await.unwrap();
        ["api_key", "region"].map(|key| settings.get(key).unwrap().value.expose().to_owned())
    };
    let credential = async |key| {
        let found = settings.get_secret(None, key).await.unwrap();
        found.map(|(secret, _)| secret.expose().to_owned())
    };
    assert_eq!(credential("psa_api_key").await.as_deref(), Some("global-k3y"));
    assert_eq!(credential("psa_pin").await, None);
    lab.pass(Duration::from_secs(29));
    assert_eq!(now().await, ["global-k3y", "eu"]);
    lab.vault.set("psa-api-key", "rotated");
    lab.vault.set("psa-pin", "new");
    lab.config("GLOBAL", "psa_region", "us").await;
    assert_eq!(credential("psa_pin").await, None, "what was not there is kept, too");
    lab.pass(Duration::from_secs(1));
    assert_eq!(credential("psa_api_key").await.as_deref(), Some("rotated"));
    assert_eq!(credential("psa_pin").await.as_deref(), Some("new"));
    lab.pass(Duration::from_secs(28));
    assert_eq!(now().await, ["global-k3y", "eu"]);
    lab.pass(Duration::from_secs(1));
    assert_eq!(now().await, ["rotated", "us"]);

    // What was read stands in for nothing when the store is down.
    lab.vault.down.send_replace(true);
    assert_eq!(now().await, ["rotated", "us"]);
    lab.pass(Duration::from_secs(30));
    let error = settings.resolve(&**integration, None, false).await.unwrap_err();
    assert!(matches!(error, SettingsError::Secrets(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_that_is_down_is_no_missing_setting() {
    let valve = Valve::new();
    let lab = Lab::on(valve.clone(), Duration::from_secs(20)).await;
    let (settings, integration) = (&lab.server.app.settings, lab.server.app.registry.get("psa").unwrap());
    valve.turn(Flow::Down);
    let error = settings.resolve(&**integration, Some(&acme()), false).await.unwrap_err();
    assert!(matches!(error, SettingsError::Storage(_)), "{error:?}");
    valve.turn(Flow::Open);
    lab.vault.down.send_replace(true);
    let error = settings.resolve(&**integration, Some(&acme()), false).await.unwrap_err();
    assert!(matches!(error, SettingsError::Secrets(_)), "{error:?}");
}

#[tokio::test]
async fn a_context_reads_configuration_and_credentials() {
    let lab = Lab::start().await;
    lab.config("GLOBAL", "office", "Oslo").await;
    lab.config("acme", "office", "Rome").await;
    lab.vault.set("globex-psa-api-key", "globex-k3y");
    let (acme, globex) = (lab.server.context("acme"), lab.server.context("globex"));
    assert_eq!(acme.get_config("office").await.unwrap().as_deref(), Some("Rome"));
    assert_eq!(globex.get_config("office").await.unwrap().as_deref(), Some("Oslo"));
    assert_eq!(acme.get_config("nothing").await.unwrap(), None);
    assert!(acme.get_config("a' or 'b").await.is_err());
    let secret = async |context: &crosswalk::context::OrganizationContext, key| {
        context.get_secret(key).await.unwrap().map(|secret| secret.expose().to_owned())
    };
    assert_eq!(secret(&acme, "psa_api_key").await.as_deref(), Some("global-k3y"));
    assert_eq!(secret(&globex, "psa_api_key").await.as_deref(), Some("globex-k3y"));
    assert_eq!(secret(&acme, "nothing").await, None);
    lab.vault.down.send_replace(true);
    // What was read is kept; the rest is not made up.
    assert_eq!(secret(&acme, "psa_api_key").await.as_deref(), Some("global-k3y"));
    acme.get_secret("psa_pin").await.unwrap_err();
}

#[tokio::test]
async fn a_context_makes_a_client_of_mapping_and_settings() {
    let lab = Lab::start().await;
    let acme = lab.server.context("acme");
    let error = async |integration, id| acme.get_integration(integration, id).await.map(drop).unwrap_err();
    assert!(matches!(error("psa", None).await, ClientError::Mapping(MappingError::MappingNotFound { .. })));
    assert!(matches!(error("hallo", None).await, ClientError::Mapping(MappingError::IntegrationNotFound { .. })));
    acme.set_integration_mapping("psa", "100", None, None, Some("mapping_1")).await.unwrap();
    assert_eq!(error("psa", None).await.to_string(), "psa: 2 settings, 100");
    acme.set_integration_mapping("psa", "101", None, None, Some("mapping_2")).await.unwrap();
    assert!(matches!(error("psa", None).await, ClientError::Mapping(MappingError::MultipleMappings { .. })));
    assert_eq!(error("psa", Some("mapping_2")).await.to_string(), "psa: 2 settings, 101");
    lab.vault.remove("psa-api-key");
    lab.server
        .app
        .settings
        .resolve(&**lab.server.app.registry.get("psa").unwrap(), Some(acme.org_id()), true)
        .await
        .unwrap_err();
    assert!(matches!(error("psa", Some("mapping_2")).await, ClientError::Settings(SettingsError::Invalid { .. })));
}
