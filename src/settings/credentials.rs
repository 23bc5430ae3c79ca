//! Credentials out of the secret store, kept for a while, and into it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    KEPT, SettingsError,
    names::{Owners, SecretKey, SecretNameError, SecretScope},
};
use crate::{
    cache::{Cache, Clock},
    domain::{Secret, SecretReference},
    integrations::Registry,
    organizations::Organizations,
    secrets::{SecretError, SecretStore},
};

/// Most names that are kept.
const MOST: u64 = 10_000;

/// Where a credential is to be stored: proof that the organization exists, and that the name is nobody else's.
#[derive(Clone, Debug)]
pub struct SecretPlace {
    name: String,
}

/// Counts the writes of this process. It is part of the caches' keys: a read that began before a write can't bring back what
/// was there before it.
#[derive(Default)]
struct Generation(AtomicU64);

/// Counts one on when dropped: also where nobody waited for the write to end.
struct Writing<'a>(&'a Generation);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Credentials {
    store: Arc<dyn SecretStore>,
    organizations: Organizations,
    registry: Arc<Registry>,
    generation: Arc<Generation>,
    /// What was there or was not, by name.
    values: Cache<(u64, String), Option<Secret>>,
    owners: Cache<(), Arc<Owners>>,
}

impl Credentials {
    pub(super) fn new(
        store: Arc<dyn SecretStore>,
        organizations: Organizations,
        registry: Arc<Registry>,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            organizations,
            registry,
            generation: Arc::default(),
            values: Cache::new(MOST, KEPT, Clock::clone(&clock)),
            owners: Cache::new(1, KEPT, clock),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.0.load(Ordering::SeqCst)
    }

    /// The credential of exactly that scope; `anew`: as it is now. An empty one counts as none.
    pub(super) async fn get(
        &self,
        key: &SecretKey,
        scope: &SecretScope,
        anew: bool,
    ) -> Result<Option<Secret>, SettingsError> {
        let owners = self.owners.get_or_read((), self.read_owners()).await?;
        let name = match owners.name(key, scope, &self.registry) {
            // No store can have one.
            Err(SecretNameError::TooLong { .. }) => return Ok(None),
            name => name?,
        };
        let cached = (self.generation(), name.clone());
        if anew {
            let value = self.read(&name).await?;
            self.values.insert(cached, value.clone()).await;
            return Ok(value);
        }
        Ok(self.values.get_or_read(cached, self.read(&name)).await?)
    }

    /// The secret of a mapping.
    pub(super) async fn of_mapping(&self, reference: &SecretReference) -> Result<Option<Secret>, SecretError> {
        let cached = (self.generation(), reference.name().to_owned());
        let found = self.values.get_or_read(cached.clone(), self.read(reference.name())).await?;
        if found.is_none() {
            self.values.forget(&cached).await;
        }
        Ok(found)
    }

    /// Does not keep what was read of that name.
    pub(super) async fn forget(&self, key: &SecretKey, scope: &SecretScope) {
        self.values.forget(&(self.generation(), key.name(scope))).await;
    }

    /// Where to store a credential, by the organizations that there are now.
    pub(super) async fn place(&self, key: &SecretKey, scope: &SecretScope) -> Result<SecretPlace, SettingsError> {
        let owners = self.read_owners().await?;
        self.owners.insert((), Arc::clone(&owners)).await;
        if let SecretScope::Organization(org_id) = scope
            && !owners.know(org_id)
        {
            return Err(SecretNameError::UnknownOrganization(org_id.clone()).into());
        }
        Ok(SecretPlace { name: owners.name(key, scope, &self.registry)? })
    }

    pub(super) async fn set(&self, place: &SecretPlace, value: &Secret) -> Result<(), SecretError> {
        let _writing = Writing(&self.generation);
        self.store.set(&place.name, value).await
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        Ok(self.store.get(name).await?.filter(|secret| !secret.expose().is_empty()))
    }

    async fn read_owners(&self) -> Result<Arc<Owners>, SettingsError> {
        let all = self.organizations.list().await?;
        Ok(Arc::new(Owners::new(all.into_iter().map(|organization| organization.id))))
    }
}
