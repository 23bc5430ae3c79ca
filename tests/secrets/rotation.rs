//! A credential that is rotated in the Key Vault while the service has it in memory.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crosswalk::{
    domain::{OrgId, Secret},
    integrations::Scope,
    secrets::SecretStore,
    settings::{SettingsError, SettingsReader},
    tables::{EmbeddedTables, Key, Put, Row, Table, TableStore},
};

use crate::{
    key_vault::{NAME, on_a_vault, open},
    stub::Does,
};

#[tokio::test]
async fn it_counts_after_half_a_minute_and_the_vault_is_asked_once_till_then() {
    let (store, vault) = on_a_vault().await;
    let tables = EmbeddedTables::in_memory().unwrap();
    let acme = Row { key: Key::new("ORG", "acme"), properties: [("IsActive".to_owned(), true.into())].into() };
    tables.put(Table::Organizations, &acme, &Put::Create).await.unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&now);
    let clock = Arc::new(move || told.load(Ordering::SeqCst));
    let reader = SettingsReader::new(Arc::new(tables), Arc::default(), Arc::new(store), clock);
    let acme = OrgId::parse("acme").unwrap();
    let found = async |seconds| {
        now.store(seconds, Ordering::SeqCst);
        let found = reader.get_secret(Some(&acme), "psa_api_key").await;
        found.map(|found| found.map(|(secret, scope)| (secret.expose().to_owned(), scope)))
    };
    let reads = || vault.seen().into_iter().filter(|request| request.starts_with("GET")).collect::<Vec<_>>();
    // Somebody else's hand on the vault.
    let rotate = async |name: &str, value: &str| open(&vault.url).set(name, &Secret::new(value)).await.unwrap();
    let global = |value: &str| Some((value.to_owned(), Scope::Global));

    rotate(NAME, "first").await;
    assert_eq!(found(0).await.unwrap(), global("first"));
    assert_eq!(reads(), ["GET /secrets/acme-psa-api-key/", "GET /secrets/psa-api-key/"]);
    rotate(NAME, "second").await;
    assert_eq!(found(29).await.unwrap(), global("first"));
    assert_eq!(reads().len(), 2);
    assert_eq!(found(30).await.unwrap(), global("second"));
    assert_eq!(reads().len(), 4);
    // What was not there is asked for again as well.
    rotate("acme-psa-api-key", "of acme").await;
    assert_eq!(found(59).await.unwrap(), global("second"));
    assert_eq!(found(60).await.unwrap(), Some(("of acme".to_owned(), Scope::Organization)));

    vault.does(Does::Answers(403, None, String::new()));
    assert_eq!(found(89).await.unwrap(), Some(("of acme".to_owned(), Scope::Organization)));
    assert!(matches!(found(90).await, Err(SettingsError::Secrets(_))), "an old one stands in for nothing");
}
