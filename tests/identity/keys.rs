//! The keys of the provider: read once for all who wait, again when an unknown one appears, and kept while it is down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crosswalk::auth::TokenError;
use futures::future::join_all;
use ring::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents};
use serde_json::json;

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

/// A modulus of 1024 bits, and a token that its key signed.
const TINY: (&str, &str) = (
    "xIlD7yTfjJK5g2wzc_Y_WKBIzKNPY8dkmqBOC1_R76kgsg1duR8pWRRYQv4FCNRt4M45OioJRz7-3m4tcX8dm8N1bXY5Z-1HRRqvB58dvcw8C0IibZaSVJiYRRzc11Y1BjeFUkKQY-3yltIbtZiCvzEKqIiAmFkdlQHR8K638MU",
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImtpZCI6InRpbnkifQ.e30.ZGou05cHSiw1d5WzQCYyRnC01JGTc_vidfi5sBa7BP2gb95LzHJSYOouXcfTptM2h0mlZcZXgU9BfblXMFry4rOzhCX0ix3MnaGYhWxEoXNeAth971lLo4ik805SMt5WJuTjplIdPOMOMf7UucnU1ZcIrolqS1sM4UAIr7BT1VY",
);

#[tokio::test]
async fn keys_that_are_too_short_count_for_nothing_and_take_no_good_ones_place() {
    let (n, token) = TINY;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let tiny = RsaPublicKeyComponents { n: decode(n), e: decode("AQAB") };
    let legacy = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    tiny.verify(legacy, message.as_bytes(), &decode(signature)).expect("the signature is right");

    let provider = Provider::start().await;
    let (tokens, user) = (provider.tokens(), Parts::user(&provider));
    provider.caller(&tokens, &user).await.unwrap();
    let tiny = json!({"kty": "RSA", "use": "sig", "kid": "tiny", "n": n, "e": "AQAB"});
    provider.publishes(vec![tiny.clone(), Key::First.jwk("first")]);
    provider.later(60);
    assert_eq!(tokens.caller(Some(&format!("Bearer {token}"))).await, Err(UNKNOWN));
    provider.publishes(vec![tiny]);
    provider.later(60);
    assert_eq!(tokens.caller(Some(&format!("Bearer {token}"))).await, Err(TokenError::Unavailable));
    provider.caller(&tokens, &user).await.unwrap();
}

/// A certificate says nothing that is asked for here: a key is its modulus and exponent.
#[tokio::test]
async fn what_else_a_key_set_may_hold() {
    let provider = Provider::start().await;
    let (user, second) = (Parts::user(&provider), Parts::user(&provider).signed_by(Key::Second));
    let jwk = |n: serde_json::Value, e: &str| json!({"kty": "RSA", "use": "sig", "kid": "first", "n": n, "e": e});
    let modulus = Key::First.jwk("first")["n"].clone();
    let refused = [
        json!({"kty": "RSA", "use": "sig", "kid": "first", "x5c": ["MIIC"], "x5t": "first"}),
        jwk(modulus.clone(), ""),
        jwk(modulus.clone(), "AQ"),
        jwk(modulus.clone(), "AA"),
        jwk(crate::tokens::encode(&[0xff; 2000]).into(), "AQAB"),
        jwk(crate::tokens::encode(&[0; 256]).into(), "AQAB"),
        jwk(json!(1), "AQAB"),
        json!({"kty": "oct", "use": "sig", "kid": "first", "k": modulus, "n": modulus, "e": "AQAB"}),
        json!(null),
    ];
    for jwk in &refused {
        provider.publishes(vec![jwk.clone(), Key::Second.jwk("second")]);
        assert!(provider.caller(&provider.tokens(), &user).await.is_err(), "{jwk}");
        // And none of them takes down those beside it.
        provider.publishes(vec![jwk.clone(), Key::First.jwk("first")]);
        provider.caller(&provider.tokens(), &user).await.unwrap_or_else(|error| panic!("{jwk}: {error}"));
    }
    // The same id twice: each of them may have signed.
    provider.publishes([Key::First, Key::Second, Key::First].map(|key| key.jwk("first")).to_vec());
    let tokens = provider.tokens();
    provider.caller(&tokens, &user).await.unwrap();
    provider.caller(&tokens, &second).await.unwrap();
    provider.publishes(vec![Key::First.jwk("first"), Key::First.jwk("")]);
    let tokens = provider.tokens();
    assert_eq!(provider.caller(&tokens, &second).await, Err(TokenError::Invalid("the signature is wrong")));
}
