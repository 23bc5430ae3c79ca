//! A connection: one integration with one set of settings. Sends its requests, one way for all of them: in its turn,
//! authenticated, redirects followed where they may lead, tried again where that can help, judged.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap, LOCATION},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use tracing::debug;
use url::Url;

use super::{
    address,
    answer::{self, Answer, Judge, Verdict},
    auth::{self, TokenOverrides, TokenSource},
    call::{self, Body, Call},
    pace::{Pace, Timing},
    redact::Secrets,
    scope::{Organization, Saved, Scope},
    token::{Token, Tokens},
};
use crate::{
    integrations::{
        Failure, FailureClass, Settings,
        manifest::{Decoder, HostPattern, Manifest, Template},
    },
    outbound::{Incoming, Outbound, Outgoing, SendError},
};

/// Tries for an answer that says "later".
const TRIES: u32 = 5;
/// Tries for an answer that did not come.
const TRIES_LOST: u32 = 3;
/// Redirects in a row.
const REDIRECTS: usize = 5;
/// How long the answers of post-connection steps are used.
const SAVED_FOR: Duration = Duration::from_hours(1);

/// One integration with one set of settings.
pub struct Connection {
    pub manifest: Arc<Manifest>,
    pub settings: Settings,
    pub pace: Pace,
    pub timing: Timing,
    outbound: Outbound,
    tokens: Tokens,
    saved: Mutex<PostConnection>,
}

/// What came of the post-connection steps.
#[derive(Default)]
struct PostConnection {
    saved: Option<(Instant, Arc<Saved>)>,
    failed: Option<(Instant, Failure)>,
}

/// What a request is about, and until when it has to be answered.
#[derive(Clone, Copy)]
pub struct Purpose<'a> {
    pub deadline: Instant,
    pub organization: Option<&'a Organization>,
    pub overrides: TokenOverrides<'a>,
}

impl Purpose<'_> {
    /// The integration as a whole.
    pub fn general(deadline: Instant) -> Self {
        Self { deadline, organization: None, overrides: TokenOverrides::default() }
    }
}

/// Makes a request of what is known by then. No type parameter: the program would hold everything that sends once for each.
type Make<'a> = dyn Fn(&Scope<'_>) -> Result<Call, Failure> + Send + Sync + 'a;

impl Connection {
    pub fn new(manifest: Arc<Manifest>, settings: Settings, outbound: Outbound, timing: Timing) -> Self {
        let pace = Pace::new(manifest.rate_limit);
        Self { manifest, settings, pace, timing, outbound, tokens: Tokens::default(), saved: Mutex::default() }
    }

    /// Sends what `make` makes, which needs all values that logins and post-connection steps give.
    pub async fn request(&self, purpose: Purpose<'_>, make: &Make<'_>) -> Result<Answer, Failure> {
        let saved = self.saved(purpose.deadline).await?;
        let answer = self.send(purpose, &saved, make).await;
        let answer = if purpose.organization.is_none() { answer.map_err(not_an_organization) } else { answer };
        if answer.as_ref().is_err_and(|failure| may_have_moved(failure.class)) {
            self.forget(&saved);
        }
        answer
    }

    /// What was saved may be wrong by now: the next request makes the steps again.
    fn forget(&self, saved: &Arc<Saved>) {
        // Nobody waits for it: whoever holds it is making the steps again, or the next failure finds it free.
        let Ok(mut kept) = self.saved.try_lock() else { return };
        if kept.saved.as_ref().is_some_and(|(_, known)| Arc::ptr_eq(known, saved)) {
            kept.saved = None;
        }
    }

