//! What the platform allows to a user: the tables `Users` and `UserPermissions`, read only.
//!
//! Anything but a clear yes is a no: no row, no property, or one that is not a boolean. A store that does not answer is
//! an error, never a right.

use std::time::Duration;

use futures::future::try_join;

use crate::{
    cache::{Cache, Clock},
    domain::OrgId,
    tables::{Key, Property, Range, Stored, Table, TableError, Tables, scan_all},
};

const USERS: &str = "USER";
/// How long a right that was taken away may still count.
const LIFETIME: Duration = Duration::from_secs(5);
/// How long it is known who had which rights. That saves time ([`Permissions::last`]) and decides nothing.
const KNOWN: Duration = Duration::from_mins(10);
/// Rows kept at once, of each table.
const MOST: u64 = 10_000;

/// Of a row of `Users`; the default of a user who has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct User {
    is_active: bool,
    is_msp_admin: bool,
    is_of_msp: bool,
}

/// Of a row of `UserPermissions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Permission {
    manage_config: bool,
    execute_workflows: bool,
}

/// What one user may do, on one organization if there is one in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    user: User,
    permission: Permission,
}

impl Rights {
    /// Has all rights on everything.
    pub const fn is_msp_admin(&self) -> bool {
        self.user.is_active && self.user.is_msp_admin
    }

    /// Belongs to a customer, or to nobody knows whom.
    pub const fn user_type_org(&self) -> bool {
        !self.user.is_of_msp
    }

    /// May manage the organization's mappings.
    pub const fn can_manage(&self) -> bool {
        self.is_msp_admin() || self.user.is_active && self.permission.manage_config
    }

    /// May run the organization's workflows.
    pub const fn can_execute(&self) -> bool {
        self.is_msp_admin() || self.user.is_active && self.permission.execute_workflows
    }
}

/// The organizations whose mappings a caller may manage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manageable {
    All,
    /// In the order of their ids. They need not exist any more.
    Only(Vec<OrgId>),
}

impl Default for Manageable {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Manageable {
    pub fn allows(&self, org: &OrgId) -> bool {
        match self {
            Self::All => true,
            Self::Only(organizations) => organizations.contains(org),
        }
    }
}

/// Reads what users may do, and remembers it for a few seconds.
pub struct Permissions {
    tables: Tables,
    users: Cache<String, User>,
    by_organization: Cache<(String, OrgId), Permission>,
}

impl Permissions {
    pub fn new(tables: Tables, clock: Clock) -> Self {
        let users = Cache::knowing(MOST, LIFETIME, KNOWN, Clock::clone(&clock));
        Self { tables, users, by_organization: Cache::knowing(MOST, LIFETIME, KNOWN, clock) }
    }

    /// What a user may do, on that organization if there is one. At most two reads, side by side.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn rights(&self, user_id: &str, org: Option<&OrgId>) -> Result<Rights, TableError> {
        if !is_key(user_id) {
            return Ok(Rights::default());
        }
        let (user, permission) = try_join(self.user(user_id), self.permission(user_id, org)).await?;
        Ok(Rights { user, permission })
    }

    /// What the rows said when they were last read, if that is known.
    pub async fn last(&self, user_id: &str, org: Option<&OrgId>) -> Option<Rights> {
        let user = self.users.last(&user_id.to_owned()).await?;
        let permission = match org {
            Some(org) => self.by_organization.last(&(user_id.to_owned(), org.clone())).await?,
            None => Permission::default(),
        };
        Some(Rights { user, permission })
    }

    /// The organizations whose mappings a user may manage. Reads one partition, that of the user's own permissions.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn manageable(&self, user_id: &str) -> Result<Manageable, TableError> {
        if !is_key(user_id) {
            return Ok(Manageable::Only(Vec::new()));
        }
        let range = Range::new(user_id, "", "~");
        let rows = scan_all(&*self.tables, Table::UserPermissions, &range);
        let (user, rows) = try_join(self.user(user_id), rows).await?;
        Ok(match user {
            User { is_active: false, .. } => Manageable::Only(Vec::new()),
            User { is_msp_admin: true, .. } => Manageable::All,
            _ => Manageable::Only(
                rows.iter()
                    .filter(|stored| read_permission(stored).manage_config)
                    .filter_map(|stored| OrgId::parse(&stored.row.key.row).ok())
                    .collect(),
            ),
        })
    }

    async fn user(&self, id: &str) -> Result<User, TableError> {
        let read = async {
            let stored = self.tables.get(Table::Users, &Key::new(USERS, id)).await?;
            Ok(stored.as_ref().map(read_user).unwrap_or_default())
        };
        self.users.get_or_read(id.to_owned(), read).await
    }

    async fn permission(&self, user_id: &str, org: Option<&OrgId>) -> Result<Permission, TableError> {
        let Some(org) = org else {
            return Ok(Permission::default());
        };
        let read = async {
            let stored = self.tables.get(Table::UserPermissions, &Key::new(user_id, org.as_str())).await?;
            Ok(stored.as_ref().map(read_permission).unwrap_or_default())
        };
        self.by_organization.get_or_read((user_id.to_owned(), org.clone()), read).await
    }
}

/// Whether a user's id can be part of a key: an object id, or a `sub`, which is base64url.
pub(super) fn is_key(user_id: &str) -> bool {
    (1..=64).contains(&user_id.len())
        && user_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_true(stored: &Stored, name: &str) -> bool {
    stored.row.properties.get(name) == Some(&Property::Bool(true))
}

/// A user of unknown state is not active, and one of unknown type is no user of the MSP.
fn read_user(stored: &Stored) -> User {
    User {
        is_active: is_true(stored, "IsActive"),
        is_msp_admin: is_true(stored, "IsMspAdmin"),
        is_of_msp: stored.row.properties.get("UserType") == Some(&Property::from("MSP")),
    }
}

fn read_permission(stored: &Stored) -> Permission {
    Permission {
        manage_config: is_true(stored, "CanManageConfig"),
        execute_workflows: is_true(stored, "CanExecuteWorkflows"),
    }
}
