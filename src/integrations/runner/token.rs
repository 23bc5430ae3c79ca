//! Tokens: each fetched once however many need it, kept until shortly before it ends, fetched once more when it is refused.
//!
//! A token belongs to the request that fetched it, so its key is a hash of that whole request: two tenants, two clients or
//! two versions of a secret never share one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    call::{Body, Call},
    scope::Saved,
};
use crate::{
    domain::Secret,
    integrations::{Failure, FailureClass},
};

/// How long a token is used whose end nobody tells.
pub const UNKNOWN_LIFETIME: Duration = Duration::from_mins(5);
/// How long before its end a token is replaced, or a tenth of its life if that is shorter.
const EARLY: Duration = Duration::from_mins(1);
/// How long a token is used at least: one that seems to end at once is of a system whose clock is wrong or whose nought
/// means "never", and to log in for each request would lock the account. A refusal brings a new one anyway.
const SHORTEST: Duration = Duration::from_secs(5);
/// More tokens than a connection ever needs at once: one for each organization that a client was made for lately.
const MOST: usize = 1000;

/// A token in use.
#[derive(Clone, Debug)]
pub struct Token {
    pub value: Secret,
    /// What the login saved: `connection.x`.
    pub saved: Saved,
    refresh_at: Instant,
}

impl Token {
    pub fn new(value: String, saved: Saved, lifetime: Option<Duration>) -> Self {
        let lifetime = lifetime.unwrap_or(UNKNOWN_LIFETIME);
        let used = lifetime.saturating_sub(EARLY.min(lifetime / 10)).max(SHORTEST);
        // A lifetime that overflows the clock is long enough to be cut.
        let now = Instant::now();
        let refresh_at = now.checked_add(used).unwrap_or(now + UNKNOWN_LIFETIME);
        Self { value: Secret::new(value), saved, refresh_at }
    }

    #[cfg(test)]
    pub fn used_for(&self) -> Duration {
        self.refresh_at - Instant::now()
    }
}

/// Names the request that fetches a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    pub fn of(call: &Call) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        };
        add(call.method.as_str().as_bytes());
        add(call.url.as_str().as_bytes());
        for (name, value) in &call.headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        match &call.body {
            None => add(b""),
            Some(Body::Json(body)) => add(body.to_string().as_bytes()),
            Some(Body::Form(fields) | Body::Multipart(fields)) => {
                for (name, value) in fields {
                    add(name.as_bytes());
                    add(value.as_bytes());
                }
            }
        }
        Self(hash.finalize().into())
    }

    /// Of a token that is made here, not fetched.
    pub fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

#[derive(Default)]
struct Slot {
    token: Option<Arc<Token>>,
    failed: Option<(Instant, Failure)>,
}

/// The tokens of one connection.
#[derive(Default)]
pub struct Tokens {
    slots: Mutex<HashMap<TokenKey, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl Tokens {
    /// Those in use, to keep them out of messages. One that is being fetched is in no message yet.
    pub fn values(&self) -> Vec<String> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = slots.values().filter_map(|slot| slot.try_lock().ok());
        slots.filter_map(|slot| slot.token.as_ref().map(|token| token.value.expose().to_owned())).collect()
    }

    /// The token of that key; `rejected` is one that was refused and must not come back.
    pub async fn get(
        &self,
        key: TokenKey,
        rejected: Option<&Arc<Token>>,
        fetch: impl Future<Output = Result<Token, Failure>>,
    ) -> Result<Arc<Token>, Failure> {
        let asked = Instant::now();
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.len() >= MOST && !slots.contains_key(&key) {
                slots.clear();
            }
            Arc::clone(slots.entry(key).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(token) = &slot.token {
            let refused = rejected.is_some_and(|rejected| Arc::ptr_eq(rejected, token));
            if !refused && Instant::now() < token.refresh_at {
                return Ok(Arc::clone(token));
            }
        }
        // Whoever waited while the fetch failed takes that answer: a wrong password tried by each would lock the account.
        if let Some((at, failure)) = &slot.failed
            && *at >= asked
        {
            return Err(failure.clone());
        }
        slot.token = None;
        match fetch.await {
            Ok(token) => {
                let token = Arc::new(token);
                slot.failed = None;
                slot.token = Some(Arc::clone(&token));
                Ok(token)
            }
            Err(failure) => {
                // The time that was up was its own; whoever waits may have more.
                if failure.class != FailureClass::Timeout {
                    slot.failed = Some((Instant::now(), failure.clone()));
                }
                Err(failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn token(lifetime: u64) -> Token {
        Token::new("t".to_owned(), Saved::new(), Some(Duration::from_secs(lifetime)))
    }

    #[tokio::test]
    async fn many_need_it_one_fetches_it() {
        let (tokens, fetches) = (Tokens::default(), AtomicUsize::new(0));
        let fetch = || async {
            fetches.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(token(3600))
        };
        let key = TokenKey::of_text("a");
        let all = futures::future::join_all((0..50).map(|_| tokens.get(key, None, fetch()))).await;
        assert_eq!(fetches.load(Ordering::Relaxed), 1);

        // Ten requests are refused with the same token: one of them fetches a new one.
        let refused = all[0].as_ref().unwrap();
        let again = futures::future::join_all((0..10).map(|_| tokens.get(key, Some(refused), fetch()))).await;
        assert_eq!(fetches.load(Ordering::Relaxed), 2);
        assert!(again.iter().all(|token| !Arc::ptr_eq(token.as_ref().unwrap(), refused)));

        tokens.get(TokenKey::of_text("b"), None, fetch()).await.unwrap();
        assert_eq!(fetches.load(Ordering::Relaxed), 3, "another request, another token");
    }

    #[tokio::test]
    async fn a_failed_login_is_not_tried_by_everyone_who_waited() {
        let (tokens, fetches) = (Tokens::default(), AtomicUsize::new(0));
        let fetch = || async {
            fetches.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(Failure::new(FailureClass::Authentication, "no"))
        };
        let key = TokenKey::of_text("a");
        let all = futures::future::join_all((0..20).map(|_| tokens.get(key, None, fetch()))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        assert!(tokens.get(key, None, fetch()).await.is_err());
        assert_eq!(fetches.load(Ordering::Relaxed), 2, "who asks later tries again");
    }

    #[tokio::test]
    async fn whoever_has_more_time_than_the_one_whose_time_was_up_tries_again() {
        let (tokens, key) = (Tokens::default(), TokenKey::of_text("a"));
        let late = async {
            tokio::task::yield_now().await;
            Err(Failure::new(FailureClass::Timeout, "late"))
        };
        let (first, second) = tokio::join!(tokens.get(key, None, late), tokens.get(key, None, async { Ok(token(60)) }));
        assert!(first.is_err() && second.is_ok());
    }

    #[tokio::test]
    async fn a_token_is_replaced_before_it_ends() {
        let used = |lifetime| token(lifetime).refresh_at - Instant::now();
        let near = |used: Duration, expected: u64| {
            let expected = Duration::from_secs(expected);
            used <= expected && used + Duration::from_secs(1) > expected
        };
        assert!(near(used(3600), 3540) && near(used(100), 90));
        assert!(near(used(u64::MAX), UNKNOWN_LIFETIME.as_secs()), "an end beyond all time");
        assert!(near(used(0), SHORTEST.as_secs()), "an end that was before the beginning");
    }
}
