//! The mappings of an organization: one file per thing that is done with them.

mod conditional;
mod create;
mod deactivate;
mod read;
mod resolve;
mod set;
mod update;

use serde_json::json;

use crate::{client::Answer, server::Server};

const COLLECTION: &str = "/organizations/acme/integrations";
const HALO: &str = "/organizations/acme/integrations/halo";
/// The mapping that [`with_mapping`] makes.
const ONE: &str = "/organizations/acme/integrations/halo/mapping_1";

/// A server where `acme` is the external organization `100`.
async fn with_mapping() -> (Server, Answer) {
    let server = Server::start().await;
    let body = json!({
        "integration_name": "halo", "external_org_id": "100", "external_org_name": "Acme in Halo",
        "mapping_data": {"site": 7}, "mapping_id": "mapping_1"
    });
    let created = server.api.post(COLLECTION, &body).await.is(201);
    (server, created)
}
