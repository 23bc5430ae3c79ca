//! Listing the organizations of external systems: one fetch at a time for everybody who waits for it, an answer from memory
//! where there is one, and the last good list when the external system fails. Must not know who asks.
//!
//! Lists are kept by the settings they were made with, so that what one credential may see never serves another.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use moka::{future::Cache, policy::EvictionPolicy};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, warn};

use crate::{
    domain::{ExternalOrganization, IntegrationName},
    integrations::{Failure, FailureClass, Fingerprint, Integration, IntegrationError, Settings, guarded},
};

/// Most failures that are remembered.
const FAILURES: u64 = 1000;
/// The bounds of what an external system may ask for in `Retry-After`.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// How long things last. Tests have a clock of their own.
#[derive(Clone)]
pub struct Limits {
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// How long a list is answered without asking the external system.
    pub fresh: Duration,
    /// How long it may stand in when the external system fails.
    pub kept: Duration,
    /// How long a system that failed is left alone, unless it says itself.
    pub pause: Duration,
    /// How long a fetch may take.
    pub deadline: Duration,
    /// Most bytes of all lists together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clock: Arc::new(Utc::now),
            fresh: Duration::from_hours(1),
            kept: Duration::from_hours(24),
            pause: Duration::from_secs(30),
            deadline: Duration::from_mins(2),
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// A list of external organizations as it is answered.
#[derive(Debug)]
pub struct Listing {
    /// The JSON array, made once.
    pub organizations: Box<RawValue>,
    pub count: usize,
    pub cached_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// The answer to one who asked.
#[derive(Clone, Debug)]
pub struct Discovered {
    pub listing: Arc<Listing>,
    /// The external system failed; this is the last good list.
    pub stale: bool,
}

type Key = (IntegrationName, Fingerprint);
type Outcome = Result<Arc<Listing>, IntegrationError>;

/// A failure, and until when nobody tries again.
#[derive(Clone)]
struct Failed {
    error: IntegrationError,
    until: DateTime<Utc>,
}

/// Lists external organizations. Cheap to clone.
#[derive(Clone)]
pub struct Discovery {
    limits: Limits,
    tasks: TaskTracker,
    lists: Cache<Key, Arc<Listing>>,
    failures: Cache<Key, Failed>,
    /// The fetches under way. What they find is in the caches before they are taken out.
    flights: Arc<Mutex<HashMap<Key, Shared<BoxFuture<'static, Outcome>>>>>,
}

impl Discovery {
    /// `tasks` holds the fetches, which go on when nobody waits any more.
    pub fn new(tasks: TaskTracker, limits: Limits) -> Self {
        // Small lists count too, with what surrounds them.
        let size =
            |_: &Key, list: &Arc<Listing>| u32::try_from(list.organizations.get().len() + 500).unwrap_or(u32::MAX);
        let lists = Cache::builder()
            .max_capacity(limits.bytes)
            .weigher(size)
            .time_to_live(limits.kept)
            .eviction_policy(EvictionPolicy::lru());
        let failures = Cache::builder().max_capacity(FAILURES).time_to_live(PAUSES.1);
        Self { tasks, lists: lists.build(), failures: failures.build(), limits, flights: Arc::default() }
    }

    /// The organizations that those settings show. With `refresh` the external system is asked in any case.
    ///
    /// # Errors
    /// The integration cannot list, or failed and there is no list to stand in. A configuration error is always told.
    pub async fn list(
        &self,
        integration: &Arc<dyn Integration>,
        settings: &Arc<Settings>,
        refresh: bool,
    ) -> Result<Discovered, IntegrationError> {
        if !integration.supports_org_mapping() {
            let what = "knows no organizations, so there is nothing to list or to map";
            return Err(IntegrationError::NotSupported { integration: integration.name().clone(), what });
        }
        if !integration.supports_discovery() {
            return Err(IntegrationError::DiscoveryNotSupported { integration: integration.name().clone() });
        }
        let key = (integration.name().clone(), settings.fingerprint());
        let flight = {
            let mut flights = self.flights.lock().await;
            let now = (self.limits.clock)();
            let list = self.lists.get(&key).await.filter(|list| now < list.expires_at && !refresh);
            if let Some(listing) = list {
                return Ok(Discovered { listing, stale: false });
            }
            if let Some(flight) = flights.get(&key) {
                flight.clone()
            } else {
                let failed = self.failures.get(&key).await.filter(|failed| now < failed.until && !refresh);
                if let Some(failed) = failed {
                    return self.last_good(&key, failed.error).await;
                }
                let flight = self.fetch(key.clone(), Arc::clone(integration), Arc::clone(settings));
                flights.insert(key.clone(), flight.clone());
                flight
            }
        };
        match flight.await {
            Ok(listing) => Ok(Discovered { listing, stale: false }),
            Err(error) => self.last_good(&key, error).await,
        }
    }

