//! A cargo that is started by what another cargo runs.

use std::process::Command;

/// Takes away what the outer cargo has set. Build scripts that look at it would otherwise run again in every other build.
pub fn as_if_by_hand(cargo: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "CARGO_MANIFEST_DIR" || name.starts_with("CARGO_PKG_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}
