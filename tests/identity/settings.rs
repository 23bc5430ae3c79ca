//! The settings of the identity, and what a wrong one is told.

use std::collections::HashMap;

use crosswalk::config::{Identity, InvalidSettings, Server, Storage};

use crate::tokens::{AUDIENCE, TENANT};

fn read(settings: &[(&str, &str)]) -> Result<Identity, InvalidSettings> {
    let settings: HashMap<_, _> = settings.iter().copied().collect();
    Identity::read(&|name| settings.get(name).map(|value| (*value).to_owned()))
}

fn wrong(settings: &[(&str, &str)]) -> String {
    read(settings).unwrap_err().to_string()
}

#[test]
fn entra_is_the_default_and_its_settings_have_places_to_fall_back_to() {
    let entra = |settings: &[(&str, &str)]| match read(settings).unwrap() {
        Identity::Entra(entra) => entra,
        Identity::Development => panic!("development"),
    };
    let plain = entra(&[("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", AUDIENCE)]);
    assert_eq!((plain.tenant_id.to_string().as_str(), plain.audience.as_str()), (TENANT, AUDIENCE));
    assert_eq!(plain.authority.as_str(), "https://login.microsoftonline.com/");
    let all = entra(&[
        ("CROSSWALK_AUTH", "entra"),
        ("AZURE_TENANT_ID", &TENANT.to_uppercase()),
        ("AZURE_CLIENT_ID", AUDIENCE),
        ("CROSSWALK_AUDIENCE", "api://crosswalk"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
    ]);
    assert_eq!((all.tenant_id, all.audience.as_str()), (plain.tenant_id, "api://crosswalk"));
    assert_eq!(all.authority.host_str(), Some("login.microsoftonline.us"));
    for authority in ["http://127.0.0.1:4000", "http://localhost:4000/", "http://[::1]:4000"] {
        entra(&[("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", AUDIENCE), ("AZURE_AUTHORITY_HOST", authority)]);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    insta::assert_snapshot!(wrong(&[]), @r"
    AZURE_TENANT_ID: not set; expected the GUID of the tenant whose users call
    CROSSWALK_AUDIENCE: not set; expected the client id of this API, here or in AZURE_CLIENT_ID, or its Application ID URI
    ");
    let settings = [
        ("AZURE_TENANT_ID", "common"),
        ("CROSSWALK_AUDIENCE", "my api"),
        ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
    ];
    insta::assert_snapshot!(wrong(&settings), @r"
    AZURE_TENANT_ID: expected the GUID of the tenant whose users call
    CROSSWALK_AUDIENCE: expected the client id of this API, here or in AZURE_CLIENT_ID, or its Application ID URI
    AZURE_AUTHORITY_HOST: expected https:// and the host where the tenant signs in, nothing else (http:// on loopback only)
    ");
    insta::assert_snapshot!(
        wrong(&[("CROSSWALK_AUTH", "none")]),
        @"CROSSWALK_AUTH: expected `entra` or `development`, not 'none'"
    );
}

#[test]
fn an_authority_is_a_host_and_nothing_else() {
    for authority in [
        "login.microsoftonline.com",
        "ftp://login.microsoftonline.com",
        "http://192.0.2.1",
        "http://localhost.example.com",
        "https://login.microsoftonline.com/common",
        "https://login.microsoftonline.com/?x",
        "https://login.microsoftonline.com/#x",
        "https://user:password@login.microsoftonline.com",
        "https://user@login.microsoftonline.com",
        "",
        " ",
    ] {
        let settings =
            [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", AUDIENCE), ("AZURE_AUTHORITY_HOST", authority)];
        assert!(wrong(&settings).starts_with("AZURE_AUTHORITY_HOST: "), "{authority}");
    }
    for tenant in
        ["72f988bf86f141af91ab2d7cd011db47", "{72f988bf-86f1-41af-91ab-2d7cd011db47}", "contoso.onmicrosoft.com"]
    {
        assert!(
            wrong(&[("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", AUDIENCE)]).starts_with("AZURE_TENANT_ID: "),
            "{tenant}"
        );
    }
}

#[test]
fn development_refuses_to_start_in_azure() {
    assert_eq!(read(&[("CROSSWALK_AUTH", "development")]), Ok(Identity::Development));
    assert!(wrong(&[("CROSSWALK_AUTH", "development"), ("WEBSITE_INSTANCE_ID", "x")]).contains("WEBSITE_INSTANCE_ID"));
}

/// An address with a password, a token in a query, a secret in the wrong place: what is wrong is never shown.
#[test]
fn no_mistake_shows_the_value() {
    let hosts =
        ["https://user:s3cret@login.example.com", "https://login.example.com/?sig=s3cret", "s3cret", "s3cret@x"];
    for host in hosts {
        let settings =
            [("AZURE_TENANT_ID", "s3cret"), ("CROSSWALK_AUDIENCE", "s3cret s3cret"), ("AZURE_AUTHORITY_HOST", host)];
        let told = wrong(&settings);
        assert_eq!((told.lines().count(), told.contains("s3cret")), (3, false), "{told}");
        let all = [
            ("CROSSWALK_AUTH", "development"),
            ("CROSSWALK_CORS_ORIGINS", host),
            ("AZURE_KEY_VAULT_URL", host),
            ("AzureWebJobsStorage__tableServiceUri", host),
        ];
        let all: HashMap<_, _> = all.into_iter().collect();
        let read = |name: &str| all.get(name).map(|value| (*value).to_owned());
        let (server, storage) = (Server::read(&read).unwrap_err(), Storage::read(&read).unwrap_err());
        let told = format!("{server}\n{storage}");
        assert_eq!((told.lines().count(), told.contains("s3cret")), (3, false), "{told}");
    }
}
