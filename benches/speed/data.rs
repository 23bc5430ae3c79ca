//! The mappings that are read: organizations of 100 mappings each, written through the table port.

use crosswalk::tables::{Key, Operation, Properties, Property, Put, Row, Table, TableStore};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::http::request;

/// Mappings of one organization; one batch of the table port.
pub const PER_ORGANIZATION: usize = 100;
pub const INTEGRATION: &str = "example_psa";
/// Requests that are prepared for one server.
pub const REQUESTS: usize = 10_000;
/// Batches under way at a time. The embedded store writes those that wait together.
const CONCURRENT: usize = 32;

pub fn organization(number: usize) -> String {
    format!("3f2a9c1e-5b7d-4e21-9a60-{number:012}")
}

fn mapping(number: usize) -> String {
    format!("mapping_019a8c6e5a5b7d0ab1a7{number:012}")
}

/// The path of a mapping in the API.
pub fn mapping_path(number: usize) -> String {
    let organization = organization(number / PER_ORGANIZATION);
    format!("/api/organizations/{organization}/integrations/{INTEGRATION}/{}", mapping(number))
}

/// The key of its row in the source of truth.
pub fn source_key(number: usize) -> Key {
    Key::new(organization(number / PER_ORGANIZATION), format!("{INTEGRATION}_{}", mapping(number)))
}

/// Requests for mappings all over a store of `count`, in an order that is none. As many for a small store as for a large
/// one, which makes them cost the client the same.
pub fn reads(count: usize) -> Vec<Vec<u8>> {
    scattered(count, REQUESTS).map(|number| request("GET", &mapping_path(number), "", "")).collect()
}

/// Numbers below `count`, which must not be a multiple of 7919: each of them once before any of them twice.
pub fn scattered(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    (0..wanted).map(move |number| number * 7919 % count)
}

/// Creates one more mapping in that organization, of an external id that nobody else has.
pub fn create(organization_number: usize) -> Vec<u8> {
    let path = format!("/api/organizations/{}/integrations", organization(organization_number));
    let external = Uuid::new_v4();
    let body = format!(r#"{{"integration_name":"{INTEGRATION}","external_org_id":"{external}"}}"#);
    request("POST", &path, "Content-Type: application/json\r\n", &body)
}

/// Stores mappings, in the source of truth and in the index, and their organizations.
pub async fn fill(tables: &dyn TableStore, mappings: usize) -> anyhow::Result<()> {
    let mut batches = Vec::new();
    for number in 0..mappings / PER_ORGANIZATION {
        batches.push((Table::Organizations, vec![organization_row(number)]));
        let mappings = number * PER_ORGANIZATION..(number + 1) * PER_ORGANIZATION;
        batches.push((Table::OrgIntegrationMappings, mappings.clone().map(source_row).collect()));
        batches.push((Table::IntegrationMappings, mappings.map(index_row).collect()));
    }
    let commits = batches.into_iter().map(|(table, rows)| async move {
        let batch: Vec<_> = rows.into_iter().map(|row| Operation::Put(row, Put::Upsert)).collect();
        tables.commit(table, &batch).await.map(drop)
    });
    Ok(stream::iter(commits).buffer_unordered(CONCURRENT).try_collect().await?)
}

fn organization_row(number: usize) -> Row {
    let properties = [("Name", Property::from("Contoso")), ("IsActive", true.into())];
    Row { key: Key::new("ORG", organization(number)), properties: named(properties) }
}

fn source_row(number: usize) -> Row {
    Row { key: source_key(number), properties: properties(number) }
}

fn index_row(number: usize) -> Row {
    let row_key = format!("{}_{}", organization(number / PER_ORGANIZATION), mapping(number));
    Row { key: Key::new(INTEGRATION, row_key), properties: properties(number) }
}

fn properties(number: usize) -> Properties {
    let time = || Property::from("2026-01-31T09:30:00.000Z");
    named([
        ("MappingId", mapping(number).into()),
        ("OrgId", organization(number / PER_ORGANIZATION).into()),
        ("IntegrationName", INTEGRATION.into()),
        ("ExternalOrgId", number.to_string().into()),
        ("ExternalOrgName", "Fabrikam Dental Group".into()),
        ("MappingData", r#"{"site_id":7,"contract":"managed services","region":"eu-central"}"#.into()),
        ("IsActive", true.into()),
        ("CreatedAt", time()),
        ("CreatedBy", "dev-admin".into()),
        ("UpdatedAt", time()),
        ("UpdatedBy", "dev-admin".into()),
    ])
}

fn named<const N: usize>(properties: [(&str, Property); N]) -> Properties {
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
