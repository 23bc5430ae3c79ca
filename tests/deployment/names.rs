//! What the compiler would say of names: nothing is used that is not declared, nothing declared that is not used, and every
//! module gets the parameters that it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use regex_lite::Regex;

use crate::{
    bicep::{Declaration, File, Kind, file, files},
    root,
};

/// Bicep's own, as far as they are used.
const FUNCTIONS: [&str; 20] = [
    "allowed",
    "description",
    "empty",
    "environment",
    "filter",
    "guid",
    "join",
    "maxLength",
    "maxValue",
    "minLength",
    "minValue",
    "readEnvironmentVariable",
    "resourceGroup",
    "split",
    "subscription",
    "subscriptionResourceId",
    "tenant",
    "toLower",
    "union",
    "uniqueString",
];

/// Values for `main.bicep`, each read as a variable.
const PARAMETERS: &str = "main.bicepparam";

/// Names that expressions use, and names that they bring along: loop variables, parameters of lambdas.
fn used(file: &File) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut used, mut local) = (BTreeSet::new(), BTreeSet::new());
    for (parent, node) in file.tree.below().into_iter().filter(|(_, node)| node.kind == "identifier") {
        let is_first = std::ptr::eq(parent.named()[0], node);
        let name = file.text_of(node).to_owned();
        match &*parent.kind {
            // The name of the declaration, of a member, or of a type.
            "object_property" | "type" => {
                if !is_first {
                    used.insert(name);
                }
            }
            declaration if declaration.ends_with("_declaration") && is_first => {}
            "for_statement" | "lambda_expression" if is_first => {
                local.insert(name);
            }
            _ => {
                used.insert(name);
            }
        }
    }
    (used, local)
}

fn names(declarations: &[Declaration], kinds: &[Kind]) -> BTreeSet<String> {
    declarations.iter().filter(|one| kinds.contains(&one.kind)).map(|one| one.name.clone()).collect()
}

#[test]
fn what_is_used_is_declared_and_what_is_declared_is_used() {
    for (path, file) in files() {
        let (used, local) = used(file);
        let declarations = file.declarations();
        let mut known = names(&declarations, &[Kind::Param, Kind::Var, Kind::Resource, Kind::Module]);
        let outputs = names(&declarations, &[Kind::Output]);
        assert_eq!(known.len() + outputs.len(), declarations.len(), "{path}: two declarations of one name");
        let idle: Vec<_> = declarations
            .iter()
            .filter(|one| path != PARAMETERS && (matches!(one.kind, Kind::Param | Kind::Var) || one.existing))
            .filter(|one| !used.contains(&one.name))
            .map(|one| &one.name)
            .collect();
        assert!(idle.is_empty(), "{path}: never used: {idle:?}");
        known.extend(local);
        known.extend(FUNCTIONS.map(str::to_owned));
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{path}: not declared: {unknown:?}");
    }
}

#[test]
fn modules_get_what_they_take_and_give_what_is_asked() {
    let main = file("main.bicep");
    let mut outputs = BTreeMap::new();
    let declarations = main.declarations();
    let modules: Vec<_> = declarations.iter().filter(|one| one.kind == Kind::Module).collect();
    for module in &modules {
        let target = file(&module.target).declarations();
        let all = names(&target, &[Kind::Param]);
        let optional = target.iter().filter(|one| one.kind == Kind::Param && !one.value.is_null());
        let optional: BTreeSet<_> = optional.map(|one| one.name.clone()).collect();
        let given: BTreeSet<_> = module.value["params"].as_object().unwrap().keys().cloned().collect();
        let missing: Vec<_> = all.difference(&given).filter(|name| !optional.contains(*name)).collect();
        let unknown: Vec<_> = given.difference(&all).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "{}: lacks {missing:?}, has no {unknown:?}", module.name);
        assert_eq!(module.value["scope"]["="], "group", "{}: all is in the one resource group", module.name);
        outputs.insert(module.name.as_str(), names(&target, &[Kind::Output]));
    }
    let mut taken: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for found in Regex::new(r"(\w+)!?\.outputs\.(\w+)").unwrap().captures_iter(&main.text) {
        let (_, [module, output]) = found.extract();
        taken.entry(module).or_default().insert(output.to_owned());
    }
    outputs.retain(|_, outputs| !outputs.is_empty());
    assert_eq!(taken, outputs, "asked on the left, given on the right");

    let mut expected: BTreeSet<_> = modules.iter().map(|module| &*module.target).collect();
    expected.extend(["main.bicep", PARAMETERS]);
    assert_eq!(
        files().keys().map(|path| &**path).collect::<BTreeSet<_>>(),
        expected,
        "a file that nothing deploys, or one that is missing"
    );
}

#[test]
fn the_parameters_fit_the_template() {
    let (values, template) = (file(PARAMETERS).declarations(), file("main.bicep").declarations());
    assert!(fs::read_to_string(root().join("infra").join(PARAMETERS)).unwrap().contains("\nusing 'main.bicep'\n"));
    let given = names(&values, &[Kind::Var]);
    let required = template.iter().filter(|one| one.kind == Kind::Param && one.value.is_null());
    let required: BTreeSet<_> = required.map(|one| one.name.clone()).collect();
    assert_eq!(required.difference(&given).collect::<Vec<_>>(), [""; 0], "no value and no default");
    let all = names(&template, &[Kind::Param]);
    assert_eq!(given.difference(&all).collect::<Vec<_>>(), [""; 0], "no such parameter");
    for one in template.iter().filter(|one| one.kind == Kind::Param) {
        assert!(one.decorator("description").is_some(), "{}: what is it for?", one.name);
    }
}

/// Storage accounts and key vaults have at most 24 characters; an account only lower-case letters and digits.
#[test]
fn names_are_short_enough() {
    let main = file("main.bicep").declarations();
    let prefix = main.iter().find(|one| one.name == "namePrefix").unwrap();
    let longest: usize = prefix.decorator("maxLength").unwrap().parse().unwrap();
    let default = prefix.value.as_str().unwrap();
    assert!(default.len() <= longest && default.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit()));
    for module in ["storage", "keyVault"] {
        let module = main.iter().find(|one| one.name == module).unwrap();
        let name = module.value["params"]["name"]["="].as_str().unwrap().trim_matches('\'');
        let unique_string = "0".repeat(13);
        let name = name.replace("${namePrefix}", &"x".repeat(longest)).replace("${token}", &unique_string);
        assert!(name.len() <= 24 && !name.contains('$'), "{}: {name}", module.name);
        assert!(module.name != "storage" || name.bytes().all(|one| one.is_ascii_alphanumeric()), "{name}");
    }
}
