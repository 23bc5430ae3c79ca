//! `GET /openapi.json`: that it describes what is there, and by the rules of OpenAPI. That answers are as it says is checked by
//! the client on every call of every test.

use std::collections::{BTreeMap, BTreeSet};

use crosswalk::http::ROUTES;
use serde_json::Value;

use crate::{
    schema::{self, DOCUMENT},
    server::Server,
};

fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_of_this_build() {
    let server = Server::start().await;
    assert_eq!(server.api.get("/openapi.json").await.is(200).json(), *DOCUMENT);
    assert!(DOCUMENT["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[test]
fn its_paths_and_methods_are_the_routes() {
    let documented: BTreeSet<_> = operations().map(|(name, _)| name).collect();
    let routes = ROUTES
        .iter()
        .flat_map(|route| route.methods.iter().map(move |(method, ..)| format!("{method} /api/{}", route.template)));
    assert_eq!(documented, routes.collect());
}

#[test]
fn operations_have_names_of_their_own_and_responses_descriptions() {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for (operation, value) in operations() {
        let name = value["operationId"].as_str().unwrap();
        if let Some(other) = names.insert(name, operation.clone()) {
            panic!("{operation} and {other} are both called {name}");
        }
        for (status, response) in value["responses"].as_object().unwrap() {
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{operation} {status} has no description, which OpenAPI 3.1 requires");
        }
    }
}

#[test]
fn parameters_in_paths_are_described_and_no_others() {
    for (operation, value) in operations() {
        let described: BTreeSet<_> = value["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let in_path: BTreeSet<_> =
            operation.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(described, in_path, "{operation}");
    }
}

#[test]
fn bodies_have_examples_and_all_examples_are_valid() {
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        if let Some(example) = schema.get("example") {
            let mistakes = schema::mistakes(schema, example, name);
            assert!(mistakes.is_empty(), "{mistakes:?}");
        }
    }
    let example = |schema: &Value| match schema["$ref"].as_str() {
        Some(pointer) => DOCUMENT.pointer(&pointer[1..]).unwrap().get("example").is_some(),
        None => true,
    };
    for (operation, value) in operations() {
        let bodies = value["responses"].as_object().unwrap().values().chain(value.get("requestBody"));
        for body in bodies.filter_map(|body| body.pointer("/content/application~1json/schema")) {
            assert!(example(body), "{operation}: {body} has no example");
        }
    }
}

/// A caller who believes the document must not be refused, and one who breaks it must not be surprised.
#[test]
fn request_bodies_say_that_unknown_fields_and_wrong_nulls_are_refused() {
    let schemas = &DOCUMENT["components"]["schemas"];
    for name in ["CreateBody", "SetBody", "PatchBody", "SecretBody"] {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    for field in ["external_org_id", "is_active"] {
        let of_type = &schemas["PatchBody"]["properties"][field]["type"];
        assert!(of_type.is_string(), "PATCH refuses null for {field}, the document says {of_type}");
    }
}
