//! One request as it will be sent, before authentication: made of a manifest's request, changed by a paginator.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::{address, scope::Scope};
use crate::integrations::{
    Failure, FailureClass,
    manifest::{
        BodyFormat, BodyTemplate, Decoder, HeaderText, HostPattern, Method, Reference, RenderError, Request, Template,
    },
};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: reqwest::Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Body>,
    /// Whether sending it twice does no harm, so that it may be sent again when its answer was lost.
    pub repeatable: bool,
    /// Whether an answer without a body is none: what should be a list is not empty because nothing came.
    pub needs_body: bool,
}

#[derive(Clone, Debug)]
pub enum Body {
    Json(Value),
    Form(BTreeMap<String, String>),
    Multipart(BTreeMap<String, String>),
}

impl Call {
    /// A request of the manifest. Everything a manifest describes only reads, so it may be repeated.
    pub fn of(request: &Request, base_url: &Template, scope: &Scope<'_>) -> Result<Self, Failure> {
        let allowed = &scope.manifest().allowed_hosts;
        let text = match (&request.url, &request.path) {
            (Some(url), _) => address::render(url, scope, allowed)?,
            (None, path) => {
                // Put together as text: resolving a path against the base would drop the path of the base.
                let base = address::render(base_url, scope, allowed)?;
                let path = path.as_ref().map_or_else(|| Ok(String::new()), |path| path.path(scope))?;
                base + &path
            }
        };
        let mut url = address::parse(&text)?;
        add_query(&mut url, &request.query, scope)?;
        let mut headers = default_headers(scope.manifest().decoder);
        add_headers(&mut headers, &scope.manifest().headers, scope)?;
        add_headers(&mut headers, &request.headers, scope)?;
        let body = body(request.body.as_ref(), request.body_format, scope)?;
        let method = method(request.method);
        Ok(Self { method, url, headers, body, repeatable: true, needs_body: true })
    }

    /// Changes the body where there is one, at a place in its JSON.
    pub fn json_body(&mut self) -> Result<&mut Value, Failure> {
        match &mut self.body {
            Some(Body::Json(body)) => Ok(body),
            _ => Err(Failure::new(FailureClass::Configuration, "a request has no JSON body to put a value into")),
        }
    }

    /// The bytes of the body; also sets the header that says what they are.
    pub fn encode_body(&mut self) -> Option<Bytes> {
        let (content_type, bytes) = match self.body.as_ref()? {
            Body::Json(value) => ("application/json".to_owned(), value.to_string()),
            Body::Form(fields) => {
                let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                ("application/x-www-form-urlencoded".to_owned(), encoded)
            }
            Body::Multipart(fields) => {
                let boundary = uuid::Uuid::new_v4().simple().to_string();
                (format!("multipart/form-data; boundary={boundary}"), multipart(fields, &boundary))
            }
        };
        if let (false, Ok(value)) = (self.headers.contains_key(CONTENT_TYPE), HeaderValue::from_str(&content_type)) {
            self.headers.insert(CONTENT_TYPE, value);
        }
        Some(Bytes::from(bytes))
    }
}

pub fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    }
}

pub fn default_headers(decoder: Decoder) -> HeaderMap {
    let accept = match decoder {
        Decoder::Json => "application/json",
        Decoder::Xml => "application/xml, text/xml",
    };
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))])
}

/// Adds headers; one whose value is an optional setting that is not set is left out.
pub fn add_headers(
    headers: &mut HeaderMap,
    templates: &BTreeMap<HeaderText, Template>,
    scope: &Scope<'_>,
) -> Result<(), Failure> {
    for (name, template) in templates {
        if let Some(value) = if_set(template.header(scope), scope)? {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| unusable(name.as_str()))?;
            headers.insert(name, value);
        }
    }
    Ok(())
}

/// Replaces query parameters, in the same way: a link of an answer may have them already.
pub fn set_query(url: &mut Url, templates: &BTreeMap<String, Template>, scope: &Scope<'_>) -> Result<(), Failure> {
    if url.query_pairs().any(|(name, _)| templates.contains_key(name.as_ref())) {
        let others: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| !templates.contains_key(name)).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    add_query(url, templates, scope)
}

/// Adds query parameters, in the same way.
pub fn add_query(url: &mut Url, templates: &BTreeMap<String, Template>, scope: &Scope<'_>) -> Result<(), Failure> {
    for (name, value) in texts(templates, scope)? {
        url.query_pairs_mut().append_pair(&name, &value);
    }
    Ok(())
}

/// Names and values of a form, without those that are not set.
pub fn texts(templates: &BTreeMap<String, Template>, scope: &Scope<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let mut texts = BTreeMap::new();
    for (name, template) in templates {
        if let Some(text) = if_set(template.text(scope), scope)? {
            texts.insert(name.clone(), text);
        }
    }
    Ok(texts)
}

pub fn body(template: Option<&BodyTemplate>, format: BodyFormat, scope: &Scope<'_>) -> Result<Option<Body>, Failure> {
    let Some(template) = template else { return Ok(None) };
    let json = template.json(scope)?;
    Ok(Some(match format {
        BodyFormat::Json => Body::Json(json),
        BodyFormat::Form => Body::Form(fields(&json)),
        BodyFormat::Multipart => Body::Multipart(fields(&json)),
    }))
}

fn fields(json: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn multipart(fields: &BTreeMap<String, String>, boundary: &str) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let part = [
            "--",
            boundary,
            "\r\nContent-Disposition: form-data; name=\"",
            &name.replace(['"', '\r', '\n'], "_"),
            "\"\r\n\r\n",
            value,
            "\r\n",
        ];
        text.extend(part);
    }
    text + "--" + boundary + "--\r\n"
}

/// Nothing may be left out but an optional setting, and in the post-connection steps what they are made to save: a request
/// without its key, or without the header that names its organization, would be another request.
fn if_set<T>(rendered: Result<T, RenderError>, scope: &Scope<'_>) -> Result<Option<T>, Failure> {
    match rendered {
        Ok(value) => Ok(Some(value)),
        Err(RenderError::Unset(reference)) if scope.is_optional(&reference) => Ok(None),
        Err(RenderError::Unset(Reference::Connection(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unusable(name: &str) -> Failure {
    Failure::new(FailureClass::Configuration, format!("the header {name} cannot be sent"))
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::new(FailureClass::Configuration, error.to_string())
    }
}

/// `allowed_hosts` of the manifest and of its client.
pub fn allowed_hosts(scope: &Scope<'_>) -> Vec<HostPattern> {
    let manifest = scope.manifest();
    let client = manifest.client.iter().flat_map(|client| &client.allowed_hosts);
    manifest.allowed_hosts.iter().chain(client).cloned().collect()
}
