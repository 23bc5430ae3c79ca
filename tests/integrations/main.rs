//! Integrations that manifests describe, against external systems on this machine: well-behaved ones as their vendors
//! document them, and ones that misbehave on purpose.

mod catalogue;
mod subject;
mod system;
