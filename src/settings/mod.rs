//! What administrators have set: values of the table `Config` and credentials of the secret store, an organization's own
//! before the global ones, and the values that a mapping's data refers to. Owns their names, and the check of an
//! integration's settings. Must not know how mappings are stored, or who asks.
//!
//! `names.rs` is what credentials are called and whose a name is, `credentials.rs` reads, keeps and stores them.
//!
//! What another process has changed counts after a minute at most: a credential is kept for half of it, and so are the settings
//! made of it. What was stored through this one counts at once.

mod credentials;
mod names;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::future::try_join_all;

use self::credentials::Credentials;
pub use self::{
    credentials::SecretPlace,
    names::{SecretKey, SecretNameError, SecretScope},
};
use crate::{
    cache::{Cache, Clock},
    domain::{IntegrationName, Mapping, OrgId, Secret},
    integrations::{
        ConfigField, Failure, FailureClass, Integration, IntegrationError, Registry, Scope, Setting, Settings,
        StoredValue,
    },
    organizations::Organizations,
    secrets::{SecretError, SecretStore},
    tables::{Key, Properties, Property, Range, Table, TableError, Tables, scan_all},
};

/// The partition of what holds for every organization.
const GLOBAL: &str = "GLOBAL";
const ROW: &str = "config:";
/// How long a credential is used before it is read again, and how long the settings of an integration are.
const KEPT: Duration = Duration::from_secs(30);
/// Most sets of settings that are kept.
const MOST: u64 = 1000;

