//! The manifest format: what a YAML file says about an external system. Plain data, no expressions; the JSON Schema for
//! editors is made from these types, so their comments are what people read there.
//!
//! `check/` holds the rules that no type can say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    field::ConfigField,
    names::{HeaderText, HostPattern},
    pointer::{Pointer, Pointers},
    template::{BodyTemplate, Template},
};

/// How Crosswalk reads the organizations of one external system over HTTP.
///
/// Templates in double braces stand for values: `config.x` (a field of `config`), `connection.x` (saved by
/// `post_connection` or a login), `org.id`, `org.metadata.x` and `mapping.x` (a field of `mapping_data`; all three in
/// `get_organization` and `client`), `session.token` (in `inject`). There is nothing else: no expressions, no filters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name of the integration, and of this file without `.yaml`: lower-case letters, digits, underscores.
    pub id: String,
    /// What people call the system.
    pub name: String,
    /// Where its maker documents the API.
    pub docs_url: String,
    /// How sure this manifest is of the API.
    pub confidence: Confidence,
    /// What to know before using it: permissions the credentials need, quirks.
    #[serde(default)]
    pub notes: Option<String>,
    /// Settings and credentials that an administrator gives. A field `x` of integration `i` is read from the setting `i_x`,
    /// a secret one from the secret store; those of the organization come before the global ones.
    #[serde(default)]
    pub config: Vec<ConfigField>,
    /// What is entered for each mapping, beside the id of the external organization: `mapping.x`. Without it, a mapping's
    /// data is any JSON object, and no template knows it.
    #[serde(default)]
    pub mapping_data: Vec<ConfigField>,
    /// Begin of every address, https, without a slash at the end; `path` is appended to it.
    pub base_url: Template,
    /// Sent with every request. One whose value is not set is left out.
    #[serde(default)]
    pub headers: BTreeMap<HeaderText, Template>,
    /// Hosts besides those written in this file that credentials may be sent to: `api.example.com`, `*.example.com`, or `*`
    /// for any public host. Needed where a host comes from a setting, an answer, a redirect or a next-page link.
    #[serde(default)]
    pub allowed_hosts: Vec<HostPattern>,
    /// How requests prove who sends them.
    pub auth: Auth,
    /// Requests made once for a connection, before all others; each saves values of its answer as `connection.x`.
    #[serde(default)]
    pub post_connection: Vec<PostConnection>,
    /// How to list the organizations. Without it their ids are entered by hand.
    #[serde(default)]
    pub list_organizations: Option<ListOrganizations>,
    /// How to read one organization by its id, to test a mapping. Without it, the list is searched.
    #[serde(default)]
    pub get_organization: Option<GetOrganization>,
    /// A harmless request that shows whether the credentials work, where there is no list.
    #[serde(default)]
    pub check: Option<Check>,
    /// Answers that mean something else than their status says.
    #[serde(default)]
    pub error_handler: ErrorHandler,
    /// How fast requests may be sent.
    #[serde(default)]
    pub rate_limit: RateLimit,
    /// What the answers are written in.
    #[serde(default)]
    pub decoder: Decoder,
    /// What differs when a workflow works with one organization.
    #[serde(default)]
    pub client: Option<ClientOverrides>,
}

/// How sure a manifest is of the API it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The vendor's documents, or code in production use.
    High,
    /// One source besides the vendor.
    Medium,
    /// Not verified: try it with `crosswalk integrations check --live` first.
    Low,
}

/// How requests prove who sends them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    None,
    /// Fixed headers or query parameters.
    ApiKey {
        #[serde(default)]
        headers: BTreeMap<HeaderText, Template>,
        #[serde(default)]
        query: BTreeMap<String, Template>,
    },
    /// `Authorization: Bearer`.
    Bearer {
        token: Template,
    },
    /// `Authorization: Basic`.
    Basic {
        username: Template,
        password: Template,
    },
    /// RFC 6749, section 4.4.
    #[serde(rename = "oauth2_client_credentials")]
    OAuth2ClientCredentials {
        token_url: Template,
        client_id: Template,
        client_secret: Template,
        #[serde(default)]
        scopes: Vec<String>,
        /// Parameters of `token_url` itself. One whose value is not set is left out.
        #[serde(default)]
        token_query: BTreeMap<String, Template>,
        /// More parameters in the body of the token request.
        #[serde(default)]
        token_params: BTreeMap<String, Template>,
        /// Where the client's id and secret go.
        #[serde(default)]
        client_authentication: ClientAuthentication,
        #[serde(default)]
        body_format: TokenBodyFormat,
    },
    /// A login request whose answer holds a token.
    SessionToken {
        login: Login,
        /// Where the token is in the answer.
        token_path: Pointer,
        /// Seconds the token lasts, in the answer.
        #[serde(default)]
        expires_in_path: Option<Pointer>,
        /// When it ends, in the answer: RFC 3339, or seconds since 1970.
        #[serde(default)]
        expires_at_path: Option<Pointer>,
        /// Seconds the token lasts, where the answer doesn't say.
        #[serde(default)]
        expires_in: Option<u64>,
        /// Values of the answer that become `connection.x`.
        #[serde(default)]
        save: BTreeMap<String, Pointer>,
        inject: Inject,
    },
    /// A signed assertion, exchanged for a token (RFC 7523) or, without `token_url`, sent as the token itself.
    JwtBearer {
        #[serde(default)]
        token_url: Option<Template>,
        algorithm: JwtAlgorithm,
        /// The private key (PEM, PKCS #8) for `RS256`, the shared secret for `HS512`.
        key: Template,
        /// What the assertion says besides `iat` and `exp`.
        claims: BTreeMap<String, Template>,
        /// Seconds until the assertion ends: 30 to 3600.
        #[serde(default = "default_lifetime")]
        lifetime: u64,
    },
    /// Every request signed with a shared key, in a named vendor's way.
    HmacSignature {
        variant: HmacVariant,
        key_id: Template,
        secret: Template,
    },
}

