//! From a document to the types of the format. Owns what a mismatch of the two is called; must not know the rules that no
//! type can say.
//!
//! The types stop at the first mistake, and inside a value with a `type` (`auth`, a paginator) they cannot say where it
//! is. So the place is found by trying: what has to change for the mistake to change? Then the reading is repeated without
//! it, so that a person hears of all mistakes at once.

use serde_json::{Value, json};
use serde_path_to_error::Segment;

use super::{
    Manifest, Problem, description,
    document::{Document, join},
    problem::nearest,
    yaml_mistake::missing_space,
};

/// A person mends a few at a time; the rest may follow from the first.
const MOST: usize = 20;
/// A key that no mapping knows.
const UNKNOWN: &str = "\u{1}";

/// # Errors
/// Every mistake that can be told from the others.
pub fn read(document: &Document) -> Result<Manifest, Vec<Problem>> {
    let mut reading = Reading { document, value: document.value.clone(), gone: Vec::new(), problems: Vec::new() };
    loop {
        match attempt(&reading.value) {
            Ok(manifest) if reading.problems.is_empty() => return Ok(manifest),
            Err((path, message)) if reading.problems.len() < MOST => {
                let place = reading.tell(path, &message);
                if place.is_empty() {
                    return Err(reading.problems);
                }
                reading.leave_out(&place);
            }
            Ok(_) | Err(_) => return Err(reading.problems),
        }
    }
}

struct Reading<'a> {
    document: &'a Document,
    /// What is left of it.
    value: Value,
    /// Fields that were left out. What lacks them is not wrong twice.
    gone: Vec<String>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    /// Returns what has to be left out to read on: the wrong value, or the mapping that lacks one.
    fn tell(&mut self, path: Path, message: &str) -> Path {
        let mistake = Mistake::parse(message);
        let path = culprit(&self.value, path, &mistake, message);
        let (field, told) = match &mistake {
            Mistake::Missing(key) => {
                let needs = match type_of(&self.value, &path) {
                    Some(kind) => Some(format!("type {kind} needs it")),
                    None => description::of(&self.field(&path), key),
                };
                let choices = choices(&self.value, &child(&path, Step::Key((*key).to_owned())));
                let told = ["missing".to_owned()].into_iter().chain(needs).chain(choices).collect::<Vec<_>>();
                (join(&self.field(&path), key), told.join("; "))
            }
            Mistake::Unknown { key, known } => {
                let holder = path.split_last().map_or(path.as_slice(), |(_, holder)| holder);
                let near = nearest(key, known.iter().copied());
                // It is there, if misspelt.
                self.gone.extend(near.map(|near| join(&self.field(holder), near)));
                (self.field(&path), unknown(near, known, type_of(&self.value, holder)))
            }
            mistake => (self.field(&path), explain(mistake, lookup(&self.value, &path).unwrap_or(&Value::Null))),
        };
        if !(matches!(mistake, Mistake::Missing(_)) && self.gone.contains(&field)) {
            self.problems.push(self.document.problem(&field, told));
        }
        path
    }

    fn leave_out(&mut self, path: &[Step]) {
        self.gone.push(self.field(path));
        self.value = without(&self.value, path);
    }

    /// Where it is in the document, where the items that were left out still count.
    fn field(&self, path: &[Step]) -> String {
        path.iter().fold(String::new(), |field, step| match step {
            Step::Key(key) => join(&field, key),
            Step::Item(index) => {
                let there = (0..).map(|index| format!("{field}[{index}]")).filter(|item| !self.gone.contains(item));
                there.take(index + 1).last().unwrap_or(field)
            }
        })
    }
}

/// The steps from the top of the document to a value.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Item(usize),
}

fn attempt(value: &Value) -> Result<Manifest, (Path, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let steps = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        (steps.collect(), error.inner().to_string())
    })
}

