//! `GET /organizations/{orgId}/audit`: what changed, who did it, from what to what.

use std::{collections::BTreeMap, sync::Arc};

use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    paging,
    request::Request,
    response::{Response, ok},
};
use crate::{
    app::App,
    audit::{self, Change, RecordedEvent, Value},
    domain::time_text,
    integrations::Registry,
    mappings::MappingError,
};

/// How many events a page has unless asked otherwise, and at most.
const LIMIT: (usize, usize) = (50, 200);

#[derive(serde::Serialize, ToSchema)]
#[schema(example = json!({
    "events": [{
        "id": "019a8c6e5a5b7d0ab1a7d4b0b7a3a111", "at": "2026-01-31T09:30:00.000Z", "type": "integration_mapping.updated",
        "org_id": "acme", "integration_name": "example_psa", "mapping_id": "mapping_001", "actor": "dev-admin",
        "source": "api", "correlation_id": "0af7651916cd43dd8448eb211c80319c",
        "changes": {"external_org_id": {"before": "1001", "after": "1002"}}
    }],
    "next": null
}))]
pub struct AuditBody {
    events: Vec<EventBody>,
    /// Send it as `before` to get older events; null after the oldest. A page may be short and still have a next one.
    next: Option<String>,
}

#[derive(serde::Serialize, ToSchema)]
struct EventBody {
    id: String,
    at: String,
    /// `integration_mapping.created`, `.updated`, `.deactivated`, `.restored` or `.tested`.
    #[serde(rename = "type")]
    event_type: String,
    org_id: String,
    integration_name: Option<String>,
    mapping_id: Option<String>,
    /// The user or application.
    actor: Option<String>,
    /// `api`, `workflow` or `cli`.
    source: Option<String>,
    /// The trace id of the request: its `X-Correlation-Id`.
    correlation_id: Option<String>,
    /// The fields of the mapping that changed, each with its value `before` and `after`; null where it had none.
    #[schema(value_type = Object)]
    changes: BTreeMap<&'static str, Change>,
}

/// The history of an organization's mappings, newest first.
#[utoipa::path(
    get, path = "/api/organizations/{orgId}/audit", operation_id = "list_audit_events", tag = "organizations",
    params(
        ("orgId" = String, Path, example = "acme"),
        ("limit" = Option<usize>, Query, description = "1 to 200, default 50"),
        ("before" = Option<String>, Query, description = "`next` of the page before: only events older than those"),
    ),
    responses(
        (status = 200, body = AuditBody),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody),
    )
)]
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let org_id = request.org_id()?;
    let limit = paging::limit(&request, LIMIT)?;
    let before = paging::cursor(&request, "before", "next")?;
    let (organization, page) =
        tokio::try_join!(app.organizations.get(&org_id), audit::page(&*app.tables, &org_id, limit, before))?;
    if organization.is_none() {
        return Err(MappingError::OrganizationNotFound(org_id).into());
    }
    let events = page.events.into_iter().map(|event| body(&app.registry, org_id.to_string(), event)).collect();
    Ok(ok(&AuditBody { events, next: page.next.as_deref().map(paging::encode) }))
}

/// The organization is that of the partition, whatever the row says.
fn body(registry: &Registry, org_id: String, event: RecordedEvent) -> EventBody {
    let fields = registry.mapping_data(event.integration_name.as_deref().unwrap_or_default());
    let shown = |value: Option<Value>| match value {
        Some(Value::Data(data)) => Some(Value::Data(fields.masked(data))),
        other => other,
    };
    let changes = event.changes.into_iter();
    EventBody {
        changes: changes
            .map(|(field, Change { before, after })| (field, Change { before: shown(before), after: shown(after) }))
            .collect(),
        id: event.id,
        at: time_text(event.at),
        event_type: event.event_type,
        org_id,
        integration_name: event.integration_name,
        mapping_id: event.mapping_id,
        actor: event.actor,
        source: event.source,
        correlation_id: event.correlation_id,
    }
}
