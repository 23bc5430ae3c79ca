//! The platform's organizations, read only. Must not know mappings or callers.

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    domain::{OrgId, Organization},
    tables::{Key, Property, Range, Stored, Table, TableError, Tables, scan_all},
};

const PARTITION: &str = "ORG";
/// Reads under way at once.
const SIDE_BY_SIDE: usize = 16;

/// Reads the table `Organizations`.
#[derive(Clone)]
pub struct Organizations {
    tables: Tables,
}

impl Organizations {
    pub fn new(tables: Tables) -> Self {
        Self { tables }
    }

    /// One organization, or none. One round trip.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn get(&self, id: &OrgId) -> Result<Option<Organization>, TableError> {
        let stored = self.tables.get(Table::Organizations, &Key::new(PARTITION, id.as_str())).await?;
        Ok(stored.as_ref().and_then(read))
    }

    /// Those of the ids that exist, in their order. Reads each by its key, some of them side by side.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn get_all(&self, ids: &[OrgId]) -> Result<Vec<Organization>, TableError> {
        let reads = stream::iter(ids.to_vec()).map(|id| async move { self.get(&id).await }).buffered(SIDE_BY_SIDE);
        reads.try_filter_map(async |found| Ok(found)).try_collect().await
    }

    /// All organizations in the order of their ids.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn list(&self) -> Result<Vec<Organization>, TableError> {
        let rows = scan_all(&*self.tables, Table::Organizations, &Range::new(PARTITION, "", "~")).await?;
        Ok(rows.iter().filter_map(read).collect())
    }
}

/// A row whose key is no organization id is another program's business.
fn read(stored: &Stored) -> Option<Organization> {
    let properties = &stored.row.properties;
    let text = |name: &str| properties.get(name).and_then(Property::text).filter(|text| !text.is_empty());
    Some(Organization {
        id: OrgId::parse(&stored.row.key.row).ok()?,
        name: text("Name"),
        tenant_id: text("TenantId"),
        // Anything but a clear yes is a no: an organization of unknown state must not be automated.
        is_active: properties.get("IsActive") == Some(&Property::Bool(true)),
    })
}
