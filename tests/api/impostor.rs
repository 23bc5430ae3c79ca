//! Callers who pretend: to be somebody else, to ask for something else, to be about another organization.

use crosswalk::tables::Table;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{entra::Entra, tokens::Parts, wire::send};

const ACME: &str = "/organizations/acme/integrations";
const GLOBEX: &str = "/organizations/globex/integrations";

/// With a mapping of `acme` and one of `globex`.
async fn start() -> Entra {
    let entra = Entra::start().await;
    for (path, id) in [(ACME, "of-acme"), (GLOBEX, "of-globex")] {
        let mapping = json!({"integration_name": "halo", "external_org_id": id, "mapping_id": "mapping_1"});
        entra.of("admin").post(path, &mapping).await.is(201);
    }
    entra
}

/// The statuses of everything that comes back for these bytes, sent over one connection.
async fn statuses(entra: &Entra, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    let mut stream = TcpStream::connect(entra.server.address).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes in the middle of what it does not want to read is within its rights.
    let _ = stream.write_all(bytes.as_ref()).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = |part: &str| part.split(' ').nth(1).unwrap().parse().unwrap();
    answer.split("HTTP/1.1").skip(1).map(|part| status(&format!("HTTP/1.1{part}"))).collect()
}

#[tokio::test]
async fn a_token_counts_in_one_header_alone() {
    let entra = start().await;
    let (admin, technician) = (entra.token("admin"), entra.token("technician"));
    let target = format!("GET /api{ACME} HTTP/1.1\r\n");
    let with = async |headers: &str| send(&entra.server, format!("{target}{headers}"), b"").await.status;
    for good in [
        format!("Authorization: Bearer {technician}\r\n"),
        format!("authorization: bearer {technician}\r\n"),
        format!("AUTHORIZATION:\t BEARER   {technician} \t\r\n"),
    ] {
        assert_eq!(with(&good).await, 200, "{good}");
    }
    for bad in [
        format!("Authorization: Bearer {technician}\r\nAuthorization: Bearer {admin}\r\n"),
        format!("Authorization: Bearer {technician}\r\nauthorization: Bearer {technician}\r\n"),
        format!("Authorization: Bearer {technician}\r\nAuthorization: \r\n"),
        format!("Authorization: Bearer {technician}, Bearer {admin}\r\n"),
        format!("Authorization: Bearer {technician} {admin}\r\n"),
        format!("Authorization: Bearer Bearer {technician}\r\n"),
        format!("Authorization: Bearer\t{technician}\r\n"),
        format!("Authorization: Bearer \"{technician}\"\r\n"),
        format!("Authorization: Bearer={technician}\r\n"),
        format!("Authorization: Basic {technician}\r\n"),
        format!("Authorization: {technician}\r\n"),
        format!("Proxy-Authorization: Bearer {technician}\r\n"),
        format!("X-Forwarded-Authorization: Bearer {technician}\r\n"),
        format!("X-MS-TOKEN-AAD-ACCESS-TOKEN: {technician}\r\n"),
        format!("Cookie: access_token={technician}\r\n"),
        "X-MS-CLIENT-PRINCIPAL-ID: admin\r\nX-MS-CLIENT-PRINCIPAL: e30=\r\nX-MS-CLIENT-PRINCIPAL-IDP: aad\r\n"
            .to_owned(),
        "X-Dev-User: dev-admin\r\nX-Functions-Key: admin\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", "A".repeat(17_000)),
        format!("Authorization: Bearer {admin}{}\r\n", "A".repeat(100_000)),
    ] {
        assert_eq!(with(&bad).await, 401, "{}", &bad[..bad.len().min(200)]);
    }
    let bytes = [target.as_bytes(), b"Authorization: Bearer \xff\xfe\r\n"].concat();
    assert_eq!(send(&entra.server, bytes, b"").await.status, 401);
    // What is no HTTP gets no further.
    for head in [
        format!("{target}Host: localhost\r\nAuthorization : Bearer {admin}\r\n\r\n"),
        format!("{target}Host: localhost\r\nAuthorization: Bearer\r\n {admin}\r\n\r\n"),
        format!("{target}Host: localhost\r\nAuthorization: Bearer {admin}\0\r\n\r\n"),
        format!("{target}Host: localhost\r\nAuthorization: Bearer {}\r\n\r\n", "A".repeat(4 << 20)),
    ] {
        let statuses = statuses(&entra, &head).await;
        assert!(matches!(statuses[..], [] | [400 | 431]), "{statuses:?}: {}", &head[..head.len().min(200)]);
    }
}

