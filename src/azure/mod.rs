//! What the Azure adapters share: the pooled HTTP client under the SDK, and the identity that fetches tokens.
//!
//! Owns: [`Transport`], [`Failure`], [`managed_identity`]. Must not know: tables, secrets, the environment. Only this
//! module and the adapters (`tables/azure`, `secrets/key_vault.rs`) name an `azure_*` crate.

mod identity;
mod transport;

pub use self::identity::{IdentityEnvironment, managed_identity};
pub(crate) use self::transport::{Failure, Transport};
