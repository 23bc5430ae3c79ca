//! What credentials are called in the secret store, and whose a name is.
//!
//! A credential with the key `halopsa_api_key` is `{org_id}-halopsa-api-key` for one organization and `halopsa-api-key` for
//! all: Key Vault's names have no underscores. So all names share one space, and one name can be read in several ways:
//! `globex-psa-api-key` is the global `globex_psa_api_key`, the `psa_api_key` of an organization `globex`, and the `api_key`
//! of an organization `globex-psa`. Whoever may read or write it in one way would reach what somebody else stored in another.
//! Hence the rules here, all of which refuse:
//!
//! - Keys have no hyphens, so that within one scope no two keys have the same name.
//! - A global name is used only if no organization's id, and nothing that looks like a UUID, is its beginning up to a hyphen.
//! - An organization's name is used only if that holds for it, too, apart from the organization itself.
//! - An organization's name is used only if it is not the global one of a credential that a known integration needs.
//! - A name that is made for the secrets of mappings is used for nothing else.
//!
//! Key Vault's names are the same in upper and lower case, ids of organizations are not. Names are therefore written in lower
//! case, and ids are compared so: of `Acme` and `acme`, which would share their names, neither gets a secret of its own.

use std::collections::HashMap;

use crate::{
    domain::{InvalidValue, OrgId, SecretReference},
    integrations::Registry,
    secrets::NAME_LIMIT,
};

/// What a credential is asked for by: `[a-z][a-z0-9_]{0,88}`, so that it fits into a name behind a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// # Errors
    /// The rule, as a phrase for a person.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let is_key = text.len() <= 89
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_key {
            return Ok(Self(text.to_owned()));
        }
        let rule = "must begin with a lower-case letter and hold at most 89 lower-case letters, digits and underscores; no \
                    hyphens, which separate an organization's id from the key where it is stored";
        Err(InvalidValue(rule.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its name in the secret store.
    pub(super) fn name(&self, scope: &SecretScope) -> String {
        let key = self.0.replace('_', "-");
        match scope {
            SecretScope::Global => key,
            SecretScope::Organization(org_id) => format!("{}-{key}", org_id.as_str().to_ascii_lowercase()),
        }
    }
}

/// Whom a credential is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretScope {
    /// Every organization that has none of its own.
    Global,
    Organization(OrgId),
}

/// Why a credential can be neither read nor stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretNameError {
    #[error("the key of the secret {0}")]
    Key(InvalidValue),
    #[error("'{name}' is longer than the {NAME_LIMIT} characters of a secret's name: choose a shorter key")]
    TooLong { name: String },
    #[error(
        "the secret '{name}' can't be used as {usage}: it could be one of organization {owner}; choose \
         another key, or another id for the integration"
    )]
    Owned { name: String, usage: String, owner: String },
    #[error(
        "the secret '{name}' can't be used as {usage}: it begins like a UUID, as an organization's own; choose \
         another key, or another id for the integration"
    )]
    Uuid { name: String, usage: String },
    #[error(
        "the secret '{name}' can't be used as {usage}: it is the global one of integration {integration}; choose another key"
    )]
    Integration { name: String, usage: String, integration: String },
    #[error(
        "the secret '{name}' can't be used as {usage}: names like it are of secrets in mappings; choose another key"
    )]
    Mapping { name: String, usage: String },
    #[error("organization {0} is unknown")]
    UnknownOrganization(OrgId),
}

/// The ids of all organizations by what Key Vault takes them for.
pub(super) struct Owners(HashMap<String, Vec<OrgId>>);

impl Owners {
    pub(super) fn new(ids: impl IntoIterator<Item = OrgId>) -> Self {
        let mut owners: HashMap<_, Vec<_>> = HashMap::new();
        for id in ids {
            owners.entry(id.as_str().to_ascii_lowercase()).or_default().push(id);
        }
        Self(owners)
    }

    pub(super) fn know(&self, org_id: &OrgId) -> bool {
        self.0.get(&org_id.as_str().to_ascii_lowercase()).is_some_and(|ids| ids.contains(org_id))
    }

    /// The name of a credential, if it can be nothing else.
    pub(super) fn name(
        &self,
        key: &SecretKey,
        scope: &SecretScope,
        registry: &Registry,
    ) -> Result<String, SecretNameError> {
        let name = key.name(scope);
        let (own, usage) = match scope {
            SecretScope::Global => (None, "a global one".to_owned()),
            SecretScope::Organization(org_id) => (Some(org_id), format!("one of organization {org_id}")),
        };
        for (end, _) in name.match_indices('-') {
            let owners = self.0.get(&name[..end]).into_iter().flatten();
            if let Some(owner) = owners.into_iter().find(|owner| Some(*owner) != own) {
                return Err(SecretNameError::Owned { usage, owner: owner.to_string(), name });
            }
        }
        if own.is_none_or(|own| own.as_str().len() < UUID) && begins_with_uuid(&name) {
            return Err(SecretNameError::Uuid { name, usage });
        }
        if own.is_some()
            && let Some(integration) = needs(registry, &name)
        {
            return Err(SecretNameError::Integration { name, usage, integration });
        }
        if SecretReference::is_name(&name) {
            return Err(SecretNameError::Mapping { name, usage });
        }
        if name.len() > NAME_LIMIT {
            return Err(SecretNameError::TooLong { name });
        }
        Ok(name)
    }
}

/// The length of a UUID with its hyphens.
const UUID: usize = 36;

