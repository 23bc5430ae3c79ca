//! Integrations that manifests describe, against external systems on this machine: well-behaved ones as their vendors
//! document them, and ones that misbehave on purpose.

mod addresses;
mod auth;
mod catalogue;
mod client;
mod errors;
mod hostile;
mod live;
mod mapping_data;
mod paging;
mod paging_pace;
mod paging_properties;
mod records;
mod secrets;
mod subject;
mod system;
mod tokens;
