//! The table port: one suite of cases for all adapters, and what is particular to each.

mod azure;
#[path = "../support/azurite.rs"]
mod azurite;
mod conformance;
mod embedded;
mod stub;
