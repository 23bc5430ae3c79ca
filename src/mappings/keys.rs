//! The keys of every row that the mapping service keeps, and how to read them back.
//!
//! Mappings begin with an integration's name, so with a lower-case letter. The service's own rows begin with an upper-case
//! word, which no mapping can; markers live in a partition that no organization can have.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    domain::{ExternalOrgId, IntegrationName, MappingId, MappingKey, OrgId},
    tables::{Key, Range},
};

/// Markers' partition: an underscore is in no organization id.
const MARKERS: &str = "_unfinished";
const MARKER: &str = "MARKER_";
const INTENT: &str = "INTENT_";
const GUARD: &str = "GUARD_";
const SET: &str = "SET_";

/// What a row of `OrgIntegrationMappings` is, by its key.
#[derive(Clone, Debug, PartialEq)]
pub enum RowKind {
    Mapping(MappingKey),
    Guard,
    Intent(OrgId, Uuid),
    Marker(OrgId, Uuid),
    SetSlot,
    /// No row of this service.
    Foreign,
}

impl RowKind {
    pub fn of(key: &Key) -> Self {
        if key.partition == MARKERS {
            return marked(key).map_or(Self::Foreign, |(org, id)| Self::Marker(org, id));
        }
        if key.row.starts_with(GUARD) {
            return Self::Guard;
        }
        if key.row.starts_with(SET) {
            return Self::SetSlot;
        }
        if let Some(id) = key.row.strip_prefix(INTENT) {
            return match (OrgId::parse(&key.partition), Uuid::parse_str(id)) {
                (Ok(org), Ok(id)) => Self::Intent(org, id),
                _ => Self::Foreign,
            };
        }
        mapping_of(key).map_or(Self::Foreign, Self::Mapping)
    }
}

/// The row of a mapping in the source of truth.
pub fn source(key: &MappingKey) -> Key {
    Key::new(key.org_id.as_str(), format!("{}_{}", key.integration, key.id))
}

/// The row of a mapping in the reverse index.
pub fn index(key: &MappingKey) -> Key {
    Key::new(key.integration.as_str(), format!("{}_{}", key.org_id, key.id))
}

/// The mapping that a key of the source of truth names, if any.
///
/// `halo_mapping_mapping_1` belongs to the integration `halo_mapping`: a mapping id has no second underscore, so the last
/// `_mapping_` is where it begins.
pub fn mapping_of(key: &Key) -> Option<MappingKey> {
    let at = key.row.rfind("_mapping_")?;
    Some(MappingKey {
        org_id: OrgId::parse(&key.partition).ok()?,
        integration: IntegrationName::parse(&key.row[..at]).ok()?,
        id: MappingId::parse(&key.row[at + 1..]).ok()?,
    })
}

/// The mapping that a key of the reverse index names, if any.
pub fn mapping_of_index(key: &Key) -> Option<MappingKey> {
    let (org_id, id) = key.row.split_once('_')?;
    Some(MappingKey {
        org_id: OrgId::parse(org_id).ok()?,
        integration: IntegrationName::parse(&key.partition).ok()?,
        id: MappingId::parse(id).ok()?,
    })
}

/// All mappings of an organization.
pub fn mappings_of_org(org_id: &OrgId) -> Range {
    Range::new(org_id.as_str(), "a", "{")
}

/// All mappings of an organization to one integration, and perhaps some of an integration whose name goes on with
/// `_mapping_`: readers compare the name as well.
pub fn mappings_of_integration(org_id: &OrgId, integration: &IntegrationName) -> Range {
    Range::prefix(org_id.as_str(), &format!("{integration}_mapping_"))
}

