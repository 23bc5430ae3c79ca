//! Paths and methods: what is there, what is not, and that both are said in the same way everywhere.

use crosswalk::http::{ROUTES, Route};
use reqwest::Method;

use crate::{
    documents::{named_mapping, stable},
    server::Server,
};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// The path of a route behind `/api`, for a mapping that a test may have made.
pub fn sample(route: &Route) -> String {
    let path = route.template.replace("{orgId}", "acme").replace("{integrationName}", "halo");
    format!("/{}", path.replace("{mappingId}", "mapping_x").replace("{key}", "psa_api_key"))
}

async fn with_sample() -> Server {
    let server = Server::start().await;
    let body = named_mapping("halo", "1", "mapping_x");
    server.api.post("/organizations/acme/integrations", &body).await.is(201);
    server
}

#[tokio::test]
async fn every_other_method_is_405_and_says_which_are_allowed() {
    let server = with_sample().await;
    for route in ROUTES {
        let allowed: Vec<_> = route.methods.iter().map(|(method, ..)| method.as_str()).collect();
        for method in METHODS {
            if allowed.contains(&method) || (method == "HEAD" && allowed.contains(&"GET")) {
                continue;
            }
            let answer = server.api.call(method.parse::<Method>().unwrap(), &sample(route)).await.is(405);
            let mut said: Vec<_> = answer.header("allow").split(", ").collect();
            // HEAD goes without saying where GET is allowed.
            said.retain(|method| *method != "HEAD");
            assert_eq!(said, allowed, "{}", answer.what);
        }
    }
    insta::assert_snapshot!(stable(&server.api.call(Method::DELETE, "/health").await.is(405).json()), @r#"
    {
      "error": "Method not allowed",
      "message": "DELETE is not possible on this path; possible are: GET"
    }
    "#);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = with_sample().await;
    for route in ROUTES.iter().filter(|route| route.methods.iter().any(|(method, ..)| method == "GET")) {
        let get = server.api.get(&sample(route)).await.is(200);
        let head = server.api.call(Method::HEAD, &sample(route)).await.is(200);
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{}: {name}", head.what);
        }
        assert_eq!(get.header("content-length"), get.body.len().to_string());
    }
    server.api.call(Method::HEAD, "/organizations/nobody/integrations").await.is(404);
}

#[tokio::test]
async fn one_slash_at_the_end_changes_nothing() {
    let server = with_sample().await;
    for route in ROUTES.iter().filter(|route| route.methods.iter().any(|(method, ..)| method == "GET")) {
        let plain = server.api.get(&sample(route)).await.is(200);
        let slash = server.api.get(&format!("{}/", sample(route))).await.is(200);
        assert_eq!(slash.body, plain.body, "{}", slash.what);
    }
}

#[tokio::test]
async fn a_path_that_is_none_of_the_routes_is_404() {
    let server = Server::start().await;
    for path in [
        "",
        "/",
        "/Health",
        "/health/x",
        "/health//",
        "//health",
        "/organizations/acme",
        "/organizations//integrations",
        "/organizations/acme/integrations/halo/mapping_1/nothing",
        "/integrations/halo",
        "/%68ealth",
        "/swagger",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            server.api.call(method, path).await.is(404);
        }
    }
    insta::assert_snapshot!(stable(&server.api.get("/nothing").await.is(404).json()), @r#"
    {
      "error": "Route not found",
      "message": "No such path; GET /api/openapi.json lists all"
    }
    "#);
}
