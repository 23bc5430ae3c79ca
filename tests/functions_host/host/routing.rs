//! The host's route templates: what they match, and which are refused.
//!
//! There is no precedence in here on purpose. The host sorts functions by name and takes the first match; a more
//! specific route does not win.

use uuid::Uuid;

/// A route, prefix included: `api/organizations/{orgId}`.
#[derive(Debug)]
pub struct Template {
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter { constraint: Constraint, optional: bool },
    CatchAll,
}

#[derive(Debug)]
enum Constraint {
    None,
    Int,
    Guid,
}

impl Template {
    pub fn parse(template: &str) -> Result<Self, String> {
        let texts: Vec<&str> = template.trim_matches('/').split('/').filter(|text| !text.is_empty()).collect();
        let segments = texts.iter().map(|text| Segment::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let last = segments.len().saturating_sub(1);
        for (index, segment) in segments.iter().enumerate() {
            if index != last && matches!(segment, Segment::CatchAll | Segment::Parameter { optional: true, .. }) {
                return Err(format!("{template}: only the last segment may be optional or catch all"));
            }
        }
        Ok(Self { segments })
    }

    /// Whether a decoded path matches. Literals are compared without case, one slash at the end is ignored, an empty
    /// segment matches nothing but the rest of a catch-all.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut tokens = if path.is_empty() { Vec::new() } else { path.split('/').collect() }.into_iter();
        for segment in &self.segments {
            let token = tokens.next();
            if token == Some("") {
                return false;
            }
            match (segment, token) {
                (Segment::CatchAll, _) => return true,
                (Segment::Literal(literal), Some(token)) if literal.to_lowercase() == token.to_lowercase() => {}
                (Segment::Parameter { constraint, .. }, Some(token)) if constraint.allows(token) => {}
                (Segment::Parameter { optional: true, .. }, None) => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        if inside.unwrap_or(text).contains(['{', '}']) {
            return Err(format!("{text}: this double knows only segments that are one parameter or none"));
        }
        let Some(parameter) = inside else {
            return Ok(Self::Literal(text.to_owned()));
        };
        if parameter.starts_with('*') {
            return Ok(Self::CatchAll);
        }
        let (parameter, optional) = match parameter.strip_suffix('?') {
            Some(parameter) => (parameter, true),
            None => (parameter, false),
        };
        let constraint = match parameter.split_once(':') {
            None => Constraint::None,
            Some((_, "int")) => Constraint::Int,
            Some((_, "guid")) => Constraint::Guid,
            Some((_, other)) => return Err(format!("{text}: this double does not know the constraint {other}")),
        };
        Ok(Self::Parameter { constraint, optional })
    }
}

impl Constraint {
    fn allows(&self, token: &str) -> bool {
        match self {
            Self::None => true,
            Self::Int => token.parse::<i32>().is_ok(),
            Self::Guid => Uuid::parse_str(token).is_ok(),
        }
    }
}

/// Whether the host keeps a route for itself. A test of prefixes on the route without `api/`: `administrators` is
/// impossible too.
pub fn is_reserved(route: &str) -> bool {
    let route = route.trim_matches('/').to_lowercase();
    route.starts_with("admin") || route.starts_with("runtime")
}

/// Whether the host refuses the second of two routes: equal text and a method in common. `{id}` and `{orgId}` differ.
pub fn conflict(a: &str, a_methods: Option<&[String]>, b: &str, b_methods: Option<&[String]>) -> bool {
    let equal = a.trim_matches('/').eq_ignore_ascii_case(b.trim_matches('/'));
    let common = match (a_methods, b_methods) {
        (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
        _ => true, // No list means every method.
    };
    equal && common
}

#[test]
fn templates_match() {
    let guid = "/api/orgs/5ae4c5a6-3b1c-4e0e-8f0e-0123456789ab";
    let cases = [
        ("api/health", "/api/health", true),
        ("api/health", "/API/Health", true),
        ("api/health", "/api/health/", true),
        ("api/health", "/api/health//", false),
        ("api/health", "/api//health", false),
        ("api/health", "//api/health", false),
        ("api/health", "/api/health/x", false),
        ("api/health", "/api", false),
        ("api/health", "/health", false),
        ("api/openapi.json", "/api/openapi.json", true),
        ("api/orgs/{id}", "/api/orgs/1", true),
        ("api/orgs/{id}", "/api/orgs/a%2Fb", true),
        ("api/orgs/{id}", "/api/orgs/", false),
        ("api/orgs/{id}", "/api/orgs/1/2", false),
        ("api/orgs/{id?}", "/api/orgs", true),
        ("api/orgs/{id?}", "/api/orgs/1", true),
        ("api/orgs/{id:int}", "/api/orgs/12", true),
        ("api/orgs/{id:int}", "/api/orgs/x", false),
        ("api/orgs/{id:guid}", guid, true),
        ("api/orgs/{id:guid}", "/api/orgs/me", false),
        ("api/{*path}", "/api/a/b/c", true),
        ("api/{*path}", "/api", true),
        ("api/{*path}", "/api/", true),
        ("api/{*path}", "/api/a//b", true),
        ("api/{*path}", "/api//a", false),
        ("api/{*path}", "/other", false),
        ("{*path}", "/", true),
        ("", "/", true),
    ];
    for (template, path, expected) in cases {
        let parsed = Template::parse(template).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed.matches(path), expected, "{template} on {path}");
    }
}

#[test]
fn templates_that_are_refused() {
    for template in ["api/{a?}/b", "{*all}/b", "a/{b}.{c}", "a/{b:alpha}"] {
        assert!(Template::parse(template).is_err(), "{template}");
    }
    for (route, reserved) in [("admin/x", true), ("Administrators", true), ("/runtimes", true), ("orgs/admin", false)] {
        assert_eq!(is_reserved(route), reserved, "{route}");
    }
}

#[test]
fn routes_that_conflict() {
    let (get, put): (&[String], &[String]) = (&["get".into()], &["put".into(), "get".into()]);
    let post: &[String] = &["post".into()];
    assert!(conflict("orgs/{id}", None, "/Orgs/{ID}/", None));
    assert!(conflict("orgs", Some(get), "orgs", Some(put)));
    assert!(conflict("orgs", Some(get), "orgs", None));
    assert!(!conflict("orgs", Some(get), "orgs", Some(post)));
    assert!(!conflict("orgs/{id}", None, "orgs/{orgId}", None));
}