/// The reverse index of one integration, of these organizations alone if there are any given: in order, without what comes
/// before `from`.
pub fn index_of(integration: &IntegrationName, organizations: Option<&[OrgId]>, from: &str) -> Vec<Range> {
    let mut ranges = match organizations {
        None => vec![Range::new(integration.as_str(), "", "~")],
        Some(ids) => ids.iter().map(|id| Range::prefix(integration.as_str(), &format!("{id}_mapping_"))).collect(),
    };
    // `a-b` sorts after `a`, and `a-b_` before `a_`.
    ranges.sort_by(|a, b| a.from.cmp(&b.from));
    ranges.retain(|range| from < range.to.as_str());
    for range in &mut ranges {
        range.from = range.from.as_str().max(from).to_owned();
    }
    ranges
}

/// The row that one active mapping of an external id holds. A hash, since the id may be longer than a key and hold what no
/// key can; the row itself has the id in plain.
pub fn guard(org_id: &OrgId, integration: &IntegrationName, external_org_id: &ExternalOrgId) -> Key {
    let hash = Sha256::digest(external_org_id.as_str().as_bytes());
    Key::new(org_id.as_str(), format!("{GUARD}{integration}_{}", hex(&hash)))
}

/// The row that two concurrent "set" calls without a mapping id both have to write when they create.
pub fn set_slot(org_id: &OrgId, integration: &IntegrationName) -> Key {
    Key::new(org_id.as_str(), format!("{SET}{integration}"))
}

/// The row that says what remains to be done for a change.
pub fn intent(org_id: &OrgId, change: Uuid) -> Key {
    Key::new(org_id.as_str(), format!("{INTENT}{}", change.simple()))
}

/// The row that says where an intent may be.
pub fn marker(org_id: &OrgId, change: Uuid) -> Key {
    Key::new(MARKERS, format!("{MARKER}{org_id}_{}", change.simple()))
}

/// Every marker.
pub fn markers() -> Range {
    Range::prefix(MARKERS, MARKER)
}

/// The organization and change of a marker.
pub fn marked(key: &Key) -> Option<(OrgId, Uuid)> {
    let (org_id, change) = key.row.strip_prefix(MARKER)?.split_once('_')?;
    Some((OrgId::parse(org_id).ok()?, Uuid::parse_str(change).ok()?))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn mapping_key()(org in "[A-Za-z0-9-]{1,64}", name in "[a-z](_mapping_|mapping|[a-z0-9_]){0,5}", id in "[A-Za-z0-9-]{1,64}")
            -> MappingKey {
            MappingKey {
                org_id: OrgId::parse(org).unwrap(),
                integration: IntegrationName::parse(name).unwrap(),
                id: MappingId::parse(format!("mapping_{id}")).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn keys_say_which_mapping_they_are(key in mapping_key()) {
            prop_assert_eq!(mapping_of(&source(&key)), Some(key.clone()));
            prop_assert_eq!(mapping_of_index(&index(&key)), Some(key.clone()));
            prop_assert_eq!(RowKind::of(&source(&key)), RowKind::Mapping(key));
        }

        #[test]
        fn mappings_are_in_their_ranges(key in mapping_key()) {
            let row = source(&key).row;
            for range in [mappings_of_org(&key.org_id), mappings_of_integration(&key.org_id, &key.integration)] {
                prop_assert!(range.from <= row && row < range.to);
            }
        }

        #[test]
        fn the_services_own_rows_are_in_no_range_of_mappings(key in mapping_key(), external in "[^<>\"'\\p{Cc}]{1,20}") {
            let external = ExternalOrgId::parse(external).unwrap();
            let change = Uuid::now_v7();
            let range = mappings_of_org(&key.org_id);
            for own in [
                guard(&key.org_id, &key.integration, &external),
                set_slot(&key.org_id, &key.integration),
                intent(&key.org_id, change),
                marker(&key.org_id, change),
            ] {
                prop_assert!(own.row < range.from);
                prop_assert_eq!(mapping_of(&own), None);
            }
            prop_assert_eq!(marked(&marker(&key.org_id, change)), Some((key.org_id.clone(), change)));
        }
    }
}
