//! A client that distrusts the server on every call: what is true of every answer is checked here, so that a test only says
//! what is special about its own.

use std::{collections::BTreeSet, future::IntoFuture};

use crosswalk::http::{ROUTES, Route};
use futures::future::BoxFuture;
use reqwest::{
    Method,
    header::{HeaderMap, HeaderValue},
};
use serde_json::Value;

use crate::schema::{self, DOCUMENT};

/// Talks to one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(base: impl Into<String>) -> Self {
        // A proxy of the machine must not get between.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base: base.into() }
    }

    /// One that shows the same `Authorization` with every request.
    pub fn showing(base: impl Into<String>, authorization: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(authorization).unwrap());
        let http = reqwest::Client::builder().no_proxy().default_headers(headers).build().unwrap();
        Self { http, base: base.into() }
    }

    /// `path` is what follows `/api`, percent-encoded where need be.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let url = format!("{}/api{path}", self.base);
        Call {
            request: self.http.request(method.clone(), url),
            client: self.clone(),
            method,
            path: path.to_owned(),
            racing: false,
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Call {
        self.call(Method::PUT, path).json(body)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Call {
        self.call(Method::PATCH, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }
}

/// A request that `.await` sends.
pub struct Call {
    client: Client,
    request: reqwest::RequestBuilder,
    method: Method,
    path: String,
    racing: bool,
}

impl Call {
    /// Others change the same mapping meanwhile: what is at the `Location` may be another version already.
    pub fn racing(mut self) -> Self {
        self.racing = true;
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        self.request = self.request.query(pairs);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// A body as it is, said to be JSON.
    pub fn text(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header("content-type", "application/json").body(body);
        self
    }

    /// A body as it is, with whatever content type or none.
    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = BoxFuture<'static, Answer>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let what = format!("{} {}", self.method, self.path);
            let response = self.request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let answer = Answer {
                what,
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes().await.unwrap().to_vec(),
            };
            answer.distrust(&self.method, &format!("/api{}", self.path));
            if answer.status == 201 && !self.racing {
                let location = format!("{}{}", self.client.base, answer.header("location"));
                let read = self.client.http.get(location).send().await.unwrap();
                assert_eq!(read.status(), 200, "{}: Location cannot be read", answer.what);
                assert_eq!(read.headers()["etag"], answer.headers["etag"], "{}", answer.what);
                assert_eq!(read.bytes().await.unwrap(), answer.body, "{}", answer.what);
            }
            answer
        })
    }
}

/// An answer that has been checked.
#[derive(Debug)]
pub struct Answer {
    pub what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("{}: {name} is missing", self.what));
        value.to_str().unwrap()
    }

    #[track_caller]
    pub fn etag(&self) -> String {
        self.header("etag").to_owned()
    }

    /// The names of the fields that a 400 is about.
    #[track_caller]
    pub fn invalid_fields(&self) -> BTreeSet<String> {
        assert_eq!(self.status, 400, "{}: {}", self.what, self.text());
        self.json()["details"].as_object().into_iter().flat_map(serde_json::Map::keys).cloned().collect()
    }

    /// The values of a field of every mapping in a list.
    #[track_caller]
    pub fn column(&self, field: &str) -> Vec<String> {
        assert_eq!(self.status, 200, "{}: {}", self.what, self.text());
        let body = self.json();
        body["mappings"].as_array().unwrap().iter().map(|mapping| mapping[field].as_str().unwrap().to_owned()).collect()
    }

    /// Everything that is true of every answer.
    pub fn distrust(&self, method: &Method, path: &str) {
        let what = format!("{} answered {}: {}", self.what, self.status, String::from_utf8_lossy(&self.body));
        assert_ne!(self.status, 500, "{what}");
        let operation = operation(method, path);
        if method == Method::HEAD || matches!(self.status, 204 | 304) {
            assert!(self.body.is_empty(), "{what}");
        } else {
            assert_eq!(self.header("content-type"), "application/json", "{what}");
            let body = self.json();
            if let Some(count) = body.get("count") {
                // What is broken beside a list does not count.
                let mut lists = body.as_object().unwrap().iter().filter(|(name, _)| *name != "broken");
                let list = lists.find_map(|(_, value)| value.as_array()).unwrap();
                assert_eq!(count, list.len(), "{what}");
            }
            if self.status >= 400 && body.get("storage").is_none() {
                check_error(&body, &what);
            }
        }
        match self.status {
            405 => {
                assert!(operation.is_none(), "a documented method, yet {what}");
                assert!(!self.header("allow").is_empty(), "{what}");
            }
            503 => assert!(self.header("retry-after").parse::<u32>().unwrap() > 0, "{what}"),
            201 => assert!(self.header("location").starts_with("/api/"), "{what}"),
            _ => {}
        }
        match operation {
            Some(operation) => self.check_documented(operation, method, &what),
            None => assert!(matches!(self.status, 404 | 405 | 413), "{what}"),
        }
    }

    fn check_documented(&self, operation: &Value, method: &Method, what: &str) {
        let documented = operation["responses"].get(self.status.to_string());
        let documented = documented.unwrap_or_else(|| panic!("not a documented status: {what}"));
        for name in documented.get("headers").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
            assert!(self.headers.contains_key(name.to_lowercase()), "{name} is missing: {what}");
        }
        let schema = documented.pointer("/content/application~1json/schema");
        if self.status == 304 || schema.is_some_and(|schema| schema["$ref"] == "#/components/schemas/MappingBody") {
            let tag = self.etag();
            assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "ETag {tag}: {what}");
        }
        match schema {
            Some(schema) if method != Method::HEAD => {
                let mistakes = schema::mistakes(schema, &self.json(), "body");
                assert!(mistakes.is_empty(), "{mistakes:?}: {what}");
            }
            Some(_) => {}
            None => assert!(self.body.is_empty(), "an undocumented body: {what}"),
        }
    }
}

fn check_error(body: &Value, what: &str) {
    let body = body.as_object().unwrap_or_else(|| panic!("no object: {what}"));
    for name in ["error", "message"] {
        assert!(body.get(name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()), "{name}: {what}");
    }
    let details = body.get("details");
    assert!(details.is_none_or(|details| details.as_object().is_some_and(|map| !map.is_empty())), "details: {what}");
    assert_eq!(body.len(), 2 + usize::from(details.is_some()), "another member: {what}");
}

/// The route of a path, found by comparing segments, not by the server's router.
pub fn route(path: &str) -> Option<&'static Route> {
    let path = path.split('?').next().unwrap();
    let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).strip_prefix("/api/")?.split('/').collect();
    ROUTES.iter().find(|route| {
        let template: Vec<_> = route.template.split('/').collect();
        let same = |(part, segment): (&&str, &&str)| part == segment || (part.starts_with('{') && !segment.is_empty());
        template.len() == segments.len() && template.iter().zip(&segments).all(same)
    })
}

/// What the OpenAPI document says about a request.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let method = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    DOCUMENT["paths"][format!("/api/{}", route(path)?.template)].get(method)
}
