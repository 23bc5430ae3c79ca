//! Manifests: YAML files that describe external systems. Owns the format and its rules; must not know how requests are
//! sent.
//!
//! `format.rs` says what can be written, `template.rs` and `pointer.rs` what stands in it. A file goes through
//! `document.rs` (YAML to a tree with lines; `yaml_mistake.rs` where it is none), `read.rs` (tree to types) and `check/`
//! (what no type can say).

mod check;
mod description;
mod document;
mod field;
mod format;
mod names;
mod places;
mod pointer;
mod problem;
mod read;
mod template;
#[cfg(test)]
mod tests;
mod yaml_mistake;

pub(super) use self::template::{plain, segment, unfit};
pub use self::{
    field::{ConfigField, FieldKind},
    format::*,
    names::{HeaderText, HostPattern, Pattern},
    pointer::{Pointer, Pointers},
    problem::Problem,
    template::{BodyTemplate, Reference, RenderError, Template, Values},
};

/// The longest manifest, in bytes.
pub const MAX_BYTES: usize = document::MAX_BYTES;

impl Manifest {
    /// Reads and checks the text of the file with that name. What it returns can be run: every rule holds.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn load(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = document::Document::parse(text).map_err(|problem| vec![problem])?;
        let mut found = read::read(&document).and_then(|manifest| check::check(file_name, manifest, &document));
        if let Err(problems) = &mut found {
            problems.sort();
        }
        found
    }

    /// What stands for the credentials of requests: in `auth`, but for its addresses, and in the headers of all.
    pub fn credentials(&self) -> Vec<&Reference> {
        let places = places::templates(self).into_iter();
        let is_proof = |field: &str| field.starts_with("auth.") || field.starts_with("headers.");
        let proofs = places.filter(|place| !place.url && is_proof(&place.field));
        proofs.flat_map(|place| place.template.references()).collect()
    }
}

/// A problem that only shows between manifests, at its line in the text of one.
pub fn problem_in(text: &str, field: &str, message: String) -> Problem {
    document::Document::parse(text).map_or_else(|problem| problem, |document| document.problem(field, message))
}

/// The format for editors, as JSON Schema.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