/// Two ways to tell where a body ends: whoever stands before this service must not take it for another request than it is.
#[tokio::test]
async fn no_request_hides_in_the_body_of_another() {
    let entra = start().await;
    let token = entra.token("newcomer");
    let hidden = format!("DELETE /api{ACME}/halo/mapping_1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let head = format!("POST /api{ACME} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    let length = hidden.len();
    for (headers, body) in [
        (format!("Content-Length: {length}\r\n"), &hidden),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
        (format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), &hidden),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(), &chunked),
    ] {
        let statuses = statuses(&entra, format!("{head}{headers}\r\n{body}")).await;
        assert!(matches!(statuses[..], [403 | 400]), "{headers}: {statuses:?}");
    }
    for headers in [
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
    ] {
        for body in [&hidden, &chunked] {
            let statuses = statuses(&entra, format!("{head}{headers}\r\n{body}")).await;
            assert!(matches!(statuses[..], [] | [400]), "{headers}: {statuses:?}");
        }
    }
    // Two requests after one another are two, each with its own caller.
    let two = format!(
        "GET /api{ACME} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n{hidden}",
        entra.token("admin")
    );
    assert_eq!(statuses(&entra, two).await, [200, 401]);
    entra.of("admin").get(&format!("{ACME}/halo/mapping_1")).await.is(200);
    assert_eq!(entra.server.audit("acme").await.len(), 1);
}

#[tokio::test]
async fn no_header_makes_another_request_of_it() {
    let entra = start().await;
    let one = format!("{ACME}/halo/mapping_1");
    // `operator` may resolve, and nothing else.
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-http-method", "GET"),
        ("x-method-override", "GET"),
        ("x-original-url", "/api/health"),
        ("x-rewrite-url", "/api/health"),
        ("x-ms-original-url", "http://localhost/api/health"),
        ("x-forwarded-prefix", "/api/health"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=localhost"),
        ("x-organization-id", "acme"),
        ("x-organization-id", "globex"),
    ] {
        entra.of("operator").delete(&one).header(name, value).await.is(403);
        entra.of("technician").get(GLOBEX).header(name, value).await.is(403);
        entra.server.api.get(ACME).header(name, value).await.is(401);
    }
    let operator = entra.of("operator");
    operator.call(Method::POST, &format!("{one}?_method=GET")).await.is(405);
    operator.get(&format!("{ACME}/halo")).header("x-http-method-override", "DELETE").await.is(200);
    // The header may repeat the path and cannot replace it.
    let resolve = |header: &str| operator.get(&format!("{ACME}/halo")).header("x-organization-id", header);
    resolve("acme").await.is(200);
    for other in ["globex", "ACME", "", "acme,globex"] {
        resolve(other).await.is(400);
    }
    resolve("acme").header("x-organization-id", "acme").await.is(400);
    entra.of("technician").get(&format!("{one}?orgId=globex&org_id=globex")).await.is(200);
}

#[tokio::test]
async fn another_spelling_of_an_organization_is_another_organization() {
    let entra = start().await;
    entra.server.organization("ACME", &[("Name", "Another".into()), ("IsActive", true.into())]).await;
    let mapping = json!({"integration_name": "halo", "external_org_id": "of-ACME", "mapping_id": "mapping_1"});
    entra.of("admin").post("/organizations/ACME/integrations", &mapping).await.is(201);
    let technician = entra.of("technician");
    for org in
        ["ACME", "Acme", "acme%20", "%20acme", "acme%00", "acme.", "acme%2F", "acme%2e", "acm%c3%a9", "acme%2500"]
    {
        for path in ["integrations", "integrations/halo", "integrations/halo/mapping_1", "audit"] {
            technician.get(&format!("/organizations/{org}/{path}")).await.is(403);
        }
        technician.get(&format!("/integrations/halo/discover?orgId={org}")).await.is(403);
    }
    for query in ["orgId=acme&orgId=globex", "orgId=globex&orgId=acme", "orgId=acme&orgId=acme", "ORGID=acme", "orgId"]
    {
        technician.get(&format!("/integrations/halo/discover?{query}")).await.is(403);
    }
    // An escape that says the same is the same.
    technician.get("/organizations/%61cme/integrations").await.is(200);
    for path in ["/organizations", "/integrations/halo/mappings"] {
        let seen = technician.get(path).await.is(200);
        assert!(!seen.text().contains("ACME") && seen.text().contains("acme"), "{}", seen.text());
    }
    assert_eq!(technician.get(ACME).await.column("external_org_id"), ["of-acme"]);
}