/// Why there are no settings.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettingsError {
    /// Some are missing or wrong: all of them, by field, with what to do; `error` says the same as one failure.
    #[error("{error}")]
    Invalid { error: IntegrationError, fields: BTreeMap<String, String> },
    #[error(transparent)]
    Storage(#[from] TableError),
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// A credential can have no name that is its own.
    #[error(transparent)]
    Name(#[from] SecretNameError),
}

/// Reads what administrators have set. Cheap to clone.
#[derive(Clone)]
pub struct SettingsReader {
    tables: Tables,
    credentials: Credentials,
    cache: Cache<(u64, IntegrationName, Option<OrgId>), Arc<Settings>>,
}

impl SettingsReader {
    /// `registry`: whose credentials no organization's may be taken for.
    pub fn new(tables: Tables, registry: Arc<Registry>, secrets: Arc<dyn SecretStore>, clock: Clock) -> Self {
        let organizations = Organizations::new(Arc::clone(&tables));
        let credentials = Credentials::new(secrets, organizations, registry, Clock::clone(&clock));
        Self { tables, credentials, cache: Cache::new(MOST, KEPT, clock) }
    }

    /// A value of the table `Config`: the organization's own, else the global one. An empty value counts as none.
    ///
    /// # Errors
    /// The store is unavailable; no row can have such a key.
    pub async fn get_config(&self, org_id: &OrgId, key: &str) -> Result<Option<String>, TableError> {
        let row = format!("{ROW}{key}");
        let (own, global) = (Key::new(org_id.as_str(), row.clone()), Key::new(GLOBAL, row));
        let (own, global) =
            tokio::try_join!(self.tables.get(Table::Config, &own), self.tables.get(Table::Config, &global))?;
        let value = |row: Option<crate::tables::Stored>| row.and_then(|stored| value(&stored.row.properties));
        Ok(value(own).or_else(|| value(global)))
    }

    /// A credential: the organization's own, else the global one. An empty one counts as none.
    ///
    /// # Errors
    /// The secret store is unavailable; `key` is no key; its name could be that of somebody else's credential.
    pub async fn get_secret(
        &self,
        org_id: Option<&OrgId>,
        key: &str,
    ) -> Result<Option<(Secret, Scope)>, SettingsError> {
        self.secret(org_id, key, false).await
    }

    async fn secret(
        &self,
        org_id: Option<&OrgId>,
        key: &str,
        anew: bool,
    ) -> Result<Option<(Secret, Scope)>, SettingsError> {
        let key = SecretKey::parse(key).map_err(SecretNameError::Key)?;
        for (place, scope) in places(org_id) {
            if let Some(secret) = self.credentials.get(&key, &place, anew).await? {
                return Ok(Some((secret, scope)));
            }
        }
        Ok(None)
    }

    /// Where [`Self::set_secret`] is to store a credential. Asks the table of organizations, as it is now.
    ///
    /// # Errors
    /// [`SettingsError::Name`]: the organization is unknown, or the name could be that of somebody else's credential;
    /// [`SettingsError::Storage`].
    pub async fn secret_place(&self, scope: &SecretScope, key: &SecretKey) -> Result<SecretPlace, SettingsError> {
        self.credentials.place(key, scope).await
    }

    /// Stores a credential. From then on this process has forgotten all that it had read before, other processes have within
    /// a minute.
    ///
    /// # Errors
    /// The secret store cannot be written, or does not take the value.
    pub async fn set_secret(&self, place: &SecretPlace, value: &Secret) -> Result<(), SecretError> {
        self.credentials.set(place, value).await
    }

    /// All settings of an integration, for an organization or for none, at most a minute old; `refresh` reads them anew.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn resolve(
        &self,
        integration: &dyn Integration,
        org_id: Option<&OrgId>,
        refresh: bool,
    ) -> Result<Arc<Settings>, SettingsError> {
        // An organization of that id has the global rows for its own, and must not pass for having set them.
        let org_id = org_id.filter(|org_id| org_id.as_str() != GLOBAL);
        let key = (self.credentials.generation(), integration.name().clone(), org_id.cloned());
        if refresh {
            self.cache.forget(&key).await;
            let settings = self.read(integration, org_id, true).await?;
            self.cache.insert(key, Arc::clone(&settings)).await;
            return Ok(settings);
        }
        self.cache.get_or_read(key, self.read(integration, org_id, false)).await
    }

    /// The values of the declared fields of a mapping's data, secrets among them.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn mapping_data(
        &self,
        integration: &dyn Integration,
        mapping: &Mapping,
    ) -> Result<Settings, SettingsError> {
        let key = &mapping.key;
        let stored = integration.mapping_data().stored(mapping.data.as_ref(), &key.org_id, &key.integration);
        let found = stored.into_iter().map(async |(field, stored)| {
            let value = match stored {
                StoredValue::Unset => Ok(None),
                StoredValue::Text(text) => Ok(Some(Secret::new(text))),
                StoredValue::Secret(reference) => {
                    let value = self.credentials.of_mapping(&reference).await?;
                    value.map(Some).ok_or_else(|| "is not in the secret store any more".to_owned())
                }
                StoredValue::Unusable => Err("is stored as something that is no value of it".to_owned()),
            };
            let checked = value.and_then(|value| check(field, value.map(|value| (value, Scope::Organization))));
            Ok::<_, SettingsError>((field, checked))
        });
        let (mut values, mut problems) = (BTreeMap::new(), BTreeMap::new());
        for (field, checked) in try_join_all(found).await? {
            match checked {
                Ok(Some(setting)) => {
                    values.insert(field.key.clone(), setting);
                }
                Ok(None) => {}
                Err(problem) => {
                    let name = format!("mapping_data.{}", field.key);
                    let problem = format!("{name} {problem}; enter it in the mapping {key}");
                    problems.insert(name, problem);
                }
            }
        }
        if problems.is_empty() { Ok(Settings::new(values)) } else { Err(invalid(integration, problems)) }
    }

    async fn read(
        &self,
        integration: &dyn Integration,
        org_id: Option<&OrgId>,
        anew: bool,
    ) -> Result<Arc<Settings>, SettingsError> {
        let fields = integration.config();
        if fields.is_empty() {
            return Ok(Arc::new(Settings::none()));
        }
        let own = async {
            match org_id {
                Some(org_id) => self.values(org_id.as_str(), integration.name()).await,
                None => Ok(HashMap::new()),
            }
        };
        let global = self.values(GLOBAL, integration.name());
        let secrets = fields.iter().filter(|field| field.is_secret()).map(async |field| {
            let found = self.secret(org_id, &full_key(integration.name(), field), anew).await?;
            Ok::<_, SettingsError>(found.map(|found| (field.key.as_str(), found)))
        });
        let (mut own, mut global, secrets) = tokio::try_join!(own, global, try_join_all(secrets))?;
        let mut secrets: HashMap<_, _> = secrets.into_iter().flatten().collect();

        let (mut values, mut problems) = (BTreeMap::new(), BTreeMap::new());
        for field in fields {
            let key = full_key(integration.name(), field);
            let found = if field.is_secret() {
                secrets.remove(field.key.as_str())
            } else {
                let own = own.remove(&key).map(|value| (value, Scope::Organization));
                let found = own.or_else(|| global.remove(&key).map(|value| (value, Scope::Global)));
                let found = found.or_else(|| field.default.clone().map(|value| (value, Scope::Default)));
                found.map(|(value, scope)| (Secret::new(value), scope))
            };
            match check(field, found) {
                Ok(Some(setting)) => {
                    values.insert(field.key.clone(), setting);
                }
                Ok(None) => {}
                Err(problem) => {
                    let problem = format!("{} ({}) {problem}; {}", field.title, field.key, remedy(field, &key, org_id));
                    problems.insert(field.key.clone(), problem);
                }
            }
        }
        if problems.is_empty() {
            return Ok(Arc::new(Settings::new(values)));
        }
        // Whoever reads what is wrong sets it right, and tries again.
        for field in fields.iter().filter(|field| field.is_secret()) {
            if let Ok(key) = SecretKey::parse(&full_key(integration.name(), field)) {
                for (place, _) in places(org_id) {
                    self.credentials.forget(&key, &place).await;
                }
            }
        }
        Err(invalid(integration, problems))
    }

    /// The values of one partition whose keys begin with the integration's name.
    async fn values(&self, partition: &str, name: &IntegrationName) -> Result<HashMap<String, String>, SettingsError> {
        let range = Range::prefix(partition, &format!("{ROW}{name}_"));
        let rows = scan_all(&*self.tables, Table::Config, &range).await?;
        let values = rows.into_iter().filter_map(|stored| {
            let key = stored.row.key.row.strip_prefix(ROW)?.to_owned();
            Some((key, value(&stored.row.properties)?))
        });
        Ok(values.collect())
    }
}

