//! Declared fields of `mapping_data`: what each way of writing takes, and that a secret among them is stored apart, counts,
//! goes with its mapping, and is never shown.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use crosswalk::{
    app::App,
    context::ClientError,
    domain::{IntegrationName, Mapping},
    integrations::{
        Broken, ConfigField, DataFields, Failure, FailureClass, Integration, IntegrationError, OrganizationClient,
        Registry, Settings, TestResult,
        manifest::{FieldKind, Pattern, Problem},
    },
    mappings::{MappingError, REPAIR_GRACE},
    secrets::{NoSecrets, SecretStore},
    tables::{EmbeddedTables, Key, Property, Table, Tables},
};
use serde_json::{Value, json};

use crate::{
    external::{Vault, field},
    server::Server,
};

pub const COLLECTION: &str = "/organizations/acme/integrations";
const PSA: &str = "/organizations/acme/integrations/psa";
pub const ONE: &str = "/organizations/acme/integrations/psa/mapping_1";
pub const MASK: &str = "********";
pub const VALUE: &str = "hunter2-of-acme";

/// The integration `psa`: a secret `api_key`, a `site` that may be left out, a `region` that is `eu` unless given.
pub struct Psa {
    name: IntegrationName,
    pub fields: Vec<ConfigField>,
}

impl Psa {
    pub fn new() -> Self {
        let api_key =
            ConfigField { pattern: Some(Pattern::parse("hunter.*").unwrap()), ..field("api_key", FieldKind::Secret) };
        let site = ConfigField { required: Some(false), ..field("site", FieldKind::String) };
        let region = ConfigField {
            options: vec!["eu".into(), "us".into()],
            default: Some("eu".into()),
            ..field("region", FieldKind::Enum)
        };
        Self { name: IntegrationName::parse("psa").unwrap(), fields: vec![api_key, site, region] }
    }

    /// What it was called with, in a way that shows no secret.
    fn seen(data: &Settings) -> String {
        let value = |key: &str| data.get(key).map_or("-", |setting| setting.value.expose());
        format!("{} of {}, {}", value("api_key").len(), value("site"), value("region"))
    }
}

#[async_trait]
impl Integration for Psa {
    fn name(&self) -> &IntegrationName {
        &self.name
    }

    fn title(&self) -> &'static str {
        "A PSA with a key for every customer"
    }

    fn supports_org_mapping(&self) -> bool {
        true
    }

    fn mapping_data(&self) -> DataFields<'_> {
        DataFields::new(&self.fields)
    }

    async fn get_client(
        &self,
        _settings: &Settings,
        _mapping: &Mapping,
        data: &Settings,
    ) -> Result<OrganizationClient, IntegrationError> {
        let failure = Failure::new(FailureClass::Unreachable, Self::seen(data));
        Err(IntegrationError::Failed { integration: self.name.clone(), failure })
    }

    async fn test_connection(
        &self,
        _settings: &Settings,
        _mapping: &Mapping,
        data: &Settings,
    ) -> Result<TestResult, IntegrationError> {
        Ok(TestResult { failure: None, message: Self::seen(data), latency: Duration::ZERO, http_status: None })
    }
}

pub async fn start(secrets: Arc<dyn SecretStore>) -> Server {
    on(Arc::new(EmbeddedTables::in_memory().unwrap()), Psa::new(), secrets).await
}

/// On that store, with that manifest.
pub async fn on(tables: Tables, psa: Psa, secrets: Arc<dyn SecretStore>) -> Server {
    Server::with(App::new(tables, Registry::new([Arc::new(psa) as Arc<dyn Integration>]), secrets)).await
}

pub fn wanted(data: &Value) -> Value {
    json!({"integration_name": "psa", "external_org_id": "1", "mapping_id": "mapping_1", "mapping_data": data})
}

pub fn patch(data: &Value) -> Value {
    json!({"mapping_data": data})
}

