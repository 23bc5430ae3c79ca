//! Crosswalk: which customer is which in every system a managed service provider uses.
//!
//! In reading order; a module knows only those above it.
#![forbid(unsafe_code)]
// No panic on input or on a fault outside. Tests may.
#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented, clippy::unwrap_used)
)]

/// The nouns: identifiers, mappings, organizations.
pub mod domain;

/// Answers that are used again for a while, and the clock that ages them.
pub mod cache;

/// The shared HTTP client and credential of the Azure adapters.
pub mod azure;
/// Calls to external systems: https, public addresses, bounded answers.
pub mod outbound;
/// The secret port and its local store.
pub mod secrets;
/// The table port and its two stores.
pub mod tables;

/// What changed, who did it, from what to what.
pub mod audit;
/// Who is calling, and what they may do.
pub mod auth;
/// What a workflow holds.
pub mod context;
/// Listing the organizations of external systems, from memory where possible.
pub mod discovery;
/// The external systems and the registry of their names.
pub mod integrations;
/// The mapping service: two tables that never disagree.
pub mod mappings;
/// The platform's organizations, read only.
pub mod organizations;
/// What administrators have set: configuration values and credentials, by organization.
pub mod settings;

/// Every service wired once.
pub mod app;
/// The subcommands.
pub mod commands;
/// Settings.
pub mod config;
/// The API.
pub mod http;
/// Logs.
pub mod telemetry;
