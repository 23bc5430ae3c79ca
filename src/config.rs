//! Settings: the only reader of the environment. Every mistake is found at once, named, and told with what was expected.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use url::Url;

use crate::{
    auth::{self, Entra},
    azure::IdentityEnvironment,
    outbound::HostMap,
    secrets::KeyVaultSecrets,
    tables::AzureAccount,
};

/// Where the embedded store is kept unless `CROSSWALK_DATA_DIR` says otherwise.
const DATA_DIR: &str = "data";
/// The port of the Functions host on a developer's machine, and so ours without it.
const PORT: u16 = 7071;

/// Says where manifests are.
const SET_DIR: &str = "CROSSWALK_INTEGRATIONS_DIR";
/// The folder of manifests unless `CROSSWALK_INTEGRATIONS_DIR` says otherwise.
const INTEGRATIONS_DIR: &str = "integrations";
/// Where the tenants of Azure's global cloud sign in.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Reads one setting; none if it is not set. A trait object in tests is a map.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process. An empty value counts as none, as the Functions host has it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn process_environment(name: &str) -> Option<String> {
    // What is no UTF-8 is read with replacement characters: it then fails its check instead of counting as not set.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// Settings that are wrong, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidSettings(Vec<String>);

impl InvalidSettings {
    fn all<const N: usize>(wrong: [Option<Self>; N]) -> Self {
        Self(wrong.into_iter().flatten().flat_map(|wrong| wrong.0).collect())
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for InvalidSettings {}

/// Where rows and secrets are kept.
#[derive(Clone, Debug)]
pub struct Storage {
    pub rows: Rows,
    /// Where secrets are; it comes before the file.
    pub key_vault: Option<KeyVaultSecrets>,
    /// A file of secrets. Without it and a key vault there are none.
    pub secrets_file: Option<PathBuf>,
}

impl Storage {
    /// # Errors
    /// The settings that are wrong, all of them.
    pub fn read(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        match (Rows::read(environment), key_vault(environment)) {
            (Ok(rows), Ok(key_vault)) => Ok(Self { rows, key_vault, secrets_file: secrets_file(environment) }),
            (rows, key_vault) => Err(InvalidSettings::all([rows.err(), key_vault.err()])),
        }
    }

    /// The embedded store and a file of secrets, whatever else is set.
    pub fn embedded(environment: Environment<'_>) -> Self {
        Self { rows: Rows::embedded(environment), key_vault: None, secrets_file: secrets_file(environment) }
    }
}

fn secrets_file(environment: Environment<'_>) -> Option<PathBuf> {
    environment("CROSSWALK_SECRETS_FILE").map(Into::into)
}

/// The key vault, reached with the identity that reaches the storage account, too.
fn key_vault(environment: Environment<'_>) -> Result<Option<KeyVaultSecrets>, InvalidSettings> {
    let Some(url) = environment("AZURE_KEY_VAULT_URL") else { return Ok(None) };
    KeyVaultSecrets::with_managed_identity(&url, client_id(environment), managed_identity(environment))
        .map(Some)
        .map_err(|problem| InvalidSettings(vec![format!("AZURE_KEY_VAULT_URL: {problem}")]))
}

fn managed_identity(environment: Environment<'_>) -> IdentityEnvironment {
    IdentityEnvironment { endpoint: environment("IDENTITY_ENDPOINT"), header: environment("IDENTITY_HEADER") }
}

/// Of a user-assigned identity.
fn client_id(environment: Environment<'_>) -> Option<String> {
    environment("AzureWebJobsStorage__clientId")
}

/// Where rows are kept.
#[derive(Clone, Debug)]
pub enum Rows {
    Azure(AzureAccount),
    Embedded(PathBuf),
}

impl Rows {
    fn read(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        let wrong = |setting: &str, problem: String| InvalidSettings(vec![format!("{setting}: {problem}")]);
        if let Some(text) = environment("AzureWebJobsStorage") {
            return AzureAccount::from_connection_string(&text)
                .map(Self::Azure)
                .map_err(|problem| wrong("AzureWebJobsStorage", problem));
        }
        let uri = environment("AzureWebJobsStorage__tableServiceUri").map(|uri| ("tableServiceUri", Ok(uri)));
        let name = || environment("AzureWebJobsStorage__accountName");
        let account = uri.or_else(|| name().map(|name| ("accountName", AzureAccount::table_service_uri(&name))));
        if let Some((setting, uri)) = account {
            let (client_id, identity) = (client_id(environment), managed_identity(environment));
            return uri
                .and_then(|uri| AzureAccount::with_managed_identity(&uri, client_id, identity))
                .map(Self::Azure)
                .map_err(|problem| wrong(&format!("AzureWebJobsStorage__{setting}"), problem));
        }
        Ok(Self::embedded(environment))
    }

    fn embedded(environment: Environment<'_>) -> Self {
        Self::Embedded(environment("CROSSWALK_DATA_DIR").unwrap_or_else(|| DATA_DIR.to_owned()).into())
    }
}

/// How callers are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    Entra(Entra),
    /// Everybody is who they say and may do everything; on a developer's machine only.
    Development,
}

impl Identity {
    /// # Errors
    /// The settings that are wrong, all of them.
    pub fn read(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        match environment("CROSSWALK_AUTH").as_deref() {
            None | Some("entra") => Self::entra(environment),
            Some("development") => Self::development(environment),
            Some(other) => Err(InvalidSettings(vec![format!(
                "CROSSWALK_AUTH: expected `entra` or `development`, not '{}'",
                other.escape_debug()
            )])),
        }
    }

