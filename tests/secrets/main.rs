//! The secret port: one suite of cases for all adapters, and what is particular to Key Vault.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

#[path = "../support/captured.rs"]
mod captured;
mod conformance;
mod key_vault;
mod local;
mod rotation;
mod stub;
