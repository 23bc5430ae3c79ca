//! Bicep files: their syntax, and their declarations as JSON. Knows the language, nothing of this deployment.
//!
//! What is no literal becomes `{"=": "its text"}`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};

use crate::{root, tools::python};

/// A node of the syntax tree, as `syntax.py` prints it.
#[derive(Debug, serde::Deserialize)]
pub struct Node {
    pub kind: String,
    named: bool,
    start: usize,
    end: usize,
    children: Vec<Node>,
}

impl Node {
    /// Its children that are more than punctuation.
    pub fn named(&self) -> Vec<&Self> {
        self.children.iter().filter(|child| child.named && child.kind != "comment").collect()
    }

    /// Every node below this one with its parent, parents first.
    pub fn below(&self) -> Vec<(&Self, &Self)> {
        let children = self.children.iter().map(|child| (self, child));
        children.flat_map(|(parent, child)| [(parent, child)].into_iter().chain(child.below())).collect()
    }
}

/// One file without a mistake in its syntax.
#[derive(Debug, serde::Deserialize)]
pub struct File {
    pub text: String,
    pub tree: Node,
    mistakes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Param,
    Var,
    Resource,
    Module,
    Output,
}

/// A parameter, variable, resource, module or output.
#[derive(Debug)]
pub struct Declaration {
    pub kind: Kind,
    pub name: String,
    /// `TYPE@VERSION` of a resource, the path of a module.
    pub target: String,
    /// A resource that is declared elsewhere.
    pub existing: bool,
    /// What it is, a default, or null; the body of one element for a loop.
    pub value: Value,
    /// The names and texts of its decorators: `maxLength(10)`.
    pub decorators: Vec<String>,
}

impl Declaration {
    /// The type of a resource, without the version.
    pub fn resource_type(&self) -> &str {
        self.target.split('@').next().unwrap_or_default()
    }

    /// The argument of its decorator of that name.
    pub fn decorator(&self, name: &str) -> Option<&str> {
        self.decorators.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')'))
    }
}

/// Every Bicep file of `infra/` by its path there, `main.bicepparam` among them.
pub fn files() -> &'static BTreeMap<String, File> {
    static FILES: OnceLock<BTreeMap<String, File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = root().join("infra");
        let mut found = Vec::new();
        collect(&folder, &mut found);
        let name = |path: &str| Path::new(path).strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let files: BTreeMap<_, _> = parse(&found).into_iter().map(|(path, file)| (name(&path), file)).collect();
        assert!(files.len() > 5, "infra/ has lost its files: {:?}", files.keys());
        for (path, file) in &files {
            assert!(file.mistakes.is_empty(), "{path}: {:?}", file.mistakes);
        }
        files
    })
}

/// The file at that path below `infra/`.
pub fn file(path: &str) -> &'static File {
    files().get(path).unwrap_or_else(|| panic!("infra/{path} is missing"))
}

/// Every declared resource, with the file it is in.
pub fn resources() -> impl Iterator<Item = (&'static str, Declaration)> {
    let all = files().iter().flat_map(|(path, file)| file.declarations().into_iter().map(move |one| (&**path, one)));
    all.filter(|(_, one)| one.kind == Kind::Resource && !one.existing)
}

fn parse(paths: &[PathBuf]) -> BTreeMap<String, File> {
    let script = root().join("tests/deployment/syntax.py");
    serde_json::from_slice(&python([&script].into_iter().chain(paths))).unwrap()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "bicep" || extension == "bicepparam") {
            found.push(path);
        }
    }
}

impl File {
    pub fn text_of(&self, node: &Node) -> &str {
        &self.text[node.start..node.end]
    }

    pub fn declarations(&self) -> Vec<Declaration> {
        let mut declarations = Vec::new();
        let mut decorators = Vec::new();
        for node in self.tree.named() {
            if node.kind == "decorators" {
                let text = |one| self.text_of(one).trim_start_matches('@').to_owned();
                decorators = node.named().into_iter().map(text).collect();
            } else if let Some(mut declaration) = self.declaration(node) {
                declaration.decorators = std::mem::take(&mut decorators);
                declarations.push(declaration);
            }
        }
        declarations
    }

    fn declaration(&self, node: &Node) -> Option<Declaration> {
        let kind = match &*node.kind {
            "parameter_declaration" => Kind::Param,
            "variable_declaration" => Kind::Var,
            "resource_declaration" => Kind::Resource,
            "module_declaration" => Kind::Module,
            "output_declaration" => Kind::Output,
            _ => return None,
        };
        let [_, name, second, rest @ ..] = &*node.children else { return None };
        let value = node.children.iter().skip_while(|child| child.kind != "=").nth(1);
        let has_target = matches!(kind, Kind::Resource | Kind::Module);
        Some(Declaration {
            kind,
            name: self.text_of(name).to_owned(),
            target: if has_target { self.value(second).as_str()?.to_owned() } else { String::new() },
            existing: rest.iter().any(|child| child.kind == "existing"),
            value: value.map_or(Value::Null, |value| self.value(value)),
            decorators: Vec::new(),
        })
    }

    fn value(&self, node: &Node) -> Value {
        let named = node.named();
        match &*node.kind {
            "string" if named.iter().all(|part| part.kind != "interpolation") => {
                self.text_of(node).trim_matches('\'').replace("\\'", "'").into()
            }
            "number" => self.text_of(node).parse::<i64>().unwrap().into(),
            "boolean" => (self.text_of(node) == "true").into(),
            "array" => named.into_iter().map(|item| self.value(item)).collect(),
            "object" => {
                let member = |member: &Node| {
                    let parts = member.named();
                    (self.text_of(parts[0]).trim_matches('\'').to_owned(), self.value(parts[parts.len() - 1]))
                };
                Value::Object(named.into_iter().map(member).collect())
            }
            "for_statement" | "if_statement" => self.value(named[named.len() - 1]),
            _ => json!({"=": self.text_of(node)}),
        }
    }
}

#[test]
fn mistakes_in_the_syntax_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let good = "param name string = 'x'\nvar a = [\n  { b: 1, c: [name] }\n]\noutput d array = a\n";
    let bad = [(" string", ""), ("'x'", "'x"), (": 1", " 1"), ("}", ""), (", c", " c"), ("\nvar", " var")];
    let texts = [(" ", " ")].into_iter().chain(bad).map(|(from, to)| good.replace(from, to));
    let paths: Vec<_> = (0..=bad.len()).map(|number| folder.path().join(format!("{number}.bicep"))).collect();
    for (path, text) in paths.iter().zip(texts) {
        fs::write(path, text).unwrap();
    }
    for (number, file) in parse(&paths).values().enumerate() {
        assert_eq!(file.mistakes.is_empty(), number == 0, "{}: {:?}", file.text, file.mistakes);
    }
}
