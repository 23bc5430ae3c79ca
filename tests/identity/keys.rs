//! The keys of the provider: read once for all who wait, again when an unknown one appears, and kept while it is down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crosswalk::auth::TokenError;
use futures::future::join_all;

use crate::{
    provider::{Mood, Provider, START},
    tokens::{Key, Parts},
};

const UNKNOWN: TokenError = TokenError::Invalid("the signing key is not among those that the tenant publishes");
const DAY: i64 = 24 * 60 * 60;

/// Waits for what happens in the background.
async fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(10), "it never happens");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_first_hundred_share_one_read() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    let all = join_all((0..100).map(|_| provider.caller(&tokens, &user))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((provider.discoveries(), provider.reads()), (1, 1));
}

#[tokio::test]
async fn unknown_keys_are_looked_for_once_a_minute() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    provider.caller(&tokens, &user).await.unwrap();
    let strangers: Vec<_> = (0..100).map(|number| user.clone().header("kid", format!("unknown-{number}"))).collect();
    for (later, reads) in [(0, 1), (59, 1), (1, 2), (59, 2), (1, 3)] {
        provider.later(later);
        let all = join_all(strangers.iter().map(|stranger| provider.caller(&tokens, stranger))).await;
        assert!(all.into_iter().all(|outcome| outcome == Err(UNKNOWN)));
        assert_eq!((provider.discoveries(), provider.reads()), (reads, reads));
    }
}

#[tokio::test]
async fn keys_rotate() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    let new = user.clone().header("kid", "second").signed_by(Key::Second);
    provider.caller(&tokens, &user).await.unwrap();

    provider.publishes(vec![Key::First.jwk("first"), Key::Second.jwk("second")]);
    provider.later(60);
    provider.caller(&tokens, &new).await.unwrap();
    provider.caller(&tokens, &user).await.unwrap();

    // The old one goes with the next read, whoever makes it happen.
    provider.publishes(vec![Key::Second.jwk("second")]);
    provider.later(60);
    assert_eq!(provider.caller(&tokens, &user.clone().header("kid", "third")).await, Err(UNKNOWN));
    assert_eq!(provider.caller(&tokens, &user).await, Err(UNKNOWN));
    provider.caller(&tokens, &new).await.unwrap();
}

#[tokio::test]
async fn keys_are_read_again_after_a_day_without_making_anybody_wait() {
    let provider = Provider::start().await;
    let tokens = provider.tokens();
    let user = Parts::user(&provider).with("exp", START + 1000 * DAY);
    provider.caller(&tokens, &user).await.unwrap();
    provider.later(DAY - 1);
    provider.caller(&tokens, &user).await.unwrap();
    assert_eq!(provider.reads(), 1);

    // Down: the old keys stay, and there is one attempt a minute.
    provider.is(Mood::Broken);
    provider.later(1);
    provider.caller(&tokens, &user).await.unwrap();
    until(|| provider.discoveries() == 2).await;
    for _ in 0..20 {
        provider.caller(&tokens, &user).await.unwrap();
    }
    assert_eq!(provider.discoveries(), 2);

    // Back, and the key withdrawn: it counts until the new ones have been read.
    provider.is(Mood::Well);
    provider.publishes(vec![Key::Second.jwk("second")]);
    let began = Instant::now();
    provider.later(60);
    while provider.caller(&tokens, &user).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it still counts");
        // The failed read may have ended only just now.
        provider.later(1);
        tokio::task::yield_now().await;
    }
    assert_eq!(provider.caller(&tokens, &user).await, Err(UNKNOWN));
    assert_eq!(provider.reads(), 2);
}

#[tokio::test]
async fn known_keys_outlive_the_provider_and_unknown_ones_are_not_accepted() {
    for mood in [
        Mood::HangsUp,
        Mood::Broken,
        Mood::Garbage,
        Mood::OtherJson,
        Mood::Huge,
        Mood::Redirects,
        Mood::ElsewhereInTheClear,
        Mood::NoKeys,
    ] {
        let provider = Provider::start().await;
        let (tokens, user) = (provider.tokens(), Parts::user(&provider));
        let new = user.clone().header("kid", "second").signed_by(Key::Second);
        provider.caller(&tokens, &user).await.unwrap();

        provider.is(mood);
        provider.publishes(vec![Key::First.jwk("first"), Key::Second.jwk("second")]);
        provider.later(60);
        let all = join_all((0..10).map(|_| provider.caller(&tokens, &new))).await;
        assert!(all.into_iter().all(|outcome| outcome == Err(TokenError::Unavailable)), "{mood:?}");
        assert_eq!(provider.discoveries(), 2, "{mood:?}");
        provider.caller(&tokens, &user).await.unwrap();

        provider.is(Mood::Well);
        assert_eq!(provider.caller(&tokens, &new).await, Err(TokenError::Unavailable), "{mood:?}: within the minute");
        provider.later(60);
        provider.caller(&tokens, &new).await.unwrap();
    }
}

