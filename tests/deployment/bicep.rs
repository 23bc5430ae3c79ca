//! Bicep files: their syntax, and their declarations as JSON. Knows the language, nothing of this deployment.
//!
//! What is no literal becomes `{"=": "its text"}`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde_json::{Value, json};
use tree_sitter::{Node, Parser, Tree};

use crate::root;

/// One file without a mistake in its syntax.
pub struct File {
    /// Below `infra/`.
    pub path: PathBuf,
    pub text: String,
    tree: Tree,
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

/// Every Bicep file of `infra/`, `main.bicepparam` among them.
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    collect(&root().join("infra"), &mut found);
    found.sort();
    assert!(found.len() > 5, "infra/ has lost its files: {found:?}");
    found.iter().map(|path| File::read(path)).collect()
}

/// The file at that path below `infra/`.
pub fn file(path: &str) -> File {
    File::read(&root().join("infra").join(path))
}

/// Every declared resource of every file, with the file it is in.
pub fn resources() -> Vec<(PathBuf, Declaration)> {
    let all = files().into_iter().flat_map(|file| {
        let path = file.path.clone();
        file.declarations().into_iter().map(move |one| (path.clone(), one))
    });
    all.filter(|(_, one)| one.kind == Kind::Resource && !one.existing).collect()
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
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root().join("infra")).unwrap().to_owned();
        Self::parse(path, text).unwrap_or_else(|mistake| panic!("{mistake}"))
    }

    /// The text as a file, or its first mistake.
    pub fn parse(path: PathBuf, text: String) -> Result<Self, String> {
        // In a file of parameters they have no type, which the grammar does not know.
        let is_of_parameters = path.extension().is_some_and(|extension| extension == "bicepparam");
        let untyped = Regex::new(r"(?m)^param (\w+) =").unwrap();
        let text = if is_of_parameters { untyped.replace_all(&text, "param $1 object =").into_owned() } else { text };
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_bicep::LANGUAGE.into()).unwrap();
        let tree = parser.parse(&text, None).unwrap();
        let file = Self { path, text, tree };
        match file.nodes().into_iter().find(|node| Self::is_mistake(*node)) {
            None => Ok(file),
            Some(node) => Err(format!(
                "{}:{}: no valid Bicep near '{}'",
                file.path.display(),
                node.start_position().row + 1,
                file.text_of(node).lines().next().unwrap_or_default()
            )),
        }
    }

    /// The grammar takes any white space between two members, Bicep only a comma or a new line.
    fn is_mistake(node: Node) -> bool {
        let glued = node.prev_sibling().is_some_and(|before| {
            let members = ["object", "array", "infrastructure"];
            node.parent().is_some_and(|parent| members.contains(&parent.kind()))
                && [before, node].iter().all(|one| one.is_named() && one.kind() != "comment")
                && before.end_position().row == node.start_position().row
        });
        glued || node.is_error() || node.is_missing()
    }

    /// Every node, parents first.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        fn add<'a>(node: Node<'a>, all: &mut Vec<Node<'a>>) {
            all.push(node);
            for child in node.children(&mut node.walk()) {
                add(child, all);
            }
        }
        let mut all = Vec::new();
        add(self.tree.root_node(), &mut all);
        all
    }

    pub fn text_of(&self, node: Node) -> &str {
        &self.text[node.byte_range()]
    }

    pub fn declarations(&self) -> Vec<Declaration> {
        let mut declarations = Vec::new();
        let mut decorators = Vec::new();
        for node in self.tree.root_node().named_children(&mut self.tree.walk()) {
            if node.kind() == "decorators" {
                let text = |one: Node| self.text_of(one).trim_start_matches('@').to_owned();
                decorators = node.named_children(&mut node.walk()).map(text).collect();
            } else if let Some(mut declaration) = self.declaration(node) {
                declaration.decorators = std::mem::take(&mut decorators);
                declarations.push(declaration);
            }
        }
        declarations
    }

    fn declaration(&self, node: Node) -> Option<Declaration> {
        let kind = match node.kind() {
            "parameter_declaration" => Kind::Param,
            "variable_declaration" => Kind::Var,
            "resource_declaration" => Kind::Resource,
            "module_declaration" => Kind::Module,
            "output_declaration" => Kind::Output,
            _ => return None,
        };
        let children: Vec<Node> = node.children(&mut node.walk()).collect();
        let after = |token: &str| children.iter().position(|child| child.kind() == token).map(|at| children[at + 1]);
        let has_target = matches!(kind, Kind::Resource | Kind::Module);
        Some(Declaration {
            kind,
            name: self.text_of(children[1]).to_owned(),
            target: if has_target { self.value(children[2]).as_str()?.to_owned() } else { String::new() },
            existing: children.iter().any(|child| child.kind() == "existing"),
            value: after("=").map_or(Value::Null, |value| self.value(value)),
            decorators: Vec::new(),
        })
    }

    fn value(&self, node: Node) -> Value {
        let named: Vec<Node> =
            node.named_children(&mut node.walk()).filter(|child| child.kind() != "comment").collect();
        match node.kind() {
            "string" if named.iter().all(|part| part.kind() != "interpolation") => {
                self.text_of(node).trim_matches('\'').replace("\\'", "'").into()
            }
            "number" => self.text_of(node).parse::<i64>().unwrap().into(),
            "boolean" => (self.text_of(node) == "true").into(),
            "array" => named.into_iter().map(|item| self.value(item)).collect(),
            "object" => {
                let member = |member: Node| {
                    let name = self.text_of(member.named_child(0).unwrap()).trim_matches('\'').to_owned();
                    let last = u32::try_from(member.named_child_count()).unwrap() - 1;
                    (name, self.value(member.named_child(last).unwrap()))
                };
                Value::Object(named.into_iter().map(member).collect())
            }
            "for_statement" | "if_statement" => self.value(*named.last().unwrap()),
            _ => json!({"=": self.text_of(node)}),
        }
    }
}

#[test]
fn mistakes_in_the_syntax_are_found() {
    let good = "param name string = 'x'\nvar a = [\n  { b: 1, c: [name] }\n]\noutput d array = a\n";
    assert!(File::parse("a.bicep".into(), good.to_owned()).is_ok());
    for (from, to) in [(" string", ""), ("'x'", "'x"), (": 1", " 1"), ("}", ""), (", c", " c"), ("\nvar", " var")] {
        let bad = good.replace(from, to);
        assert!(File::parse("a.bicep".into(), bad.clone()).is_err(), "{bad}");
    }
    // Files of parameters name no types.
    assert!(File::parse("a.bicepparam".into(), good.replace(" string", "")).is_ok());
}