/// The text of the data in the row.
async fn stored(server: &Server) -> String {
    let row = server.tables.get(Table::OrgIntegrationMappings, &Key::new("acme", "psa_mapping_1")).await.unwrap();
    row.unwrap().row.properties.get("MappingData").and_then(Property::text).unwrap_or_default()
}

#[tokio::test]
async fn a_secret_is_stored_apart_and_counts_and_goes_with_its_mapping() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    let (api, context) = (&server.api, server.context("acme"));
    let created = api.post(COLLECTION, &wanted(&json!({"api_key": VALUE, "site": "7"}))).await.is(201);
    assert_eq!(created.json()["mapping_data"], json!({"api_key": MASK, "site": "7"}));
    let (first, value) = vault.all().pop().unwrap();
    assert_eq!(value, VALUE);
    assert_eq!(stored(&server).await, format!(r#"{{"api_key":{{"$secret":"{first}"}},"site":"7"}}"#));

    let seen = async || match context.get_integration("psa", None).await {
        Err(ClientError::Integration(IntegrationError::Failed { failure, .. })) => failure.message,
        other => panic!("{:?}", other.map(drop)),
    };
    assert_eq!(seen().await, "15 of 7, eu");
    let tested = api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["message"], "15 of 7, eu");

    // Sent back as it was shown: nothing changes, not even the version.
    let before = api.get(ONE).await.is(200);
    let unchanged = api.patch(ONE, &patch(&before.json()["mapping_data"])).await.is(200);
    assert_eq!(unchanged.header("etag"), before.header("etag"));
    // The mask beside a change leaves the secret alone.
    api.patch(ONE, &patch(&json!({"api_key": MASK, "region": "us"}))).await.is(200);
    assert_eq!(vault.all(), [(first.clone(), VALUE.to_owned())]);
    assert_eq!(seen().await, "15 of -, us");

    // A new value takes the place of the old one, which is gone.
    let set = json!({"external_org_id": "1", "mapping_data": {"api_key": "hunter3", "region": "us"}});
    assert_eq!(api.put(PSA, &set).await.is(200).json()["mapping_data"]["api_key"], MASK);
    server.idle().await;
    let (second, value) = vault.all().pop().unwrap();
    assert_eq!((vault.all().len(), value.as_str()), (1, "hunter3"));
    assert_ne!(first, second);
    assert_eq!(seen().await, "7 of -, us");

    api.delete(ONE).await.is(204);
    server.idle().await;
    assert_eq!(vault.all(), []);
    let inactive = api.get(&format!("{ONE}?activeOnly=false")).await.is(200);
    assert_eq!(inactive.json()["mapping_data"], json!({"region": "us"}));
    // It can't count again without what it needs.
    let refused = api.patch(ONE, &json!({"is_active": true})).await.is(400);
    assert_eq!(
        refused.json()["details"],
        json!({"mapping_data.api_key": ["must be given: The api_key. Ask your administrator"]})
    );
    api.patch(ONE, &json!({"is_active": true, "mapping_data": {"api_key": MASK}})).await.is(400);
    api.patch(ONE, &json!({"is_active": true, "mapping_data": {"api_key": "hunter4"}})).await.is(200);
    assert_eq!(seen().await, "7 of -, eu");
    server.settled().await;
    assert_eq!(vault.all().len(), 1);
}