    async fn last_good(&self, key: &Key, error: IntegrationError) -> Result<Discovered, IntegrationError> {
        let hidden =
            matches!(&error, IntegrationError::Failed { failure, .. } if failure.class != FailureClass::Configuration);
        let now = (self.limits.clock)();
        let list = self.lists.get(key).await.filter(|list| now < list.cached_at + self.limits.kept && hidden);
        if let Some(listing) = list {
            return Ok(Discovered { listing, stale: true });
        }
        Err(match (error, self.failures.get(key).await) {
            // What remains of the pause.
            (IntegrationError::Failed { integration, mut failure }, Some(Failed { until, .. })) => {
                failure.retry_after = (until - now).to_std().ok();
                IntegrationError::Failed { integration, failure }
            }
            (error, _) => error,
        })
    }

    /// Begins a fetch. It runs in a task of its own, so that it ends whoever goes away.
    fn fetch(
        &self,
        key: Key,
        integration: Arc<dyn Integration>,
        settings: Arc<Settings>,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let name = key.0.clone();
        let discovery = self.clone();
        let fetch = async move {
            let call = integration.list_organizations(&settings);
            let found = guarded(&key.0, discovery.limits.deadline, call).await;
            let outcome = found.and_then(|organizations| discovery.listing(&key.0, &organizations));
            discovery.keep(&key, &outcome).await;
            discovery.flights.lock().await.remove(&key);
            outcome
        };
        let task = self.tasks.spawn(fetch.in_current_span());
        let outcome = async move {
            // Only a process that stops ends a task early.
            task.await.unwrap_or_else(|_| Err(failed(&name, FailureClass::Unreachable, "the service is stopping")))
        };
        outcome.boxed().shared()
    }

    async fn keep(&self, key: &Key, outcome: &Outcome) {
        match outcome {
            Ok(listing) => {
                self.lists.insert(key.clone(), Arc::clone(listing)).await;
                self.failures.invalidate(key).await;
            }
            Err(error) => {
                let wanted = match error {
                    IntegrationError::Failed { failure, .. } => failure.retry_after,
                    _ => None,
                };
                let pause = wanted.map_or(self.limits.pause, |wanted| wanted.clamp(PAUSES.0, PAUSES.1));
                warn!(integration = %key.0, %error, ?pause, "discovery");
                let failed = Failed { error: error.clone(), until: (self.limits.clock)() + pause };
                self.failures.insert(key.clone(), failed).await;
            }
        }
    }

    fn listing(&self, name: &IntegrationName, organizations: &[ExternalOrganization]) -> Outcome {
        #[derive(serde::Serialize)]
        struct Entry<'a> {
            id: &'a str,
            name: &'a str,
            metadata: &'a serde_json::Map<String, serde_json::Value>,
        }
        let count = organizations.len();
        if count == 0 {
            warn!(integration = %name, "discovery found no organization; the credentials may not see them");
        } else {
            info!(integration = %name, count, "discovery");
        }
        let entries: Vec<_> = organizations
            .iter()
            .map(|one| Entry { id: one.id.as_str(), name: &one.name, metadata: &one.metadata })
            .collect();
        let organizations =
            to_raw_value(&entries).map_err(|error| failed(name, FailureClass::BadResponse, &error.to_string()))?;
        let cached_at = (self.limits.clock)();
        Ok(Arc::new(Listing { organizations, count, cached_at, expires_at: cached_at + self.limits.fresh }))
    }
}

fn failed(integration: &IntegrationName, class: FailureClass, message: &str) -> IntegrationError {
    IntegrationError::Failed { integration: integration.clone(), failure: Failure::new(class, message) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        domain::{ExternalOrgId, Secret},
        integrations::{Scope, Setting},
    };

    #[tokio::test]
    async fn all_lists_together_are_bounded() {
        let limits = Limits { bytes: 100_000, ..Limits::default() };
        let discovery = Discovery::new(TaskTracker::new(), limits.clone());
        let name = IntegrationName::parse("psa").unwrap();
        let one = ExternalOrganization {
            id: ExternalOrgId::parse("1").unwrap(),
            name: "x".repeat(1000),
            metadata: serde_json::Map::new(),
        };
        let key = |number: usize| {
            let value = Secret::new(number.to_string());
            let setting = Setting { value, secret: true, scope: Scope::Organization };
            (name.clone(), Settings::new(BTreeMap::from([("key".to_owned(), setting)])).fingerprint())
        };
        // The last of them are too large alone.
        for number in 1..=100 {
            let outcome = discovery.listing(&name, &vec![one.clone(); number]);
            let size = outcome.as_ref().unwrap().organizations.get().len() as u64 + 500;
            discovery.keep(&key(number), &outcome).await;
            discovery.lists.run_pending_tasks().await;
            assert!(discovery.lists.weighted_size() <= limits.bytes);
            assert_eq!(discovery.lists.contains_key(&key(number)), size <= limits.bytes, "{number} organizations");
        }
    }
}
