//! The embedded store.

use crate::conformance;
use crosswalk::tables::EmbeddedTables;

mod in_memory {
    use super::*;

    conformance::run_on!(EmbeddedTables::in_memory().unwrap());
}