/// What serde says, taken apart.
enum Mistake<'a> {
    Unknown { key: &'a str, known: Vec<&'a str> },
    Missing(&'a str),
    Variant { known: Vec<&'a str> },
    Type { expected: &'a str },
    Other(&'a str),
}

impl<'a> Mistake<'a> {
    fn parse(message: &'a str) -> Self {
        let quoted = |text: &'a str| text.split('`').skip(1).step_by(2).collect();
        let cut = |begin| message.strip_prefix(begin).and_then(|rest: &'a str| rest.split_once("`, "));
        if let Some((key, known)) = cut("unknown field `") {
            return Self::Unknown { key, known: quoted(known) };
        }
        if let Some((_, known)) = cut("unknown variant `") {
            return Self::Variant { known: quoted(known) };
        }
        if let Some(key) = message.strip_prefix("missing field `") {
            return Self::Missing(key.trim_end_matches('`'));
        }
        match message.rsplit_once(", expected ") {
            Some((_, expected)) if message.starts_with("invalid ") => Self::Type { expected },
            _ => Self::Other(message),
        }
    }
}

/// The place of a mistake that is at `path` or below it.
fn culprit(value: &Value, mut path: Path, mistake: &Mistake<'_>, message: &str) -> Path {
    let changes = |value: &Value| attempt(value).err().is_none_or(|(_, other)| other != message);
    while lookup(value, &path).is_none() {
        path.pop();
    }
    match mistake {
        Mistake::Missing(key) => {
            // What it is missing from takes it, and nothing that it does not know.
            let with = |holder: &Path, key: &str| {
                let mut value = value.clone();
                if let Some(Value::Object(map)) = lookup_mut(&mut value, holder) {
                    map.entry(key).or_insert(Value::Null);
                }
                attempt(&value).err().map_or_else(String::new, |(_, message)| message)
            };
            let lacks = |holder: &Path| {
                let other = with(holder, key);
                let refused = |key: &str, message: &str| message.starts_with(&format!("unknown field `{key}`"));
                other != message && !refused(key, &other) && refused(UNKNOWN, &with(holder, UNKNOWN))
            };
            mappings(value, &path).into_iter().find(lacks).unwrap_or(path)
        }
        Mistake::Unknown { key, .. } => {
            if path.last() == Some(&Step::Key((*key).to_owned())) {
                path.pop();
            }
            let places = mappings(value, &path).into_iter().map(|holder| child(&holder, Step::Key((*key).to_owned())));
            places.into_iter().find(|place| changes(&without(value, place))).unwrap_or(path)
        }
        Mistake::Variant { .. } | Mistake::Type { .. } | Mistake::Other(_) => {
            while let Some(below) = children(value, &path).into_iter().find(|place| changes(&without(value, place))) {
                path = below;
            }
            path
        }
    }
}

fn lookup<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Item(index) => value.get(index),
    })
}

fn lookup_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Item(index) => value.get_mut(index),
    })
}

fn without(value: &Value, path: &[Step]) -> Value {
    let mut value = value.clone();
    let Some((last, holder)) = path.split_last() else { return value };
    match (last, lookup_mut(&mut value, holder)) {
        (Step::Key(key), Some(Value::Object(map))) => {
            map.remove(key);
        }
        (Step::Item(index), Some(Value::Array(items))) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {}
    }
    value
}

fn child(path: &[Step], step: Step) -> Path {
    path.iter().cloned().chain([step]).collect()
}

/// `type` is last: without it everything else changes its meaning.
fn children(value: &Value, path: &[Step]) -> Vec<Path> {
    let steps: Vec<_> = match lookup(value, path) {
        Some(Value::Array(items)) => (0..items.len()).map(Step::Item).collect(),
        Some(Value::Object(map)) => {
            let (kind, others): (Vec<_>, Vec<_>) = map.keys().cloned().partition(|key| key == "type");
            others.into_iter().chain(kind).map(Step::Key).collect()
        }
        _ => Vec::new(),
    };
    steps.into_iter().map(|step| child(path, step)).collect()
}

