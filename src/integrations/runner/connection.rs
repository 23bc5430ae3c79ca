//! A connection: one integration with one set of settings. Sends its requests, one way for all of them: in its turn,
//! authenticated, redirects followed where they may lead, tried again where that can help, judged.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, LOCATION};
use tokio::{sync::Mutex, time::Instant};
use tracing::debug;

use super::{
    address,
    answer::{self, Answer, Verdict},
    auth::{self, TokenOverrides, TokenSource},
    call::{self, Call},
    pace::{Pace, Timing},
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
    saved: Mutex<Option<(Instant, Arc<Saved>)>>,
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

impl Connection {
    pub fn new(manifest: Arc<Manifest>, settings: Settings, outbound: Outbound, timing: Timing) -> Self {
        let pace = Pace::new(manifest.rate_limit);
        Self { manifest, settings, pace, timing, outbound, tokens: Tokens::default(), saved: Mutex::new(None) }
    }

    /// Sends what `make` makes, which needs all values that logins and post-connection steps give.
    pub async fn request(
        &self,
        purpose: Purpose<'_>,
        make: impl Fn(&Scope<'_>) -> Result<Call, Failure>,
    ) -> Result<(Call, Answer), Failure> {
        let saved = self.saved(purpose.deadline).await?;
        let call = {
            let token = self.token(purpose, &saved, None).await?;
            make(&self.scope(purpose, &saved, token.as_deref()))?
        };
        let answer = self.send(purpose, &saved, &call).await?;
        Ok((call, answer))
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
        let mut kept = self.saved.lock().await;
        if let Some((at, saved)) = &*kept
            && at.elapsed() < SAVED_FOR
        {
            return Ok(Arc::clone(saved));
        }
        let mut saved = Arc::new(Saved::new());
        for step in &self.manifest.post_connection {
            let purpose = Purpose::general(deadline);
            let call = {
                let token = self.token(purpose, &saved, None).await?;
                Call::of(&step.request, &self.manifest.base_url, &self.scope(purpose, &saved, token.as_deref()))?
            };
            let answer = self.send(purpose, &saved, &call).await?;
            Arc::make_mut(&mut saved).extend(auth::saved(&step.save, &answer.body)?);
        }
        *kept = Some((Instant::now(), Arc::clone(&saved)));
        Ok(saved)
    }

    async fn token(
        &self,
        purpose: Purpose<'_>,
        saved: &Arc<Saved>,
        rejected: Option<&Arc<Token>>,
    ) -> Result<Option<Arc<Token>>, Failure> {
        let scope = self.scope(purpose, saved, None);
        match auth::token_source(&self.manifest.auth, purpose.overrides, &scope)? {
            TokenSource::None => Ok(None),
            TokenSource::Made { key, token } => self.tokens.get(key, rejected, async { Ok(token) }).await.map(Some),
            TokenSource::Fetched(fetch) => {
                let get = async {
                    let answer = self.login(purpose, &fetch.call).await?;
                    fetch.read(&answer.body)
                };
                self.tokens.get(fetch.key, rejected, get).await.map(Some)
            }
        }
    }

    /// A request for a token: no credentials but its own, and every refusal is one of the credentials.
    async fn login(&self, purpose: Purpose<'_>, call: &Call) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (outgoing, shown) = (call.clone(), self.known_secrets(call, None));
            let incoming = self.deliver(purpose.deadline, outgoing).await;
            let verdict = match incoming {
                Ok(incoming) => {
                    let filters = &self.manifest.error_handler.response_filters;
                    match answer::judge(&incoming, Decoder::Json, filters) {
                        // RFC 6749 answers wrong credentials with 400.
                        Verdict::Fail(failure) if matches!(incoming.status, 400 | 403) => {
                            Verdict::Fail(Failure { class: FailureClass::Authentication, ..failure })
                        }
                        Verdict::Good(body) => {
                            return Ok(Answer {
                                status: incoming.status,
                                headers: incoming.headers,
                                body,
                                ignored: false,
                            });
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
            let message = redact(&format!("logging in failed: {}", failure.message), &shown);
            return Err(Failure { message, ..failure });
        }
    }

    /// Sends with authentication, as often as it takes.
    pub async fn send(&self, purpose: Purpose<'_>, saved: &Arc<Saved>, call: &Call) -> Result<Answer, Failure> {
        let mut rejected: Option<Arc<Token>> = None;
        let mut refreshed = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let token = self.token(purpose, saved, rejected.as_ref()).await?;
            let scope = self.scope(purpose, saved, token.as_deref());
            let incoming = self.authenticated(purpose.deadline, &scope, token.as_ref(), call).await;
            let (verdict, secrets) = match incoming {
                Ok((incoming, secrets)) => {
                    let filters = &self.manifest.error_handler.response_filters;
                    match answer::judge(&incoming, self.manifest.decoder, filters) {
                        Verdict::Good(body) => {
                            return Ok(Answer {
                                status: incoming.status,
                                headers: incoming.headers,
                                body,
                                ignored: false,
                            });
                        }
                        Verdict::Empty => {
                            return Ok(Answer {
                                status: incoming.status,
                                headers: incoming.headers,
                                body: serde_json::Value::Null,
                                ignored: true,
                            });
                        }
                        verdict => (verdict, secrets),
                    }
                }
                Err(Undelivered::Failed(failure)) => return Err(failure),
                Err(lost) => (lost.into_verdict(call.repeatable), Vec::new()),
            };
            let failure = match verdict {
                Verdict::RefreshToken(_) if token.is_some() && !refreshed => {
                    refreshed = true;
                    rejected = token;
                    continue;
                }
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
            return Err(Failure { message: redact(&failure.message, &secrets), ..failure });
        }
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
        let in_time = Instant::now() + wait < deadline;
        (wait <= self.timing.longest_wait && in_time).then_some(wait)
    }

    /// Adds what proves the sender, sends, follows redirects; proves it anew for each place.
    async fn authenticated(
        &self,
        deadline: Instant,
        scope: &Scope<'_>,
        token: Option<&Arc<Token>>,
        call: &Call,
    ) -> Result<(Incoming, Vec<String>), Undelivered> {
        let allowed = call::allowed_hosts(scope);
        let mut call = call.clone();
        for _ in 0..=REDIRECTS {
            let mut outgoing = call.clone();
            auth::apply(&self.manifest.auth, token, scope, &mut outgoing).map_err(Undelivered::Failed)?;
            let secrets = self.known_secrets(&outgoing, token);
            let incoming = self.deliver(deadline, outgoing).await?;
            match redirected(&call, &incoming, &allowed).map_err(Undelivered::Failed)? {
                Some(next) => call = next,
                None => return Ok((incoming, secrets)),
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
    fn known_secrets(&self, call: &Call, token: Option<&Arc<Token>>) -> Vec<String> {
        let mut secrets: Vec<String> = self.settings.secrets().map(ToOwned::to_owned).collect();
        secrets.extend(token.map(|token| token.value.expose().to_owned()));
        for value in call.headers.values().filter(|value| value.is_sensitive()) {
            if let Ok(text) = value.to_str() {
                secrets.push(text.to_owned());
                secrets.extend(text.split_once(' ').map(|(_, credentials)| credentials.to_owned()));
            }
        }
        let encoded: Vec<_> = secrets
            .iter()
            .flat_map(|secret| [utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(), STANDARD.encode(secret)])
            .collect();
        secrets.extend(encoded);
        // Shorter ones are parts of words.
        secrets.retain(|secret| secret.len() >= 4);
        // One that holds another is replaced first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    /// The text of `base_url`, for a client.
    pub async fn base_url(&self, purpose: Purpose<'_>, template: &Template) -> Result<String, Failure> {
        let saved = self.saved(purpose.deadline).await?;
        let token = self.token(purpose, &saved, None).await?;
        let scope = self.scope(purpose, &saved, token.as_deref());
        address::render(template, &scope, &call::allowed_hosts(&scope))
    }
}

fn redact(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}

fn out_of_time() -> Failure {
    Failure::new(FailureClass::Timeout, "the time was up before the external system had answered everything")
}

/// Where a redirect leads to, if it is one.
fn redirected(call: &Call, incoming: &Incoming, allowed: &[HostPattern]) -> Result<Option<Call>, Failure> {
    let keeps_method = matches!(incoming.status, 307 | 308);
    if !keeps_method && !matches!(incoming.status, 301..=303) {
        return Ok(None);
    }
    let Some(location) = header(&incoming.headers, LOCATION.as_str()) else { return Ok(None) };
    let url = address::follow(&call.url, location, allowed)?;
    let mut next = Call { url, ..call.clone() };
    if !keeps_method && call.method != reqwest::Method::GET {
        return Err(Failure::new(FailureClass::BadResponse, "the system redirects a request that has a body")
            .status(incoming.status));
    }
    next.repeatable = call.repeatable;
    Ok(Some(next))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
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
