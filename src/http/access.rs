//! Who is let in: identifies the caller and asks for the right that the route states, before its handler runs.

use warp::http::{HeaderMap, StatusCode, header, uri::Authority};

use super::{
    error::ApiError,
    request::{Query, sole_header},
    routes::Matched,
};
use crate::{
    app::App,
    auth::{Caller, Grant, Right},
    domain::OrgId,
};

/// The caller, if the route wants one, and what they were granted. `caller_id` is for the log, also of who is refused.
///
/// # Errors
/// 401, 403; 503: whether to let them in can't be found out now.
pub async fn admit(
    app: &App,
    right: Right,
    matched: &Matched,
    query: &Query,
    headers: &HeaderMap,
    caller_id: &mut Option<String>,
) -> Result<(Option<Caller>, Grant), ApiError> {
    let caller = match right {
        // A token that is no good must not take it down.
        Right::Anonymous => None,
        _ => Some(identify(app, headers).await?),
    };
    *caller_id = caller.as_ref().map(|caller| caller.id().to_owned());
    let grant = match right {
        // Which organization a credential belongs to stands in the body: the handler asks for the right.
        Right::ManageSecrets => app.auth.authorize(caller.as_ref(), Right::Authenticated, None).await?,
        _ => app.auth.authorize(caller.as_ref(), right, organization(right, matched, query).as_ref()).await?,
    };
    Ok((caller, grant))
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    if app.auth.is_development() {
        let user = sole_header(headers, "X-Dev-User")?;
        if user.is_some_and(|id| id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ApiError::invalid("X-Dev-User", "must be 1 to 200 visible ASCII characters"));
        }
        return Ok(app.auth.identify(None, user).await?);
    }
    // Of two headers, nobody knows whose request it is.
    let authorization = sole_header(headers, header::AUTHORIZATION.as_str()).ok().flatten();
    Ok(app.auth.identify(authorization, None).await?)
}

/// The organization that the right is about. One that the handler will refuse is none here: a caller with rights on
/// single organizations has none without one, and is not told what is wrong with it.
fn organization(right: Right, matched: &Matched, query: &Query) -> Option<OrgId> {
    let text = match right {
        Right::Discover => query.sole("orgId").ok().flatten(),
        _ => matched.params.as_ref().ok().and_then(|params| params.get("orgId")).cloned(),
    };
    text.and_then(|text| OrgId::parse(text).ok())
}

/// Refuses, in development mode, what a web page sends that has made its own name lead to this machine (DNS rebinding):
/// the browser takes this service for the page's own, and everybody may do everything here.
///
/// # Errors
/// 403.
pub fn check_host(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    if !app.auth.is_development() {
        return Ok(());
    }
    let host = sole_header(headers, header::HOST.as_str()).ok().flatten().unwrap_or_default();
    let name = host.parse::<Authority>().ok();
    let name = name.as_ref().filter(|authority| !authority.as_str().contains('@')).map_or("", Authority::host);
    if ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| name.eq_ignore_ascii_case(local)) {
        return Ok(());
    }
    let message = format!(
        "Development mode answers under localhost, 127.0.0.1 and [::1] alone, and the Host header is '{}'; under \
         another name, any web page could get in (DNS rebinding)",
        host.escape_debug()
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message))
}
