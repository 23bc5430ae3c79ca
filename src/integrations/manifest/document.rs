//! The text of a manifest as a tree that remembers lines. Owns YAML and its limits; `yaml_mistake.rs` says what is
//! wrong with a text that is none. Must not know what a manifest may say.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::{Error, Options, Spanned, budget::BudgetBreach, options::MergeKeyPolicy};

use super::{Problem, yaml_mistake};

/// No manifest comes near it; a file that does is something else.
pub const MAX_BYTES: usize = 256 * 1024;
/// Mappings and lists inside each other.
const MAX_DEPTH: usize = 32;
/// Keys and values. Finding a mistake takes time that grows with their square.
const MAX_NODES: usize = 5_000;

/// One YAML document.
#[derive(Debug)]
pub struct Document {
    pub value: Value,
    /// By the place in lower case, since names of headers lose their case when they are read.
    places: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    field: String,
    line: usize,
}

impl Document {
    /// # Errors
    /// It is no YAML, or more than one document, or too large.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            let message = format!("larger than {} KiB; a manifest is a few pages of text", MAX_BYTES / 1024);
            return Err(Problem::new(1, "", message));
        }
        let node: Node = serde_saphyr::from_str_with_options(text, options()).map_err(|error| explain(&error, text))?;
        let mut places = HashMap::new();
        let value = node.into_value("", &mut places);
        match value {
            Value::Object(_) => Ok(Self { value, places }),
            Value::Null => {
                Err(Problem::new(1, "", "empty; `crosswalk integrations new NAME` writes a manifest to begin with"))
            }
            _ => Err(Problem::new(1, "", "not a manifest: expected keys such as `id:` and `base_url:` at the top")),
        }
    }

    /// The problem with a field, at the line of the field or of what should hold it.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        let mut holder = field;
        loop {
            if let Some(place) = self.places.get(&holder.to_lowercase()) {
                // As it is written in the file, as far as it is there.
                let written = format!("{}{}", place.field, field.get(holder.len()..).unwrap_or_default());
                return Problem::new(place.line, written, message);
            }
            match holder.rfind(['.', '[']) {
                Some(end) => holder = &holder[..end],
                None => return Problem::new(1, field, message),
            }
        }
    }
}

/// The place of `key` in `parent`, as `serde_path_to_error` writes it.
pub fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
        // A key whose line is elsewhere, and that a key further down may replace, is no help to the one who reads it.
        merge_keys: MergeKeyPolicy::Error,
        // `no` is Norway here.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn explain(error: &Error, text: &str) -> Problem {
    let at = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(1);
    let line = at.clamp(1, text.lines().count().max(1));
    let message = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("'{key}' is there twice; keep one"),
        Error::MergeKeyNotAllowed { .. } => "'<<' is not supported; write out the keys it stands for".to_owned(),
        Error::NullIntoString { .. } => "a key is empty; name it".to_owned(),
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            "a second document begins here; a file holds one manifest".to_owned()
        }
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
            format!("larger than any manifest: more than {MAX_NODES} keys and values")
        }
        error => {
            let told = error.to_string();
            let reason = told.split(" at line ").next().unwrap_or_default();
            let (line, message) = yaml_mistake::explain(reason, line, text);
            return Problem::new(line, "", message);
        }
    };
    Problem::new(line, "", message)
}

/// Anything in YAML, with the lines of keys and of the items of lists.
enum Node {
    Scalar(Value),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn into_value(self, field: &str, places: &mut HashMap<String, Place>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::Sequence(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(index, item)| place(format!("{field}[{index}]"), item, places)).collect())
            }
            Self::Mapping(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, node)| {
                        let Spanned { value: key, referenced, defined } = key;
                        let value = place(join(field, &key), Spanned::new(node, referenced, defined), places);
                        (key, value)
                    })
                    .collect(),
            ),
        }
    }
}

/// Notes the line of a field, then of what is in it.
fn place(field: String, node: Spanned<Node>, places: &mut HashMap<String, Place>) -> Value {
    let line = usize::try_from(node.referenced.line()).unwrap_or(1).max(1);
    let value = node.value.into_value(&field, places);
    places.insert(field.to_lowercase(), Place { field, line });
    value
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false, null, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(|number| Node::Scalar(number.into())).ok_or_else(|| E::custom("a number too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> String {
        let document = Document::parse(text).unwrap();
        let mut places: Vec<_> = document.places.values().map(|place| (place.line, &place.field)).collect();
        places.sort();
        places.iter().map(|(line, field)| format!("{line} {field}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_key_and_item_has_its_line() {
        let text = "a: 1\nb:\n  - x\n  - y: {z: 1}\n    Z: |\n      long\n      text\n# c\nc: &c\n  d: 1\ne: *c\n";
        insta::assert_snapshot!(lines(text), @r"
    1 a
    2 b
    3 b[0]
    4 b[1]
    4 b[1].y
    4 b[1].y.z
    5 b[1].Z
    9 c
    10 c.d
    11 e
    11 e.d
    ");
    }

    #[test]
    fn a_problem_is_told_at_what_is_there() {
        let document = Document::parse("a:\n  Key: 1\nb: 1\n").unwrap();
        let told = |field| document.problem(field, "x").to_string();
        assert_eq!(told("a.key"), "2: a.Key: x");
        assert_eq!(told("a.key.absent[0].b"), "2: a.Key.absent[0].b: x");
        assert_eq!(told("absent"), "1: absent: x");
    }

    #[test]
    fn trap_34_plain_words_stay_words() {
        let document =
            Document::parse("a: [no, on, 007, null, ~, true, 1, -1, 1.5, 0x10, \"1\", 18446744073709551615]").unwrap();
        insta::assert_snapshot!(document.value, @r#"{"a":["no","on","007",null,null,true,1,-1,1.5,16,"1",18446744073709551615]}"#);
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let laughs = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                      c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";
        for text in
            [laughs.to_owned(), format!("a: [{}]", "1,".repeat(MAX_NODES)), format!("a: {}", "[".repeat(50_000))]
        {
            assert!(Document::parse(&text).is_err());
        }
    }
}
