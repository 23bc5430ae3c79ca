//! The API as its callers see it: a real server on a free port, and a client that distrusts every answer.
//!
//! Modules mirror `src/http`. Start with `client.rs`, which holds what is true of every answer; `server.rs` is what a test
//! starts; `hostile.rs` and `wire.rs` are for callers who mean harm or speak badly; `binary.rs` runs the real program.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

mod audit;
mod binary;
mod binary_commands;
mod bodies;
mod client;
mod connection;
mod context;
mod discovery;
mod documents;
mod external;
mod foreign_rows;
mod headers;
mod health;
mod hostile;
mod integrations;
mod logs;
mod mappings;
mod openapi;
mod organizations;
mod process;
mod repair_timer;
mod routes;
mod schema;
mod server;
mod settings;
mod valve;
mod wire;
