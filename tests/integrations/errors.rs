//! Answers that are errors, whatever their status says, and how each is told to an administrator.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use crosswalk::integrations::{Failure, FailureClass, runner::Timing};
use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    subject::{QUICK, Subject, manifest, one_page},
    system::{Reply, System},
};

const PLAIN: &str = "";

async fn answering(status: u16, body: &'static str) -> System {
    System::start(move |_| Reply::text(body).status(status)).await
}

async fn listed(system: &System, parts: &str) -> Result<usize, Failure> {
    Subject::new(&manifest(parts), &[], system).list().await.map(|all| all.len())
}

fn filter(filter: &str) -> String {
    format!("error_handler: {{response_filters: [{filter}]}}")
}

#[tokio::test]
async fn trap_18_errors_in_an_answer_of_status_200() {
    use FailureClass::{Authentication, BadResponse, NotFound, Permission, RateLimited};
    // Each answer has records as well, which must not be taken for organizations.
    let table = [
        (
            "{path: /error, action: fail, message_path: /error/message}",
            r#"{"error": {"code": -32000, "message": "no rights"}, "items": [{"id": 1}]}"#,
            BadResponse,
            "the system says: no rights",
        ),
        (
            "{path: /errors, action: fail, class: permission, message_path: /errors/0/message, error_message: Ask}",
            r#"{"errors": [{"message": "line\none"}], "items": [{"id": 1}]}"#,
            Permission,
            "Ask (the system says: line one)",
        ),
        (
            "{path: /Success, equals: false, action: fail, class: authentication, error_message: Log in}",
            r#"{"Success": false, "items": [{"id": -1}]}"#,
            Authentication,
            "Log in",
        ),
        (
            "{path: /items/0/id, equals: -1, action: fail, class: not_found}",
            r#"{"items": [{"id": -1}]}"#,
            // Of a list: no organization was asked for.
            BadResponse,
            "the system answered with an error (status 200)",
        ),
        (
            "{http_codes: [200], path: /error, action: fail, class: rate_limited, message_path: /error}",
            r#"{"error": {"a": [1, "x"]}, "items": []}"#,
            RateLimited,
            r#"the system says: {"a":[1,"x"]}"#,
        ),
        (
            "{path: /code, equals: 7, action: refresh_token}",
            r#"{"code": 7, "items": []}"#,
            Authentication,
            "status 200",
        ),
    ];
    for (handler, body, class, told) in table {
        let system = answering(200, body).await;
        let subject = Subject::new(&manifest(&filter(handler)), &[], &system);
        let failure = subject.list().await.unwrap_err();
        assert_eq!((failure.class, failure.http_status), (class, Some(200)), "{handler}: {failure}");
        assert!(failure.message.contains(told), "{handler}: {failure}");
        assert_eq!(system.asked().len(), 1);
        let class = if handler.contains("not_found") { NotFound } else { class };
        assert_eq!(subject.test("1").await.unwrap().class, class, "{handler}");
    }
}