    fn scope<'a>(&'a self, purpose: Purpose<'a>, saved: &Arc<Saved>, token: Option<&'a Token>) -> Scope<'a> {
        let scope = Scope::new(&self.manifest, &self.settings, Arc::clone(saved)).of(purpose.organization);
        match token {
            Some(token) => scope.with_saved(&token.saved),
            None => scope,
        }
    }

    /// What the post-connection steps have saved; makes them if they are due.
    async fn saved(&self, deadline: Instant) -> Result<Arc<Saved>, Failure> {
        if self.manifest.post_connection.is_empty() {
            return Ok(Arc::default());
        }
        let asked = Instant::now();
        let mut kept = in_time(deadline, self.saved.lock()).await?;
        if let Some((at, saved)) = &kept.saved
            && at.elapsed() < SAVED_FOR
        {
            return Ok(Arc::clone(saved));
        }
        // As with tokens: whoever waited while the steps failed does not log in for them once more.
        if let Some((at, failure)) = &kept.failed
            && *at >= asked
        {
            return Err(failure.clone());
        }
        match self.post_connection(deadline).await {
            Ok(saved) => {
                *kept = PostConnection { saved: Some((Instant::now(), Arc::clone(&saved))), failed: None };
                Ok(saved)
            }
            Err(failure) => {
                let failure = not_an_organization(failure);
                if failure.class != FailureClass::Timeout {
                    kept.failed = Some((Instant::now(), failure.clone()));
                }
                Err(failure)
            }
        }
    }

    async fn post_connection(&self, deadline: Instant) -> Result<Arc<Saved>, Failure> {
        let mut saved = Arc::new(Saved::new());
        for step in &self.manifest.post_connection {
            let make = |scope: &Scope<'_>| Call::of(&step.request, &self.manifest.base_url, scope);
            let answer = self.send(Purpose::general(deadline), &saved, &make).await?;
            Arc::make_mut(&mut saved).extend(auth::saved(&step.save, &answer.body)?);
        }
        Ok(saved)
    }

    async fn token(
        &self,
        purpose: Purpose<'_>,
        saved: &Arc<Saved>,
        rejected: Option<&Arc<Token>>,
    ) -> Result<Option<Arc<Token>>, Failure> {
        let scope = self.scope(purpose, saved, None);
        // Another request may be getting it, and have more time.
        match auth::token_source(&self.manifest.auth, purpose.overrides, &scope)? {
            TokenSource::None => Ok(None),
            TokenSource::Made { key, token } => {
                in_time(purpose.deadline, self.tokens.get(key, rejected, async { Ok(token) })).await?.map(Some)
            }
            TokenSource::Fetched(fetch) => {
                let get = async {
                    let answer = self.login(purpose, &fetch.call).await?;
                    fetch.read(&answer)
                };
                in_time(purpose.deadline, self.tokens.get(fetch.key, rejected, get)).await?.map(Some)
            }
        }
    }

    /// A request for a token: no credentials but its own, and every refusal is one of the credentials.
    async fn login(&self, purpose: Purpose<'_>, call: &Call) -> Result<Value, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (outgoing, secrets) = (call.clone(), self.known_secrets(call, None, purpose.organization));
            let incoming = self.deliver(purpose.deadline, outgoing).await;
            let verdict = match incoming {
                Ok(incoming) => {
                    let verdict = answer::judge(&incoming, &self.judge(Decoder::Json, &secrets, true));
                    match verdict {
                        Verdict::Good(body) => return Ok(body),
                        // RFC 6749 answers wrong credentials with 400; others know no such tenant.
                        Verdict::Fail(failure) | Verdict::RefreshToken(failure)
                            if matches!(incoming.status, 400 | 401 | 403 | 404 | 410) =>
                        {
                            let said = answer::oauth_error(&incoming, &secrets);
                            let status = incoming.status;
                            let said =
                                said.map(|said| format!("status {status}: the credentials were refused ({said})"));
                            let message = said.unwrap_or(failure.message);
                            Verdict::Fail(Failure { class: FailureClass::Authentication, message, ..failure })
                        }
                        other => other,
                    }
                }
                Err(lost) => lost.into_verdict(true),
            };
            let failure = match verdict {
                Verdict::Good(_) | Verdict::Empty => {
                    return Err(Failure::new(FailureClass::BadResponse, "the answer to the login is empty"));
                }
                Verdict::Retry(failure) => match self.wait(&failure, tries, purpose.deadline) {
                    Some(wait) => {
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    None => failure,
                },
                Verdict::Fail(failure) | Verdict::RefreshToken(failure) => failure,
            };
            let failure = self.about(&call.method, &call.url, purpose, failure);
            return Err(Failure { message: format!("logging in failed: {}", failure.message), ..failure });
        }
    }

    /// Sends with authentication, as often as it takes. Each try is made anew: what a login saved, perhaps the host, belongs
    /// to the token of that login and goes nowhere with that of another.
    async fn send(&self, purpose: Purpose<'_>, saved: &Arc<Saved>, make: &Make<'_>) -> Result<Answer, Failure> {
        let mut rejected: Option<Arc<Token>> = None;
        let mut refreshed = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let token = self.token(purpose, saved, rejected.as_ref()).await?;
            let scope = self.scope(purpose, saved, token.as_deref());
            let call = make(&scope)?;
            let delivered = self.authenticated(purpose, &scope, token.as_ref(), &call).await;
            let (verdict, answered) = match delivered {
                Ok(Delivered { incoming, url, secrets }) => {
                    let verdict = answer::judge(&incoming, &self.judge(self.manifest.decoder, &secrets, false));
                    let blank = call.needs_body && answer::is_blank(&incoming);
                    let Incoming { status, headers, .. } = incoming;
                    match verdict {
                        Verdict::Good(_) if blank => {
                            let message = format!("status {status}: the answer is empty");
                            let failure = Failure::new(FailureClass::BadResponse, message).status(status);
                            return Err(self.about(&call.method, &url, purpose, failure));
                        }
                        Verdict::Good(body) => {
                            return Ok(Answer { asked: call.url, url, status, headers, body, ignored: false });
                        }
                        Verdict::Empty => {
                            let body = Value::Null;
                            return Ok(Answer { asked: call.url, url, status, headers, body, ignored: true });
                        }
                        verdict => (verdict, url),
                    }
                }
                Err(Undelivered::Failed(failure)) => return Err(failure),
                Err(lost) => (lost.into_verdict(call.repeatable), call.url.clone()),
            };
            let failure = match verdict {
                Verdict::RefreshToken(_) if token.is_some() && !refreshed => {
                    refreshed = true;
                    rejected = token;
                    continue;
                }
                // A gateway that gave up waiting says nothing of what was done behind it.
                Verdict::Retry(failure) if !call.repeatable && may_be_done(&failure) => failure,
                Verdict::Retry(failure) => match self.wait(&failure, tries, purpose.deadline) {
                    Some(wait) => {
                        if failure.class == FailureClass::RateLimited {
                            self.pace.pause(wait);
                        } else {
                            tokio::time::sleep(wait).await;
                        }
                        continue;
                    }
                    None => failure,
                },
                Verdict::Fail(failure) | Verdict::RefreshToken(failure) => failure,
                Verdict::Good(_) | Verdict::Empty => return Err(out_of_time()),
            };
            return Err(self.about(&call.method, &answered, purpose, failure));
        }
    }

    /// With the request that was answered so, for a person who reads it. Without its query: that is long, and for some systems
    /// a place of keys.
    fn about(&self, method: &Method, url: &Url, purpose: Purpose<'_>, failure: Failure) -> Failure {
        /// Longest address that is told, in characters.
        const ADDRESS: usize = 200;
        if failure.http_status.is_none() {
            return failure;
        }
        let address = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
        // Cut last: half a credential is one that nobody finds.
        let address = self.redact_text(&address, purpose.organization.map(|one| &one.data));
        let address: String = address.chars().take(ADDRESS).collect();
        Failure { message: format!("{method} {address}: {}", failure.message), ..failure }
    }

    /// How long to wait before the next try; none if there is no point in one.
    fn wait(&self, failure: &Failure, tries: u32, deadline: Instant) -> Option<Duration> {
        let most = if failure.http_status.is_some() { TRIES } else { TRIES_LOST };
        if tries >= most {
            return None;
        }
        let doubled = self.timing.back_off * 2_u32.pow((tries - 1).min(10));
        // Up to a quarter more, so that many who were refused together do not come back together.
        let jitter = doubled.mul_f64(f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 1024.0);
        let wait = failure.retry_after.unwrap_or(doubled + jitter).max(Duration::from_millis(1));
        let left = deadline.saturating_duration_since(Instant::now());
        (wait <= self.timing.longest_wait && wait < left).then_some(wait)
    }

    /// Adds what proves the sender, sends, follows redirects; proves it anew for each place.
    async fn authenticated(
        &self,
        purpose: Purpose<'_>,
        scope: &Scope<'_>,
        token: Option<&Arc<Token>>,
        call: &Call,
    ) -> Result<Delivered, Undelivered> {
        let allowed = call::allowed_hosts(scope);
        let home = &call.url;
        let mut call = call.clone();
        for _ in 0..=REDIRECTS {
            let mut outgoing = call.clone();
            auth::apply(&self.manifest.auth, token, scope, &mut outgoing).map_err(Undelivered::Failed)?;
            let secrets = self.known_secrets(&outgoing, token, purpose.organization);
            let incoming = self.deliver(purpose.deadline, outgoing).await?;
            let redact = |failure| Undelivered::Failed(self.redact(failure, purpose.organization.map(|one| &one.data)));
            match redirected(&call, &incoming, home, &allowed).map_err(redact)? {
                Some(next) => call = next,
                None => return Ok(Delivered { incoming, url: call.url, secrets }),
            }
        }
        let message = format!("the system redirects more than {REDIRECTS} times");
        Err(Undelivered::Failed(Failure::new(FailureClass::BadResponse, message)))
    }

    /// Sends one request in its turn.
    async fn deliver(&self, deadline: Instant, mut call: Call) -> Result<Incoming, Undelivered> {
        let _turn = self.pace.turn(deadline).await.map_err(Undelivered::Failed)?;
        let timeout = self.timing.attempt.min(deadline.saturating_duration_since(Instant::now()));
        if timeout.is_zero() {
            return Err(Undelivered::Failed(out_of_time()));
        }
        let began = StdInstant::now();
        let body = call.encode_body();
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let (integration, method) = (self.manifest.id.as_str(), call.method.clone());
        let sent = self
            .outbound
            .send(Outgoing { method: call.method, url: call.url, headers: call.headers, body, timeout })
            .await;
        let millis = began.elapsed().as_millis();
        match &sent {
            Ok(incoming) => {
                debug!(integration, %method, host, status = incoming.status, bytes = incoming.body.len(), millis, "called");
            }
            Err(error) => debug!(integration, %method, host, %error, millis, "called"),
        }
        sent.map_err(Undelivered::Lost)
    }

    /// Everything that an answer must not bring into a message: credentials, and what was made of them for this request.
    fn known_secrets(&self, call: &Call, token: Option<&Arc<Token>>, organization: Option<&Organization>) -> Secrets {
        let data = organization.into_iter().flat_map(|organization| organization.data.secrets());
        let mut secrets: Vec<String> = self.settings.secrets().chain(data).map(ToOwned::to_owned).collect();
        secrets.extend(token.map(|token| token.value.expose().to_owned()));
        if let Some(Body::Form(fields)) = &call.body {
            secrets.extend(fields.get("assertion").cloned());
        }
        let password = call.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let password = password.and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok());
        secrets.extend(password.and_then(|pair| Some(pair.split_once(':')?.1.to_owned())));
        for value in call.headers.values().filter(|value| value.is_sensitive()) {
            if let Ok(text) = value.to_str() {
                secrets.push(text.to_owned());
                secrets.extend(text.split_once(' ').map(|(_, credentials)| credentials.to_owned()));
            }
        }
        Secrets::new(secrets)
    }

    fn judge<'a>(&'a self, decoder: Decoder, secrets: &'a Secrets, login: bool) -> Judge<'a> {
        let class = if login { FailureClass::Authentication } else { FailureClass::BadResponse };
        Judge { decoder, filters: &self.manifest.error_handler.response_filters, class, secrets }
    }

    /// A failure or a name that the system had a part in, without the credentials that it was ever sent or gave out.
    pub fn redact(&self, mut failure: Failure, data: Option<&Settings>) -> Failure {
        failure.message = self.redact_text(&failure.message, data);
        failure
    }

    /// `data`: of the mapping that it is about.
    pub fn redact_text(&self, text: &str, data: Option<&Settings>) -> String {
        let data = data.into_iter().flat_map(Settings::secrets);
        let secrets = self.settings.secrets().chain(data).map(ToOwned::to_owned);
        Secrets::new(secrets.chain(self.tokens.values())).redact(text, usize::MAX)
    }

    /// The text of `base_url`, for a client.
    pub async fn base_url(&self, purpose: Purpose<'_>, template: &Template) -> Result<String, Failure> {
        let saved = self.saved(purpose.deadline).await?;
        let saves = auth::login_saves(&self.manifest.auth);
        let token = if saves { self.token(purpose, &saved, None).await? } else { None };
        let scope = self.scope(purpose, &saved, token.as_deref());
        address::render(template, &scope, &call::allowed_hosts(&scope))
    }
}