const fn default_lifetime() -> u64 {
    300
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    #[default]
    Body,
    Basic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenBodyFormat {
    #[default]
    Form,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    RS256,
    HS512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacVariant {
    /// Duo, HMAC-SHA1 of date, method, host, path and parameters.
    DuoV2,
    /// Duo, HMAC-SHA512, with hashes of body and headers.
    DuoV5,
}

/// The request that gets a session token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[serde(default = "Method::post")]
    pub method: Method,
    pub url: Template,
    #[serde(default)]
    pub headers: BTreeMap<HeaderText, Template>,
    /// `Authorization: Basic` of the login.
    #[serde(default)]
    pub basic: Option<BasicCredentials>,
    #[serde(default)]
    pub body: Option<BodyTemplate>,
    #[serde(default)]
    pub body_format: BodyFormat,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicCredentials {
    pub username: Template,
    pub password: Template,
}

/// Where the session token goes in every other request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    #[serde(default)]
    pub headers: BTreeMap<HeaderText, Template>,
    /// JSON Pointer of a place in the body → its value.
    #[serde(default)]
    pub body: BTreeMap<Pointer, Template>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Post,
}

impl Method {
    const fn post() -> Self {
        Self::Post
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    #[default]
    Json,
    Form,
    Multipart,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    #[default]
    Json,
    /// Elements become objects: attributes as `@name`, text as `#text` or, in an element with nothing else, the value;
    /// repeated elements become arrays.
    Xml,
}

/// One request. Either `path` (appended to `base_url`) or `url` (absolute).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default)]
    pub method: Method,
    #[serde(default)]
    pub path: Option<Template>,
    #[serde(default)]
    pub url: Option<Template>,
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    #[serde(default)]
    pub headers: BTreeMap<HeaderText, Template>,
    /// A JSON value; templates in its strings keep the type of what they stand for when they are the whole string.
    #[serde(default)]
    pub body: Option<BodyTemplate>,
    #[serde(default)]
    pub body_format: BodyFormat,
}

/// A request whose answer the others need: who am I, which host is mine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostConnection {
    pub request: Request,
    /// Name in `connection.x` → where it is in the answer.
    pub save: BTreeMap<String, Pointer>,
}

/// How to list the organizations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOrganizations {
    pub request: Request,
    /// JSON Pointer to the array of records; the empty one is the whole answer.
    pub record_selector: Pointer,
    /// Which records count; all of these have to be true.
    #[serde(default)]
    pub record_filter: Vec<RecordFilter>,
    /// How the list goes on after the first answer.
    pub paginator: Paginator,
    /// Where the list has ids only: the request that gets their details.
    #[serde(default)]
    pub hydrate: Option<Hydrate>,
    /// Where the organization is in a record.
    pub mapping: RecordMapping,
}

/// A condition on one value of a record: exactly one of `in`, `not_in`, `is_null`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordFilter {
    pub path: Pointer,
    #[serde(default, rename = "in")]
    pub any_of: Option<Vec<Value>>,
    #[serde(default)]
    pub not_in: Option<Vec<Value>>,
    /// Null or absent.
    #[serde(default)]
    pub is_null: Option<bool>,
}

/// What of a record is kept; nothing else is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordMapping {
    /// Where the id of the organization is in the record.
    pub id: Pointer,
    /// One pointer, or several of which the first that is not empty counts; the id if none is.
    pub name: Pointers,
    /// More to show: name → where it is. Never secrets.
    #[serde(default)]
    pub metadata: BTreeMap<String, Pointer>,
}

/// Details by id, in batches.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hydrate {
    pub request: Request,
    /// Where the array of ids goes in the request's body.
    pub ids_body_path: Pointer,
    /// Ids in one request.
    pub batch_size: u32,
    pub record_selector: Pointer,
}