#[tokio::test]
async fn no_path_leads_around_the_rights() {
    let entra = start().await;
    let headers = format!("Authorization: Bearer {}\r\n", entra.token("technician"));
    for (target, status) in [
        ("/api/organizations/acme/../globex/integrations", 404),
        ("/api/organizations/acme/%2e%2e/globex/integrations", 404),
        ("/api/organizations/acme%2F..%2Fglobex/integrations", 403),
        ("/api/organizations/acme/integrations/..%2F..%2Fglobex%2Fintegrations", 404),
        ("/api/organizations/acme/integrations/halo%2Fmapping_1", 404),
        ("/api/organizations/globex/integrations/halo%2Fmapping_1", 403),
        ("/api//organizations/globex/integrations", 404),
        ("/api/organizations//globex/integrations", 404),
        ("//api/organizations/globex/integrations", 404),
        ("/api/organizations/globex/integrations//", 404),
        ("/api/organizations/globex/integrations/", 403),
        ("/api/organizations/globex/integrations;v=1", 404),
        ("/api/organizations/globex;v=1/integrations", 403),
        ("/api/organizations/globex/integrations?x=/health", 403),
        ("/api/organizations/globex/integrations/health", 403),
        ("/API/organizations/acme/integrations", 404),
        ("/api/Organizations/acme/integrations", 404),
        ("/api/organizations/acme%5c..%5cglobex/integrations", 403),
        ("/api/health/../organizations/globex/integrations", 404),
        ("http://localhost/api/organizations/globex/integrations", 403),
        ("http://evil.example/api/organizations/globex/integrations", 403),
    ] {
        let answer = send(&entra.server, format!("GET {target} HTTP/1.1\r\n{headers}"), b"").await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(!answer.text().contains("of-globex"), "{target}");
    }
}

/// What a token says of itself is text for the log and keys at most.
#[tokio::test]
async fn a_claim_is_never_more_than_text() {
    let entra = start().await;
    entra.server.row(Table::Users, "USER", "GLOBAL", &[("UserType", "MSP".into()), ("IsActive", true.into())]).await;
    let user = || Parts::user(&entra.provider);
    for id in [
        "a' or PartitionKey ne '",
        "technician' or RowKey eq 'admin",
        "../admin",
        "admin/",
        "technician\0",
        "technician\r\nX-Dev-User: admin",
        "technician ",
        "%61dmin",
        "\u{ff41}dmin",
        "",
    ] {
        entra.with(&user().with("oid", id).token()).get(ACME).await.is(401);
        entra.with(&user().without("oid").with("sub", id).token()).get(ACME).await.is(401);
    }
    for id in ["ADMIN", "Technician", "USER", "GLOBAL", "_unfinished", "ORG", "acme"] {
        entra.with(&user().with("oid", id).token()).get(ACME).await.is(403);
    }
    // Rights that somebody claims for themselves.
    let claims = ["roles", "wids", "groups", "IsMspAdmin", "CanManageConfig", "UserType", "extension_IsMspAdmin"];
    for claim in claims {
        let value = if claim == "IsMspAdmin" { json!(true) } else { json!(["Workflows.Execute", "admin"]) };
        let token = user().with("oid", "newcomer").with(claim, value).with("scp", "Workflows.Execute admin").token();
        entra.with(&token).get(&format!("{ACME}/halo")).await.is(403);
        entra.with(&token).get(ACME).await.is(403);
    }
}
