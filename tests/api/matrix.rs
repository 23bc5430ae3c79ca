//! Every route with every kind of caller. What each kind may do stands here once more, independent of the code that
//! decides; the routes come from the table, so a new one is covered without a change here.

use crosswalk::{
    auth::Right,
    http::{ROUTES, Route},
};
use ring::hmac;
use serde_json::json;

use crate::{
    entra::{Entra, ask, methods},
    provider::{Mood, START},
    tokens::{Key, Parts, signed, signed_with},
    valve::{Flow, Valve},
};

/// What a kind of caller may do.
#[derive(Clone, Copy)]
enum May {
    /// Nobody knows who it is: 401.
    Nothing,
    /// These, and nothing else: 403.
    Only(&'static [Right]),
    Everything,
}

impl May {
    fn refusal(self, right: Right) -> Option<u16> {
        match (self, right) {
            (_, Right::Anonymous) | (Self::Everything, _) => None,
            (Self::Nothing, _) => Some(401),
            (Self::Only(rights), _) => (!rights.contains(&right)).then_some(403),
        }
    }
}

/// Every kind of caller: name, token, what they may do on `acme`.
fn callers(entra: &Entra) -> Vec<(&'static str, Option<String>, May)> {
    use Right::{Authenticated, Discover, ListManageable, ManageConfig, ManageSecrets, Resolve, SetMapping};
    const TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const SOMEBODY: May = May::Only(&[Authenticated, ListManageable]);
    let provider = &entra.provider;
    let admin = || Parts::user(provider).with("oid", "admin");
    let text = |parts: &Parts| (parts.header.to_string(), parts.claims.to_string());
    let none = text(&admin().header("alg", "none"));
    let hs256 = text(&admin().header("alg", "HS256"));
    let by_hmac = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        signed_with(&hs256.0, &hs256.1, |text| hmac::sign(&key, text).as_ref().to_vec())
    };
    let (good, longer) = (admin().token(), admin().with("exp", START + 7200).token());
    let ((head, signature), (other, _)) = (good.rsplit_once('.').unwrap(), longer.rsplit_once('.').unwrap());
    let application = || Parts::application(provider);
    // Whatever is wrong with a token, it is an administrator's.
    let refused = [
        ("garbage", "garbage".to_owned()),
        ("expired", admin().with("exp", START - 61).token()),
        ("not yet valid", admin().with("nbf", START + 121).token()),
        ("wrong audience", admin().with("aud", "00000003-0000-0000-c000-000000000000").token()),
        ("wrong issuer", admin().with("iss", provider.issuer().replace("/v2.0", "/v3.0")).token()),
        ("wrong tenant", admin().with("tid", TENANT).token()),
        ("alg none", signed_with(&none.0, &none.1, |_| Vec::new())),
        ("alg none, signed", signed(&none.0, &none.1, Key::First)),
        ("HS256 with the public key", by_hmac(include_bytes!("../identity/first.pub.pem"))),
        ("HS256 with the modulus", by_hmac(&Key::First.modulus())),
        ("unknown kid", admin().header("kid", "unknown").token()),
        ("withdrawn key", admin().header("kid", "withdrawn").signed_by(Key::Second).token()),
        ("another key", admin().signed_by(Key::Second).token()),
        ("no signature", format!("{head}.")),
        ("other claims", format!("{other}.{signature}")),
        ("ID token", Parts::id_token(provider).with("oid", "admin").token()),
        ("application without roles", application().without("roles").token()),
    ];
    let known = [
        ("unknown user", entra.token("nobody"), SOMEBODY),
        ("user without rows", entra.token("newcomer"), SOMEBODY),
        ("permission without a user", entra.token("stranger"), SOMEBODY),
        ("wrong organization", entra.token("elsewhere"), SOMEBODY),
        ("inactive user", entra.token("former-technician"), SOMEBODY),
        ("inactive administrator", entra.token("former-admin"), SOMEBODY),
        ("CanExecuteWorkflows", entra.token("operator"), May::Only(&[Authenticated, ListManageable, Resolve])),
        (
            "customer",
            entra.token("customer"),
            May::Only(&[Authenticated, ListManageable, ManageConfig, Resolve, SetMapping]),
        ),
        (
            "technician",
            entra.token("technician"),
            May::Only(&[Authenticated, ListManageable, ManageConfig, Resolve, SetMapping, Discover, ManageSecrets]),
        ),
        ("administrator", entra.token("admin"), May::Everything),
        ("application", application().token(), May::Only(&[Authenticated, Resolve, SetMapping])),
        (
            "application with another role",
            application().with("oid", "admin").with("sub", "admin").with("roles", json!(["Other"])).token(),
            May::Only(&[Authenticated]),
        ),
    ];
    let mut all = vec![("no token", None, May::Nothing)];
    all.extend(refused.map(|(name, token)| (name, Some(token), May::Nothing)));
    all.extend(known.map(|(name, token, may)| (name, Some(token), may)));
    all
}

