//! Manifests: YAML files that describe external systems. Owns the format and its rules; must not know how requests are
//! sent.
//!
//! `format.rs` says what can be written, `template.rs` and `pointer.rs` what stands in it.

mod format;
mod names;
mod pointer;
mod template;

pub(super) use self::template::{plain, segment, unfit};
pub use self::{
    format::*,
    names::{HeaderText, HostPattern, Pattern},
    pointer::{Pointer, Pointers},
    template::{BodyTemplate, Reference, RenderError, Template, Values},
};
