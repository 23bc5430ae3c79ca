//! Key Vault: the suite on the real crate, what it does when the vault fails, and that nothing of a secret gets out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use azure_core::auth::{AccessToken, TokenCredential};
use crosswalk::{
    domain::Secret,
    secrets::{KeyVaultSecrets, SecretError, SecretStore},
    telemetry,
};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt};

use crate::{
    captured::Captured,
    conformance,
    stub::{Does, TOKEN, Vault},
};

conformance::run_on!(on_a_vault().await);

pub const NAME: &str = "psa-api-key";
const VALUE: &str = "value-that-nobody-may-see";

/// Whoever asks gets the token, or nobody does.
#[derive(Debug)]
struct Credential(Option<&'static str>);

#[async_trait::async_trait]
impl TokenCredential for Credential {
    async fn get_token(&self, _scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let expires = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
        let token = self.0.map(|token| AccessToken::new(token.to_owned(), expires));
        token.ok_or_else(|| azure_core::Error::message(azure_core::error::ErrorKind::Credential, TOKEN))
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        Ok(())
    }
}

pub fn open(url: &str) -> KeyVaultSecrets {
    KeyVaultSecrets::with_credential(url, Arc::new(Credential(Some(TOKEN)))).unwrap()
}

pub async fn on_a_vault() -> (KeyVaultSecrets, Vault) {
    let vault = Vault::start().await;
    (open(&vault.url), vault)
}

/// What all three calls say of it, and that they say so in time.
async fn unavailable(store: &KeyVaultSecrets) -> [(String, Option<Duration>); 3] {
    let secret = Secret::new(VALUE);
    let timed = async |call: futures::future::BoxFuture<'_, Result<(), SecretError>>, most: u64| {
        let began = Instant::now();
        let error = call.await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(most) + Duration::from_millis(900), "{:?}", began.elapsed());
        assert!(!format!("{error} {error:?}").contains("nobody-may-see"), "{error:?}");
        match error {
            SecretError::Unavailable { reason, retry_after } => (reason, retry_after),
            other => panic!("{other:?}"),
        }
    };
    let (get, set, delete) = tokio::join!(
        timed(Box::pin(async { store.get(NAME).await.map(drop) }), 3),
        timed(store.set(NAME, &secret), 5),
        timed(store.delete(NAME), 5),
    );
    [get, set, delete]
}

