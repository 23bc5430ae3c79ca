//! Crosswalk: which customer is which in every system a managed service provider uses.

pub mod azure;
pub mod tables;
