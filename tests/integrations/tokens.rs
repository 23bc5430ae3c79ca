//! The life of tokens: fetched once, shared by nobody, fetched once more when refused. And of what a first request tells.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use crosswalk::integrations::{FailureClass, Integration};
use futures::future::join_all;
use serde_json::json;

use crate::{
    auth::{SETTINGS, tokens},
    subject::{Subject, manifest, one_page},
    system::{Reply, System},
};

const OAUTH: &str = "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', \
                     client_id: '{{config.key}}', client_secret: '{{config.secret}}'}";

#[tokio::test]
async fn many_requests_share_one_login_and_one_new_one_after_a_refusal() {
    let (system, newest) = tokens(|token| json!({"access_token": token})).await;
    let subject = Subject::new(&manifest(OAUTH), SETTINGS, &system);
    let all = join_all((0..50).map(|_| subject.list())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(system.count("/token"), 1);

    // Somebody has ended the session.
    newest.store(7, SeqCst);
    let all = join_all((0..10).map(|_| subject.list())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(system.count("/token"), 2);
}

#[tokio::test]
async fn trap_22_other_settings_never_share_a_token() {
    let system = System::start(|asked| {
        if asked.path == "/token" {
            let form = asked.form();
            let field = |name| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap();
            let token = format!("for {} {}", field("client_id"), field("client_secret"));
            return Reply::json(&json!({"access_token": token}));
        }
        one_page()
    })
    .await;
    let subject = Subject::new(&manifest(OAUTH), &[("key", "a"), ("secret", "1")], &system);
    let others = [[("key", "b"), ("secret", "1")], [("key", "a"), ("secret", "2")], [("key", "a1"), ("secret", "x")]];
    subject.list().await.unwrap();
    for (number, settings) in others.iter().enumerate() {
        let other = Subject::new(&manifest(OAUTH), settings, &system).settings;
        subject.integration.list_organizations(&other).await.unwrap();
        let asked = system.asked();
        let wanted = format!("Bearer for {} {}", settings[0].1, settings[1].1);
        assert_eq!(asked.last().unwrap().header("authorization"), Some(wanted.as_str()));
        assert_eq!(system.count("/token"), number + 2);
    }
}

#[tokio::test]
async fn a_token_that_ends_amid_a_list_is_replaced() {
    let system = System::start(|asked| {
        let page = asked.number("page").unwrap_or(1);
        let fresh = asked.header("authorization") == Some("Bearer new");
        match asked.path.as_str() {
            "/token" => Reply::json(&json!({"access_token": "old"})),
            _ if page == 3 && !fresh => Reply::text("").status(401),
            _ => {
                let next = (page < 5).then(|| format!("?page={}", page + 1));
                Reply::json(&json!({"items": [{"id": page, "name": "x"}], "next": next}))
            }
        }
    })
    .await;
    // A login always tells the same token here: refused once more, it is the system's last word.
    let subject = Subject::new(&manifest(OAUTH), SETTINGS, &system);
    let failure = subject.list().await.unwrap_err();
    assert_eq!((failure.class, failure.http_status), (FailureClass::Authentication, Some(401)));
    assert_eq!((system.count("/token"), system.asked().len()), (2, 2 + 2 + 2), "two pages, the third twice");

    let (counter, pages) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let third = Arc::clone(&pages);
    let system = System::start(move |asked| {
        let page = asked.number("page").unwrap_or(1);
        let token = ["old", "new"][counter.load(SeqCst).saturating_sub(1).min(1)];
        if asked.path == "/token" {
            let number = counter.fetch_add(1, SeqCst);
            let token = ["old", "new"][number.min(1)];
            return Reply::json(&json!({"access_token": token}));
        }
        if page == 3 && third.fetch_add(1, SeqCst) == 0
            || asked.header("authorization") != Some(&format!("Bearer {token}"))
        {
            return Reply::text("").status(401);
        }
        let next = (page < 5).then(|| format!("?page={}", page + 1));
        Reply::json(&json!({"items": [{"id": page, "name": "x"}], "next": next}))
    })
    .await;
    let listed = Subject::new(&manifest(OAUTH), SETTINGS, &system).list().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    assert_eq!((system.count("/token"), pages.load(SeqCst)), (2, 2));
}

#[tokio::test]
async fn a_refused_login_is_told_and_tried_by_one_alone() {
    use FailureClass::{Authentication, BadResponse};
    let invalid = r#"{"error": "invalid_client", "error_description": "no such client"}"#;
    let table = [
        (400, invalid, Authentication, 1, "invalid_client no such client"),
        (401, invalid, Authentication, 1, "invalid_client"),
        (400, r#"{"error": 7}"#, Authentication, 1, "status 400"),
        (403, "", Authentication, 1, "status 403"),
        (404, "", Authentication, 1, "status 404"),
        (302, "", BadResponse, 1, "status 302"),
        (500, "", BadResponse, 5, "status 500"),
        (429, "", FailureClass::RateLimited, 5, "status 429"),
        (200, "{}", BadResponse, 1, "no token at /access_token"),
        (200, "", BadResponse, 1, "no token at /access_token"),
        (200, r#"{"access_token": ""}"#, BadResponse, 1, "no token"),
        (200, r#"{"access_token": 12}"#, BadResponse, 1, "no token"),
        (200, "<html>Sign in</html>", BadResponse, 1, "web page"),
        (200, r#"{"access_token": "#, BadResponse, 1, "breaks off"),
        (200, r#"{"Success": false}"#, Authentication, 1, "the system answered with an error"),
    ];
    let parts =
        format!("{OAUTH}\nerror_handler: {{response_filters: [{{path: /Success, equals: false, action: fail}}]}}");
    for (status, body, class, tries, told) in table {
        let system = System::start(move |asked| match asked.path.as_str() {
            "/token" => Reply::text(body).status(status).header("location", "https://id.example.com/elsewhere"),
            _ => one_page(),
        })
        .await;
        let subject = Subject::new(&manifest(&parts), SETTINGS, &system);
        for failure in join_all((0..20).map(|_| subject.test("1"))).await {
            let failure = failure.unwrap();
            assert_eq!(failure.class, class, "{status} {body}: {failure}");
            assert!(failure.message.contains(told), "{status} {body}: {failure}");
            assert!(!failure.message.contains("knows no organization"), "{failure}");
        }
        assert_eq!((system.count("/token"), system.asked().len()), (tries, tries), "{status} {body}");
    }
}

#[tokio::test]
async fn no_end_of_a_token_means_a_login_for_each_request() {
    let now = chrono::Utc::now();
    let ends = [
        json!(0),
        json!(-5),
        json!("3600"),
        json!("soon"),
        json!(""),
        json!(null),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(1e300),
        json!({"a": 1}),
        json!(now.timestamp() + 3600),
        json!((now + chrono::TimeDelta::hours(1)).to_rfc3339()),
        json!((now + chrono::TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%S").to_string()),
        json!("+262142-12-31T23:59:59Z"),
    ];
    for end in ends {
        for name in ["expires_in", "expires_at"] {
            let told = end.clone();
            let (system, _) = tokens(move |token| {
                let mut answer = json!({"access_token": token});
                answer[name] = told.clone();
                answer
            })
            .await;
            let session = format!(
                "auth: {{type: session_token, login: {{url: 'https://id.example.com/token'}}, token_path: /access_token, \
                 {name}_path: /{name}, inject: {{headers: {{Authorization: 'Bearer {{{{session.token}}}}'}}}}}}"
            );
            for parts in [&session, OAUTH] {
                let subject = Subject::new(&manifest(parts), SETTINGS, &system);
                let before = system.count("/token");
                for _ in 0..3 {
                    subject.list().await.unwrap();
                }
                assert_eq!(system.count("/token"), before + 1, "{name} {end}");
            }
        }
    }
}

const ZONE: &str = "
base_url: '{{connection.zone}}/api'
allowed_hosts: ['*.zone.example.com']
auth: {type: bearer, token: '{{config.secret}}'}
headers: {X-Partner: '{{connection.partner}}'}
post_connection:
  - request: {url: https://api.example.com/whoami}
    save: {zone: /zone, partner: /id}
";

/// `base_url` depends on what the step saves, so the step must not need it.
#[tokio::test]
async fn what_a_first_request_tells_is_used_by_all_others() {
    let system = System::start(|asked| match (asked.host.as_str(), asked.path.as_str()) {
        ("api.example.com", "/whoami") if asked.header("x-partner").is_none() => {
            Reply::json(&json!({"zone": "https://eu.zone.example.com/", "id": 42}))
        }
        ("eu.zone.example.com", "/api/orgs") if asked.header("x-partner") == Some("42") => one_page(),
        ("eu.zone.example.com", "/api/orgs/1") if asked.header("x-partner") == Some("42") => {
            Reply::json(&json!({"id": 1, "name": "One"}))
        }
        _ => Reply::text("").status(400),
    })
    .await;
    let subject = Subject::new(&manifest(ZONE), &[("secret", "s")], &system);
    let all = join_all((0..10).map(|_| subject.list())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(subject.test("1").await.map(|failure| failure.message), None);
    assert_eq!(system.count("/whoami"), 1);
    assert!(system.asked().iter().all(|asked| asked.header("authorization") == Some("Bearer s")));
}

#[tokio::test]
async fn what_a_first_request_told_is_asked_again_once_it_leads_nowhere() {
    let moved = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&moved);
    let system = System::start(move |asked| {
        let zone = ["eu", "us"][now.load(SeqCst)];
        match asked.path.as_str() {
            "/whoami" => Reply::json(&json!({"zone": format!("https://{zone}.zone.example.com"), "id": 42})),
            "/api/orgs" if asked.host == format!("{zone}.zone.example.com") => one_page(),
            "/api/orgs/2" => Reply::text("").status(404),
            _ => Reply::text("").status(410),
        }
    })
    .await;
    let subject = Subject::new(&manifest(ZONE), &[("secret", "s")], &system);
    assert!(subject.list().await.is_ok());
    // An organization that is not there is no reason.
    assert_eq!(subject.test("2").await.unwrap().class, FailureClass::NotFound);
    assert!(subject.list().await.is_ok());
    assert_eq!(system.count("/whoami"), 1);
    moved.store(1, SeqCst);
    assert!(subject.list().await.is_err());
    assert!(subject.list().await.is_ok());
    assert_eq!(system.count("/whoami"), 2);
}

#[tokio::test]
async fn a_first_request_that_fails_is_made_by_one_alone_and_blames_no_organization() {
    for (status, body, class) in [
        (404, "{}", FailureClass::BadResponse),
        (401, "{}", FailureClass::Authentication),
        (200, r#"{"zone": null, "id": 1}"#, FailureClass::BadResponse),
        (200, r#"{"id": 1}"#, FailureClass::BadResponse),
        (200, r#"{"zone": "https://evil.example.org", "id": 1}"#, FailureClass::Configuration),
    ] {
        let system = System::start(move |_| Reply::text(body).status(status)).await;
        let subject = Subject::new(&manifest(ZONE), &[("secret", "s")], &system);
        for failure in join_all((0..10).map(|_| subject.test("1"))).await {
            let failure = failure.unwrap();
            assert_eq!(failure.class, class, "{status} {body}: {failure}");
            assert!(!failure.message.contains("knows no organization"), "{failure}");
        }
        assert_eq!(system.asked().len(), 1, "{status} {body}");
    }
}
