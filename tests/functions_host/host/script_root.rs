//! Reads a packaged folder as the host does: `host.json`, then `<Name>/function.json` exactly one level below it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::routing::{Template, conflict, is_reserved};

/// A packaged folder, as far as the host understood it.
#[derive(Debug)]
pub struct ScriptRoot {
    pub folder: PathBuf,
    /// What starts the handler, as written in `host.json`.
    pub program: String,
    pub arguments: Vec<String>,
    /// Added to answers that don't have them.
    pub custom_headers: Vec<(String, String)>,
    /// `Values` of `local.settings.json`, which only `func start` reads.
    pub settings: Vec<(String, String)>,
    /// In the order in which routes are tried: by name, without case.
    pub functions: Vec<Function>,
    /// Functions "in error". The real host prints these lines and goes on; the functions answer 404.
    pub errors: Vec<String>,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub trigger: Trigger,
}

#[derive(Debug)]
pub enum Trigger {
    Http { route: String, template: Template, methods: Option<Vec<String>> },
    Timer { binding: String },
}

impl ScriptRoot {
    pub fn read(folder: &Path) -> Result<Self, String> {
        let host = read_json(&folder.join("host.json"))?;
        if host["version"] != "2.0" {
            return Err(format!("host.json: version is {}, it must be \"2.0\"", host["version"]));
        }
        let description = &host["customHandler"]["description"];
        let program = description["defaultExecutablePath"].as_str().unwrap_or_default();
        if program.is_empty() {
            return Err("host.json: Missing worker Description.".to_owned());
        }
        let http = &host["extensions"]["http"];
        let settings = match read_json(&folder.join("local.settings.json")) {
            Ok(settings) => strings(&settings["Values"]),
            Err(_) => Vec::new(),
        };
        let prefix = http["routePrefix"].as_str().unwrap_or("api");
        let (functions, errors) = read_functions(folder, prefix)?;
        Ok(Self {
            folder: folder.to_owned(),
            program: program.to_owned(),
            arguments: texts(&description["arguments"]),
            custom_headers: strings(&http["customHeaders"]),
            settings,
            functions,
            errors,
        })
    }

    /// The functions whose route takes this request, best first; the host calls the first.
    pub fn matching(&self, method: &str, path: &str) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(move |function| match &function.trigger {
            Trigger::Http { template, methods, .. } => {
                let allowed =
                    methods.as_ref().is_none_or(|list| list.iter().any(|one| one.eq_ignore_ascii_case(method)));
                allowed && template.matches(path)
            }
            Trigger::Timer { .. } => false,
        })
    }
}

fn read_functions(folder: &Path, prefix: &str) -> Result<(Vec<Function>, Vec<String>), String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let entry = entry.map_err(|error| error.to_string())?;
        // A folder without function.json is no function folder and silently skipped.
        if entry.path().join("function.json").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_by_key(|name| name.to_uppercase());

    let mut functions: Vec<Function> = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        let read = read_json(&folder.join(&name).join("function.json"))
            .and_then(|json| read_trigger(&name, &json, prefix))
            .and_then(|trigger| refuse_conflict(&functions, trigger));
        match read {
            Ok(trigger) => functions.push(Function { name, trigger }),
            Err(error) => errors.push(format!("{name}: {error}")),
        }
    }
    Ok((functions, errors))
}

fn read_trigger(name: &str, json: &Value, prefix: &str) -> Result<Trigger, String> {
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
        && !name.eq_ignore_ascii_case("host");
    if !valid {
        return Err(format!("'{name}' is not a valid function name."));
    }
    let bindings = json["bindings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |binding: &Value, kind: &str, direction: &str| {
        binding["type"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(kind))
            && binding["direction"] == direction
    };
    match bindings {
        [] => Err("At least one binding must be declared.".to_owned()),
        [one] if of(one, "timerTrigger", "in") => {
            Ok(Trigger::Timer { binding: one["name"].as_str().unwrap_or_default().to_owned() })
        }
        [a, b] if of(a, "httpTrigger", "in") && of(b, "http", "out") => read_http(name, a, prefix),
        [a, b] if of(b, "httpTrigger", "in") && of(a, "http", "out") => read_http(name, b, prefix),
        // The host would call it with an envelope, `POST /<Name>`, without a word.
        _ => Err("is neither one httpTrigger in and one http out, nor one timerTrigger".to_owned()),
    }
}

fn read_http(name: &str, binding: &Value, prefix: &str) -> Result<Trigger, String> {
    let route = binding["route"].as_str().unwrap_or(name).to_owned();
    if is_reserved(&route) {
        return Err("The specified route conflicts with one or more built in routes.".to_owned());
    }
    let template = Template::parse(&format!("{prefix}/{route}"))?;
    let methods = binding["methods"].is_array().then(|| texts(&binding["methods"]));
    Ok(Trigger::Http { route, template, methods })
}

/// Of two functions with one route, the one that sorts later is in error.
fn refuse_conflict(earlier: &[Function], trigger: Trigger) -> Result<Trigger, String> {
    if let Trigger::Http { route, methods, .. } = &trigger {
        for function in earlier {
            if let Trigger::Http { route: taken, methods: taken_methods, .. } = &function.trigger
                && conflict(route, methods.as_deref(), taken, taken_methods.as_deref())
            {
                let name = &function.name;
                return Err(format!("The route specified conflicts with the route defined by function '{name}'."));
            }
        }
    }
    Ok(trigger)
}

fn read_json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn texts(array: &Value) -> Vec<String> {
    let items = array.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn strings(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
