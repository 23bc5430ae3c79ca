//! What an administrator has set for an integration: one value for each field that its manifest declares.

use std::{collections::BTreeMap, sync::LazyLock};

use sha2::{Digest, Sha256};

use crate::domain::Secret;

/// Whose setting it is. The organization's own comes before the global one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Written in the manifest.
    Default,
    Global,
    Organization,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Setting {
    pub value: Secret,
    /// Whether the field is a credential.
    pub secret: bool,
    pub scope: Scope,
}

/// Names a set of values without telling them: equal for equal settings, meaningless outside of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// The values of all fields that are set.
#[derive(Clone, Debug)]
pub struct Settings {
    values: BTreeMap<String, Setting>,
    fingerprint: Fingerprint,
}

impl Settings {
    pub fn new(values: BTreeMap<String, Setting>) -> Self {
        /// So that a fingerprint that gets out cannot be tried against guessed values.
        static SALT: LazyLock<[u8; 16]> = LazyLock::new(|| *uuid::Uuid::new_v4().as_bytes());
        let mut hash = Sha256::new_with_prefix(*SALT);
        for (key, setting) in &values {
            for part in [key.as_str(), setting.value.expose()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
            hash.update([setting.scope as u8]);
        }
        Self { values, fingerprint: Fingerprint(hash.finalize().into()) }
    }

    /// None at all.
    pub fn none() -> Self {
        Self::new(BTreeMap::new())
    }

    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.values.get(key)
    }

    /// What caches are keyed by, so that one credential's answers never serve another.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether all credentials are of the organization itself.
    pub fn secrets_are_its_own(&self) -> bool {
        self.values.values().filter(|setting| setting.secret).all(|setting| setting.scope == Scope::Organization)
    }

    /// Every credential, to keep it out of messages: what an external system says may repeat what was sent to it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.values.values().filter(|setting| setting.secret).map(|setting| setting.value.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_in_anything_are_told_apart() {
        let of = |values: &[(&str, &str, Scope)]| {
            let setting = |value: &str, scope| Setting { value: Secret::new(value.to_owned()), secret: true, scope };
            let values = values.iter().map(|(key, value, scope)| ((*key).to_owned(), setting(value, *scope)));
            Settings::new(values.collect()).fingerprint()
        };
        let all = [
            of(&[]),
            of(&[("a", "b", Scope::Global)]),
            // Whose a value is decides where it may be sent.
            of(&[("a", "b", Scope::Organization)]),
            of(&[("a", "c", Scope::Global)]),
            of(&[("ab", "", Scope::Global)]),
            of(&[("", "ab", Scope::Global)]),
            of(&[("a", "", Scope::Global), ("b", "", Scope::Global)]),
        ];
        let different: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), 7);
        assert_eq!(of(&[("a", "b", Scope::Global)]), of(&[("a", "b", Scope::Global)]));
    }
}