/// Every method of every route with its right.
pub fn operations() -> impl Iterator<Item = (&'static Route, reqwest::Method, Right)> {
    ROUTES.iter().flat_map(|route| {
        methods(route).map(move |method| {
            let wanted = if method == "HEAD" { "GET" } else { method.as_str() };
            let right = route.methods.iter().find(|(known, ..)| known == wanted).unwrap().1;
            (route, method, right)
        })
    })
}

#[test]
fn only_health_asks_for_nobody() {
    let anonymous = operations().filter(|(.., right)| *right == Right::Anonymous);
    assert!(anonymous.map(|(route, ..)| route.template).all(|template| template == "health"));
    for (route, method, right) in operations().filter(|(route, ..)| route.template.contains("{orgId}")) {
        let of_organization = matches!(right, Right::ManageConfig | Right::Resolve | Right::SetMapping);
        assert!(of_organization, "{method} {}", route.template);
    }
}

#[tokio::test]
async fn every_route_refuses_every_caller_who_lacks_its_right_and_no_other() {
    let entra = Entra::start().await;
    let mapping = json!({"integration_name": "halo", "external_org_id": "1", "mapping_id": "mapping_x"});
    // Every caller here comes after a rotation of the keys.
    entra.provider.publishes(vec![Key::Second.jwk("withdrawn")]);
    let old = Parts::user(&entra.provider).with("oid", "admin").header("kid", "withdrawn").signed_by(Key::Second);
    entra.with(&old.token()).get("/organizations").await.is(200);
    entra.provider.publishes(vec![Key::First.jwk("first")]);
    entra.provider.later(60);
    entra.of("admin").post("/organizations/acme/integrations", &mapping).await.is(201);
    for (name, token, may) in callers(&entra) {
        let client = token.map_or_else(|| entra.server.api.clone(), |token| entra.with(&token));
        for (route, method, right) in operations() {
            let before = entra.server.audit("acme").await.len();
            entra.reads();
            let answer = ask(&client, &method, route, "acme").await;
            let what = format!("{name}: {} {}", answer.what, String::from_utf8_lossy(&answer.body));
            match may.refusal(right) {
                Some(status) => {
                    assert_eq!(answer.status, status, "{what}");
                    assert_eq!(entra.server.audit("acme").await.len(), before, "{what}");
                    let looked = entra.reads().into_iter().find(|read| {
                        let known = ["User", "AuditEvents"];
                        !known.iter().any(|table| read.starts_with(table)) || (status == 401 && read.starts_with('U'))
                    });
                    assert_eq!(looked, None, "{what}");
                }
                None => assert!(!matches!(answer.status, 401 | 403), "{what}"),
            }
            if answer.status == 401 {
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn refusals_are_what_the_contract_says() {
    let entra = Entra::start().await;
    let refused = entra.of("newcomer").get("/organizations/acme/integrations").await.is(403);
    assert_eq!(
        refused.text(),
        r#"{"error":"Forbidden","message":"canManageConfig permission required to manage integration mappings"}"#
    );
    let path = "/organizations/acme/integrations/halo";
    let anonymous = entra.server.api.get(path).await.is(401);
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
    let expired = Parts::user(&entra.provider).with("exp", START - 61).token();
    let expired = entra.with(&expired).get(path).await.is(401);
    insta::assert_snapshot!(expired.header("www-authenticate"), @r#"Bearer error="invalid_token", error_description="exp has passed""#);
    insta::assert_snapshot!(format!("{}\n{}", anonymous.text(), expired.text()), @r#"
    {"error":"Unauthorized","message":"Send an access token of Microsoft Entra ID for this API: `Authorization: Bearer TOKEN`"}
    {"error":"Unauthorized","message":"The access token is refused: exp has passed; get one for this API and send it before it expires"}
    "#);
    // Two headers, another scheme, a development name, a token in the address.
    let bearer = format!("Bearer {}", entra.token("admin"));
    let api = &entra.server.api;
    api.get(path).header("authorization", &bearer).header("authorization", &bearer).await.is(401);
    api.get(path).header("authorization", bearer.replace("Bearer", "Basic")).await.is(401);
    api.get(path).header("x-dev-user", "dev-admin").await.is(401);
    api.get(&format!("{path}?access_token={}", entra.token("admin"))).await.is(401);
}

#[tokio::test]
async fn who_may_not_is_not_told_what_is_wrong_with_the_rest() {
    let entra = Entra::start().await;
    let path = "/organizations/acme/integrations/halo/mapping_1";
    let large = "x".repeat(100_000);
    for (client, status) in [(entra.server.api.clone(), 401), (entra.of("elsewhere"), 403)] {
        for body in ["{", "[]", r#"{"no": 1}"#, &large] {
            client.call(reqwest::Method::PATCH, path).text(body.to_owned()).await.is(status);
        }
        client.call(reqwest::Method::PATCH, path).body("no JSON").await.is(status);
        client.get("/organizations/acme/integrations/unknown/mapping_1").await.is(status);
        client.get("/organizations/acme/integrations/halo/no_id").await.is(status);
        client.get("/organizations/acme/integrations?activeOnly=perhaps").await.is(status);
        client.get(path).header("x-organization-id", "globex").await.is(status);
        // What no route is, nobody needs a token to hear.
        client.get("/nothing").await.is(404);
        client.call(reqwest::Method::PUT, path).await.is(405);
    }
}

#[tokio::test]
async fn known_keys_outlive_the_provider_and_unknown_ones_let_nobody_in() {
    let entra = Entra::start().await;
    let new = Parts::user(&entra.provider).with("oid", "admin").header("kid", "second").signed_by(Key::Second).token();
    let (old, new) = (entra.of("admin"), entra.with(&new));
    old.get("/organizations").await.is(200);
    for mood in [Mood::HangsUp, Mood::Broken, Mood::NoKeys] {
        entra.provider.is(mood);
        entra.provider.later(60);
        for (route, method, right) in operations().filter(|(.., right)| *right != Right::Anonymous) {
            let answer = ask(&new, &method, route, "acme").await;
            assert_eq!(answer.status, 503, "{mood:?}, {right:?}: {}", answer.what);
            assert_ne!(ask(&old, &method, route, "acme").await.status, 503, "{mood:?}, {right:?}: {}", answer.what);
        }
        new.get("/health").await.is(200);
    }
    let refused = new.get("/organizations").await.is(503);
    assert_eq!(refused.json()["error"], "Identity provider unavailable");

    // The provider is back with another key, and the old one counts no longer.
    entra.provider.is(Mood::Well);
    entra.provider.publishes(vec![Key::Second.jwk("second")]);
    entra.provider.later(60);
    new.get("/organizations").await.is(200);
    old.get("/organizations").await.is(401);
}

#[tokio::test]
async fn without_the_permission_tables_nobody_gets_in() {
    let valve = Valve::new();
    let entra = Entra::on(valve.clone()).await;
    let technician = entra.of("technician");
    valve.turn(Flow::Down);
    for (route, method, right) in operations() {
        if matches!(right, Right::Anonymous | Right::Authenticated) {
            continue;
        }
        let answer = ask(&technician, &method, route, "acme").await.is(503);
        assert!(!answer.text().contains("secret-host"), "{}", answer.text());
    }
    // Nothing is asked of them here, and nothing is shown that is for administrators.
    technician.get("/openapi.json").await.is(200);
    assert!(technician.get("/integrations").await.is(200).json().get("broken").is_none());
    valve.turn(Flow::Open);
    assert!(entra.of("technician").get("/integrations").await.is(200).json().get("broken").is_none());
    assert_eq!(entra.of("admin").get("/integrations").await.is(200).json()["broken"], json!([]));
}

#[tokio::test]
async fn changes_name_who_made_them_and_from_where() {
    let entra = Entra::start().await;
    let path = "/organizations/acme/integrations/halo";
    let application = entra.with(&Parts::application(&entra.provider).token());
    application.put(path, &json!({"external_org_id": "1", "mapping_id": "mapping_1"})).racing().await.is(201);
    application.get(path).header("x-dev-user", "ann").await.is(200);
    entra.of("technician").put(path, &json!({"external_org_id": "2"})).header("x-dev-user", "ann").await.is(200);
    entra.of("customer").delete(&format!("{path}/mapping_1")).await.is(204);
    let who =
        |event: &crosswalk::tables::Properties| ["ActorId", "Source"].map(|name| event[name].text().unwrap()).join(" ");
    let who: Vec<_> = entra.server.audit("acme").await.iter().map(who).collect();
    assert_eq!(who, [&*format!("{} workflow", crate::tokens::APPLICATION), "technician api", "customer api"]);
    entra.server.settled().await;
}
