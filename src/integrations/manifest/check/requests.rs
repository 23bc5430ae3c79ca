//! Rules about requests: addresses that credentials may go to, bodies, authentication.

use serde_json::Value;

use super::{Check, is_key};
use crate::integrations::manifest::{
    Auth, BodyFormat, BodyTemplate, FieldKind, HostPattern, Method, Reference, Request, Template,
    document::join,
    places::{self, Place},
};

impl Check<'_> {
    pub(super) fn requests(&mut self) {
        for (field, request, _) in places::requests(self.manifest) {
            self.request(&field, request);
        }
        for (index, step) in self.manifest.post_connection.iter().enumerate() {
            let at = format!("post_connection[{index}].save");
            if step.save.is_empty() {
                self.tell(&at, "saves nothing; name a value of the answer: save: {name: /pointer}");
            }
            self.saved_names(&at, step.save.keys());
        }
    }

    fn saved_names<'n>(&mut self, at: &str, names: impl Iterator<Item = &'n String>) {
        for name in names.filter(|name| !is_key(name)) {
            let rule = "must begin with a lower-case letter and hold lower-case letters, digits and underscores";
            self.tell(&join(at, name), rule);
        }
    }

    fn request(&mut self, field: &str, request: &Request) {
        self.exactly_one(field, &[("path", request.path.is_some()), ("url", request.url.is_some())]);
        if let Some(path) = &request.path {
            let at = join(field, "path");
            let written = written(path);
            if written.contains("://") {
                self.tell(&at, "is appended to base_url; an absolute address goes into url");
            } else if !written.starts_with('/') {
                self.tell(&at, "must begin with '/'");
            }
            if written.contains(['?', '#']) {
                self.tell(&at, "must not hold '?' or '#'; parameters go into query");
            }
        }
        if request.body_format == BodyFormat::Multipart {
            self.tell(&join(field, "body_format"), "multipart is for login only; expected json or form");
        }
        self.body(field, request.method, request.body.as_ref(), request.body_format);
    }

    fn body(&mut self, field: &str, method: Method, body: Option<&BodyTemplate>, format: BodyFormat) {
        let Some(body) = body else { return };
        let at = join(field, "body");
        if method == Method::Get {
            self.tell(&at, "GET sends no body; set method: POST or use query");
        }
        let flat = matches!(body, BodyTemplate::Object(entries) if entries.iter().all(|(_, value)| match value {
            BodyTemplate::Text(_) => true,
            BodyTemplate::Plain(value) => !value.is_null(),
            BodyTemplate::Array(_) | BodyTemplate::Object(_) => false,
        }));
        if format != BodyFormat::Json && !flat {
            self.tell(&at, "must be a mapping of names to text or numbers, since it is sent as a form");
        }
    }

    /// Where something is put into a request's body.
    pub(super) fn json_body(&mut self, field: &str, request: &Request) {
        if !has_json_body(request) {
            self.tell(field, format!("needs a request with {JSON_BODY}"));
        }
    }

    pub(super) fn auth(&mut self) {
        match &self.manifest.auth {
            // A unit variant: serde takes whatever else is there.
            Auth::None => {
                let keys = self.document.value.get("auth").and_then(Value::as_object);
                for key in keys.into_iter().flat_map(|keys| keys.keys()).filter(|key| *key != "type") {
                    self.tell(&join("auth", key), "unknown key; with type none there are no others");
                }
            }
            Auth::ApiKey { headers, query } => {
                if headers.is_empty() && query.is_empty() {
                    self.tell("auth", "type api_key needs headers or query: where the key goes");
                }
            }
            Auth::SessionToken { login, expires_in_path, expires_at_path, expires_in, save, inject, .. } => {
                self.body("auth.login", login.method, login.body.as_ref(), login.body_format);
                self.saved_names("auth.save", save.keys());
                let expiry = [
                    ("expires_in_path", expires_in_path.is_some()),
                    ("expires_at_path", expires_at_path.is_some()),
                    ("expires_in", expires_in.is_some()),
                ];
                if expiry.iter().any(|(_, given)| *given) {
                    self.exactly_one("auth", &expiry);
                }
                let mut templates = inject.headers.values().chain(inject.body.values());
                if !templates.any(|template| template.references().any(|one| *one == Reference::SessionToken)) {
                    self.tell(
                        "auth.inject",
                        "must send the token somewhere: headers: {authorization: \"Bearer {{session.token}}\"}",
                    );
                }
                if !inject.body.is_empty() {
                    for (field, request, _) in places::requests(self.manifest) {
                        if !has_json_body(request) {
                            self.tell(&field, format!("auth.inject puts the token into the body; give it {JSON_BODY}"));
                        }
                    }
                }
            }
            Auth::JwtBearer { lifetime, .. } => {
                if !(30..=3600).contains(lifetime) {
                    self.tell("auth.lifetime", format!("{lifetime} seconds; expected 30 to 3600"));
                }
            }
            Auth::Bearer { token } => self.without_scheme("auth.token", token),
            Auth::Basic { username, .. } => self.without_scheme("auth.username", username),
            Auth::OAuth2ClientCredentials { .. } | Auth::HmacSignature { .. } => {}
        }
    }

    /// What goes behind the word that the type of auth itself puts into the header.
    fn without_scheme(&mut self, field: &str, template: &Template) {
        let scheme = template.begin().split_once(' ').map_or("", |(scheme, _)| scheme);
        if ["bearer", "basic"].contains(&scheme.to_lowercase().as_str()) {
            let remedy = "leave it out, or use type api_key with headers, which sends what is written";
            self.tell(field, format!("'{scheme}' would follow the word that this type sends by itself; {remedy}"));
        }
    }

    pub(super) fn client(&mut self) {
        let Some(client) = &self.manifest.client else { return };
        let oauth2 = matches!(self.manifest.auth, Auth::OAuth2ClientCredentials { .. });
        for (name, given) in
            [("token_url", client.token_url.is_some()), ("token_params", !client.token_params.is_empty())]
        {
            if given && !oauth2 {
                self.tell(&format!("client.{name}"), "only with auth type oauth2_client_credentials");
            }
        }
    }

    /// An absolute address: https, and a host that no setting or answer can turn into a stranger's.
    pub(super) fn url(&mut self, place: &Place<'_>) {
        let (at, text) = (place.field.as_str(), written(place.template));
        if text.contains('#') {
            self.tell(at, "must not hold '#'");
        }
        if at.ends_with("base_url") {
            if text.ends_with('/') {
                self.tell(at, "ends in '/'; leave it out, since path begins with one");
            }
            if text.contains('?') {
                self.tell(at, "must not hold '?'; parameters go into query");
            }
        }
        if text.starts_with("{{") {
            let (whole, rest) = text.find("}}").map_or(("", ""), |end| text.split_at(end + 2));
            if !rest.is_empty() && !rest.starts_with('/') {
                let remedy = "begin with https:// if it stands for a part only";
                self.tell(at, format!("{whole} stands for a whole address and needs '/' after it; {remedy}"));
            }
            return self.open_host(at, whole, "the whole host");
        }
        let Some(rest) = text.strip_prefix("https://") else {
            return self.tell(at, "must begin with https:// (or with a template that holds a whole address)");
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if authority.contains('@') {
            return self.tell(at, "must not hold a user name; credentials go into auth");
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return self.tell(at, "the port must be a number written here");
        }
        let Some(last) = host.rfind("}}") else {
            if !matches!(HostPattern::parse(host), Ok(HostPattern::Exact(_))) {
                self.tell(at, format!("'{host}' is no host: expected a name in lower case, such as api.example.com"));
            }
            return;
        };
        let suffix = host.get(last + 2..).unwrap_or_default();
        // Two labels: below one, everybody can have a name.
        let own = suffix.starts_with('.') && HostPattern::parse(&format!("*{suffix}")).is_ok();
        self.open_host(at, host, if own { "" } else { "the end of the host" });
    }

    /// The references in a host. `open`: what they decide of it that is not written in the manifest; nothing if empty.
    fn open_host(&mut self, at: &str, host: &str, open: &str) {
        let Ok(template) = Template::parse(host) else { return };
        let mut chosen = true;
        for reference in template.references() {
            let field = match reference {
                Reference::Config(key) => self.field(key),
                Reference::Mapping(key) => self.manifest.mapping_data.iter().find(|field| field.key == *key),
                _ => None,
            };
            match field.map(|field| (field.kind, &field.options)) {
                Some((FieldKind::Secret, _)) => {
                    self.tell(at, format!("{{{{{reference}}}}} is a secret; a host is no place for one: names are looked up in the open"));
                }
                Some((FieldKind::Enum, options)) => {
                    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
                    let odd = options.iter().find(|option| option.is_empty() || !option.bytes().all(fits));
                    if let Some(odd) = odd {
                        self.tell(at, format!("option '{odd}' of {reference} cannot be part of a host: lower-case letters, digits, '-' and '.'"));
                    }
                }
                Some((FieldKind::String, _)) | None => chosen = false,
            }
        }
        let (allowed, name) = match &self.manifest.client {
            Some(client) if at.starts_with("client.") => (&client.allowed_hosts, "client.allowed_hosts"),
            _ => (&self.manifest.allowed_hosts, "allowed_hosts"),
        };
        if !open.is_empty() && !chosen && allowed.is_empty() {
            let remedy = "say in {name} which hosts credentials may be sent to, such as [\"*.example.com\"]";
            self.tell(at, format!("{open} is not written here; {}", remedy.replace("{name}", name)));
        }
    }
}

const JSON_BODY: &str = "method: POST and a JSON body; body: {} if there is nothing else in it";

fn has_json_body(request: &Request) -> bool {
    request.method == Method::Post && request.body.is_some() && request.body_format == BodyFormat::Json
}

/// The template as text, with nothing between braces and names.
fn written(template: &Template) -> String {
    template.fill(|reference| Ok::<_, std::convert::Infallible>(format!("{{{{{reference}}}}}"))).unwrap_or_default()
}
