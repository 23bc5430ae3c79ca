//! How a storage account is reached, read from the settings that Azure Functions uses.

use std::{collections::HashMap, fmt};

use azure_core::auth::Secret;
use azure_data_tables::clients::{TableServiceClient, TableServiceClientBuilder};
use azure_storage::{CloudLocation, StorageCredentials};
use base64::{Engine, prelude::BASE64_STANDARD};
use url::{Host, Url};

use crate::azure::{IdentityEnvironment, Transport, managed_identity};

/// The emulator's account and key; published by Microsoft, the same everywhere, so no secret.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_PORT: u16 = 10002;

/// One storage account: where its table service is, and what proves that it may be used.
#[derive(Clone)]
pub struct AzureAccount {
    name: String,
    endpoint: Url,
    credentials: StorageCredentials,
    transport: Transport,
}

impl AzureAccount {
    /// From a connection string as the Azure portal shows it, or `UseDevelopmentStorage=true`.
    ///
    /// The error says what was expected, and never contains the string, which holds a key.
    pub fn from_connection_string(text: &str) -> Result<Self, String> {
        let parts = parts(text)?;
        let part = |name: &str| parts.get(name).copied();
        if part("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            let mut endpoint = part("developmentstorageproxyuri").unwrap_or("http://127.0.0.1").to_owned();
            endpoint.truncate(endpoint.trim_end_matches('/').len());
            let endpoint = parse_endpoint(&format!("{endpoint}:{EMULATOR_PORT}/{EMULATOR_ACCOUNT}"))
                .map_err(|problem| format!("DevelopmentStorageProxyUri {problem}"))?;
            return Self::with_key(EMULATOR_ACCOUNT, endpoint, EMULATOR_KEY);
        }
        let endpoint = match (part("tableendpoint"), part("accountname")) {
            (Some(endpoint), _) => parse_endpoint(endpoint).map_err(|problem| format!("TableEndpoint {problem}"))?,
            (None, Some(name)) => {
                let scheme = part("defaultendpointsprotocol").unwrap_or("https");
                let suffix = part("endpointsuffix").unwrap_or("core.windows.net");
                parse_endpoint(&format!("{scheme}://{name}.table.{suffix}"))
                    .map_err(|problem| format!("the endpoint of AccountName and EndpointSuffix {problem}"))?
            }
            (None, None) => return Err("expected AccountName or TableEndpoint, neither is there".into()),
        };
        if let Some(sas) = part("sharedaccesssignature") {
            if endpoint.scheme() != "https" && !is_local(&endpoint) {
                return Err("expected an https endpoint with a SharedAccessSignature".into());
            }
            let credentials = StorageCredentials::sas_token(sas)
                .map_err(|_| "SharedAccessSignature: expected the query text of a shared access signature")?;
            return Self::build(account_of(&endpoint), endpoint, credentials);
        }
        match (part("accountname"), part("accountkey")) {
            (Some(name), Some(key)) => Self::with_key(name, endpoint, key),
            (None, Some(_)) => Err("expected AccountName beside AccountKey".into()),
            (_, None) => Err("expected AccountKey or SharedAccessSignature, neither is there".into()),
        }
    }

    /// Where the table service of an account in the public cloud is. The name becomes part of a host: anything else in it
    /// could send the identity's token somewhere else.
    ///
    /// # Errors
    /// What was expected.
    pub fn table_service_uri(name: &str) -> Result<String, String> {
        let is_name = (3..=24).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            return Err("expected the account's name: 3 to 24 lower-case letters and digits".into());
        }
        Ok(format!("https://{name}.table.core.windows.net"))
    }

    /// The table service at that https URI, reached with the managed identity: with a client id the user-assigned one, else
    /// the system-assigned one.
    ///
    /// # Errors
    /// What was expected.
    pub fn with_managed_identity(
        uri: &str,
        client_id: Option<String>,
        environment: IdentityEnvironment,
    ) -> Result<Self, String> {
        let endpoint = parse_endpoint(uri)?;
        if endpoint.scheme() != "https" && !is_local(&endpoint) {
            return Err("expected an https URI: a token must not travel in the clear".into());
        }
        let credential = managed_identity(client_id, environment)?;
        Self::build(account_of(&endpoint), endpoint, StorageCredentials::token_credential(credential))
    }

    fn with_key(name: &str, endpoint: Url, key: &str) -> Result<Self, String> {
        if BASE64_STANDARD.decode(key).is_err() {
            return Err("AccountKey: expected base64, as the portal shows it".into());
        }
        Self::build(name.to_owned(), endpoint, StorageCredentials::access_key(name, Secret::new(key.to_owned())))
    }

    fn build(name: String, endpoint: Url, credentials: StorageCredentials) -> Result<Self, String> {
        let transport = if is_local(&endpoint) { Transport::local()? } else { Transport::remote()? };
        Ok(Self { name, endpoint, credentials, transport })
    }

    /// Where its table service is.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    /// The SDK's client, with its own retries off: it repeats inserts, eight times and for 82 seconds.
    pub(super) fn client(&self) -> TableServiceClient {
        // `Custom` takes the URI as it is. It signs as any other location, so that the path-style endpoints of the
        // emulator work under every account name; `Emulator` knows only one.
        let location = CloudLocation::Custom {
            account: self.name.clone(),
            uri: self.endpoint.as_str().trim_end_matches('/').to_owned(),
        };
        TableServiceClientBuilder::with_location(location, self.credentials.clone())
            .retry(azure_core::RetryOptions::none())
            .transport(azure_core::TransportOptions::new(self.transport.shared()))
            .build()
    }
}