/// The mapping at `path` and those below it, from the outside in.
fn mappings(value: &Value, path: &[Step]) -> Vec<Path> {
    let here = lookup(value, path).filter(|here| here.is_object()).map(|_| path.to_vec());
    here.into_iter().chain(children(value, path).iter().flat_map(|below| mappings(value, below))).collect()
}

/// The `type` of `auth` or of a paginator.
fn type_of<'a>(value: &'a Value, path: &[Step]) -> Option<&'a str> {
    match path.last()? {
        Step::Key(key) if key == "auth" || key == "paginator" => lookup(value, path)?.get("type")?.as_str(),
        _ => None,
    }
}

/// What a value that is missing can be, if it is one of several: found by giving it none of them.
fn choices(value: &Value, place: &[Step]) -> Option<String> {
    let (Step::Key(key), holder) = place.split_last()? else { return None };
    let known = |given: Value| {
        let mut value = value.clone();
        lookup_mut(&mut value, holder)?.as_object_mut()?.insert(key.clone(), given);
        let (_, message) = attempt(&value).err()?;
        let known = message.strip_prefix(&format!("unknown variant `{UNKNOWN}`"))?;
        Some(known.split('`').skip(1).step_by(2).collect::<Vec<_>>().join(", "))
    };
    let values = known(UNKNOWN.into()).map(|values| format!("there are {values}"));
    values.or_else(|| known(json!({"type": UNKNOWN})).map(|types| format!("its type is one of {types}")))
}

fn unknown(near: Option<&str>, known: &[&str], kind: Option<&str>) -> String {
    let whose = kind.map_or_else(|| "there".to_owned(), |kind| format!("with type {kind} there"));
    match near {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None if known.is_empty() => format!("unknown key; {whose} are no others"),
        None => format!("unknown key; {whose} are {}", known.join(", ")),
    }
}

fn explain(mistake: &Mistake<'_>, found: &Value) -> String {
    match (mistake, found) {
        (Mistake::Variant { known }, Value::String(given)) => match nearest(given, known.iter().copied()) {
            Some(near) => format!("unknown value '{given}'; did you mean {near}?"),
            None => format!("unknown value '{given}'; there are {}", known.join(", ")),
        },
        (Mistake::Type { expected }, found) => mismatch(found, expected),
        (Mistake::Variant { known } | Mistake::Unknown { known, .. }, _) => {
            format!("expected one of {}", known.join(", "))
        }
        (Mistake::Missing(message) | Mistake::Other(message), _) => (*message).to_owned(),
    }
}

fn mismatch(found: &Value, expected: &str) -> String {
    let expected = match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "a map" => "a mapping",
        "a sequence" => "a list",
        "string or map" => "one of its values",
        "u16" | "u32" | "u64" => "a whole number that is not negative",
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => "a mapping",
        other => other,
    };
    match found {
        Value::Null => format!("empty; expected {expected}"),
        Value::Bool(_) | Value::Number(_) if expected == "text" => {
            format!("expected text; put it in quotes: \"{found}\"")
        }
        Value::String(text) if expected == "a mapping" => {
            let remedy = missing_space(text).map_or_else(String::new, |remedy| format!("; {remedy}"));
            format!("expected a mapping, not {found}{remedy}")
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => format!("expected {expected}, not {found}"),
        Value::Array(_) => format!("expected {expected}, not a list"),
        Value::Object(_) if expected == "a list" => {
            "expected a list, not a mapping; begin each item with '- '".to_owned()
        }
        Value::Object(map) => match map.iter().next() {
            // `{config.x}` is a mapping whose key has no value.
            Some((key, Value::Null)) if expected == "text" && key.contains('.') => {
                format!("expected text, not a mapping; a template has two braces and, here, quotes: \"{{{{{key}}}}}\"")
            }
            _ => format!("expected {expected}, not a mapping"),
        },
    }
}