    fn development(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        match environment("WEBSITE_INSTANCE_ID") {
            None => Ok(Self::Development),
            Some(_) => Err(InvalidSettings(vec![
                "CROSSWALK_AUTH: `development` trusts every caller and does not start in Azure (WEBSITE_INSTANCE_ID is \
                 set)"
                    .to_owned(),
            ])),
        }
    }

    fn entra(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        let mut wrong = Vec::new();
        // Without the value: of two settings that were swapped, one may be a secret, and an address may hold a password.
        let mut expected = |setting: &str, what: &str, is_set: bool| {
            wrong.push(format!("{setting}: {}expected {what}", if is_set { "" } else { "not set; " }));
        };
        let tenant = environment("AZURE_TENANT_ID");
        let tenant_id = tenant.as_deref().and_then(auth::guid);
        if tenant_id.is_none() {
            expected("AZURE_TENANT_ID", "the GUID of the tenant whose users call", tenant.is_some());
        }
        let audience = environment("CROSSWALK_AUDIENCE").or_else(|| environment("AZURE_CLIENT_ID"));
        let is_audience =
            |text: &String| (1..=500).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !audience.as_ref().is_some_and(is_audience) {
            let what = "the client id of this API, here or in AZURE_CLIENT_ID, or its Application ID URI";
            expected("CROSSWALK_AUDIENCE", what, audience.is_some());
        }
        let authority = environment("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
        let authority_url = Entra::authority(&authority);
        if authority_url.is_none() {
            let what = "https:// and the host where the tenant signs in, nothing else (http:// on loopback only)";
            expected("AZURE_AUTHORITY_HOST", what, true);
        }
        match (tenant_id, audience, authority_url) {
            (Some(tenant_id), Some(audience), Some(authority)) if wrong.is_empty() => {
                Ok(Self::Entra(Entra { tenant_id, audience, authority }))
            }
            _ => Err(InvalidSettings(wrong)),
        }
    }
}

/// How the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub identity: Identity,
    /// Whose web pages may call from a browser.
    pub cors_origins: Vec<String>,
}

impl Server {
    /// # Errors
    /// The settings that are wrong, all of them.
    pub fn read(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        Self::with(Identity::read(environment), environment)
    }

    /// What `crosswalk dev` serves: development identity, whatever is set.
    ///
    /// # Errors
    /// The settings that are wrong, all of them.
    pub fn development(environment: Environment<'_>) -> Result<Self, InvalidSettings> {
        Self::with(Identity::development(environment), environment)
    }

    fn with(
        identity: Result<Identity, InvalidSettings>,
        environment: Environment<'_>,
    ) -> Result<Self, InvalidSettings> {
        match (identity, Self::port(environment), cors_origins(environment)) {
            // Loopback only: the Functions host talks to 127.0.0.1, and development mode must not be reachable from
            // elsewhere.
            (Ok(identity), Ok(port), Ok(cors_origins)) => {
                let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
                Ok(Self { listen, identity, cors_origins })
            }
            (identity, port, cors_origins) => {
                let mut wrong = identity.map_or_else(|InvalidSettings(wrong)| wrong, |_| Vec::new());
                wrong.extend(port.err());
                wrong.extend(cors_origins.err());
                Err(InvalidSettings(wrong))
            }
        }
    }

