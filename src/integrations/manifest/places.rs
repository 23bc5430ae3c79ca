//! Every request and every template of a manifest: where it is, and when it is filled in, which decides what it may stand
//! for. Must not judge them.

use std::collections::BTreeMap;

use super::{Auth, BodyTemplate, HeaderText, Manifest, Request, Template, document::join};

/// When a template is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// While requests are being authenticated: before everything else.
    Auth,
    /// With the session token at hand.
    Inject,
    /// In the step of `post_connection` with this index.
    Step(usize),
    /// In any request after these.
    Connected,
    /// With an organization at hand.
    GetOrganization,
    Client,
}

/// A template.
#[derive(Debug)]
pub struct Place<'a> {
    pub field: String,
    pub template: &'a Template,
    pub moment: Moment,
    /// Whether it is an absolute URL.
    pub url: bool,
}

/// All requests that the manifest's authentication is for.
pub fn requests(manifest: &Manifest) -> Vec<(String, &Request, Moment)> {
    let steps = manifest
        .post_connection
        .iter()
        .enumerate()
        .map(|(index, step)| (format!("post_connection[{index}].request"), &step.request, Moment::Step(index)));
    let list = manifest.list_organizations.iter().flat_map(|list| {
        let hydrate = list.hydrate.iter().map(|hydrate| ("list_organizations.hydrate.request", &hydrate.request));
        [("list_organizations.request", &list.request)].into_iter().chain(hydrate)
    });
    let list = list.map(|(field, request)| (field.to_owned(), request, Moment::Connected));
    let get = manifest
        .get_organization
        .iter()
        .map(|get| ("get_organization.request".to_owned(), &get.request, Moment::GetOrganization));
    let check = manifest.check.iter().map(|check| ("check.request".to_owned(), &check.request, Moment::Connected));
    steps.chain(list).chain(get).chain(check).collect()
}

pub fn templates(manifest: &Manifest) -> Vec<Place<'_>> {
    let mut places = Places(Vec::new());
    places.add("base_url".to_owned(), &manifest.base_url, Moment::Connected, true);
    places.headers("headers", &manifest.headers, Moment::Connected);
    places.auth(&manifest.auth);
    for (field, request, moment) in requests(manifest) {
        let request_field = |name| join(&field, name);
        places.optional(request_field("path"), request.path.as_ref(), moment, false);
        places.optional(request_field("url"), request.url.as_ref(), moment, true);
        places.named(&request_field("query"), &request.query, moment);
        places.headers(&request_field("headers"), &request.headers, moment);
        places.body(&request_field("body"), request.body.as_ref(), moment);
    }
    if let Some(client) = &manifest.client {
        places.optional("client.base_url".to_owned(), client.base_url.as_ref(), Moment::Client, true);
        places.optional("client.token_url".to_owned(), client.token_url.as_ref(), Moment::Client, true);
        places.headers("client.headers", &client.headers, Moment::Client);
        places.named("client.query", &client.query, Moment::Client);
        places.named("client.token_params", &client.token_params, Moment::Client);
    }
    places.0
}

struct Places<'a>(Vec<Place<'a>>);

impl<'a> Places<'a> {
    fn add(&mut self, field: String, template: &'a Template, moment: Moment, url: bool) {
        self.0.push(Place { field, template, moment, url });
    }

    fn optional(&mut self, field: String, template: Option<&'a Template>, moment: Moment, url: bool) {
        if let Some(template) = template {
            self.add(field, template, moment, url);
        }
    }

    fn named(&mut self, field: &str, templates: &'a BTreeMap<String, Template>, moment: Moment) {
        for (name, template) in templates {
            self.add(join(field, name), template, moment, false);
        }
    }

    fn headers(&mut self, field: &str, templates: &'a BTreeMap<HeaderText, Template>, moment: Moment) {
        for (name, template) in templates {
            self.add(join(field, name.as_str()), template, moment, false);
        }
    }

    fn body(&mut self, field: &str, body: Option<&'a BodyTemplate>, moment: Moment) {
        match body {
            Some(BodyTemplate::Text(template)) => self.add(field.to_owned(), template, moment, false),
            Some(BodyTemplate::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.body(&format!("{field}[{index}]"), Some(item), moment);
                }
            }
            Some(BodyTemplate::Object(entries)) => {
                for (key, value) in entries {
                    self.body(&join(field, key), Some(value), moment);
                }
            }
            Some(BodyTemplate::Plain(_)) | None => {}
        }
    }

    fn auth(&mut self, auth: &'a Auth) {
        let mut text =
            |name: &str, template| self.add(format!("auth.{name}"), template, Moment::Auth, name.ends_with("url"));
        match auth {
            Auth::None => {}
            Auth::ApiKey { headers, query } => {
                self.headers("auth.headers", headers, Moment::Auth);
                self.named("auth.query", query, Moment::Auth);
            }
            Auth::Bearer { token } => text("token", token),
            Auth::Basic { username, password } => {
                text("username", username);
                text("password", password);
            }
            Auth::OAuth2ClientCredentials {
                token_url, client_id, client_secret, token_query, token_params, ..
            } => {
                text("token_url", token_url);
                text("client_id", client_id);
                text("client_secret", client_secret);
                self.named("auth.token_query", token_query, Moment::Auth);
                self.named("auth.token_params", token_params, Moment::Auth);
            }
            Auth::SessionToken { login, inject, .. } => {
                text("login.url", &login.url);
                if let Some(basic) = &login.basic {
                    text("login.basic.username", &basic.username);
                    text("login.basic.password", &basic.password);
                }
                self.headers("auth.login.headers", &login.headers, Moment::Auth);
                self.body("auth.login.body", login.body.as_ref(), Moment::Auth);
                self.headers("auth.inject.headers", &inject.headers, Moment::Inject);
                for (pointer, template) in &inject.body {
                    self.add(join("auth.inject.body", pointer.as_str()), template, Moment::Inject, false);
                }
            }
            Auth::JwtBearer { token_url, key, claims, .. } => {
                self.optional("auth.token_url".to_owned(), token_url.as_ref(), Moment::Auth, true);
                self.add("auth.key".to_owned(), key, Moment::Auth, false);
                self.named("auth.claims", claims, Moment::Auth);
            }
            Auth::HmacSignature { key_id, secret, .. } => {
                text("key_id", key_id);
                text("secret", secret);
            }
        }
    }
}