#[tokio::test]
async fn every_way_of_writing_takes_declared_fields_alone() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    let api = &server.api;
    api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    let kept = vault.all();
    let reference = kept[0].0.clone();
    for (data, field, problem) in [
        (json!({}), "mapping_data.api_key", "must be given"),
        (Value::Null, "mapping_data.api_key", "must be given"),
        (json!({"api_key": null}), "mapping_data.api_key", "must be given"),
        (json!({"api_key": 7}), "mapping_data.api_key", "must be a string"),
        (json!({"api_key": ""}), "mapping_data.api_key", "must not be empty"),
        (json!({"api_key": "s3cret"}), "mapping_data.api_key", "must match hunter.*"),
        (json!({"api_key": format!("hunter{}", "x".repeat(24_000))}), "mapping_data.api_key", "at most 24000 bytes"),
        (json!({"api_key": "hunter\0"}), "mapping_data.api_key", "none of them zero"),
        (json!({"api_key": {"$secret": reference}}), "mapping_data.api_key", "not the reference to a secret"),
        (json!({"api_key": VALUE, "region": "mars"}), "mapping_data.region", "must be one of eu, us"),
        (
            json!({"api_key": VALUE, "api_kye": "s3cret"}),
            "mapping_data.api_kye",
            "its fields are api_key, site, region",
        ),
    ] {
        let set = json!({"external_org_id": "1", "mapping_data": data});
        let new = json!({"integration_name": "psa", "external_org_id": "2", "mapping_data": data});
        let mut calls = vec![api.patch(ONE, &patch(&data)), api.post(COLLECTION, &new)];
        if !data.is_null() {
            calls.push(api.put(PSA, &set));
        }
        for call in calls {
            let refused = call.await.is(400);
            let told = refused.json()["details"][field][0].as_str().unwrap_or_default().to_owned();
            assert!(told.contains(problem), "{data}: {}", refused.json());
            assert!(!refused.text().contains("s3cret") && !refused.text().contains(VALUE), "{}", refused.text());
        }
        if data.is_object() {
            let text = data.to_string();
            let refused = server.context("acme").set_integration_mapping("psa", "1", None, Some(&text), None).await;
            assert!(matches!(refused, Err(MappingError::InvalidData(_))), "{data}: {refused:?}");
        }
    }
    // A mask where nothing is stored.
    let new = json!({"integration_name": "psa", "external_org_id": "2", "mapping_data": {"api_key": MASK}});
    let refused = api.post(COLLECTION, &new).await.is(400);
    assert!(refused.text().contains("stands for a stored value, and none is stored"), "{}", refused.text());
    // What can't be had for another reason stores no secret either.
    let mut duplicate = wanted(&json!({"api_key": VALUE}));
    duplicate["mapping_id"] = "mapping_2".into();
    api.post(COLLECTION, &duplicate).await.is(409);
    server.settled().await;
    assert_eq!(vault.all(), kept);
}

