//! What a caller of one organization learns about another: nothing, not even whether it exists.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crosswalk::{auth::Right, http::ROUTES, tables::Table};
use serde_json::json;

use crate::{
    client::{Answer, Client},
    entra::{Entra, ask, methods},
    tokens::Parts,
};

/// With a mapping of each organization.
async fn start(organizations: &[&str]) -> Entra {
    let entra = Entra::start().await;
    let admin = entra.of("admin");
    for org in organizations {
        entra.server.organization(org, &[("Name", format!("Name of {org}").into()), ("IsActive", true.into())]).await;
        for number in 0..3 {
            let body = json!({
                "integration_name": "halo", "external_org_id": format!("{org} {number}"), "mapping_id": format!("mapping_{number}")
            });
            admin.post(&format!("/organizations/{org}/integrations"), &body).await.is(201);
        }
    }
    entra
}

/// An answer without what has to differ.
fn bare(answer: &Answer) -> String {
    let headers: Vec<_> =
        answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-correlation-id")).collect();
    format!("{} {headers:?} {}", answer.status, answer.text())
}

#[tokio::test]
async fn an_organization_is_refused_in_the_same_bytes_whether_it_exists_or_not() {
    let entra = start(&["globex"]).await;
    let long = "x".repeat(65);
    // With mappings, inactive, unknown, and what can be no organization.
    let others = ["globex", "hooli", "umbrella", "GLOBEX", "a_b", "%FF", "%00", "globex%2F", "%27or%27", "..", &long];
    let application = Parts::application(&entra.provider).token();
    let users = ["technician", "customer", "operator"].map(|user| (entra.of(user), false));
    for (client, is_application) in users.into_iter().chain([(entra.with(&application), true)]) {
        for route in
            ROUTES.iter().filter(|route| route.template.contains("{orgId}") || route.template.ends_with("/discover"))
        {
            for method in methods(route) {
                let mut bodies = BTreeSet::new();
                for other in others.iter().filter(|other| **other != ".." || route.template.ends_with("/discover")) {
                    entra.reads();
                    let answer = ask(&client, &method, route, other).await;
                    if answer.status != 403 {
                        // Only what an application with its role may do, for any organization.
                        let asked = if method == "HEAD" { "GET" } else { method.as_str() };
                        let right = route.methods.iter().find(|(one, ..)| one == asked).unwrap().1;
                        assert!(matches!(right, Right::Resolve | Right::SetMapping), "{}", answer.what);
                        assert!(is_application, "{}", answer.what);
                        continue;
                    }
                    let reads = entra.reads();
                    assert!(reads.iter().all(|read| read.starts_with("User")), "{}: {reads:?}", answer.what);
                    bodies.insert(bare(&answer));
                }
                assert!(bodies.len() <= 1, "{method} {}: {bodies:#?}", route.template);
            }
        }
    }
    entra.server.settled().await;
}

/// Whose credential it is stands in the body.
#[tokio::test]
async fn storing_a_credential_is_refused_in_the_same_bytes_whether_its_organization_exists_or_not() {
    let entra = start(&["globex"]).await;
    let application = Parts::application(&entra.provider).token();
    for client in [entra.of("technician"), entra.of("customer"), entra.of("operator"), entra.with(&application)] {
        let mut bodies = BTreeSet::new();
        for scope in ["globex", "hooli", "umbrella", "GLOBEX", "global", "GLOBAL"] {
            entra.reads();
            let answer = client.put("/secrets/psa_api_key", &json!({"value": "x", "scope": scope})).await.is(403);
            let reads = entra.reads();
            assert!(reads.iter().all(|read| read.starts_with("User")), "{scope}: {reads:?}");
            bodies.insert(bare(&answer));
        }
        assert_eq!(bodies.len(), 1, "{bodies:#?}");
    }
}

#[tokio::test]
async fn refusals_of_one_right_are_the_same_bytes_on_every_route() {
    let entra = start(&["globex"]).await;
    let technician = entra.of("technician");
    let mut bodies = BTreeSet::new();
    for route in ROUTES {
        for (method, right, _) in route.methods.iter().filter(|(_, right, _)| *right == Right::ManageConfig) {
            let method: reqwest::Method = method.as_str().parse().unwrap();
            for org in ["globex", "umbrella"] {
                let answer = ask(&technician, &method, route, org).await.is(403);
                bodies.insert(bare(&answer));
                assert!(!answer.text().contains(org), "{right:?}: {}", answer.text());
            }
        }
    }
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
}

