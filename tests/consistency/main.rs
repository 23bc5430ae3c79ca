//! The invariants of the two tables, as they would break: a crash between any two requests, two writers at once, a store
//! that fails in every way, the real program killed again and again.

#[path = "../support/around.rs"]
#[expect(dead_code, reason = "other tests look at what is read")]
mod around;
#[path = "../support/azurite.rs"]
mod azurite;
mod crash;
mod faults;
mod harness;
mod interleave;
mod invariants;
mod kill;
mod outage;
mod secrets;
mod vault;
mod wire;
mod writers;
