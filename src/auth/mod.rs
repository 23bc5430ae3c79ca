//! Who is calling, and what they may do: the one place that decides.
//!
//! Owns: callers, the rights that routes ask for, and who has which. Must not know: routes, status codes. `token` checks
//! what a caller shows, against the published `keys`; `permissions` reads what the platform allows to a user. A token
//! says who somebody is; what they may do follows from it for applications alone, whose roles Entra ID itself grants.

mod keys;
mod permissions;
mod token;

pub use self::{
    permissions::{Manageable, Permissions, Rights},
    token::{Entra, TokenError, Tokens, guid},
};
use crate::{
    cache::system_clock,
    domain::OrgId,
    tables::{TableError, Tables},
};

/// The app role that lets an application resolve and set mappings.
pub const WORKFLOWS_ROLE: &str = "Workflows.Execute";
/// Who a request without a name is from, in development mode.
pub const DEV_USER: &str = "dev-admin";

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    User {
        id: String,
    },
    /// A program without a user.
    Application {
        id: String,
        roles: Vec<String>,
    },
    /// Anybody on a developer's machine.
    Developer {
        id: String,
    },
}

impl Caller {
    /// As it stands in audit events.
    pub fn id(&self) -> &str {
        match self {
            Self::User { id } | Self::Application { id, .. } | Self::Developer { id } => id,
        }
    }
}

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Nothing, not even a token.
    Anonymous,
    /// To be somebody: for what belongs to no organization.
    Authenticated,
    /// To list across organizations. Everybody may; [`Grant::organizations`] says what the list may hold.
    ListManageable,
    /// To manage the mappings of the organization, and read their history.
    ManageConfig,
    /// To ask, as a workflow does, which mapping an organization has.
    Resolve,
    /// To write, as a workflow does, which mapping an organization has.
    SetMapping,
    /// To see an external system's customers, with the organization's credentials, or the MSP's own if there is none.
    Discover,
    /// To store a credential of the organization, or of the MSP itself if there is none.
    ManageSecrets,
}

impl Right {
    /// What a user without it lacks, as a sentence for them.
    const fn required(self) -> &'static str {
        match self {
            Self::Anonymous | Self::Authenticated | Self::ListManageable => "a signed-in caller required",
            Self::ManageConfig | Self::SetMapping => {
                "canManageConfig permission required to manage integration mappings"
            }
            Self::Resolve => {
                "canExecuteWorkflows or canManageConfig permission required to resolve integration mappings"
            }
            Self::Discover => {
                "canManageConfig permission on the organization in orgId, as a user of the MSP, required to list \
                 external organizations; without orgId an MSP administrator"
            }
            Self::ManageSecrets => {
                "canManageConfig permission on the organization in scope, as a user of the MSP, required to store its \
                 credentials; for scope global an MSP administrator"
            }
        }
    }
}

/// What was granted; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The organizations whose data the answer may show.
    pub organizations: Manageable,
}

/// Why nothing was granted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    #[error("no caller")]
    Unauthenticated,
    /// With what is lacking, fit to be shown. The same whether or not the organization exists.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The rights could not be read. Never shown: it carries the store's own words.
    #[error(transparent)]
    Unavailable(#[from] TableError),
}

enum Mode {
    Entra(Box<Tokens>),
    Development,
}

/// Tells callers apart and decides what they may do.
pub struct Auth {
    mode: Mode,
    permissions: Permissions,
}

impl Auth {
    /// Callers show tokens of Entra ID.
    pub fn entra(tokens: Tokens, tables: Tables) -> Self {
        let permissions = Permissions::new(tables, tokens.clock());
        Self { mode: Mode::Entra(Box::new(tokens)), permissions }
    }

    /// Callers are who they say, and may do everything.
    pub fn development(tables: Tables) -> Self {
        Self { mode: Mode::Development, permissions: Permissions::new(tables, system_clock()) }
    }

    /// Whether callers are who they say.
    pub const fn is_development(&self) -> bool {
        matches!(self.mode, Mode::Development)
    }

    /// Who is calling. `authorization` is the header of that name; `dev_user` counts in development mode alone.
    ///
    /// # Errors
    /// There is no token, it is not to be trusted, or whether it is cannot be found out.
    pub async fn identify(&self, authorization: Option<&str>, dev_user: Option<&str>) -> Result<Caller, TokenError> {
        match &self.mode {
            Mode::Entra(tokens) => tokens.caller(authorization).await,
            Mode::Development => Ok(Caller::Developer { id: dev_user.unwrap_or(DEV_USER).to_owned() }),
        }
    }

    /// Whether the caller had the right on that organization when their rows were last read, however long ago. It decides
    /// nothing, and is no reason to show anything.
    pub async fn had(&self, caller: Option<&Caller>, right: Right, org: Option<&OrgId>) -> bool {
        let Some(Caller::User { id }) = caller else { return false };
        self.permissions.last(id, org).await.is_some_and(|rights| rights.is_msp_admin() || allows(rights, right))
    }

    /// Whether the caller has the right, on that organization. Whether the organization exists is not looked at.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn authorize(&self, caller: Option<&Caller>, right: Right, org: Option<&OrgId>) -> Result<Grant, Denied> {
        let only = || Ok(Grant { organizations: Manageable::Only(org.into_iter().cloned().collect()) });
        match (right, caller) {
            (Right::Anonymous, _) => Ok(Grant::default()),
            (_, None) => Err(Denied::Unauthenticated),
            (_, Some(Caller::Developer { .. })) => Ok(Grant { organizations: Manageable::All }),
            (Right::Authenticated, _) => Ok(Grant::default()),
            (Right::Resolve | Right::SetMapping, Some(Caller::Application { roles, .. }))
                if roles.iter().any(|role| role == WORKFLOWS_ROLE) =>
            {
                only()
            }
            (_, Some(Caller::Application { .. })) => Err(Denied::Forbidden(
                "an application may resolve and set mappings, with the app role Workflows.Execute",
            )),
            (Right::ListManageable, Some(Caller::User { id })) => {
                Ok(Grant { organizations: self.permissions.manageable(id).await? })
            }
            (_, Some(Caller::User { id })) => {
                let rights = self.permissions.rights(id, org).await?;
                if rights.is_msp_admin() {
                    Ok(Grant { organizations: Manageable::All })
                } else if allows(rights, right) {
                    only()
                } else {
                    Err(Denied::Forbidden(right.required()))
                }
            }
        }
    }
}

/// What a user who is no MSP administrator may do on the organization that the rights are about.
const fn allows(rights: Rights, right: Right) -> bool {
    match right {
        Right::Anonymous | Right::Authenticated => true,
        Right::ListManageable => false,
        Right::ManageConfig | Right::SetMapping => rights.can_manage(),
        Right::Resolve => rights.can_execute() || rights.can_manage(),
        // Discovery shows the names of all customers; credentials are the MSP's. Neither is for a customer's own users.
        Right::Discover | Right::ManageSecrets => rights.can_manage() && !rights.user_type_org(),
    }
}
