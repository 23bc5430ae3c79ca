//! Who is let in: identifies the caller and asks for the right that the route states, before anything that its handler
//! finds is shown.

use warp::http::{HeaderMap, Method, StatusCode, header, uri::Authority};

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

/// Who is calling, if the route asks for anybody.
///
/// # Errors
/// 401; 503: who it is can't be found out now.
pub async fn identify(app: &App, right: Right, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    if right == Right::Anonymous {
        // A token that is no good must not take it down.
        return Ok(None);
    }
    if app.auth.is_development() {
        let user = sole_header(headers, "X-Dev-User")?;
        if user.is_some_and(|id| id.is_empty() || id.len() > 200 || !id.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ApiError::invalid("X-Dev-User", "must be 1 to 200 visible ASCII characters"));
        }
        return Ok(Some(app.auth.identify(None, user).await?));
    }
    // Of two headers, nobody knows whose request it is.
    let authorization = sole_header(headers, header::AUTHORIZATION.as_str()).ok().flatten();
    Ok(Some(app.auth.identify(authorization, None).await?))
}

/// What a caller asks to be let in for.
pub struct Admission {
    caller: Option<Caller>,
    right: Right,
    org_id: Option<OrgId>,
}

impl Admission {
    pub fn new(caller: Option<Caller>, right: Right, matched: &Matched, query: &Query) -> Self {
        Self { caller, right, org_id: organization(right, matched, query) }
    }

    /// # Errors
    /// 403; 503: whether to let them in can't be found out now.
    pub async fn decide(&self, app: &App) -> Result<Grant, ApiError> {
        let caller = self.caller.as_ref();
        let decided = match self.right {
            // Which organization a credential belongs to stands in the body: the handler asks for the right.
            Right::ManageSecrets => app.auth.authorize(caller, Right::Authenticated, None).await,
            _ => app.auth.authorize(caller, self.right, self.org_id.as_ref()).await,
        };
        Ok(decided?)
    }

    /// Whether the handler may begin while the rights are being read: it only reads, and of an organization that this
    /// caller could read a while ago. Whoever never could makes nothing be read, and learns nothing from how long it takes.
    pub async fn may_begin(&self, app: &App, method: &Method) -> bool {
        method.is_safe()
            && matches!(self.right, Right::ManageConfig | Right::Resolve)
            && app.auth.had(self.caller.as_ref(), self.right, self.org_id.as_ref()).await
    }
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
    let host = host(headers);
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

/// Refuses, in development mode, changes that other people's web pages have a browser send: a form, or a script that sends
/// what a form could. No browser asks beforehand whether it may, and no token is needed here.
///
/// # Errors
/// 403.
pub fn check_page(app: &App, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    // What such a page reads, the browser does not show it.
    if !app.auth.is_development() || method.is_safe() {
        return Ok(());
    }
    let is_ours = match (sole_header(headers, header::ORIGIN.as_str()), sole_header(headers, "Sec-Fetch-Site")) {
        (Ok(Some(origin)), _) => {
            let own = origin.strip_prefix("http://") == Some(host(headers));
            own || app.cors_origins.iter().any(|allowed| allowed == origin)
        }
        // `none`: somebody typed the address.
        (Ok(None), Ok(site)) => matches!(site, None | Some("same-origin" | "none")),
        _ => false,
    };
    if is_ours {
        return Ok(());
    }
    let message = "Development mode trusts every caller, so it takes no changes from web pages of other origins; add the \
                   page's origin to CROSSWALK_CORS_ORIGINS if it is yours";
    Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message))
}

/// None, one that can't be read, or several of them are no host.
fn host(headers: &HeaderMap) -> &str {
    sole_header(headers, header::HOST.as_str()).ok().flatten().unwrap_or_default()
}