/// An organization that is unknown now may have been there, and its secrets may still be.
fn begins_with_uuid(name: &str) -> bool {
    let beginning = name.get(..UUID).filter(|_| matches!(name.as_bytes().get(UUID), None | Some(b'-')));
    beginning.is_some_and(|text| uuid::Uuid::try_parse(text).is_ok())
}

/// The integration that has that global name for one of its credentials.
fn needs(registry: &Registry, name: &str) -> Option<String> {
    let found = registry.iter().find(|integration| {
        let secrets = integration.config().iter().filter(|field| field.is_secret());
        secrets.into_iter().any(|field| super::full_key(integration.name(), field).replace('_', "-") == name)
    });
    found.map(|integration| integration.name().to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::IntegrationName,
        integrations::{ConfigField, Integration, manifest::FieldKind},
    };

    struct Psa(IntegrationName, Vec<ConfigField>);

    impl Integration for Psa {
        fn name(&self) -> &IntegrationName {
            &self.0
        }

        fn title(&self) -> &'static str {
            "A PSA"
        }

        fn config(&self) -> &[ConfigField] {
            &self.1
        }
    }

    fn registry() -> Registry {
        let field = ConfigField {
            key: "api_key".into(),
            title: String::new(),
            kind: FieldKind::Secret,
            options: Vec::new(),
            pattern: None,
            default: None,
            required: None,
            help: String::new(),
        };
        let psa = Psa(IntegrationName::parse("psa").unwrap(), vec![field]);
        Registry::new([Arc::new(psa) as Arc<dyn Integration>])
    }

    fn org(id: &str) -> OrgId {
        OrgId::parse(id).unwrap()
    }

    fn name(ids: &[&str], own: Option<&str>, key: &str) -> Result<String, SecretNameError> {
        let owners = Owners::new(ids.iter().map(|id| org(id)));
        let scope = own.map_or(SecretScope::Global, |id| SecretScope::Organization(org(id)));
        owners.name(&SecretKey::parse(key).unwrap(), &scope, &registry())
    }

    #[test]
    fn keys() {
        for good in ["a", "psa_api_key", "m365__x_", &"a".repeat(89)] {
            assert!(SecretKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "psa-api-key", "Psa", "1a", "_a", "a b", "../keys/x", "é", "a\0", &"a".repeat(90)] {
            assert!(SecretKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_can_be_nothing_else() {
        const ID: &str = "6f9619FF-8b86-d011-b42d-00c04fc964ff";
        let ids = ["acme", "Globex", ID];
        assert_eq!(name(&ids, None, "psa_api_key").unwrap(), "psa-api-key");
        assert_eq!(name(&ids, Some("acme"), "psa_api_key").unwrap(), "acme-psa-api-key");
        assert_eq!(name(&ids, Some("Globex"), "psa_api_key").unwrap(), "globex-psa-api-key");
        assert_eq!(name(&ids, Some(ID), "psa_pin").unwrap(), "6f9619ff-8b86-d011-b42d-00c04fc964ff-psa-pin");
        assert_eq!(name(&ids, Some(ID), &"a".repeat(89)).unwrap().len(), 126);
        // The id of an organization, without anything behind it, is the name of none of its secrets.
        assert_eq!(name(&ids, None, "acme").unwrap(), "acme");
    }

    #[test]
    fn names_that_could_be_somebody_elses() {
        let owned = |ids: &[&str], own, key| match name(ids, own, key) {
            Err(SecretNameError::Owned { owner, .. }) => owner,
            other => panic!("{other:?}"),
        };
        assert_eq!(owned(&["globex"], None, "globex_psa_api_key"), "globex");
        assert_eq!(owned(&["GLOBEX"], None, "globex_psa_api_key"), "GLOBEX");
        assert_eq!(owned(&["globex-psa"], None, "globex_psa_api_key"), "globex-psa");
        assert_eq!(owned(&["psa-"], None, "psa__key"), "psa-");
        // Among organizations: longer, shorter, and of the same letters.
        assert_eq!(owned(&["acme", "acme-eu"], Some("acme"), "eu_psa_api_key"), "acme-eu");
        assert_eq!(owned(&["acme", "acme-eu"], Some("acme-eu"), "psa_api_key"), "acme");
        assert_eq!(owned(&["Acme", "acme"], Some("acme"), "psa_api_key"), "Acme");
        let uuid = |own, key| assert!(matches!(name(&["abcdef01"], own, key), Err(SecretNameError::Uuid { .. })));
        uuid(None, "a0000000_0000_0000_0000_000000000000_psa_api_key");
        uuid(None, "a0000000_0000_0000_0000_000000000000");
        uuid(Some("abcdef01"), "a000_0000_0000_000000000000_key");
        let error = name(&["psa"], Some("psa"), "api_key").unwrap_err();
        insta::assert_snapshot!(error, @"the secret 'psa-api-key' can't be used as one of organization psa: it is the global one of integration psa; choose another key");
        let digits = "a".repeat(32);
        for (own, key) in
            [(Some("mapping"), format!("{digits}_{digits}")), (None, format!("mapping_{digits}_{digits}"))]
        {
            let ids = own.as_slice();
            assert!(matches!(name(ids, own, &key), Err(SecretNameError::Mapping { .. })), "{key}");
        }
        let id = "x".repeat(64);
        assert!(matches!(name(&[&id], Some(&id), &"a".repeat(63)), Err(SecretNameError::TooLong { .. })));
    }
}
