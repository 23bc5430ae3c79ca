//! The packaged folder behind a test double of the Azure Functions host.
//!
//! [`host`] is the double, with its rules' tables of cases; [`double`] tests it with [`echo`] as the program;
//! [`packaged`] drives the real program through it, [`routes`] compares the function folders with the route table,
//! [`packaging`] tests the packaging command's layout and its checks.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on says why and ends")]

mod double;
mod echo;
mod host;
mod packaged;
mod packaging;
mod routes;

#[path = "../../examples/package/elf.rs"]
mod elf;
#[path = "../../examples/package/layout.rs"]
mod layout;
