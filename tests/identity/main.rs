//! Who is calling and what they may do, as callers of `crosswalk::auth` see it: an identity provider on loopback,
//! tokens signed here, and a clock that the tests set.
//!
//! Start with `provider.rs`, which plays the provider, and `tokens.rs`, which makes tokens. `first.pem` and `second.pem`
//! are keys for these tests alone.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

#[path = "../support/around.rs"]
#[expect(dead_code, reason = "other tests look at what is read")]
mod around;
mod keys;
mod provider;
mod refusals;
mod rights;
mod settings;
mod tokens;
