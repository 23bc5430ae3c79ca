//! The function folders and the program's route table say the same.
//!
//! A folder without a route would send requests to a 404 of the program's, a route without a folder would never be called
//! on Azure, where only what a function's route matches gets through.

use std::collections::BTreeMap;

use crosswalk::http::ROUTES;

use crate::{
    host::{ScriptRoot, Trigger},
    packaged::debug_folder,
};

/// Answers what no route matches; it has no place in a table of routes.
const CATCH_ALL: &str = "UnknownRoute";

fn packaged() -> ScriptRoot {
    let folder = debug_folder();
    ScriptRoot::read(folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_folder_has_a_route_and_every_route_a_folder() {
    let root = packaged();
    let http = root.functions.iter().filter_map(|function| match &function.trigger {
        Trigger::Http { route, .. } if function.name != CATCH_ALL => Some((function.name.as_str(), route.as_str())),
        _ => None,
    });
    let folders: BTreeMap<&str, &str> = http.collect();
    let routes: BTreeMap<&str, &str> = ROUTES.iter().map(|route| (route.function, route.template)).collect();
    assert_eq!(folders, routes, "left: functions/<Name>/function.json, right: crosswalk::http::ROUTES");
    assert_eq!(routes.len(), ROUTES.len(), "a function stands twice in crosswalk::http::ROUTES");
}

#[test]
fn every_route_reaches_its_own_function_and_no_other() {
    let root = packaged();
    assert_eq!(root.errors, Vec::<String>::new(), "functions that the host would refuse");
    for route in ROUTES {
        // Parameters filled with what could be mistaken for a literal of another route.
        for value in ["value", "integrations", "organizations", "mappings", "health"] {
            let path = format!("/api/{}", fill(route.template, value));
            let matching: Vec<&str> = root.matching("GET", &path).map(|function| function.name.as_str()).collect();
            assert_eq!(matching, [route.function, CATCH_ALL], "{path}");
        }
    }
    let last = root.functions.last().map(|function| function.name.as_str());
    assert_eq!(last, Some(CATCH_ALL), "a function that sorts after the catch-all is never called");
}

#[test]
fn every_method_and_every_caller_gets_through_to_the_program() {
    let folder = debug_folder();
    for function in packaged().functions {
        let Trigger::Http { methods, .. } = function.trigger else {
            continue;
        };
        let name = function.name;
        assert_eq!(methods, None, "{name}: the host would answer other methods with an empty 404, not a 405");
        let path = folder.path().join(&name).join("function.json");
        let text = std::fs::read_to_string(path).expect("it was read before");
        let json: serde_json::Value = serde_json::from_str(&text).expect("it was parsed before");
        assert_eq!(json["bindings"][0]["authLevel"], "anonymous", "{name}: the program checks its callers itself");
    }
}

fn fill(template: &str, value: &str) -> String {
    let fill = |segment| if str::starts_with(segment, '{') { value } else { segment };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}
