//! The nouns of the product as plain types: no input or output, no async, no store, no HTTP.
//!
//! Every identifier is made by `parse` alone, so that a value of the type is proof of its rule. Start with [`Mapping`].

mod data;
mod id;
mod mapping;
mod organization;
mod secret;
mod secret_reference;
mod time;

pub use self::{
    data::{MappingData, Members},
    id::{Actor, ExternalOrgId, IntegrationName, InvalidValue, MappingId, OrgId, Source},
    mapping::{ExternalOrgName, Mapping, MappingKey, TestOutcome},
    organization::{ExternalOrganization, Organization},
    secret::Secret,
    secret_reference::SecretReference,
    time::{parse_time, time_text},
};
