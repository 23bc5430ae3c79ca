//! The runner of manifests: makes an [`Integration`](super::Integration) of one.

/// A client for one mapped organization.
pub struct OrganizationClient;
