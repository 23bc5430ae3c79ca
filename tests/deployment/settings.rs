//! The settings of the function app: all that the program reads and nothing that nobody reads, with values that it takes in
//! every cloud.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crosswalk::config::{Identity, Rows, Server, Storage, Systems, integrations_dir};
use regex_lite::Regex;
use serde_json::Value;

use crate::{bicep::file, root};

/// What the program reads and the function app does not set, and why.
const NOT_PROVISIONED: [(&str, &str); 13] = [
    ("AZURE_CLIENT_ID", "CROSSWALK_AUDIENCE comes before it"),
    ("AzureWebJobsStorage", "a connection string holds a key, and the account takes none"),
    ("AzureWebJobsStorage__accountName", "the URI of the tables comes before it"),
    ("AzureWebJobsStorage__clientId", "the identity is system-assigned"),
    ("CROSSWALK_DATA_DIR", "of the embedded store"),
    ("CROSSWALK_HOST_MAP", "for development"),
    ("CROSSWALK_INTEGRATIONS_DIR", "manifests are in the package, beside the program"),
    ("CROSSWALK_PORT", "the Functions host gives the port"),
    ("CROSSWALK_SECRETS_FILE", "secrets are in the Key Vault"),
    ("FUNCTIONS_CUSTOMHANDLER_PORT", "set by the Functions host"),
    ("IDENTITY_ENDPOINT", "set by Azure"),
    ("IDENTITY_HEADER", "set by Azure"),
    ("WEBSITE_INSTANCE_ID", "set by Azure"),
];

/// What the function app sets for the Functions host and not for the program.
const OF_THE_HOST: [&str; 4] = [
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
];

/// What Flex Consumption refuses or misreads.
const FORBIDDEN: [&str; 6] = [
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_RUNTIME",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_RUN_FROM_PACKAGE",
];

fn provisioned() -> BTreeMap<String, Value> {
    let app = file("modules/function-app.bicep").declarations();
    let settings = app.iter().find(|one| one.resource_type() == "Microsoft.Web/sites/config").unwrap();
    assert_eq!(settings.value["name"], "appsettings");
    settings.value["properties"].as_object().unwrap().clone().into_iter().collect()
}

/// What every reader of settings asks for, in an environment that has this one.
fn asked(name: &str, value: &str) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let environment = |wanted: &str| {
        asked.borrow_mut().insert(wanted.to_owned());
        (wanted == name).then(|| value.to_owned())
    };
    drop((Storage::read(&environment), Server::read(&environment), Systems::read(&environment, true)));
    integrations_dir(&environment);
    asked.into_inner()
}

/// All that the program ever asks for. Some settings are read only where another one is set, so each is, to one value after
/// another, until nothing new is asked for.
fn read_by_the_program() -> BTreeSet<String> {
    let mut all = asked("", "");
    loop {
        let before = all.clone();
        for name in &before {
            for value in ["development", "https://example.com/"] {
                all.extend(asked(name, value));
            }
        }
        if all == before {
            break;
        }
    }
    // What the code names must have been seen: a reader that the loop above does not run would hide its settings.
    let literal = Regex::new(r#"environment\("(\w+)"\)"#).unwrap();
    for (path, text) in sources() {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for found in literal.captures_iter(text).map(|found| found[1].to_owned()) {
            // The filter is read before there is a log.
            if found == "RUST_LOG" {
                all.insert(found);
            } else {
                assert!(all.contains(&found), "{path}: {found} is read, but no reader here has asked for it");
            }
        }
    }
    all
}

fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join("src"), &mut found);
    found
}

#[test]
fn what_the_program_reads_is_provisioned_and_what_is_provisioned_is_read() {
    let read = read_by_the_program();
    let not_provisioned: BTreeSet<_> = NOT_PROVISIONED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stale: Vec<_> = not_provisioned.difference(&read).collect();
    assert!(stale.is_empty(), "listed here, but nobody reads them: {stale:?}");
    let mut expected: BTreeSet<_> = read.difference(&not_provisioned).cloned().collect();
    expected.extend(OF_THE_HOST.map(str::to_owned));
    let provisioned: BTreeSet<_> = provisioned().into_keys().collect();
    assert_eq!(provisioned, expected, "provisioned on the left, needed on the right");
}

