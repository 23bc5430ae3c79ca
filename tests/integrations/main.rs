//! Integrations that manifests describe, against external systems on this machine: well-behaved ones as their vendors
//! document them, and ones that misbehave on purpose.

mod catalogue;
mod paging;
mod paging_pace;
mod paging_properties;
mod records;
mod subject;
mod system;
