//! Who gets in, and what they may do there: no keys, no passwords, no roles beyond those that docs/deploy.md explains.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Value, json};

use crate::bicep::{Declaration, File, Kind, file, files, resources};

/// Built-in roles: their id in every tenant, and where each is given.
const ROLES: [(&str, &str, &str); 5] = [
    ("storageBlobDataOwner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "storageAccount"),
    ("storageTableDataContributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "storageAccount"),
    ("monitoringMetricsPublisher", "3913510d-42f4-4e42-8a64-420c390055eb", "applicationInsights"),
    ("websiteContributor", "de139f84-1756-47ae-9be6-808fbbe84772", "app"),
    ("reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", "plan"),
];

/// The versions that are known to have the properties used here.
const TYPES: [&str; 18] = [
    "Microsoft.Authorization/roleAssignments@2022-04-01",
    "Microsoft.Authorization/roleDefinitions@2022-04-01",
    "Microsoft.Insights/components@2020-02-02",
    "Microsoft.Insights/diagnosticSettings@2021-05-01-preview",
    "Microsoft.KeyVault/vaults@2024-11-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30",
    "Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30",
    "Microsoft.OperationalInsights/workspaces@2025-07-01",
    "Microsoft.Resources/resourceGroups@2024-11-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01",
    "Microsoft.Storage/storageAccounts/blobServices@2025-06-01",
    "Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01",
    "Microsoft.Storage/storageAccounts/tableServices@2025-06-01",
    "Microsoft.Storage/storageAccounts@2025-06-01",
    "Microsoft.Web/serverfarms@2025-03-01",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01",
    "Microsoft.Web/sites/config@2025-03-01",
    "Microsoft.Web/sites@2025-03-01",
];

fn of_type(name: &str) -> Vec<Declaration> {
    resources().map(|(_, one)| one).filter(|one| one.resource_type() == name).collect()
}

fn properties(name: &str) -> Value {
    let mut all = of_type(name);
    assert_eq!(all.len(), 1, "{name}");
    all.remove(0).value["properties"].take()
}

#[test]
fn types_and_versions_are_known() {
    let used: BTreeSet<String> = files()
        .values()
        .flat_map(File::declarations)
        .filter(|one| one.kind == Kind::Resource)
        .map(|one| one.target)
        .collect();
    assert_eq!(used, TYPES.map(str::to_owned).into());
}

#[test]
fn nothing_is_opened_by_a_key_or_to_the_public() {
    let storage = properties("Microsoft.Storage/storageAccounts");
    for (name, value) in [
        ("allowSharedKeyAccess", json!(false)),
        ("allowBlobPublicAccess", json!(false)),
        ("allowCrossTenantReplication", json!(false)),
        ("minimumTlsVersion", json!("TLS1_2")),
        ("supportsHttpsTrafficOnly", json!(true)),
    ] {
        assert_eq!(storage[name], value, "{name}");
    }
    assert_eq!(properties("Microsoft.Storage/storageAccounts/blobServices/containers")["publicAccess"], "None");
    assert_eq!(properties("Microsoft.Insights/components")["DisableLocalAuth"], true);
    assert_eq!(properties("Microsoft.OperationalInsights/workspaces")["features"]["disableLocalAuth"], true);

    let vault = properties("Microsoft.KeyVault/vaults");
    for name in ["enableRbacAuthorization", "enableSoftDelete", "enablePurgeProtection"] {
        assert_eq!(vault[name], true, "{name}");
    }
    assert_eq!((&vault["softDeleteRetentionInDays"], vault.get("accessPolicies")), (&json!(90), None));

    let site = properties("Microsoft.Web/sites");
    assert_eq!(site["httpsOnly"], true);
    assert_eq!(
        (&site["siteConfig"]["minTlsVersion"], &site["siteConfig"]["scmMinTlsVersion"]),
        (&json!("1.2"), &json!("1.2"))
    );
    let passwords = of_type("Microsoft.Web/sites/basicPublishingCredentialsPolicies");
    let passwords: BTreeSet<_> =
        passwords.iter().map(|one| format!("{} {}", one.value["name"], one.value["properties"]["allow"])).collect();
    assert_eq!(passwords, [r#""ftp" false"#.to_owned(), r#""scm" false"#.to_owned()].into());
}

#[test]
fn no_secret_comes_in_or_goes_out() {
    let asking =
        Regex::new(r"(?i)list\w*Keys|list\w*Secrets|listKeys|getSecret\(|accountSas|serviceSas|@secure").unwrap();
    for (path, file) in files() {
        let found = asking.find(&file.text).map(|found| found.as_str());
        assert_eq!(found, None, "{path}");
        for one in file.declarations() {
            let is_value = matches!(one.kind, Kind::Param | Kind::Output);
            let name = one.name.to_lowercase();
            let suspicious =
                ["secret", "password", "connectionstring", "apikey", "sas"].iter().any(|word| name.contains(word));
            assert!(!(is_value && suspicious), "{path}: {}", one.name);
            assert!(!(one.kind == Kind::Output && one.value.to_string().contains("ConnectionString")), "{}", one.name);
        }
    }
    // Those of external systems are stored by administrators; the program reads no other.
    assert_eq!(of_type("Microsoft.KeyVault/vaults/secrets").len(), 0);
}

#[test]
fn roles_are_the_known_ones_on_one_resource_each() {
    let mut given = BTreeSet::new();
    for path in ["modules/roles.bicep", "modules/publisher.bicep"] {
        let declarations = file(path).declarations();
        let ids = declarations.iter().filter(|one| one.kind == Kind::Var && one.value.is_string());
        for (name, id) in ids.map(|one| (&one.name, &one.value)) {
            assert!(ROLES.iter().any(|(role, known, _)| role == name && *known == id), "{path}: {name} {id}");
        }
        for one in declarations.iter().filter(|one| one.resource_type().ends_with("/roleAssignments")) {
            let properties = &one.value["properties"];
            assert_eq!(properties["principalType"], "ServicePrincipal", "{}", one.name);
            let role = properties["roleDefinitionId"]["="].as_str().unwrap();
            let builtin = "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', ";
            let role = role.strip_prefix(builtin).map_or(role, |role| role.trim_end_matches(')'));
            let scope = one.value["scope"]["="].as_str().unwrap_or_else(|| panic!("{}: on the whole group", one.name));
            // The same name in every run, and another one for every identity, role and resource.
            let name = one.value["name"]["="].as_str().unwrap();
            let parts: Vec<_> = name.trim_start_matches("guid(").trim_end_matches(')').split(", ").collect();
            assert_eq!(parts[0], format!("{scope}.id"), "{}", one.name);
            assert!(["principalId", "identity.id"].contains(&parts[1]) && parts[2] == role, "{name}");
            given.insert((role.to_owned(), scope.to_owned()));
        }
    }
    let mut expected: BTreeSet<_> = ROLES.iter().map(|(role, _, on)| ((*role).to_owned(), (*on).to_owned())).collect();
    expected.insert(("secretsRole.id".to_owned(), "vault".to_owned()));
    assert_eq!(given, expected);
    assert_eq!(of_type("Microsoft.Authorization/roleAssignments").len(), expected.len(), "all are in these two files");
}

/// What `SecretStore` does, and nothing else: it has no call that lists, backs up or purges.
#[test]
fn the_app_may_do_with_secrets_what_the_program_does() {
    let role = properties("Microsoft.Authorization/roleDefinitions");
    let allowed = [
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/secrets/setSecret/action",
        "Microsoft.KeyVault/vaults/secrets/delete",
    ];
    let permissions = json!([{"actions": [], "notActions": [], "dataActions": allowed, "notDataActions": []}]);
    assert_eq!(role["permissions"], permissions);
    assert_eq!(role["assignableScopes"], json!([{"=": "group"}]));
}

#[test]
fn what_changes_is_logged() {
    let expected = [
        ("vault", vec!["AuditEvent"]),
        ("blobService", vec!["StorageWrite", "StorageDelete"]),
        ("tableService", vec!["StorageWrite", "StorageDelete"]),
    ];
    let settings = of_type("Microsoft.Insights/diagnosticSettings");
    assert_eq!(settings.len(), expected.len());
    for (scope, categories) in expected {
        let one = settings.iter().find(|one| one.value["scope"]["="] == scope).unwrap_or_else(|| panic!("{scope}"));
        let logs: Vec<_> = categories.iter().map(|name| json!({"category": name, "enabled": true})).collect();
        assert_eq!(one.value["properties"], json!({"workspaceId": {"=": "workspaceId"}, "logs": logs}), "{scope}");
    }
}

/// Tags say whose a resource is, on the bill as well.
#[test]
fn everything_that_can_have_tags_has_them() {
    let without = [
        "/roleAssignments",
        "/roleDefinitions",
        "/diagnosticSettings",
        "/blobServices",
        "/containers",
        "/tableServices",
        "/tables",
        "/config",
        "/basicPublishingCredentialsPolicies",
        "/federatedIdentityCredentials",
    ];
    for (path, one) in resources() {
        let can = !without.iter().any(|end| one.resource_type().ends_with(end));
        assert_eq!(one.value.get("tags").is_some(), can, "{path}: {}", one.name);
    }
}
