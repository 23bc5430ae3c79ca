//! Crosswalk: which customer is which in every system a managed service provider uses.

pub mod tables;
