//! The client that a workflow works with: authenticated, and bound to one mapped organization and to the hosts of its
//! integration.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    address,
    answer::Answer,
    auth::TokenOverrides,
    call::{self, Body, Call},
    connection::{Connection, Purpose},
    one,
    scope::{Organization, Scope},
};
use crate::{
    domain::ExternalOrgId,
    integrations::{
        Failure, FailureClass, Settings,
        manifest::{Manifest, Reference, Template},
    },
};

/// Sends requests of one mapped organization.
#[derive(Clone)]
pub struct OrganizationClient {
    connection: Arc<Connection>,
    external_org_id: ExternalOrgId,
    organization: Organization,
}

/// A good answer.
#[derive(Clone, Debug)]
pub struct ClientAnswer {
    pub status: u16,
    /// Null where there is no body.
    pub body: Value,
}

impl OrganizationClient {
    pub(super) async fn new(connection: Arc<Connection>, id: &ExternalOrgId, data: &Settings) -> Result<Self, Failure> {
        let deadline = Instant::now() + connection.timing.test;
        let (id_text, data_of) = (id.as_str().to_owned(), data.clone());
        let mut organization = Organization { id: id_text, metadata: serde_json::Map::new(), data: data_of };
        if needs_metadata(&connection) {
            organization.metadata = one::organization(&connection, id, data, deadline).await?.0.metadata;
        }
        // Now rather than at the first request: whether it leads where it may.
        let purpose = Purpose { organization: Some(&organization), ..Purpose::general(deadline) };
        address::parse(&connection.base_url(purpose, base_url(&connection.manifest)).await?)?;
        Ok(Self { connection, external_org_id: id.clone(), organization })
    }

    /// The id that requests need where the system keeps all organizations behind one address.
    pub fn external_org_id(&self) -> &ExternalOrgId {
        &self.external_org_id
    }

    /// # Errors
    /// As [`Self::send`].
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<ClientAnswer, Failure> {
        self.send(Method::GET, path, query, None).await
    }

    /// `path` is appended to the base address of the organization. Only what reads is sent again when its answer was lost.
    ///
    /// # Errors
    /// The path leads elsewhere; the system refuses, fails or does not answer in time.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<ClientAnswer, Failure> {
        let manifest = &self.connection.manifest;
        let client = manifest.client.as_ref();
        let overrides = TokenOverrides {
            token_url: client.and_then(|client| client.token_url.as_ref()),
            token_params: client.map(|client| &client.token_params),
        };
        let deadline = Instant::now() + self.connection.timing.test;
        let purpose = Purpose { deadline, organization: Some(&self.organization), overrides };
        let make = |scope: &Scope<'_>| {
            let base = address::render(base_url(manifest), scope, &call::allowed_hosts(scope))?;
            let mut url = below(&base, path)?;
            for (name, value) in query {
                url.query_pairs_mut().append_pair(name, value);
            }
            // Last, so that the organization is the client's, whatever the caller says.
            if let Some(client) = client {
                call::set_query(&mut url, &client.query, scope)?;
            }
            let mut headers = call::default_headers(manifest.decoder);
            call::add_headers(&mut headers, &manifest.headers, scope)?;
            if let Some(client) = client {
                call::add_headers(&mut headers, &client.headers, scope)?;
            }
            let repeatable = matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
            Ok(Call {
                method: method.clone(),
                url,
                headers,
                body: body.clone().map(Body::Json),
                repeatable,
                needs_body: false,
            })
        };
        let Answer { status, body, .. } = self.connection.request(purpose, &make).await?;
        Ok(ClientAnswer { status, body })
    }
}

fn base_url(manifest: &Manifest) -> &Template {
    manifest.client.as_ref().and_then(|client| client.base_url.as_ref()).unwrap_or(&manifest.base_url)
}

/// Below the base address, and nowhere else.
fn below(base_url: &str, path: &str) -> Result<url::Url, Failure> {
    let elsewhere = || {
        let message = "a client's path begins with '/' and stays below the base address of its organization";
        Failure::new(FailureClass::Configuration, message)
    };
    let base = address::parse(base_url)?;
    let url = address::parse(&format!("{base_url}{path}"))?;
    let root = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    // The parser follows `..`, but not one between slashes that are encoded; the system may decode those.
    let decoded = percent_decode_str(url.path()).decode_utf8_lossy();
    let below = below && !decoded.split(['/', '\\']).any(|segment| segment == "..");
    if path.starts_with('/') && url.origin() == base.origin() && below { Ok(url) } else { Err(elsewhere()) }
}

/// Whether anything of the client is made of what only the system knows of the organization.
fn needs_metadata(connection: &Connection) -> bool {
    let Some(client) = &connection.manifest.client else { return false };
    let templates = client.base_url.iter().chain(&client.token_url).chain(client.headers.values());
    let templates = templates.chain(client.query.values()).chain(client.token_params.values());
    templates.flat_map(Template::references).any(|reference| matches!(reference, Reference::OrgMetadata(_)))
}
