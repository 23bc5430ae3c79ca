//! What a request says about the data of a mapping, and what that makes of the data that is there.

use super::MappingError;
use crate::{
    domain::{IntegrationName, Mapping, MappingData, OrgId, Secret, SecretReference},
    integrations::{DataFields, GivenData},
};

/// What is to become of a mapping's data.
#[derive(Clone, Debug)]
pub enum DataChange {
    Leave,
    Empty,
    Give(GivenData),
}

impl DataChange {
    /// `data`: `None` leaves it as it is, `Some(None)` empties it.
    ///
    /// # Errors
    /// [`MappingError::InvalidData`].
    pub fn of(
        fields: DataFields<'_>,
        org_id: &OrgId,
        integration: &IntegrationName,
        data: Option<Option<MappingData>>,
    ) -> Result<Self, MappingError> {
        Ok(match data {
            None => Self::Leave,
            Some(None) => Self::Empty,
            Some(Some(data)) => Self::Give(fields.take(data, org_id, integration).map_err(MappingError::InvalidData)?),
        })
    }

    /// What has to be stored before the mapping may refer to it.
    pub fn secrets(&self) -> &[(SecretReference, Secret)] {
        match self {
            Self::Give(given) => &given.secrets,
            Self::Leave | Self::Empty => &[],
        }
    }

    /// Data that was stored before its fields were declared is left alone until somebody gives new one, or the mapping
    /// begins to count.
    pub fn apply(
        &self,
        fields: DataFields<'_>,
        before: Option<&Mapping>,
        after: &mut Mapping,
    ) -> Result<(), MappingError> {
        match self {
            Self::Leave => {}
            Self::Empty => after.data = None,
            Self::Give(given) => {
                let before = before.and_then(|mapping| mapping.data.as_ref());
                after.data = Some(given.over(before).map_err(MappingError::InvalidData)?);
            }
        }
        let begins = after.is_active && before.is_none_or(|before| !before.is_active);
        if !after.is_active {
            after.data = after.data.take().map(|data| fields.without_secrets(data));
        } else if begins || !matches!(self, Self::Leave) {
            fields.complete(after.data.as_ref()).map_err(MappingError::InvalidData)?;
        }
        Ok(())
    }
}