#[tokio::test]
async fn a_refusal_names_the_role_that_is_missing() {
    let (store, vault) = on_a_vault().await;
    for status in [401, 403] {
        vault.does(Does::Answers(status, None, format!(r#"{{"error":{{"code":"{VALUE}","message":"{VALUE}"}}}}"#)));
        let [get, set, delete] = unavailable(&store).await;
        assert!(get.0.contains("role Key Vault Secrets User"), "{get:?}");
        assert!(set.0.contains("role Key Vault Secrets Officer"), "{set:?}");
        assert!(delete.0.contains("role Key Vault Secrets Officer"), "{delete:?}");
    }
    // No attempt is repeated.
    assert_eq!(vault.seen().len(), 6, "{:?}", vault.seen());
}

#[tokio::test]
async fn whoever_is_busy_slow_or_down_costs_seconds_and_says_when_to_try_again() {
    let busy = async {
        let (store, vault) = on_a_vault().await;
        vault.does(Does::Answers(429, Some(60), VALUE.to_owned()));
        unavailable(&store).await
    };
    let failing = async {
        let (store, vault) = on_a_vault().await;
        vault.does(Does::Answers(500, None, VALUE.to_owned()));
        unavailable(&store).await
    };
    let slow = async {
        let (store, vault) = on_a_vault().await;
        vault.does(Does::Waits(Duration::from_secs(20)));
        unavailable(&store).await
    };
    let down = async { unavailable(&open("http://127.0.0.1:1")).await };
    let (busy, failing, slow, down) = tokio::join!(busy, failing, slow, down);
    for (reason, retry_after) in [busy, failing, slow, down].into_iter().flatten() {
        assert!(reason.contains("no good answer within"), "{reason}");
        assert_eq!(retry_after, Some(Duration::from_secs(10)));
    }
}

#[tokio::test]
async fn a_vault_that_is_busy_for_a_moment_is_asked_again() {
    let (store, vault) = on_a_vault().await;
    store.set(NAME, &Secret::new(VALUE)).await.unwrap();
    vault.does(Does::Answers(429, Some(1), String::new()));
    let (read, ()) = tokio::join!(store.get(NAME), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        vault.does(Does::Works);
    });
    assert_eq!(read.unwrap().unwrap().expose(), VALUE);
}

#[tokio::test]
async fn an_answer_that_is_none_of_a_key_vault() {
    let (store, vault) = on_a_vault().await;
    for body in
        ["", "<html>", VALUE, r#"{"value": 53}"#, &format!(r#"["{VALUE}"]"#), &format!(r#"{{"value":"{VALUE}"}}"#)]
    {
        vault.does(Does::Answers(200, None, body.to_owned()));
        let error = store.get(NAME).await.unwrap_err();
        assert!(error.to_string().contains("AZURE_KEY_VAULT_URL"), "{error}");
        assert!(!format!("{error} {error:?}").contains("nobody-may-see"), "{error:?}");
    }
    for (status, expected) in [(400, "takes"), (413, "takes"), (409, "recover")] {
        vault.does(Does::Answers(status, None, VALUE.to_owned()));
        let error = store.set(NAME, &Secret::new(VALUE)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("nobody-may-see"), "{error:?}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let vault = Vault::start().await;
    let store = KeyVaultSecrets::with_credential(&vault.url, Arc::new(Credential(None))).unwrap();
    for (reason, _) in unavailable(&store).await {
        assert!(reason.contains("the managed identity gave no token"), "{reason}");
    }
    assert_eq!(vault.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_sent() {
    let (store, vault) = on_a_vault().await;
    for name in ["../keys/x", "x/../../keys/x", "%2e%2e/keys/x", "x?y", "x#y"] {
        store.get(name).await.unwrap_err();
        store.set(name, &Secret::new(VALUE)).await.unwrap_err();
        store.delete(name).await.unwrap_err();
    }
    assert_eq!(vault.seen(), Vec::<String>::new());
}

/// Every kind of call and of outcome, under that subscriber.
async fn everything(subscriber: impl tracing::Subscriber + Send + Sync + 'static) {
    async {
        let (store, vault) = on_a_vault().await;
        store.set(NAME, &Secret::new(VALUE)).await.unwrap();
        let found = store.get(NAME).await.unwrap();
        tracing::error!(?store, ?found, "what anybody might log");
        for does in [
            Does::Answers(403, None, format!(r#"{{"error":{{"message":"{VALUE}"}}}}"#)),
            Does::Answers(200, None, format!(r#"{{"value":"{VALUE}"}}"#)),
            Does::Answers(409, None, VALUE.to_owned()),
        ] {
            vault.does(does);
            let errors = (store.get(NAME).await.err(), store.set(NAME, &Secret::new(VALUE)).await.err());
            tracing::error!(?errors, "what anybody might log");
        }
        vault.does(Does::Works);
        store.delete(NAME).await.unwrap();
    }
    .with_subscriber(subscriber)
    .await;
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let filters = [
        None,
        Some("trace"),
        Some("trace,azure_core=trace,azure_security_keyvault=trace,hyper=trace,hyper_util=trace,reqwest=trace"),
    ];
    for filter in filters {
        for for_a_person in [true, false] {
            let captured = Captured::default();
            everything(telemetry::subscriber(filter, for_a_person, captured.clone()).unwrap()).await;
            assert!(captured.text().contains("what anybody might log"));
            for secret in [TOKEN, VALUE] {
                assert!(!captured.text().contains(secret), "{filter:?}: {}", captured.text());
            }
        }
    }
}

/// What the fence is for; when this fails, the crates have stopped leaking and the fence may go.
#[tokio::test]
async fn without_the_fence_secrets_are_logged() {
    let captured = Captured::default();
    let layer = tracing_subscriber::fmt::layer().with_writer(captured.clone());
    everything(tracing_subscriber::registry().with(EnvFilter::new("trace")).with(layer)).await;
    assert!(captured.text().contains(VALUE) && captured.text().contains(TOKEN));
}
