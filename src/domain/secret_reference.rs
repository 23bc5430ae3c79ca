//! What a mapping's row holds in the place of a secret of its data: the name of it in the secret store.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{IntegrationName, OrgId};

/// The only member of the object that stands for a secret. A field that may be secret is a text otherwise, so nothing that
/// a caller sends is taken for one.
const MEMBER: &str = "$secret";
const PREFIX: &str = "mapping-";
/// Hexadecimal digits of each of the two numbers in a name.
const DIGITS: usize = 32;

/// Where a secret of a mapping is stored: `mapping-{whose}-{which}`. `whose` follows from organization, integration and
/// field, so that a reference which got into another organization's row leads nowhere; `which` is new for every value, so
/// that a name never means anything else, and a deleted one is never needed again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretReference(String);

impl SecretReference {
    /// For a value that is about to be stored.
    pub fn new(org_id: &OrgId, integration: &IntegrationName, field: &str) -> Self {
        Self(format!("{}-{}", owner(org_id, integration, field), uuid::Uuid::new_v4().simple()))
    }

    /// Its name in the secret store.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// None: it is no such name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::is_name(name).then(|| Self(name.to_owned()))
    }

    /// Whether a secret of that name is one of a mapping.
    pub fn is_name(name: &str) -> bool {
        let is_number = |text: &str| {
            text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        numbers.is_some_and(|(whose, which)| is_number(whose) && is_number(which))
    }

    pub fn is_of(&self, org_id: &OrgId, integration: &IntegrationName, field: &str) -> bool {
        self.0.rsplit_once('-').is_some_and(|(whose, _)| whose == owner(org_id, integration, field))
    }

    /// As a member of the mapping's data.
    pub fn to_value(&self) -> Value {
        json!({ MEMBER: self.0 })
    }

    /// The reference that a member of the data is.
    pub fn of_value(value: &Value) -> Option<Self> {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        Self::parse(object.get(MEMBER)?.as_str()?)
    }

    /// Whether a member of the data looks like a reference, a sound one or not.
    pub fn is_claimed_by(value: &Value) -> bool {
        value.as_object().is_some_and(|object| object.contains_key(MEMBER))
    }
}

fn owner(org_id: &OrgId, integration: &IntegrationName, field: &str) -> String {
    let hash = Sha256::digest(format!("{org_id}\n{integration}\n{field}"));
    let number = u128::from_be_bytes(std::array::from_fn(|index| hash[index]));
    format!("{PREFIX}{number:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_of_one_field_of_one_organization_and_never_the_same_again() {
        let org = |id| OrgId::parse(id).unwrap();
        let name = |name| IntegrationName::parse(name).unwrap();
        let reference = SecretReference::new(&org("acme"), &name("psa"), "key");
        assert_eq!(reference.name().len(), 73);
        assert_eq!(SecretReference::parse(reference.name()), Some(reference.clone()));
        assert_eq!(SecretReference::of_value(&reference.to_value()), Some(reference.clone()));
        assert!(reference.is_of(&org("acme"), &name("psa"), "key"));
        for (id, integration, field) in [("Acme", "psa", "key"), ("acme", "psa2", "key"), ("acme", "psa", "key2")] {
            assert!(!reference.is_of(&org(id), &name(integration), field), "{id} {integration} {field}");
        }
        assert_ne!(reference, SecretReference::new(&org("acme"), &name("psa"), "key"));
    }

    #[test]
    fn nothing_else_is_a_reference() {
        let number = "0123456789abcdef0123456789abcdef";
        let good = format!("mapping-{number}-{number}");
        assert!(SecretReference::is_name(&good));
        for bad in ["", "mapping-", "psa-api-key", &good.to_uppercase(), &good[1..], &format!("{good}0")] {
            assert!(!SecretReference::is_name(bad), "{bad}");
        }
        for value in
            [json!(good), json!({"$secret": 1}), json!({"$secret": "psa-api-key"}), json!({"$secret": good, "a": 1})]
        {
            assert_eq!(SecretReference::of_value(&value), None, "{value}");
        }
        assert!(SecretReference::is_claimed_by(&json!({"$secret": good, "a": 1})));
    }
}
