//! The least that a client can do to read from Azurite: a request that was signed once, sent over a kept-alive connection.

use anyhow::{Context, anyhow};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::Utc;
use crosswalk::tables::{AzureAccount, AzureTables, Key, Table};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{data, http::request};

/// The shortest answer that Azurite gives.
pub const SHORT: &str = "nometadata";
/// The answer that the service's SDK asks for, with the type of every value.
pub const FULL: &str = "fullmetadata";

/// An account of Azurite.
pub struct Account {
    /// As the service takes it.
    pub connection_string: String,
    pub port: u16,
    name: String,
    key: String,
}

impl Account {
    pub fn parse(connection_string: String) -> anyhow::Result<Self> {
        let part = |name: &str| {
            let mut parts = connection_string.split(';').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).context("a connection string")
        };
        let (name, key, endpoint) = (part("AccountName")?, part("AccountKey")?, part("TableEndpoint")?);
        let port = endpoint.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        Ok(Self { port: port.context("a port in the endpoint")?, connection_string, name, key })
    }

    /// The same account behind a proxy.
    pub fn behind(&self, port: u16) -> String {
        self.connection_string.replace(&format!(":{}/", self.port), &format!(":{port}/"))
    }

    pub fn tables(&self) -> anyhow::Result<AzureTables> {
        let account = AzureAccount::from_connection_string(&self.connection_string);
        Ok(AzureTables::new(&account.map_err(|error| anyhow!(error))?))
    }

    /// Reads the row of a mapping.
    pub fn read(&self, mapping: usize, accept: &str) -> anyhow::Result<Vec<u8>> {
        let Key { partition, row } = data::source_key(mapping);
        self.signed(
            &format!("{}(PartitionKey='{partition}',RowKey='{row}')", Table::OrgIntegrationMappings),
            "",
            accept,
        )
    }

    /// Reads the rows of an organization's mappings.
    pub fn list(&self, organization: usize, accept: &str) -> anyhow::Result<Vec<u8>> {
        let partition = data::organization(organization);
        let query =
            format!("?$filter=PartitionKey%20eq%20'{partition}'%20and%20RowKey%20ge%20'a'%20and%20RowKey%20lt%20'%7B'");
        self.signed(&format!("{}()", Table::OrgIntegrationMappings), &query, accept)
    }

    /// Shared Key Lite: the date and the resource.
    fn signed(&self, resource: &str, query: &str, accept: &str) -> anyhow::Result<Vec<u8>> {
        let name = &self.name;
        let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
        let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(&self.key)?)?;
        mac.update(format!("{date}\n/{name}/{name}/{resource}").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let headers = format!(
            "x-ms-date: {date}\r\nx-ms-version: 2019-02-02\r\nAccept: application/json;odata={accept}\r\n\
             Authorization: SharedKeyLite {name}:{signature}\r\n"
        );
        Ok(request("GET", &format!("/{name}/{resource}{query}"), &headers, ""))
    }
}