#[tokio::test]
async fn without_any_keys_the_provider_is_asked_again_soon() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    provider.is(Mood::HangsUp);
    let all = join_all((0..100).map(|_| provider.caller(&tokens, &user))).await;
    assert!(all.into_iter().all(|outcome| outcome == Err(TokenError::Unavailable)));
    assert_eq!(provider.discoveries(), 1);
    provider.is(Mood::Well);
    provider.later(4);
    assert_eq!(provider.caller(&tokens, &user).await, Err(TokenError::Unavailable));
    provider.later(1);
    provider.caller(&tokens, &user).await.unwrap();
}

#[tokio::test]
async fn a_silent_provider_is_given_up_after_three_seconds_and_nobody_else_waits() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    provider.caller(&tokens, &user).await.unwrap();
    provider.is(Mood::Silent);
    provider.later(60);
    let began = Instant::now();
    let stranger = user.clone().header("kid", "second");
    let known = async {
        until(|| provider.discoveries() == 2).await;
        provider.caller(&tokens, &user).await.unwrap();
        began.elapsed()
    };
    let (unknown, known) = futures::join!(provider.caller(&tokens, &stranger), known);
    assert_eq!(unknown, Err(TokenError::Unavailable));
    assert!(known < Duration::from_secs(2), "{known:?}");
    assert!(
        (Duration::from_millis(2900)..Duration::from_millis(4500)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_read() {
    let provider = Provider::start().await;
    let (tokens, user) = (Arc::new(provider.tokens()), Parts::user(&provider));
    let task = tokio::spawn({
        let (provider, tokens, user) = (provider.clone(), Arc::clone(&tokens), user.clone());
        async move { provider.caller(&tokens, &user).await }
    });
    until(|| provider.discoveries() == 1).await;
    task.abort();
    provider.caller(&tokens, &user).await.unwrap();
    assert_eq!((provider.discoveries(), provider.reads()), (1, 1));
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_the_reads() {
    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    provider.caller(&tokens, &user).await.unwrap();
    provider.publishes(vec![Key::Second.jwk("second")]);
    provider.later(-60);
    provider.caller(&tokens, &user.clone().header("kid", "second").signed_by(Key::Second)).await.unwrap();
}

#[tokio::test]
async fn keys_for_other_uses_are_not_taken() {
    let provider = Provider::start().await;
    let user = Parts::user(&provider);
    let with = |name: &str, value: &str| {
        let mut jwk = Key::First.jwk("first");
        jwk[name] = value.into();
        jwk
    };
    let good = [
        with("alg", "RS256"),
        with("issuer", &provider.issuer()),
        with("issuer", &format!("http://{}/{{tenantid}}/v2.0", provider.address)),
    ];
    let mut leading_zero = Key::First.jwk("first");
    let modulus = [&[0][..], &Key::First.modulus()].concat();
    leading_zero["n"] = crate::tokens::encode(&modulus).into();
    for jwk in good.into_iter().chain([leading_zero]) {
        provider.publishes(vec![serde_json::json!({"kty": "EC"}), serde_json::json!(1), jwk.clone()]);
        provider.caller(&provider.tokens(), &user).await.unwrap_or_else(|error| panic!("{jwk}: {error}"));
    }
    let consumers = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    for jwk in [
        with("use", "enc"),
        with("kty", "oct"),
        with("alg", "RS512"),
        with("issuer", consumers),
        with("n", "!"),
        with("n", "AQ"),
    ] {
        provider.publishes(vec![Key::Second.jwk("second"), jwk.clone()]);
        assert!(provider.caller(&provider.tokens(), &user).await.is_err(), "{jwk}");
    }
}