#[tokio::test]
async fn lists_show_what_may_be_managed_and_read_nothing_else() {
    let entra = start(&["acme", "globex"]).await;
    // A right on an organization that is gone, and one that is not enough.
    entra.may("technician", "gone", "CanManageConfig").await;
    entra.may("technician", "globex", "CanExecuteWorkflows").await;
    let technician = entra.of("technician");
    entra.reads();
    let list = technician.get("/organizations").await.is(200).json();
    assert_eq!(
        list,
        json!({
            "count": 1,
            "organizations": [{"id": "acme", "name": "Name of acme", "tenant_id": null, "is_active": true}]
        })
    );
    for path in [
        "/integrations/halo/mappings",
        "/integrations/halo/mappings?limit=2",
        "/integrations/halo/mappings?externalOrgId=acme%200",
        "/integrations/halo/mappings?externalOrgId=globex%200",
    ] {
        let answer = technician.get(path).await.is(200);
        assert!(!answer.text().contains("globex"), "{}", answer.text());
        assert!(answer.column("org_id").iter().all(|org| org == "acme"));
    }
    let reads: BTreeSet<_> = entra.reads().into_iter().filter(|read| !read.starts_with("User")).collect();
    let from_globex = reads.iter().filter(|read| read.contains("globex") || read.contains(" ..")).collect::<Vec<_>>();
    assert!(from_globex.is_empty(), "{from_globex:?}");
    let seen = reads.iter().filter(|read| read.starts_with("Organizations")).cloned().collect::<Vec<_>>();
    assert_eq!(seen, ["Organizations ORG acme", "Organizations ORG gone"]);

    // Nobody in particular: empty lists, and no sign of more.
    for user in ["newcomer", "operator", "nobody"] {
        let client = entra.of(user);
        assert_eq!(client.get("/organizations").await.is(200).json(), json!({"organizations": [], "count": 0}));
        let page = client.get("/integrations/halo/mappings").await.is(200).json();
        assert_eq!(page, json!({"mappings": [], "count": 0, "next_cursor": null}));
    }
    assert_eq!(entra.of("admin").get("/organizations").await.is(200).json()["count"], 3);
}

/// Every page from a cursor on: mappings as `organization external id`, and the cursors between.
async fn pages(client: &Client, limit: usize, from: Option<&str>) -> (Vec<String>, Vec<String>) {
    let (mut all, mut cursors) = (Vec::new(), Vec::new());
    let mut cursor = from.map(str::to_owned);
    loop {
        let path = format!("/integrations/halo/mappings?limit={limit}");
        let path = cursor.map_or_else(|| path.clone(), |cursor| format!("{path}&cursor={cursor}"));
        let page = client.get(&path).await.is(200);
        all.extend(page.column("external_org_id"));
        cursor = page.json()["next_cursor"].as_str().map(str::to_owned);
        match &cursor {
            Some(cursor) => cursors.push(cursor.clone()),
            None => return (all, cursors),
        }
    }
}

#[tokio::test]
async fn pages_and_cursors_stay_inside_what_may_be_managed() {
    // `a-b` sorts after `a`, its rows before those of `a`.
    let entra = start(&["a", "a-b", "a0", "aa", "b", "c"]).await;
    let mine = ["a", "a-b", "aa", "c"];
    for org in mine {
        entra.may("elsewhere", org, "CanManageConfig").await;
    }
    let (admin, user) = (entra.of("admin"), entra.of("elsewhere"));
    let (everything, _) = pages(&admin, 1000, None).await;
    assert_eq!(everything.len(), 18);
    let is_mine = |text: &&String| mine.contains(&text.split(' ').next().unwrap());
    let expected: Vec<_> = everything.iter().filter(is_mine).cloned().collect();
    let (_, foreign) = pages(&admin, 1, None).await;
    for limit in [1, 2, 3, 4, 5, 12, 13, 1000] {
        assert_eq!(pages(&user, limit, None).await.0, expected, "{limit}");
    }
    for (number, cursor) in foreign.iter().enumerate() {
        let rest: Vec<_> = everything[number + 1..].iter().filter(is_mine).cloned().collect();
        for limit in [1, 1000] {
            assert_eq!(pages(&user, limit, Some(cursor)).await.0, rest, "{number} {limit}");
        }
    }
    // And none of its own says anything about others.
    for cursor in pages(&user, 1, None).await.1 {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
        assert!(mine.contains(&text.split('_').next().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn a_right_on_many_organizations_reads_them_in_several_pages() {
    let entra = start(&["z"]).await;
    for number in 0..700 {
        entra.may("technician", &format!("org-{number}"), "CanManageConfig").await;
    }
    entra.may("technician", "z", "CanManageConfig").await;
    assert_eq!(pages(&entra.of("technician"), 100, None).await.0, ["z 0", "z 1", "z 2"]);
    assert_eq!(entra.of("technician").get("/organizations").await.is(200).json()["count"], 2);
}

#[tokio::test]
async fn rows_of_the_platform_decide_anew_within_seconds() {
    let entra = Entra::start().await;
    let path = "/organizations/acme/integrations";
    let (technician, newcomer) = (entra.of("technician"), entra.of("newcomer"));
    technician.get(path).await.is(200);
    newcomer.get(path).await.is(403);
    entra.server.row(Table::UserPermissions, "technician", "acme", &[("CanManageConfig", false.into())]).await;
    entra.may("newcomer", "acme", "CanManageConfig").await;
    entra.provider.later(5);
    technician.get(path).await.is(403);
    newcomer.get(path).await.is(200);
    entra.server.row(Table::Users, "USER", "newcomer", &[("UserType", "MSP".into()), ("IsActive", false.into())]).await;
    entra.provider.later(5);
    newcomer.get(path).await.is(403);
}