impl fmt::Debug for AzureAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureAccount")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

/// Names in lower case, since Azure's own readers ignore case; values as they are. Names unknown here are for others.
fn parts(text: &str) -> Result<HashMap<String, &str>, String> {
    let mut parts = HashMap::new();
    for (number, part) in text.split(';').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("expected Name=Value;Name=Value, part {} has no '='", number + 1));
        };
        parts.insert(name.trim().to_ascii_lowercase(), value.trim());
    }
    Ok(parts)
}

fn parse_endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "is no URL, expected https://ACCOUNT.table.core.windows.net".to_owned())?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err("is no http or https URL, expected https://ACCOUNT.table.core.windows.net".into());
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("has more than scheme, host and path, expected https://ACCOUNT.table.core.windows.net".into());
    }
    Ok(url)
}

/// The first label of the host, or of the path where the host is an address.
fn account_of(endpoint: &Url) -> String {
    let name = match endpoint.host() {
        Some(Host::Domain(domain)) if domain.contains('.') => domain.split('.').next(),
        _ => endpoint.path_segments().and_then(|mut segments| segments.next()),
    };
    name.unwrap_or_default().to_owned()
}

fn is_local(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String), String> {
        AzureAccount::from_connection_string(text)
            .map(|account| (account.name, account.endpoint.as_str().trim_end_matches('/').to_owned()))
    }

    #[test]
    fn connection_strings_of_every_kind_name_account_and_endpoint() {
        let ok = |text: &str, name: &str, endpoint: &str| {
            assert_eq!(read(text), Ok((name.to_owned(), endpoint.to_owned())), "{text}");
        };
        ok("UseDevelopmentStorage=true", "devstoreaccount1", "http://127.0.0.1:10002/devstoreaccount1");
        ok(
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite/",
            "devstoreaccount1",
            "http://azurite:10002/devstoreaccount1",
        );
        ok(
            "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.windows.net",
            "acme",
            "https://acme.table.core.windows.net",
        );
        ok("AccountName=acme;AccountKey=a2V5", "acme", "https://acme.table.core.windows.net");
        ok(
            "accountname=t7; AccountKey=a2V5 ;TableEndpoint=http://127.0.0.1:4711/t7/;BlobEndpoint=http://127.0.0.1/;",
            "t7",
            "http://127.0.0.1:4711/t7",
        );
        ok(
            "TableEndpoint=https://acme.table.core.windows.net/;SharedAccessSignature=sv=2022&sig=abc",
            "acme",
            "https://acme.table.core.windows.net",
        );
    }

    #[test]
    fn mistakes_are_named_without_repeating_the_key() {
        let say = |text: &str| read(text).map(|_| ()).unwrap_err();
        assert_eq!(say("nonsense"), "expected Name=Value;Name=Value, part 1 has no '='");
        assert_eq!(say(""), "expected AccountName or TableEndpoint, neither is there");
        assert_eq!(say("AccountName=a"), "expected AccountKey or SharedAccessSignature, neither is there");
        assert_eq!(say("AccountName=a;AccountKey=SE!CRET"), "AccountKey: expected base64, as the portal shows it");
        assert!(say("AccountName=a b;AccountKey=a2V5").contains("is no URL"));
        assert!(say("TableEndpoint=ftp://x/;AccountName=a;AccountKey=a2V5").contains("no http or https URL"));
        assert!(say("TableEndpoint=http://x.y/;SharedAccessSignature=sig=1").contains("https"));
    }

    #[test]
    fn no_key_shows_in_debug() {
        let account = AzureAccount::from_connection_string("AccountName=acme;AccountKey=c2VjcmV0").unwrap();
        assert_eq!(
            format!("{account:?}"),
            r#"AzureAccount { name: "acme", endpoint: "https://acme.table.core.windows.net/", .. }"#
        );
    }

    #[test]
    fn a_token_never_travels_in_the_clear() {
        let refused =
            AzureAccount::with_managed_identity("http://acme.example.com", None, IdentityEnvironment::default());
        assert!(refused.unwrap_err().contains("https"));
        let account = AzureAccount::with_managed_identity(
            "https://acme.table.core.windows.net",
            None,
            IdentityEnvironment::default(),
        )
        .unwrap();
        assert_eq!(account.endpoint.as_str(), "https://acme.table.core.windows.net/");
    }
}
