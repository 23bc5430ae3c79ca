//! What every secret store does. Each case is a plain function on a store of its own that is empty.

use crosswalk::{
    domain::Secret,
    secrets::{NAME_LIMIT, SecretError, SecretStore, VALUE_LIMIT},
};
use futures::future::try_join_all;

/// Makes a test of every case, each on a store that the expression makes, beside what has to live as long.
macro_rules! cases {
    ($($case:ident)*) => {
        macro_rules! run_on {
            ($store:expr) => {
                $(
                    #[tokio::test]
                    async fn $case() {
                        let (store, _kept) = $store;
                        $crate::conformance::$case(&store).await;
                    }
                )*
            };
        }
        pub(crate) use run_on;
    };
}

cases! {
    a_missing_secret_is_none
    a_secret_reads_back_as_written
    the_last_value_counts
    names_are_the_same_in_any_case
    any_text_is_a_value
    a_value_at_its_limit
    names_that_lead_elsewhere
    a_deleted_secret_is_none
    writers_side_by_side
}

async fn value(store: &impl SecretStore, name: &str) -> Option<String> {
    store.get(name).await.unwrap().map(|secret| secret.expose().to_owned())
}

async fn set(store: &impl SecretStore, name: &str, value: &str) {
    store.set(name, &Secret::new(value)).await.unwrap();
}

pub async fn a_missing_secret_is_none(store: &impl SecretStore) {
    assert_eq!(value(store, "psa-api-key").await, None);
    store.delete("psa-api-key").await.unwrap();
}

pub async fn a_secret_reads_back_as_written(store: &impl SecretStore) {
    let longest = "n".repeat(NAME_LIMIT);
    for name in ["psa-api-key", "0", "-", &longest] {
        set(store, name, name).await;
    }
    for name in ["psa-api-key", "0", "-", &longest] {
        assert_eq!(value(store, name).await.as_deref(), Some(name));
    }
    for beside in ["psa-api", "psa-api-key-", "psa-api-ke", "00"] {
        assert_eq!(value(store, beside).await, None, "{beside}");
    }
}

pub async fn the_last_value_counts(store: &impl SecretStore) {
    for text in ["first", "second", "third"] {
        set(store, "psa-api-key", text).await;
        assert_eq!(value(store, "psa-api-key").await.as_deref(), Some(text));
    }
}

pub async fn names_are_the_same_in_any_case(store: &impl SecretStore) {
    set(store, "Acme-Key", "1").await;
    assert_eq!(value(store, "acme-key").await.as_deref(), Some("1"));
    set(store, "acme-KEY", "2").await;
    assert_eq!(value(store, "Acme-Key").await.as_deref(), Some("2"));
    store.delete("ACME-KEY").await.unwrap();
    assert_eq!(value(store, "Acme-Key").await, None);
}

pub async fn any_text_is_a_value(store: &impl SecretStore) {
    for text in
        ["Straße 🏢 пароль", "\"quoted\\\" {}", " spaces ", "two\nlines\r\n\t", "\u{1}\u{7f}\u{feff}", "%41+/=&?#"]
    {
        set(store, "any", text).await;
        assert_eq!(value(store, "any").await.as_deref(), Some(text), "{text:?}");
    }
}

pub async fn a_value_at_its_limit(store: &impl SecretStore) {
    let most = format!("{}é", "x".repeat(VALUE_LIMIT - 2));
    set(store, "long", &most).await;
    assert_eq!(value(store, "long").await, Some(most.clone()));
    let error = store.set("long", &Secret::new(format!("{most}y"))).await.unwrap_err();
    assert!(matches!(error, SecretError::Value(_)), "{error:?}");
    assert_eq!(value(store, "long").await, Some(most));
}

pub async fn names_that_lead_elsewhere(store: &impl SecretStore) {
    let long = "n".repeat(NAME_LIMIT + 1);
    for name in [
        "",
        "../keys/x",
        "..",
        ".",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "%2e%2e",
        "a_b",
        "a b",
        "é",
        "a\0",
        "a\r\nb",
        "a/",
        &long,
    ] {
        let refused = |error: SecretError| assert!(matches!(error, SecretError::Name(_)), "{name:?}: {error:?}");
        refused(store.get(name).await.unwrap_err());
        refused(store.set(name, &Secret::new("x")).await.unwrap_err());
        refused(store.delete(name).await.unwrap_err());
    }
}

/// What has the name next is a question of the store: a Key Vault keeps it for what was deleted.
pub async fn a_deleted_secret_is_none(store: &impl SecretStore) {
    set(store, "gone", "1").await;
    set(store, "kept", "2").await;
    store.delete("gone").await.unwrap();
    store.delete("gone").await.unwrap();
    assert_eq!((value(store, "gone").await, value(store, "kept").await), (None, Some("2".to_owned())));
    match store.set("gone", &Secret::new("3")).await {
        Ok(()) => assert_eq!(value(store, "gone").await.as_deref(), Some("3")),
        Err(error) => {
            assert_eq!(error, SecretError::Deleted { name: "gone".to_owned() });
            assert!(error.to_string().contains("recover") && error.to_string().contains("purge"), "{error}");
        }
    }
}

pub async fn writers_side_by_side(store: &impl SecretStore) {
    let names: Vec<_> = (0..16).map(|number| format!("name-{number}")).collect();
    let secrets: Vec<_> = names.iter().map(Secret::new).collect();
    try_join_all(names.iter().zip(&secrets).map(|(name, secret)| store.set(name, secret))).await.unwrap();
    for name in &names {
        assert_eq!(value(store, name).await.as_ref(), Some(name));
    }
}
