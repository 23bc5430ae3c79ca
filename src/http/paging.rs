//! Lists in pages: how many, and where a page begins. A cursor is the bound of a key in base64, which callers give back as it is.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{error::ApiError, request::Request};
use crate::{domain::InvalidValue, tables::Range};

/// How many entries a page shall have: `limit`, else the first of these, and at most the second.
///
/// # Errors
/// It is no number in bounds.
pub fn limit(request: &Request, (default, most): (usize, usize)) -> Result<usize, ApiError> {
    let limit = request.query("limit", |text| {
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| InvalidValue(format!("must be a number from 1 to {most}")))
    })?;
    Ok(limit.unwrap_or(default))
}

/// Where the page shall begin: the parameter `name`, which an earlier answer called `given_as`.
///
/// # Errors
/// No earlier page can have given it.
pub fn cursor(request: &Request, name: &str, given_as: &str) -> Result<Option<String>, ApiError> {
    request.query(name, |cursor| {
        let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let bound = text.filter(|text| !text.is_empty() && Range::new("any", text, "~").check().is_ok());
        bound.ok_or_else(|| InvalidValue(format!("must be the {given_as} of an earlier page")))
    })
}

/// A bound as callers get it.
pub fn encode(bound: &str) -> String {
    URL_SAFE_NO_PAD.encode(bound)
}