#[tokio::test]
async fn no_way_of_reading_shows_a_secret_or_where_it_is() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    let api = &server.api;
    api.post(COLLECTION, &wanted(&json!({"api_key": VALUE, "site": "7"}))).await.is(201);
    api.patch(ONE, &patch(&json!({"api_key": "hunter2-the-second", "site": "7"}))).await.is(200);
    api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    let context = server.context("acme");
    let of_context = context.get_integration_mapping("psa", None).await.unwrap().data.unwrap();
    let listed = context.get_org_mappings(None).await.unwrap().remove(0).data.unwrap();
    let set = context.set_integration_mapping("psa", "1", Some("A"), None, None).await.unwrap().data.unwrap();
    for data in [of_context, listed, set] {
        assert_eq!(data.as_str(), format!(r#"{{"api_key":"{MASK}","site":"7"}}"#));
    }
    for path in [COLLECTION, PSA, ONE, "/integrations/psa/mappings"] {
        let text = api.get(path).await.is(200).text().to_owned();
        assert!(text.contains(&format!(r#"{{"api_key":"{MASK}","site":"7"}}"#)), "{path}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("$secret"), "{path}: {text}");
    }
    api.delete(ONE).await.is(204);
    let audit = api.get("/organizations/acme/audit").await.is(200);
    assert!(!audit.text().contains("hunter2") && !audit.text().contains("$secret"), "{}", audit.text());
    let changes: Vec<_> = audit.json()["events"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| &event["changes"]["mapping_data"])
        .cloned()
        .collect();
    let masked = json!({"api_key": MASK, "site": "7"});
    assert_eq!(changes[0], json!({"before": null, "after": masked}));
    assert_eq!(changes[1], json!({"before": masked, "after": masked}), "that it was changed is no secret");
    assert_eq!(changes.last().unwrap(), &json!({"before": masked, "after": {"site": "7"}}));
    for event in server.audit("acme").await {
        assert!(!format!("{event:?}").contains("hunter2"), "{event:?}");
    }
    for table in [Table::OrgIntegrationMappings, Table::IntegrationMappings, Table::AuditEvents] {
        use futures::TryStreamExt;
        let rows: Vec<_> = server.tables.scan_table(table).try_collect().await.unwrap();
        assert!(!rows.is_empty() && !format!("{rows:?}").contains("hunter2"), "{rows:#?}");
    }
}

#[tokio::test]
async fn the_registry_tells_what_to_enter() {
    let server = start(Arc::new(NoSecrets)).await;
    let schema = server.api.get("/integrations").await.is(200).json()["integrations"][0]["mapping_data_schema"].clone();
    let help = "Ask your administrator";
    assert_eq!(
        schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {
                "api_key": {
                    "type": "string", "title": "The api_key", "description": help, "minLength": 1, "writeOnly": true,
                    "format": "password", "pattern": "^(?:hunter.*|[*]{8})$",
                },
                "site": {"type": "string", "title": "The site", "description": help, "minLength": 1},
                "region": {
                    "type": "string", "title": "The region", "description": help, "minLength": 1,
                    "enum": ["eu", "us"], "default": "eu",
                },
            },
            "required": ["api_key"], "additionalProperties": false,
        })
    );
}

#[tokio::test]
async fn what_was_stored_before_its_field_was_declared_is_masked_and_used() {
    let server = start(Vault::of(&[])).await;
    let api = &server.api;
    let properties = [
        ("ExternalOrgId", "1".into()),
        ("IsActive", true.into()),
        ("MappingData", r#"{"api_key": "hunter-plain", "old": 12345678901234567890123}"#.into()),
    ];
    server.row(Table::OrgIntegrationMappings, "acme", "psa_mapping_1", &properties).await;
    let shown = api.get(ONE).await.is(200);
    assert!(shown.text().contains(r#"{"api_key":"********","old":12345678901234567890123}"#), "{}", shown.text());
    let tested = api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["message"], "12 of -, eu");
    api.patch(ONE, &json!({"external_org_name": "A"})).await.is(200);
    api.patch(ONE, &patch(&json!({"api_key": MASK, "site": "1"}))).await.is(200);
    assert_eq!(stored(&server).await, r#"{"api_key":"hunter-plain","site":"1"}"#);
    api.delete(ONE).await.is(204);
    assert_eq!(stored(&server).await, r#"{"site":"1"}"#);
}

#[tokio::test]
async fn a_reference_of_another_organization_leads_nowhere() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    let (reference, _) = vault.all().pop().unwrap();
    // Somebody copies the row into another organization.
    let data = format!(r#"{{"api_key": {{"$secret": "{reference}"}}}}"#);
    let properties = [("ExternalOrgId", "1".into()), ("IsActive", true.into()), ("MappingData", data.as_str().into())];
    server.row(Table::OrgIntegrationMappings, "globex", "psa_mapping_1", &properties).await;
    let path = "/organizations/globex/integrations/psa/mapping_1";
    let tested = server.api.post(&format!("{path}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["details"]["class"], "configuration");
    assert!(tested.text().contains("mapping_data.api_key"), "{}", tested.text());
    let refused = server.context("globex").get_integration("psa", None).await.map(drop);
    assert!(matches!(refused, Err(ClientError::Settings(_))), "{refused:?}");
    // It is shown as any other, and not by any other name.
    assert!(server.api.get(path).await.is(200).text().contains(MASK));
    let key = reference.replace('-', "_");
    let body = json!({"value": "x", "scope": "global"});
    server.api.put(&format!("/secrets/{key}"), &body).await.is(409);
    assert!(server.context("globex").get_secret(&key).await.is_err());
}

#[tokio::test]
async fn a_secret_that_is_gone_or_can_not_be_stored_is_told() {
    let vault = Vault::of(&[]);
    let server = start(vault.clone()).await;
    let api = &server.api;
    api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(201);
    let (name, _) = vault.all().pop().unwrap();
    vault.remove(&name);
    let tested = api.post(&format!("{ONE}/test"), &json!({})).await.is(200);
    assert_eq!(tested.json()["details"]["class"], "configuration");
    assert!(tested.text().contains("mapping_data.api_key is not in the secret store any more"), "{}", tested.text());
    api.patch(ONE, &patch(&json!({"api_key": VALUE}))).await.is(200);

    vault.down.send_replace(true);
    let before = api.get(ONE).await.is(200);
    let refused = api.patch(ONE, &patch(&json!({"api_key": "hunter3"}))).await.is(503);
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(api.get(ONE).await.is(200).header("etag"), before.header("etag"));
    vault.down.send_replace(false);
    server.idle().await;
    // What the store did not answer may still arrive: the marker stays until repair has looked.
    let later = SystemTime::now() + 2 * REPAIR_GRACE;
    assert_eq!(server.app.mappings.repair().run_once(later).await.unwrap().discarded, 1);
    server.settled().await;
    assert_eq!(vault.all().len(), 1);

    let none = start(Arc::new(NoSecrets)).await;
    let refused = none.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE}))).await.is(409);
    assert!(refused.text().contains("AZURE_KEY_VAULT_URL"), "{}", refused.text());
    none.api.get(ONE).await.is(404);
    none.settled().await;
}

#[tokio::test]
async fn a_mapping_whose_manifest_does_not_load_can_be_seen_and_deactivated_with_its_secret() {
    let (tables, vault): (Tables, _) = (Arc::new(EmbeddedTables::in_memory().unwrap()), Vault::of(&[]));
    let server = on(Arc::clone(&tables), Psa::new(), vault.clone()).await;
    server.api.post(COLLECTION, &wanted(&json!({"api_key": VALUE, "site": "7"}))).await.is(201);
    server.settled().await;

    let problems = vec![Problem { line: 1, field: String::new(), message: "empty".to_owned() }];
    let broken = Broken { file: "integrations/psa.yaml".into(), problems };
    let registry = Registry::default().with_broken(vec![broken]);
    let server = Server::with(App::new(tables, registry, vault.clone())).await;
    let api = &server.api;
    let shown = api.get(ONE).await.is(200);
    assert_eq!(shown.json()["mapping_data"], json!({"api_key": MASK, "site": "7"}));
    for refused in [
        api.get(PSA).await,
        api.patch(ONE, &json!({"is_active": false})).await,
        api.post(&format!("{ONE}/test"), &json!({})).await,
        api.get("/integrations/psa/discover").await,
        api.get(&format!("{PSA}/mapping_2")).await,
    ] {
        let message = refused.is(404).json()["message"].clone();
        assert_eq!(
            message,
            "Integration 'psa' has a manifest that does not load: `crosswalk integrations check` says why; mend it, then \
             restart. Known are: "
        );
    }
    api.delete(&format!("{PSA}/mapping_2")).await.is(404);

    api.delete(ONE).await.is(204);
    server.settled().await;
    assert_eq!(vault.all(), []);
    api.get(ONE).await.is(404);
    let kept = api.get(&format!("{ONE}?activeOnly=false")).await.is(200);
    assert_eq!(kept.json()["mapping_data"], json!({"site": "7"}));

    let unknown = api.delete("/organizations/acme/integrations/nosuch/mapping_1").await.is(404);
    let message = "Integration 'nosuch' is unknown; known are: ; a manifest that was added counts after a restart";
    assert_eq!(unknown.json()["message"], message);
    api.delete("/organizations/acme/integrations/No%20Such/mapping_1").await.is(404);
}
