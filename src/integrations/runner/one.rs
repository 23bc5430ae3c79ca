//! One organization by its id: what a connection test reads, and where a client gets its metadata.

use serde_json::Value;
use tokio::time::Instant;

use super::{
    call::Call,
    connection::{Connection, Purpose},
    list, records,
    scope::{Organization, Scope},
};
use crate::{
    domain::{ExternalOrgId, ExternalOrganization},
    integrations::{
        Failure, FailureClass, Settings,
        manifest::{Decoder, GetOrganization, RecordMapping},
    },
};

/// The organization as the system knows it, and the status it was told with. `data` is that of its mapping.
///
/// # Errors
/// There is none with that id, another one came back, or the request failed.
pub async fn organization(
    connection: &Connection,
    id: &ExternalOrgId,
    data: &Settings,
    deadline: Instant,
) -> Result<(ExternalOrganization, Option<u16>), Failure> {
    let manifest = &connection.manifest;
    let listed = manifest.list_organizations.as_ref();
    if let Some(get) = &manifest.get_organization {
        let mapping = get.mapping.as_ref().or(listed.map(|list| &list.mapping));
        let mapping = mapping.ok_or_else(|| {
            Failure::new(FailureClass::Configuration, "the manifest does not say where the id of an organization is")
        })?;
        let asked = Organization { id: id.as_str().to_owned(), metadata: serde_json::Map::new(), data: data.clone() };
        return read(connection, get, mapping, id, &asked, deadline).await;
    }
    let list = listed.ok_or_else(|| {
        Failure::new(FailureClass::Configuration, "the manifest does not say how to read an organization")
    })?;
    let all = list::organizations(connection, list, deadline).await?;
    let found = all.into_iter().find(|organization| organization.id == *id).ok_or_else(|| unknown(id))?;
    Ok((found, None))
}

async fn read(
    connection: &Connection,
    get: &GetOrganization,
    mapping: &RecordMapping,
    id: &ExternalOrgId,
    asked: &Organization,
    deadline: Instant,
) -> Result<(ExternalOrganization, Option<u16>), Failure> {
    let purpose = Purpose { organization: Some(asked), ..Purpose::general(deadline) };
    let make = |scope: &Scope<'_>| Call::of(&get.request, &connection.manifest.base_url, scope);
    let answer = connection.request(purpose, &make).await.map_err(|failure| match failure.class {
        FailureClass::NotFound => {
            let message = format!("{} ({})", unknown(id).message, failure.message);
            Failure { message, ..failure }
        }
        _ => failure,
    })?;
    let record = match get.record_selector.find(&answer.body) {
        // XML leaves out what is not there.
        None if connection.manifest.decoder == Decoder::Json && !answer.ignored => {
            let message =
                format!("the answer has nothing at '{}', where the organization should be", get.record_selector);
            return Err(Failure::new(FailureClass::BadResponse, message).status(answer.status));
        }
        None | Some(Value::Null) => None,
        // Systems that filter instead of reading answer with a list: of one, or of none.
        Some(Value::Array(records)) => {
            let same = records.iter().find(|record| records::identity(record, mapping) == id.as_str());
            same.or(records.first())
        }
        Some(record) => Some(record),
    };
    let record = record.ok_or_else(|| unknown(id).status(answer.status))?;
    let found = records::organization(record, mapping).map_err(|failure| failure.status(answer.status))?;
    if found.id == *id {
        Ok((found, Some(answer.status)))
    } else {
        let message = format!("asked for the organization {id}, the system answered with {}", found.id);
        Err(Failure::new(FailureClass::Mismatch, message).status(answer.status))
    }
}

fn unknown(id: &ExternalOrgId) -> Failure {
    Failure::new(FailureClass::NotFound, format!("the system knows no organization with the id {id}"))
}
