//! Every token that must be refused, and how little separates it from one that is not.

use crosswalk::auth::{Caller, TokenError, Tokens};
use proptest::{prelude::*, test_runner::TestRunner};
use ring::hmac;
use serde_json::json;

use crate::{
    provider::{Provider, START},
    tokens::*,
};

struct Check {
    provider: Provider,
    tokens: Tokens,
}

impl Check {
    async fn start() -> Self {
        let provider = Provider::start().await;
        let tokens = provider.tokens();
        Self { provider, tokens }
    }

    async fn text(&self, token: &str) -> Result<Caller, TokenError> {
        self.tokens.caller(Some(&format!("Bearer {token}"))).await
    }

    #[track_caller]
    fn is_user(outcome: &Result<Caller, TokenError>) {
        assert_eq!(outcome, &Ok(Caller::User { id: USER.to_owned() }));
    }

    async fn accepts(&self, parts: &Parts) {
        Self::is_user(&self.text(&parts.token()).await);
    }

    async fn refuses(&self, parts: &Parts, reason: &str) {
        self.refuses_text(&parts.token(), reason).await;
    }

    async fn refuses_text(&self, token: &str, reason: &str) {
        let Err(TokenError::Invalid(told)) = self.text(token).await else {
            panic!("expected a refusal: {reason}: {:?}", self.text(token).await);
        };
        assert!(told.contains(reason), "{told:?} should say {reason:?}");
        // As a quoted string of a header.
        assert!(told.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'), "{told}");
    }

    fn user(&self) -> Parts {
        Parts::user(&self.provider)
    }
}

#[tokio::test]
async fn a_good_token_is_its_users() {
    let check = Check::start().await;
    check.accepts(&check.user()).await;
    check.accepts(&check.user().with("tid", TENANT.to_uppercase())).await;
    check.accepts(&check.user().header("typ", "jwt")).await;
    check.accepts(&check.user().with("idtyp", "user")).await;
    let token = check.user().token();
    for header in [format!("bearer {token}"), format!("BEARER  {token} ")] {
        Check::is_user(&check.tokens.caller(Some(&header)).await);
    }
    // The roles of a user are not those of an application.
    check.accepts(&check.user().with("roles", json!(["Workflows.Execute"]))).await;
    let pairwise = check.text(&check.user().without("oid").token()).await;
    assert_eq!(pairwise, Ok(Caller::User { id: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ".to_owned() }));
}

#[tokio::test]
async fn without_a_bearer_token_it_is_missing() {
    let check = Check::start().await;
    for header in [None, Some(""), Some("Basic dXNlcjpwYXNz"), Some("Bearertoken"), Some(" Bearer x"), Some("DPoP x")] {
        assert_eq!(check.tokens.caller(header).await, Err(TokenError::Missing), "{header:?}");
    }
    assert_eq!(check.provider.discoveries(), 0);
}

#[tokio::test]
async fn what_is_no_token_is_refused_before_any_key_is_looked_for() {
    let check = Check::start().await;
    let good = check.user().token();
    let long = format!("{good}{}", "A".repeat(1 << 20));
    for text in
        ["", " ", ".", "..", "...", "garbage", "a.b", "a.b.c", "a.b.c.d", "eyJhbGciOiJSUzI1NiJ9..", "é.é.é", "{}.{}.{}"]
    {
        assert!(matches!(check.text(text).await, Err(TokenError::Invalid(_))), "{text:?}");
    }
    check.refuses_text(&long, "too long").await;
    check.refuses_text(&good.replace('.', ".."), "three parts").await;
    check.refuses_text(&format!("{good}.{good}"), "three parts").await;
    check.refuses_text(&format!("{good}="), "three parts").await;
    check.refuses_text(&format!("{good} x"), "three parts").await;
    for header in
        ["null", "[]", "\"RS256\"", "{", r#"{"alg":1,"kid":"first"}"#, r#"{"alg":"RS256","alg":"RS256","kid":"first"}"#]
    {
        check.refuses_text(&signed(header, &check.user().claims.to_string(), Key::First), "three parts").await;
    }
    assert_eq!(check.provider.discoveries(), 0);
}

#[tokio::test]
async fn only_rs256_is_taken_and_no_key_is_looked_for_with_another() {
    let check = Check::start().await;
    let claims = check.user().claims.to_string();
    for alg in [
        "none", "None", "NONE", "nOnE", "", " none", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA",
        "rs256",
    ] {
        let header = json!({"typ": "JWT", "alg": alg, "kid": "first"}).to_string();
        check.refuses_text(&signed_with(&header, &claims, |_| Vec::new()), "alg").await;
        check.refuses_text(&signed(&header, &claims, Key::First), "alg").await;
    }
    // The public key as the secret of an HMAC.
    let modulus = Key::First.modulus();
    let pem = include_str!("first.pub.pem");
    let bare = &pem[pem.find("-----BEGIN").unwrap()..];
    for secret in [&modulus[..], pem.as_bytes(), bare.as_bytes(), bare.trim().as_bytes(), encode(&modulus).as_bytes()] {
        let header = json!({"typ": "JWT", "alg": "HS256", "kid": "first"}).to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        check
            .refuses_text(&signed_with(&header, &claims, |text| hmac::sign(&key, text).as_ref().to_vec()), "alg")
            .await;
    }
    assert_eq!(check.provider.discoveries(), 0);
}

#[tokio::test]
async fn the_header_says_which_published_key_and_nothing_unknown() {
    let check = Check::start().await;
    let mut no_kid = check.user();
    no_kid.header.as_object_mut().unwrap().remove("kid");
    check.refuses(&no_kid, "kid is missing").await;
    check.refuses(&check.user().header("kid", ""), "kid is missing").await;
    check.refuses(&check.user().header("kid", 1), "three parts").await;
    check.refuses(&check.user().header("crit", json!(["exp"])), "crit").await;
    check.refuses(&check.user().header("typ", "pop"), "typ").await;
    assert_eq!(check.provider.discoveries(), 0);

    check.refuses(&check.user().header("kid", "second"), "signing key").await;
    // A key that the token brings along, or says where to get, is nobody's.
    let brought = check.user().header("jwk", Key::Second.jwk("first")).header("jku", "http://127.0.0.1:1/");
    check.refuses(&brought.clone().signed_by(Key::Second), "signature").await;
    check.accepts(&brought).await;
}

#[tokio::test]
async fn whatever_is_not_signed_by_that_key_is_refused() {
    let check = Check::start().await;
    check.refuses(&check.user().signed_by(Key::Second), "signature").await;
    let token = check.user().token();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let admin = encode(check.user().with("oid", "admin").claims.to_string().as_bytes());
    check.refuses_text(&format!("{header}.{admin}.{signature}"), "signature").await;
    let other_header = encode(check.user().header("x", 1).header.to_string().as_bytes());
    check.refuses_text(&format!("{other_header}.{payload}.{signature}"), "signature").await;
    check.refuses_text(&format!("{header}.{payload}."), "signature").await;
    check.refuses_text(&format!("{header}.{payload}.{}", encode(&[0; 256])), "signature").await;
    check.refuses_text(&format!("{header}.{payload}.{}", &signature[..100]), "signature").await;
}

#[tokio::test]
async fn issuer_tenant_and_audience_are_ours() {
    let check = Check::start().await;
    let issuer = check.provider.issuer();
    let other = "fa15d692-e9c7-4460-a743-29f2956fd429";
    // The version 1 issuer is Microsoft's, and this provider is not.
    for iss in [
        format!("https://sts.windows.net/{TENANT}/"),
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace(TENANT, other),
        String::new(),
    ] {
        check.refuses(&check.user().with("iss", iss), "iss").await;
    }
    check.refuses(&check.user().with("iss", json!([issuer])), "not of its type").await;
    for tid in [other, "", "common"] {
        check.refuses(&check.user().with("tid", tid), "tid").await;
    }
    check.accepts(&check.user().with("aud", format!("api://{AUDIENCE}"))).await;
    check.accepts(&check.user().with("aud", json!(["https://graph.microsoft.com", AUDIENCE]))).await;
    for aud in [
        json!(other),
        json!(""),
        json!([]),
        json!(["https://graph.microsoft.com"]),
        json!(format!("{AUDIENCE}/")),
        json!(null),
    ] {
        check.refuses(&check.user().with("aud", aud), "aud").await;
    }
    check.refuses(&check.user().with("aud", json!({"a": AUDIENCE})), "not of its type").await;
    for claim in ["iss", "tid", "aud"] {
        check.refuses(&check.user().without(claim), claim).await;
    }

    // A URN is not the GUID in it.
    let urn = check.provider.tokens_for(&format!("urn:uuid:{AUDIENCE}"));
    let outcome = check.provider.caller(&urn, &check.user()).await;
    assert_eq!(outcome, Err(TokenError::Invalid("aud is another service")));
    let capitals = check.provider.tokens_for(&AUDIENCE.to_uppercase());
    Check::is_user(&check.provider.caller(&capitals, &check.user()).await);

    // An Application ID URI is taken as it is set, and does not stand for a client id.
    let uri = check.provider.tokens_for("api://crosswalk");
    Check::is_user(&check.provider.caller(&uri, &check.user().with("aud", "api://crosswalk")).await);
    for aud in [AUDIENCE, "api://api://crosswalk", "API://CROSSWALK", "crosswalk"] {
        let outcome = check.provider.caller(&uri, &check.user().with("aud", aud)).await;
        assert_eq!(outcome, Err(TokenError::Invalid("aud is another service")), "{aud}");
    }
}

#[tokio::test]
async fn lifetimes_have_a_minute_of_leeway() {
    let check = Check::start().await;
    check.accepts(&check.user().with("exp", START - 59)).await;
    check.refuses(&check.user().with("exp", START - 60), "exp has passed").await;
    check.refuses(&check.user().with("exp", START - 61), "exp has passed").await;
    check.refuses(&check.user().with("exp", 0), "exp has passed").await;
    check.refuses(&check.user().with("exp", i64::MIN), "exp has passed").await;
    check.refuses(&check.user().without("exp"), "exp is missing").await;
    check.refuses(&check.user().with("exp", json!(null)), "exp is missing").await;
    for (claim, reason) in [("nbf", "nbf is still to come"), ("iat", "iat is still to come")] {
        check.accepts(&check.user().with(claim, START + 59)).await;
        check.accepts(&check.user().with(claim, START + 60)).await;
        check.refuses(&check.user().with(claim, START + 61), reason).await;
        check.refuses(&check.user().with(claim, i64::MAX), reason).await;
        check.accepts(&check.user().without(claim)).await;
    }
    for claim in ["exp", "nbf", "iat"] {
        for value in
            [json!((START + 3600).to_string()), json!(1e300), json!(u64::MAX), json!(true), json!([START + 3600])]
        {
            check.refuses(&check.user().with(claim, value), "not of its type").await;
        }
    }
    check.provider.later(3600 + 59);
    check.accepts(&check.user()).await;
    check.provider.later(1);
    check.refuses(&check.user(), "exp has passed").await;
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_refused() {
    let check = Check::start().await;
    let header = check.user().header.to_string();
    let claims = check.user().claims.to_string();
    for (claim, value) in
        [("oid", "\"admin\""), ("exp", "9999999999"), ("aud", "\"x\""), ("scp", "\"x\""), ("tid", "null")]
    {
        for payload in [
            claims.replacen('{', &format!("{{\"{claim}\":{value},"), 1),
            format!("{},\"{claim}\":{value}}}", &claims[..claims.len() - 1]),
        ] {
            check.refuses_text(&signed(&header, &payload, Key::First), "twice").await;
        }
    }
    for payload in ["null", "[]", "{", "", "\u{0}", &"[".repeat(10_000)] {
        check.refuses_text(&signed(&header, payload, Key::First), "twice, or not").await;
    }
    check.refuses_text(&signed(&header, "{}", Key::First), "iss").await;
}

#[tokio::test]
async fn an_id_token_opens_nothing() {
    let check = Check::start().await;
    let id_token = Parts::id_token(&check.provider);
    let reason = "not an access token";
    check.refuses(&id_token, reason).await;
    check.refuses(&id_token.clone().with("scp", ""), reason).await;
    check.refuses(&id_token.clone().with("scp", " "), reason).await;
    // The user's app roles are in ID tokens too.
    let roles = json!(["Workflows.Execute"]);
    check.refuses(&id_token.clone().with("roles", roles.clone()), reason).await;
    check.refuses(&id_token.clone().without("oid").with("roles", roles.clone()), reason).await;
    check.refuses(&id_token.without("sub").without("oid").with("roles", roles), reason).await;
}

#[tokio::test]
async fn an_application_is_told_from_a_user() {
    let check = Check::start().await;
    let application = Parts::application(&check.provider);
    let accepted = Ok(Caller::Application { id: APPLICATION.to_owned(), roles: vec!["Workflows.Execute".to_owned()] });
    for parts in [
        application.clone(),
        application.clone().with("idtyp", "app"),
        application.clone().with("idtyp", "app").with("sub", "something-else"),
        application.clone().with("idtyp", "app").without("sub"),
        application.clone().with("idtyp", "app").without("oid").without("sub").with("azp", APPLICATION),
        // Version 1.
        application.clone().without("azp").with("appid", "75dbe77f-10a3-4e59-85fd-8c127544f17c"),
    ] {
        assert_eq!(check.text(&parts.token()).await, accepted);
    }
    let reason = "not an access token";
    for parts in [
        application.clone().without("roles"),
        application.clone().with("roles", json!([])),
        application.clone().with("idtyp", "app").without("roles"),
        application.clone().with("idtyp", "app").with("scp", "access_as_user"),
        application.clone().with("idtyp", "user"),
        application.clone().with("idtyp", "device"),
        application.clone().with("idtyp", "App"),
        application.clone().with("sub", "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ"),
        application.clone().without("sub"),
        application.clone().without("oid").without("sub"),
        application.clone().without("azp"),
    ] {
        check.refuses(&parts, reason).await;
    }
    check.refuses(&application.with("roles", "Workflows.Execute"), "not of its type").await;
}

#[tokio::test]
async fn an_id_that_no_key_can_hold_is_no_caller() {
    let check = Check::start().await;
    for id in ["", "a'b", "a/b", "..", "a b", "é", &"x".repeat(65)] {
        check.refuses(&check.user().with("oid", id), "hold no id").await;
        check.refuses(&check.user().without("oid").with("sub", id), "hold no id").await;
    }
    check.refuses(&check.user().without("oid").without("sub"), "hold no id").await;
    check.refuses(&check.user().with("oid", 1), "not of its type").await;
    check.refuses(&check.user().with("cnf", json!({"kid": "x"})), "cnf").await;
}

#[test]
fn challenges() {
    let challenge = |error: TokenError| error.challenge().unwrap_or_default();
    insta::assert_snapshot!(challenge(TokenError::Missing), @"Bearer");
    let expired = challenge(TokenError::Invalid("exp has passed"));
    insta::assert_snapshot!(expired, @r#"Bearer error="invalid_token", error_description="exp has passed""#);
    assert_eq!(TokenError::Unavailable.challenge(), None);
}

/// Any text, texts that look like tokens, and a good token with one byte changed.
#[test]
fn no_text_panics_or_is_accepted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let check = runtime.block_on(Check::start());
    let good = check.user().token();
    let part = || {
        prop_oneof![
            any::<Vec<u8>>().prop_map(|bytes| encode(&bytes)),
            "[A-Za-z0-9_=-]{0,40}",
            "\\{.{0,40}\\}".prop_map(|json| encode(json.as_bytes()))
        ]
    };
    let shaped = (part(), part(), part()).prop_map(|(a, b, c)| format!("{a}.{b}.{c}"));
    let changed = (0..good.len(), 0x21_u8..0x7f).prop_filter_map("the same", {
        let good = good.clone();
        move |(at, byte)| {
            let mut token = good.clone().into_bytes();
            (token[at] != byte).then(|| {
                token[at] = byte;
                String::from_utf8(token).unwrap()
            })
        }
    });
    let header = format!("{}.", good.split('.').next().unwrap());
    let same_header = (part(), part()).prop_map(move |(b, c)| format!("{header}{b}.{c}"));
    let text = prop_oneof![any::<String>(), shaped, changed, same_header];
    TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })
        .run(&text, |text| {
            let outcome = runtime.block_on(check.text(&text));
            prop_assert!(matches!(outcome, Err(TokenError::Invalid(_))), "{:?}", outcome);
            Ok(())
        })
        .unwrap();
    assert!(check.provider.discoveries() <= 1);
}