    fn port(environment: Environment<'_>) -> Result<u16, String> {
        for setting in ["FUNCTIONS_CUSTOMHANDLER_PORT", "CROSSWALK_PORT"] {
            if let Some(port) = environment(setting) {
                return port
                    .parse()
                    .map_err(|_| format!("{setting}: expected a port from 0 to 65535, not '{}'", port.escape_debug()));
            }
        }
        Ok(PORT)
    }
}

/// The origins of web pages that may call. They are compared with what browsers send, so they must be written like that.
fn cors_origins(environment: Environment<'_>) -> Result<Vec<String>, String> {
    let text = environment("CROSSWALK_CORS_ORIGINS").unwrap_or_default();
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let check = |(number, origin): (usize, &str)| {
        let url = Url::parse(origin).ok();
        let is_loopback = |url: &Url| match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_safe = |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
        let as_sent = url.filter(is_safe).map(|url| url.origin().ascii_serialization());
        if as_sent.as_deref() == Some(origin) {
            return Ok(origin.to_owned());
        }
        // Without the value: it may hold a password.
        Err(format!(
            "CROSSWALK_CORS_ORIGINS: the origin at place {}: expected an origin as browsers send it, https://HOST or \
             http://localhost:PORT, lower case, without path and default port; several with commas, and never `*`",
            number + 1
        ))
    };
    origins.enumerate().map(check).collect()
}

/// Which external systems there are.
#[derive(Clone, Debug)]
pub struct Systems {
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// Those that servers on this machine play.
    pub host_map: Option<HostMap>,
}

impl Systems {
    /// `development` as in [`host_map`].
    ///
    /// # Errors
    /// The settings that are wrong, all of them.
    pub fn read(environment: Environment<'_>, development: bool) -> Result<Self, InvalidSettings> {
        let manifests = integrations_dir(environment);
        let problem = (environment(SET_DIR).is_some() && !manifests.is_dir()).then(|| {
            let folder = manifests.display();
            InvalidSettings(vec![format!(
                "{SET_DIR}: expected a folder of manifests; there is none at {folder}: make it"
            )])
        });
        match (problem, host_map(environment, development)) {
            (None, Ok(host_map)) => Ok(Self { manifests, host_map }),
            (problem, host_map) => Err(InvalidSettings::all([problem, host_map.err()])),
        }
    }
}

/// Whether every caller is trusted: `CROSSWALK_AUTH` says so.
pub fn is_development(environment: Environment<'_>) -> bool {
    environment("CROSSWALK_AUTH").as_deref() == Some("development")
}

/// The external systems that servers on this machine play. `development` says that every caller is trusted anyway
/// (`crosswalk dev`, or `CROSSWALK_AUTH` set so): elsewhere the map would send customers' data in the clear.
///
/// # Errors
/// The setting is wrong, or set where it must not be.
fn host_map(environment: Environment<'_>, development: bool) -> Result<Option<HostMap>, InvalidSettings> {
    let Some(text) = environment("CROSSWALK_HOST_MAP") else { return Ok(None) };
    let map = if development {
        HostMap::parse(&text)
    } else {
        Err("sends what is meant for external systems elsewhere, for development only; remove it, or set \
             CROSSWALK_AUTH to `development` on a developer's machine"
            .to_owned())
    };
    map.map(Some).map_err(|problem| InvalidSettings(vec![format!("CROSSWALK_HOST_MAP: {problem}")]))
}

/// The folder of manifests: the one that is set, else `integrations` beside the program, else here.
pub fn integrations_dir(environment: Environment<'_>) -> PathBuf {
    let beside = || {
        let folder = std::env::current_exe().ok()?.with_file_name(INTEGRATIONS_DIR);
        folder.is_dir().then_some(folder)
    };
    environment(SET_DIR).map(PathBuf::from).or_else(beside).unwrap_or_else(|| INTEGRATIONS_DIR.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn with<T>(settings: &[(&str, &str)], read: impl FnOnce(Environment<'_>) -> T) -> T {
        let settings: HashMap<_, _> = settings.iter().copied().collect();
        read(&|name| settings.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn without_settings_the_store_is_embedded_and_serving_needs_a_tenant() {
        let storage = with(&[], Storage::read).unwrap();
        assert!(matches!(storage.rows, Rows::Embedded(path) if path.ends_with("data")));
        assert_eq!(storage.secrets_file, None);
        assert!(with(&[], Server::read).unwrap_err().to_string().starts_with("AZURE_TENANT_ID: not set"));
    }

    #[test]
    fn the_port_of_the_functions_host_comes_first() {
        let settings =
            [("CROSSWALK_AUTH", "development"), ("CROSSWALK_PORT", "1"), ("FUNCTIONS_CUSTOMHANDLER_PORT", "2")];
        assert_eq!(with(&settings, Server::read).unwrap().listen.to_string(), "127.0.0.1:2");
        assert_eq!(with(&settings[..2], Server::read).unwrap().listen.to_string(), "127.0.0.1:1");
        assert_eq!(with(&settings[..1], Server::read).unwrap().listen.to_string(), "127.0.0.1:7071");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let wrong = with(&[("CROSSWALK_AUTH", "none"), ("CROSSWALK_PORT", "http")], Server::read).unwrap_err();
        insta::assert_snapshot!(wrong, @r"
        CROSSWALK_AUTH: expected `entra` or `development`, not 'none'
        CROSSWALK_PORT: expected a port from 0 to 65535, not 'http'
        ");
    }

    #[test]
    fn origins_of_web_pages_are_exact() {
        let read =
            |value| with(&[("CROSSWALK_CORS_ORIGINS", value)], Server::development).map(|server| server.cors_origins);
        assert_eq!(with(&[], Server::development).unwrap().cors_origins, [""; 0]);
        let good =
            "https://admin.example.com, https://b.example:8443,http://localhost:3000,http://127.0.0.1:1,http://[::1]:2";
        let origins: Vec<_> = good.split(',').map(str::trim).collect();
        assert_eq!(read(good).unwrap(), origins);
        for bad in [
            "*",
            "null",
            "admin.example.com",
            "http://admin.example.com",
            "https://admin.example.com/",
            "https://admin.example.com/app",
            "https://Admin.example.com",
            "https://admin.example.com:443",
            "https://*.example.com/",
            "https://user@admin.example.com",
            "ftp://localhost",
            "https://a.example b",
            "https://a.example,*",
        ] {
            let wrong = read(bad).unwrap_err().to_string();
            assert!(wrong.starts_with("CROSSWALK_CORS_ORIGINS: "), "{bad}: {wrong}");
        }
    }

    #[test]
    fn development_mode_refuses_to_start_in_azure() {
        for read in [Server::read, Server::development] {
            let settings = [("CROSSWALK_AUTH", "development"), ("WEBSITE_INSTANCE_ID", "x")];
            assert!(with(&settings, read).unwrap_err().to_string().contains("WEBSITE_INSTANCE_ID"));
        }
    }

    #[test]
    fn a_wrong_connection_string_is_named_and_not_shown() {
        let wrong = with(&[("AzureWebJobsStorage", "AccountName=a;AccountKey=s3cret!")], Storage::read).unwrap_err();
        assert!(wrong.to_string().starts_with("AzureWebJobsStorage: "), "{wrong}");
        assert!(!wrong.to_string().contains("s3cret"), "{wrong}");
    }

    #[test]
    fn the_key_vault_is_named_by_its_origin() {
        let vault = |url| with(&[("AZURE_KEY_VAULT_URL", url), ("CROSSWALK_SECRETS_FILE", "s.json")], Storage::read);
        let storage = vault("https://acme.vault.azure.net").unwrap();
        assert_eq!(storage.key_vault.map(|vault| vault.url().to_owned()).unwrap(), "https://acme.vault.azure.net/");
        assert!(with(&[], Storage::read).unwrap().key_vault.is_none());
        let wrong = [("AZURE_KEY_VAULT_URL", "http://acme.vault.azure.net"), ("AzureWebJobsStorage__accountName", "?")];
        insta::assert_snapshot!(with(&wrong, Storage::read).unwrap_err(), @r"
        AzureWebJobsStorage__accountName: expected the account's name: 3 to 24 lower-case letters and digits
        AZURE_KEY_VAULT_URL: expected https:// and the host of the Key Vault, as in https://NAME.vault.azure.net (http:// on loopback only)
        ");
    }

    #[test]
    fn the_host_map_is_for_development_only() {
        let read = |value, development| with(&[("CROSSWALK_HOST_MAP", value)], |all| host_map(all, development));
        let good = "api.pax8.com=127.0.0.1:9001,*=127.0.0.1:9002";
        assert_eq!(read(good, true), Ok(Some(HostMap::parse(good).unwrap())));
        let wrong = [read(good, false), read("a.example=127.0.0.1:1,api.pax8.com=10.0.0.1:9001", true)];
        insta::assert_snapshot!(wrong.map(|result| result.unwrap_err().to_string()).join("\n"), @r"
        CROSSWALK_HOST_MAP: sends what is meant for external systems elsewhere, for development only; remove it, or set CROSSWALK_AUTH to `development` on a developer's machine
        CROSSWALK_HOST_MAP: 'api.pax8.com=10.0.0.1:9001': expected HOST=ADDRESS:PORT, a host name or `*` and an address on loopback, as in `api.pax8.com=127.0.0.1:9001`
        ");
        for development in [true, false] {
            assert_eq!(with(&[], |all| host_map(all, development)), Ok(None));
        }
    }

    #[test]
    fn manifests_are_where_the_setting_says_else_in_integrations() {
        let folder = |path| with(&[(SET_DIR, path)], |all| Systems::read(all, true).map(|systems| systems.manifests));
        assert_eq!(folder("src"), Ok(PathBuf::from("src")));
        insta::assert_snapshot!(folder("/no/such").unwrap_err(), @"CROSSWALK_INTEGRATIONS_DIR: expected a folder of manifests; there is none at /no/such: make it");
        assert!(with(&[], integrations_dir).ends_with("integrations"));
    }
}