#[tokio::test]
async fn a_filter_fits_when_all_its_conditions_do() {
    let good = r#"{"items": [{"id": 1, "name": "One"}]"#;
    for (handler, more, status) in [
        ("{path: /error, action: fail}", r#", "error": null}"#, 200),
        ("{path: /error, action: fail}", r#", "error": ""}"#, 200),
        ("{path: /errors, action: fail}", r#", "errors": []}"#, 200),
        ("{path: /error, action: fail}", r#", "error": {}}"#, 200),
        ("{path: /Success, equals: false, action: fail}", r#", "Success": true}"#, 200),
        ("{path: /Success, equals: false, action: fail}", r#", "Success": "false"}"#, 200),
        ("{path: /Success, equals: false, action: fail}", "}", 200),
        ("{http_codes: [400], path: /error, action: fail}", r#", "error": "x"}"#, 200),
        ("{http_codes: [400, 403], action: fail}", "}", 201),
    ] {
        let body: &str = Box::leak(format!("{good}{more}").into_boxed_str());
        let system = answering(status, body).await;
        assert_eq!(listed(&system, &filter(handler)).await.unwrap(), 1, "{handler} {more}");
    }
    // The first that fits decides.
    let system = answering(403, r#"{"blocked": true}"#).await;
    let first =
        "{http_codes: [403], path: /blocked, action: retry, error_message: Blocked}, {http_codes: [403], action: fail}";
    let failure = listed(&system, &filter(first)).await.unwrap_err();
    assert_eq!((failure.class, failure.http_status), (FailureClass::RateLimited, Some(403)));
    assert_eq!((failure.message.as_str(), system.asked().len()), ("GET api.example.com/v1/orgs: Blocked", 5));
}

#[tokio::test]
async fn an_ignored_answer_has_no_records() {
    let system = answering(404, r#"{"message": "none"}"#).await;
    assert_eq!(listed(&system, &filter("{http_codes: [404], action: ignore}")).await.unwrap(), 0);
    let subject = Subject::new(&manifest(&filter("{http_codes: [404], action: ignore}")), &[], &system);
    assert_eq!(subject.test("1").await.unwrap().class, FailureClass::NotFound);
}

#[tokio::test]
async fn each_status_has_its_class() {
    use FailureClass::{Authentication, BadResponse, NotFound, Permission, RateLimited};
    for (status, list, test, requests) in [
        (301, BadResponse, BadResponse, 1),
        (304, BadResponse, BadResponse, 1),
        (400, BadResponse, BadResponse, 1),
        (401, Authentication, Authentication, 1),
        (402, BadResponse, BadResponse, 1),
        (403, Permission, Permission, 1),
        (404, BadResponse, NotFound, 1),
        (405, BadResponse, BadResponse, 1),
        (408, BadResponse, BadResponse, 5),
        (410, BadResponse, NotFound, 1),
        (418, BadResponse, BadResponse, 1),
        (429, RateLimited, RateLimited, 5),
        (500, BadResponse, BadResponse, 5),
        (501, BadResponse, BadResponse, 1),
        (502, BadResponse, BadResponse, 5),
        (503, BadResponse, BadResponse, 5),
        (504, BadResponse, BadResponse, 5),
    ] {
        // Good to look at: the status counts.
        let system = answering(status, r#"{"id": 1, "name": "One", "items": [{"id": 1, "name": "One"}]}"#).await;
        let subject = Subject::new(&manifest(PLAIN), &[], &system);
        let failure = subject.list().await.unwrap_err();
        assert_eq!((failure.class, failure.http_status), (list, Some(status)), "{status}: {failure}");
        assert_eq!(system.asked().len(), requests, "{status}");
        let result = subject.result("1").await;
        let failure = result.failure.unwrap();
        assert_eq!((failure.class, failure.http_status), (test, Some(status)), "{status}: {failure}");
        assert_eq!(result.http_status, Some(status));
        assert!(result.message.starts_with("Any: ") && result.latency > Duration::ZERO, "{}", result.message);
    }
}

#[tokio::test]
async fn trap_21_what_is_no_list_never_becomes_organizations() {
    let html = "<!DOCTYPE html><html><title>Sign in</title></html>";
    for (status, body, told) in [
        (200, html, "web page"),
        (200, "", "the answer is empty"),
        (200, " \r\n", "the answer is empty"),
        (200, r#"{"items": [{"id": 1}"#, "breaks off"),
        (200, r#"{"items": [1]} trailing"#, "not JSON"),
        (200, "Service unavailable", "not JSON"),
        (200, "null", "nothing at '/items'"),
        (200, "{}", "nothing at '/items'"),
        (200, r#"{"items": {"id": 1}}"#, "no array at '/items'"),
        (200, r#"{"items": [{"name": "no id"}]}"#, "no id at '/id'"),
        (500, html, "status 500"),
        (204, "", "nothing at '/items'"),
    ] {
        let system = answering(status, body).await;
        let failure = listed(&system, PLAIN).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::BadResponse, "{body}: {failure}");
        assert!(failure.message.contains(told), "{body}: {failure}");
        assert!(!failure.message.contains("Sign in"));
    }
    // A list that is the whole answer, too, is not empty because nothing came.
    let root = "list_organizations: {request: {path: /orgs}, record_selector: '', paginator: {type: single_page}, \
                mapping: {id: /id, name: /name}}";
    let failure = listed(&answering(200, "").await, root).await.unwrap_err();
    assert!(failure.message.contains("the answer is empty"), "{failure}");
    assert_eq!(listed(&answering(200, "[]").await, root).await.unwrap(), 0);
    assert_eq!(
        Subject::new(&manifest(root), &[], &answering(200, "").await).test("1").await.unwrap().class,
        FailureClass::BadResponse
    );
}

#[tokio::test]
async fn trap_19_json_that_is_dressed_oddly_is_read() {
    for (kind, body) in [
        ("text/plain", r#"{"items": [{"id": 1}]}"#),
        ("text/html; charset=utf-8", "\n {\"items\": [{\"id\": 1}]}\r\n"),
        ("application/octet-stream", "\u{feff}{\"items\": [{\"id\": 1}]}"),
    ] {
        let system = System::start(move |_| Reply::text(body).header("content-type", kind)).await;
        assert_eq!(listed(&system, PLAIN).await.unwrap(), 1, "{kind}");
    }
}

#[tokio::test]
async fn trap_26_a_refusal_for_now_is_waited_out() {
    let soon = |seconds: u64| (std::time::SystemTime::now() + Duration::from_secs(seconds)).into();
    let soon: chrono::DateTime<chrono::Utc> = soon(1);
    let epoch = soon.timestamp().to_string();
    let date = soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value, status) in [
        ("retry-after", "0", 429),
        ("retry-after", "0.001", 503),
        ("retry-after", "soon", 429),
        ("retry-after", "-3", 429),
        ("retry-after", "1600000000", 429),
        ("retry-after", &date, 429),
        ("x-ratelimit-retryafter", &epoch, 429),
        ("x-other", "1", 500),
    ] {
        let (name, value) = (name.to_owned(), value.to_owned());
        let count = AtomicUsize::new(0);
        let told = value.clone();
        let system = System::start(move |_| {
            let refused = count.fetch_add(1, SeqCst) < 2;
            if refused { Reply::text("").status(status).header(&name, &value) } else { one_page() }
        })
        .await;
        assert_eq!(listed(&system, PLAIN).await.unwrap(), 1, "{told}");
        assert_eq!(system.asked().len(), 3, "{told}");
    }
}

/// Two seconds are the longest that a test waits.
#[tokio::test]
async fn a_long_wait_is_told_not_waited() {
    let in_an_hour = (chrono::Utc::now() + chrono::TimeDelta::hours(1)).timestamp().to_string();
    for (name, value, told) in [
        ("retry-after", "3600", Some(3600)),
        ("retry-after", "999999999", Some(999_999_999)),
        ("x-ratelimit-retryafter", in_an_hour.as_str(), Some(3600)),
        (
            "retry-after",
            "9223372000000000000",
            Some(9_223_372_000_000_000_000 - chrono::Utc::now().timestamp().unsigned_abs()),
        ),
        // Beyond all time: as if there were none.
        ("retry-after", "1e19", None),
        ("retry-after", "18446744073709551615", None),
        ("retry-after", "1e400", None),
    ] {
        let (header, wait) = (name.to_owned(), value.to_owned());
        let system = System::start(move |_| Reply::text("").status(429).header(&header, &wait)).await;
        let began = Instant::now();
        let failure = listed(&system, PLAIN).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::RateLimited);
        let near = match (failure.retry_after, told) {
            (Some(wait), Some(told)) => wait.as_secs().abs_diff(told) <= 5 || told > 1 << 50,
            (wait, told) => wait.is_none() && told.is_none(),
        };
        assert!(near, "{value}: {:?}", failure.retry_after);
        assert_eq!(system.asked().len(), if told.is_some() { 1 } else { 5 }, "{value}");
        assert!(began.elapsed() < Duration::from_secs(5), "{value}");
    }
}

#[tokio::test]
async fn who_is_refused_holds_back_the_others() {
    let count = AtomicUsize::new(0);
    let system = System::start(move |_| {
        let first = count.fetch_add(1, SeqCst) == 0;
        if first { Reply::text("").status(429).header("retry-after", "0.2") } else { one_page() }
    })
    .await;
    let subject = Subject::new(&manifest("rate_limit: {concurrency: 1}"), &[], &system);
    let began = Instant::now();
    let timed = || async { subject.list().await.map(|_| began.elapsed()).unwrap() };
    let (refused, other) = tokio::join!(timed(), timed());
    assert!(refused.min(other) >= Duration::from_millis(199), "{refused:?} {other:?}");
    assert_eq!(system.asked().len(), 3);
}

#[tokio::test]
async fn time_that_is_up() {
    let slow = || System::start(|_| one_page().after(Duration::from_mins(1)));
    let system = slow().await;
    let times = [
        Timing { attempt: Duration::from_millis(30), ..QUICK },
        Timing { list: Duration::from_millis(30), test: Duration::from_millis(30), ..QUICK },
    ];
    for timing in times {
        let subject = Subject::new(&manifest(PLAIN), &[], &system).with_timing(timing);
        let before = system.asked().len();
        let failure = subject.list().await.unwrap_err();
        assert_eq!((failure.class, failure.http_status), (FailureClass::Timeout, None), "{failure}");
        let result = subject.result("1").await;
        assert_eq!(result.failure.unwrap().class, FailureClass::Timeout);
        assert!(result.latency >= Duration::from_millis(29) && result.http_status.is_none());
        assert_eq!(system.asked().len(), before + 2, "what took too long once is not tried again");
    }
}

/// A test has less time than a list, whoever began the login, the first request, or took the last place first.
#[tokio::test]
async fn nobody_waits_longer_than_its_own_time() {
    let parts = [
        "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/token', client_id: a, client_secret: b}",
        "post_connection: [{request: {path: /whoami}, save: {id: /id}}]\nheaders: {X-Id: '{{connection.id}}'}",
        "rate_limit: {concurrency: 1}",
    ];
    for parts in parts {
        let system = System::start(|_| one_page().after(Duration::from_mins(1))).await;
        let timing = Timing { attempt: Duration::from_mins(1), test: Duration::from_secs(1), ..QUICK };
        let subject = Subject::new(&manifest(parts), &[], &system).with_timing(timing);
        let began = Instant::now();
        let failure = tokio::select! {
            biased;
            _ = subject.list() => panic!("{parts}: the list is slow"),
            failure = subject.test("1") => failure.unwrap(),
        };
        assert_eq!(failure.class, FailureClass::Timeout, "{parts}: {failure}");
        assert!(began.elapsed() < Duration::from_secs(5), "{parts}");
        assert_eq!(system.asked().len(), 1, "{parts}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let system = System::start(|_| one_page()).await;
    let subject = Subject::new(&manifest(PLAIN), &[], &system);
    let address = system.address();
    drop(system);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let failure = subject.list().await.unwrap_err();
    assert_eq!((failure.class, failure.http_status), (FailureClass::Unreachable, None), "{failure}");
    assert_eq!(subject.test("1").await.unwrap().class, FailureClass::Unreachable);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    for broken in [2, 99] {
        let count = AtomicUsize::new(0);
        let system = System::start(move |_| {
            if count.fetch_add(1, SeqCst) >= broken {
                return one_page();
            }
            // A whole page, but not the end that was promised.
            let chunks = [Ok("{\"items\": [{\"id\": 1}]}".into()), Err(std::io::Error::other("gone"))];
            Reply::chunks(stream::iter(chunks).boxed()).header("content-length", "5000")
        })
        .await;
        let listed = listed(&system, PLAIN).await;
        assert_eq!(system.asked().len(), 3);
        match listed {
            Ok(count) => assert_eq!((count, broken), (1, 2)),
            Err(failure) => assert_eq!((failure.class, broken), (FailureClass::Unreachable, 99), "{failure}"),
        }
    }
}

#[tokio::test]
async fn trap_20_a_test_reads_the_organization_and_compares_its_id() {
    use FailureClass::{BadResponse, Mismatch, NotFound};
    let table = [
        ("", r#"{"id": 5, "name": "Five"}"#, None),
        ("", r#"{"id": "5", "name": "Five"}"#, None),
        ("", r#"[{"id": 4, "name": "Four"}, {"id": 5, "name": "Five"}]"#, None),
        ("", r#"{"id": 6, "name": "Six"}"#, Some(Mismatch)),
        ("", r#"[{"id": 6, "name": "Six"}]"#, Some(Mismatch)),
        ("", "[]", Some(NotFound)),
        ("", "null", Some(NotFound)),
        ("", r#"{"name": "Five"}"#, Some(BadResponse)),
        ("", r#"{"id": null}"#, Some(BadResponse)),
        ("/item", r#"{"item": null}"#, Some(NotFound)),
        // The manifest is wrong, not the id.
        ("/item", r#"{"id": 5, "name": "Five"}"#, Some(BadResponse)),
        ("/item", r#"{"item": {"id": 5, "name": ""}}"#, None),
        ("/item", r#"{"item": "5"}"#, Some(BadResponse)),
    ];
    for (selector, body, class) in table {
        let system = answering(200, body).await;
        let parts =
            format!("get_organization: {{request: {{path: '/orgs/{{{{org.id}}}}'}}, record_selector: '{selector}'}}");
        let result = Subject::new(&manifest(&parts), &[], &system).result("5").await;
        assert_eq!(
            result.failure.as_ref().map(|failure| failure.class),
            class,
            "{selector} {body}: {}",
            result.message
        );
        assert_eq!((system.asked().len(), result.http_status), (1, Some(200)), "{body}");
        assert_eq!(system.asked()[0].path, "/v1/orgs/5");
        if class.is_none() {
            assert!(
                result.message.starts_with("connected to ") && result.message.ends_with(" (5) in Any"),
                "{}",
                result.message
            );
        }
    }
}

#[tokio::test]
async fn without_a_way_to_read_one_the_list_is_searched() {
    let parts = "# no get_organization:";
    let page = |status| async move {
        System::start(move |asked| match asked.number("page") {
            None => Reply::json(&json!({"items": [{"id": 1, "name": "One"}], "next": "?page=2"})).status(status),
            Some(_) => Reply::json(&json!({"items": [{"id": 2, "name": "Two"}]})).status(status),
        })
        .await
    };
    let system = page(200).await;
    let subject = Subject::new(&manifest(parts), &[], &system);
    assert_eq!(subject.test("2").await.map(|failure| failure.message), None);
    assert_eq!(subject.test("3").await.unwrap().class, FailureClass::NotFound);
    // No such address is not no such organization.
    let system = page(404).await;
    let failure = Subject::new(&manifest(parts), &[], &system).test("1").await.unwrap();
    assert_eq!((failure.class, failure.http_status), (FailureClass::BadResponse, Some(404)));
}