#[test]
fn nothing_is_set_that_flex_consumption_refuses() {
    let provisioned = provisioned();
    for name in FORBIDDEN {
        assert!(!provisioned.contains_key(name), "{name}");
    }
    let app = file("modules/function-app.bicep").declarations();
    let site = app.iter().find(|one| one.resource_type() == "Microsoft.Web/sites").unwrap();
    let config = &site.value["properties"]["functionAppConfig"];
    assert_eq!(config["runtime"], serde_json::json!({"name": "custom", "version": "1.0"}));
    assert_eq!(config["deployment"]["storage"]["authentication"]["type"], "SystemAssignedIdentity");
    for name in ["linuxFxVersion", "alwaysOn", "ftpsState", "appSettings"] {
        assert_eq!(site.value["properties"]["siteConfig"].get(name), None, "{name}");
    }
    let plan = app.iter().find(|one| one.resource_type() == "Microsoft.Web/serverfarms").unwrap();
    assert_eq!(plan.value["sku"], serde_json::json!({"name": "FC1", "tier": "FlexConsumption"}));
}

/// What Azure puts in the place of the expressions: suffix of storage, of Key Vault, and where a tenant signs in.
const CLOUDS: [[&str; 3]; 3] = [
    ["core.windows.net", "vault.azure.net", "https://login.microsoftonline.com/"],
    ["core.usgovcloudapi.net", "vault.usgovcloudapi.net", "https://login.microsoftonline.us/"],
    ["core.chinacloudapi.cn", "vault.azure.cn", "https://login.chinacloudapi.cn/"],
];

#[test]
fn the_program_starts_with_what_is_provisioned_in_every_cloud() {
    for [storage, vault, authority] in CLOUDS {
        let account = "crosswalkabcdefghijklm";
        let evaluated = |value: &Value| match (value.as_str(), value["="].as_str()) {
            (Some(literal), _) => literal.to_owned(),
            (_, Some("storageAccount.properties.primaryEndpoints.table")) => {
                format!("https://{account}.table.{storage}/")
            }
            (_, Some("storageAccount.properties.primaryEndpoints.blob")) => {
                format!("https://{account}.blob.{storage}/")
            }
            (_, Some("applicationInsights.properties.ConnectionString")) => "InstrumentationKey=x".to_owned(),
            (_, Some("environment().authentication.loginEndpoint")) => authority.to_owned(),
            (_, Some("keyVaultUrl")) => format!("https://crosswalk-abcdefghijklm.{vault}/"),
            (_, Some("tenant().tenantId" | "audience")) => "2f5b2f0e-8f9b-4f6e-9c0b-3a5d1e7f6a10".to_owned(),
            (_, Some("join(corsOrigins, ',')")) => String::new(),
            (_, Some("logFilter")) => "info".to_owned(),
            other => panic!("{other:?}: say here what Azure makes of it"),
        };
        let settings: BTreeMap<_, _> =
            provisioned().iter().map(|(name, value)| (name.clone(), evaluated(value))).collect();
        // An empty value counts as none, as in the process's own environment.
        let environment = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
        let read = Storage::read(&environment).unwrap_or_else(|wrong| panic!("{authority}: {wrong}"));
        let Rows::Azure(azure) = &read.rows else { panic!("{authority}: rows would be lost with the instance") };
        assert_eq!(azure.endpoint(), format!("https://{account}.table.{storage}/"));
        assert!(read.key_vault.is_some_and(|url| url.url().contains(vault)));
        let server = Server::read(&environment).unwrap_or_else(|wrong| panic!("{authority}: {wrong}"));
        let Identity::Entra(entra) = server.identity else { panic!("{authority}: every caller would be trusted") };
        assert_eq!(entra.authority.as_str(), authority);
        crosswalk::telemetry::subscriber(environment("RUST_LOG").as_deref(), false, std::io::sink).map(drop).unwrap();
    }
}