async fn in_time<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout_at(deadline, future).await.map_err(|_| out_of_time())
}

/// "There is no such thing" of a request that is about no organization.
fn not_an_organization(failure: Failure) -> Failure {
    match failure.class {
        FailureClass::NotFound => Failure { class: FailureClass::BadResponse, ..failure },
        _ => failure,
    }
}

/// Whether it may be that the system, or the account, is not any more where a first request said.
fn may_have_moved(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Authentication
            | FailureClass::Permission
            | FailureClass::Unreachable
            | FailureClass::Tls
            | FailureClass::BadResponse
    )
}

/// Whether a request that was answered like this may have been carried out.
fn may_be_done(failure: &Failure) -> bool {
    failure.http_status.is_some() && failure.class != FailureClass::RateLimited
}

fn out_of_time() -> Failure {
    Failure::new(FailureClass::Timeout, "the time was up before the external system had answered everything")
}

/// Where a redirect leads to, if it is one.
fn redirected(call: &Call, incoming: &Incoming, home: &Url, allowed: &[HostPattern]) -> Result<Option<Call>, Failure> {
    let keeps_method = matches!(incoming.status, 307 | 308);
    if !keeps_method && !matches!(incoming.status, 301..=303) {
        return Ok(None);
    }
    let Some(location) = header(&incoming.headers, LOCATION.as_str()) else { return Ok(None) };
    let url = address::follow(&call.url, location, home, allowed)?;
    let mut next = Call { url, ..call.clone() };
    if !keeps_method && ![Method::GET, Method::HEAD].contains(&call.method) {
        return Err(Failure::new(FailureClass::BadResponse, "the system redirects a request that has a body")
            .status(incoming.status));
    }
    next.repeatable = call.repeatable;
    Ok(Some(next))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An answer that is no redirect, and where it came from.
struct Delivered {
    incoming: Incoming,
    url: Url,
    /// What was sent.
    secrets: Secrets,
}

/// Why there is no answer.
enum Undelivered {
    Failed(Failure),
    Lost(SendError),
}

impl Undelivered {
    /// Lost answers are worth another try where sending twice does no harm; a forbidden address never is.
    fn into_verdict(self, repeatable: bool) -> Verdict {
        let (class, error) = match self {
            Self::Failed(failure) => return Verdict::Fail(failure),
            Self::Lost(error) => {
                let class = match error {
                    SendError::Forbidden { .. } => FailureClass::Configuration,
                    SendError::Timeout { .. } => FailureClass::Timeout,
                    SendError::Unreachable { .. } | SendError::Broken { .. } => FailureClass::Unreachable,
                    SendError::Tls { .. } => FailureClass::Tls,
                    SendError::TooLarge { .. } => FailureClass::BadResponse,
                };
                (class, error)
            }
        };
        let failure = Failure::new(class, error.to_string());
        // What never reached the other side may be sent again, whatever it is.
        let again = match error {
            SendError::Unreachable { .. } => true,
            SendError::Broken { .. } => repeatable,
            _ => false,
        };
        if again { Verdict::Retry(failure) } else { Verdict::Fail(failure) }
    }
}