/// `Type` tells the platform's pages how to show a value; it is a text in any case.
fn value(properties: &Properties) -> Option<String> {
    let value = match properties.get("Value")? {
        Property::Bool(value) => value.to_string(),
        Property::Double(value) => value.to_string(),
        value => value.text()?,
    };
    (!value.is_empty()).then_some(value)
}

/// What a field is called outside of its manifest.
fn full_key(name: &IntegrationName, field: &ConfigField) -> String {
    format!("{name}_{}", field.key)
}

/// Where a credential is looked for, the organization's own first.
fn places(org_id: Option<&OrgId>) -> impl Iterator<Item = (SecretScope, Scope)> {
    let own = org_id.map(|org_id| (SecretScope::Organization(org_id.clone()), Scope::Organization));
    own.into_iter().chain([(SecretScope::Global, Scope::Global)])
}

/// The setting, or what is wrong with it in words that never show its value.
fn check(field: &ConfigField, found: Option<(Secret, Scope)>) -> Result<Option<Setting>, String> {
    let Some((value, scope)) = found else {
        return if field.is_required() { Err("is not set".to_owned()) } else { Ok(None) };
    };
    match field.problem(value.expose()) {
        Some(problem) => Err(problem),
        None => Ok(Some(Setting { value, secret: field.is_secret(), scope })),
    }
}

/// Where to set a field.
fn remedy(field: &ConfigField, key: &str, org_id: Option<&OrgId>) -> String {
    if field.is_secret() {
        let Ok(key) = SecretKey::parse(key) else { return "give the field a shorter key".to_owned() };
        let names: Vec<_> = places(org_id).map(|(place, _)| format!("'{}'", key.name(&place))).collect();
        return format!("PUT /api/secrets/{} stores it as the secret {}", key.as_str(), names.join(" or "));
    }
    let own = org_id.map(|org_id| format!("{org_id} or ")).unwrap_or_default();
    format!("set Value of row {ROW}{key} in table Config, partition {own}{GLOBAL}")
}

fn invalid(integration: &dyn Integration, fields: BTreeMap<String, String>) -> SettingsError {
    let problems: Vec<_> = fields.values().map(String::as_str).collect();
    let message = format!("{} is not configured. {}", integration.title(), problems.join(". "));
    let error = IntegrationError::Failed {
        integration: integration.name().clone(),
        failure: Failure::new(FailureClass::Configuration, message),
    };
    SettingsError::Invalid { error, fields }
}