/// How a list goes on. A short page never ends it: servers cap the size of pages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Paginator {
    /// Everything in one answer.
    SinglePage {},
    /// Pages by number.
    PageNumber {
        #[serde(default)]
        page_param: Option<String>,
        #[serde(default)]
        page_body_path: Option<Pointer>,
        /// Number of the first page: 0 or 1.
        start_page: u32,
        #[serde(default)]
        page_size: Option<u32>,
        #[serde(default)]
        page_size_param: Option<String>,
        #[serde(default)]
        page_size_body_path: Option<Pointer>,
        /// How many pages there are.
        #[serde(default)]
        total_pages_path: Option<Pointer>,
        /// How many records there are.
        #[serde(default)]
        total_path: Option<Pointer>,
        #[serde(default)]
        has_more_path: Option<Pointer>,
    },
    /// Records by the number of those before them.
    Offset {
        #[serde(default)]
        offset_param: Option<String>,
        #[serde(default)]
        offset_body_path: Option<Pointer>,
        #[serde(default)]
        page_size: Option<u32>,
        #[serde(default)]
        page_size_param: Option<String>,
        #[serde(default)]
        page_size_body_path: Option<Pointer>,
        #[serde(default)]
        total_path: Option<Pointer>,
        #[serde(default)]
        has_more_path: Option<Pointer>,
    },
    /// A mark of where to go on: from the answer, or a value of its last record.
    Cursor {
        #[serde(default)]
        cursor_param: Option<String>,
        #[serde(default)]
        cursor_body_path: Option<Pointer>,
        #[serde(default)]
        cursor_path: Option<Pointer>,
        #[serde(default)]
        last_record_path: Option<Pointer>,
        #[serde(default)]
        page_size: Option<u32>,
        #[serde(default)]
        page_size_param: Option<String>,
        #[serde(default)]
        page_size_body_path: Option<Pointer>,
        #[serde(default)]
        has_more_path: Option<Pointer>,
    },
    /// The address of the next page is in the answer.
    JsonLink {
        next_url_path: Pointer,
        #[serde(default)]
        page_size: Option<u32>,
        #[serde(default)]
        page_size_param: Option<String>,
        #[serde(default)]
        page_size_body_path: Option<Pointer>,
    },
    /// The address of the next page is in the `Link` header (RFC 8288, `rel="next"`).
    HeaderLink {
        #[serde(default)]
        page_size: Option<u32>,
        #[serde(default)]
        page_size_param: Option<String>,
    },
}

/// How to read one organization.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetOrganization {
    pub request: Request,
    /// Pointer to the record, or to an array that holds it; the empty one is the whole answer.
    #[serde(default)]
    pub record_selector: Pointer,
    /// That of the list unless given.
    #[serde(default)]
    pub mapping: Option<RecordMapping>,
}

/// A harmless request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub request: Request,
}

/// Answers that mean something else than their status says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorHandler {
    /// The first that fits decides.
    #[serde(default)]
    pub response_filters: Vec<ResponseFilter>,
}

/// Fits an answer when all the conditions given are true.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseFilter {
    #[serde(default)]
    pub http_codes: Vec<u16>,
    /// Something of the body: present, not null and not empty, unless `equals` is given.
    #[serde(default)]
    pub path: Option<Pointer>,
    #[serde(default)]
    pub equals: Option<Value>,
    pub action: Action,
    /// What failing means, for the connection test; `bad_response` unless given.
    #[serde(default)]
    pub class: Option<FilterClass>,
    /// Where the system says why.
    #[serde(default)]
    pub message_path: Option<Pointer>,
    /// What to tell the administrator.
    #[serde(default)]
    pub error_message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Fail,
    /// Later, as after status 429.
    Retry,
    /// As an answer without records.
    Ignore,
    /// With a new token, once.
    RefreshToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterClass {
    Authentication,
    Permission,
    NotFound,
    RateLimited,
    BadResponse,
}

/// How fast requests may be sent. What a `Retry-After` says is honoured besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests in any `per_seconds`.
    #[serde(default)]
    pub requests: Option<u32>,
    #[serde(default)]
    pub per_seconds: Option<u32>,
    /// Requests at the same time: 1 to 16; 4 unless given.
    #[serde(default)]
    pub concurrency: Option<u32>,
}

/// What differs when a workflow works with one organization.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientOverrides {
    #[serde(default)]
    pub base_url: Option<Template>,
    #[serde(default)]
    pub headers: BTreeMap<HeaderText, Template>,
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Where a token for this organization comes from; only with `oauth2_client_credentials`.
    #[serde(default)]
    pub token_url: Option<Template>,
    #[serde(default)]
    pub token_params: BTreeMap<String, Template>,
    /// As at the top; needed with a `base_url` that comes from an answer.
    #[serde(default)]
    pub allowed_hosts: Vec<HostPattern>,
}
