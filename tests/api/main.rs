//! The API as its callers see it: a real server on a free port, and a client that distrusts every answer.
//!
//! Modules mirror `src/http`. Start with `client.rs`, which holds what is true of every answer; `server.rs` is what a test
//! starts; `hostile.rs` and `wire.rs` are for callers who mean harm or speak badly; `binary.rs` runs the real program.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

mod admission;
#[path = "../support/around.rs"]
mod around;
mod audit;
mod binary;
mod binary_commands;
mod bodies;
mod client;
mod connection;
mod context;
mod development;
mod discovery;
mod documents;
mod entra;
mod external;
mod foreign_rows;
mod headers;
mod health;
mod hostile;
mod impostor;
mod integrations;
mod isolation;
mod logs;
mod mapping_data;
mod mapping_data_hostile;
mod mappings;
mod matrix;
mod openapi;
mod organizations;
mod process;
#[path = "../identity/provider.rs"]
#[expect(dead_code, reason = "tests/identity needs more of it")]
mod provider;
mod repair_timer;
mod routes;
mod schema;
mod secrets;
mod server;
mod settings;
#[path = "../identity/tokens.rs"]
mod tokens;
mod valve;
mod wire;
