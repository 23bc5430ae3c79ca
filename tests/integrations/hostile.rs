//! Systems that mean harm, or are broken as badly: answers made to exhaust memory or time, to mix up logins, or to lead
//! credentials astray in spellings that only a parser sees through.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use crosswalk::{
    integrations::{
        Failure, FailureClass, Integration, Settings,
        runner::{ManifestIntegration, Timing},
    },
    outbound::{HostMap, Outbound},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    subject::{QUICK, Subject, failure, load, manifest, one_page},
    system::{Reply, System},
};

const BEARER: &str = "auth: {type: bearer, token: '{{config.secret}}'}\n";
const SECRET: &[(&str, &str)] = &[("secret", "opensesame")];

/// RFC 3986, section 5.1.3: relative to what answered, not to what was asked.
#[tokio::test]
async fn a_link_is_relative_to_where_a_redirect_led() {
    for (link, sent) in [
        ("?page=2", ("shard.example.com", "/v2/orgs")),
        ("more", ("shard.example.com", "/v2/more")),
        ("https://shard.example.com/more", ("shard.example.com", "/more")),
        // Where the list began is never elsewhere.
        ("https://api.example.com/more", ("api.example.com", "/more")),
    ] {
        for in_header in [false, true] {
            let system = System::start(move |asked| {
                let first = json!({"items": [{"id": 1}], "next": if in_header { None } else { Some(link) }});
                match (asked.host.as_str(), asked.path.as_str(), asked.query("page")) {
                    ("api.example.com", "/v1/orgs", None) => {
                        Reply::text("").status(308).header("location", "https://shard.example.com/v2/orgs")
                    }
                    ("shard.example.com", "/v2/orgs", None) => {
                        let header = format!("<{link}>; rel=next");
                        Reply::json(&first).header("link", if in_header { &header } else { "" })
                    }
                    _ => Reply::json(&json!({"items": [{"id": 2}]})),
                }
            })
            .await;
            let kind = if in_header { "header_link" } else { "json_link, next_url_path: /next" };
            let parts = format!(
                "{BEARER}allowed_hosts: [shard.example.com]\nlist_organizations: {{request: {{path: /orgs}}, \
                 record_selector: /items, paginator: {{type: {kind}}}, mapping: {{id: /id, name: /name}}}}"
            );
            let listed = Subject::new(&manifest(&parts), SECRET, &system).list().await;
            assert_eq!(listed.unwrap().len(), 2, "{link}");
            let last = system.asked().pop().unwrap();
            assert_eq!((last.host.as_str(), last.path.as_str()), sent, "{link}");
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_host_gets_around_the_manifest() {
    for (link, host) in [
        ("https://%65vil.org/", None),
        ("https://evil%2eorg/", None),
        ("https://\u{ff45}vil.org/", None),
        ("https://evil\u{3002}org/", None),
        ("https://other.example.com\u{2044}.evil.org/", None),
        ("https://other.example.com%2f.evil.org/", None),
        ("https://other.example.com%00.evil.org/", None),
        ("https://xn--ther-example-com-1ld.evil.org/", None),
        ("https://oth\u{435}r.example.com/", None),
        ("https://[fe80::1%25eth0]/", None),
        ("https://[::ffff:10.0.0.1]/", None),
        ("https://0x7f000001/", None),
        ("https://169.254.169.254.nip.io/", None),
        ("https://other.example.com../", None),
        ("https://user@other.example.com/", None),
        ("https://:x@other.example.com/", None),
        ("https://other.example.com:0443/", Some("other.example.com")),
        ("https://%6fther.example.com/", Some("other.example.com")),
        ("https://OTHER.EXAMPLE.com/#x@evil.org", Some("other.example.com")),
        ("https:\\\\other.example.com\\@evil.org", Some("other.example.com")),
        ("\t\nhttps://other.exa\nmple.com/", Some("other.example.com")),
    ] {
        let system = System::start(move |asked| match asked.host.as_str() {
            "api.example.com" => Reply::json(&json!({"items": [{"id": 1}], "next": link})),
            _ => Reply::json(&json!({"items": [{"id": 2}]})),
        })
        .await;
        let parts = manifest(&format!("{BEARER}allowed_hosts: [other.example.com]"));
        let listed = Subject::new(&parts, SECRET, &system).list().await;
        let hosts: Vec<_> = system.asked().into_iter().skip(1).map(|asked| asked.host).collect();
        assert_eq!(hosts.first().map(String::as_str), host, "{link:?}");
        // The system led there; no setting is wrong, so that a last good list stands in.
        let class = host.is_none().then_some(FailureClass::BadResponse);
        assert_eq!(listed.err().map(|failure| failure.class), class, "{link:?}");
    }
}

/// What the manifest leaves open must not be most of a domain's name.
#[tokio::test]
async fn a_written_end_of_a_host_is_a_domain_and_not_a_part_of_one() {
    for (base_url, host, good) in [
        ("https://{{config.host}}.example.com", "acme", true),
        ("https://{{config.host}}.com", "evil", false),
        ("https://{{config.host}}.com", "evil.example", false),
        ("https://{{config.host}}example.com", "evil", false),
        ("https://{{config.host}}-eu.example.com", "evil.org", false),
        ("https://api.example.{{config.host}}", "org", false),
    ] {
        let system = System::start(|_| one_page()).await;
        let parts = manifest(&format!("{BEARER}base_url: '{base_url}'"));
        let settings = [("secret", "opensesame"), ("host", host)];
        let failure = Subject::new(&parts, &settings, &system).list().await.err();
        let class = (!good).then_some(FailureClass::Configuration);
        assert_eq!(failure.map(|failure| failure.class), class, "{base_url} {host}");
        assert_eq!(system.asked().len(), usize::from(good), "{base_url} {host}");
    }
}

/// The second login is of another zone: what one login saved never goes with the token of the other.
#[tokio::test]
async fn what_a_refused_login_saved_goes_with_its_token() {
    let logins = AtomicUsize::new(0);
    let system = System::start(move |asked| {
        let token = asked.header("x-session").unwrap_or_default().to_owned();
        let page = asked.number("page").unwrap_or(1);
        match asked.path.as_str() {
            "/login" => {
                let number = logins.fetch_add(1, SeqCst) + 1;
                Reply::json(&json!({"token": format!("t{number}"), "zone": format!("z{number}"), "partner": number}))
            }
            _ if page == 2 && token == "t1" => Reply::text("").status(401),
            _ => Reply::json(&json!({"items": [{"id": page}], "pages": 3})),
        }
    })
    .await;
    let parts = "
base_url: 'https://{{connection.zone}}.example.com/v1'
headers: {X-Partner: '{{connection.partner}}'}
auth:
  type: session_token
  login: {url: https://id.example.com/login}
  token_path: /token
  save: {zone: /zone, partner: /partner}
  inject: {headers: {X-Session: '{{session.token}}'}}
list_organizations:
  request: {path: '/{{connection.partner}}/orgs'}
  record_selector: /items
  paginator: {type: page_number, page_param: page, start_page: 1, total_pages_path: /pages}
  mapping: {id: /id, name: /name}";
    let subject = Subject::new(&manifest(parts), &[], &system);
    assert_eq!(subject.list().await.unwrap().len(), 3);
    assert_eq!(system.count("/login"), 2);
    for asked in system.asked().iter().filter(|asked| asked.path != "/login") {
        let number = asked.header("x-session").unwrap().trim_start_matches('t').to_owned();
        assert_eq!(asked.host, format!("z{number}.example.com"));
        assert_eq!(asked.path, format!("/v1/{number}/orgs"));
        assert_eq!(asked.header("x-partner"), Some(number.as_str()));
    }
}

async fn failing(parts: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Failure {
    let system = System::start(move |_| reply()).await;
    Subject::new(&manifest(parts), SECRET, &system).with_timing(PATIENT).list().await.unwrap_err()
}

/// For answers so large that a slow machine takes long to read them.
const PATIENT: Timing =
    Timing { attempt: Duration::from_mins(1), list: Duration::from_mins(5), test: Duration::from_mins(1), ..QUICK };

#[tokio::test]
async fn a_list_does_not_fill_the_memory() {
    let system = System::start(|asked| {
        let (page, long) = (asked.number("page").unwrap_or(1), "x".repeat(14 * 1024 * 1024));
        let next = if page < 5 { format!("\"?page={}\"", page + 1) } else { "null".to_owned() };
        Reply::text(format!(r#"{{"items": [{{"id": {page}, "name": "x", "note": "{long}"}}], "next": {next}}}"#))
    })
    .await;
    let parts = "list_organizations: {request: {path: /orgs}, record_selector: /items, \
                 paginator: {type: json_link, next_url_path: /next}, \
                 mapping: {id: /id, name: /name, metadata: {note: /note}}}";
    let subject = Subject::new(&manifest(parts), &[], &system).with_timing(PATIENT);
    let failure = subject.list().await.unwrap_err();
    assert!(failure.message.ends_with("it has more than 67108864 bytes"), "{failure}");
}

#[tokio::test]
async fn records_that_do_not_count_do_not_fill_the_memory_either() {
    let system = System::start(|_| {
        let records: Vec<_> = (0..=1_000_000).map(|number| number.to_string()).collect();
        Reply::text(format!("{{\"items\": [{}]}}", records.join(",")))
    })
    .await;
    let parts = "list_organizations: {request: {path: /orgs}, record_selector: /items, paginator: {type: single_page}, \
                 record_filter: [{path: /kind, in: [customer]}], mapping: {id: /id, name: /name}}";
    let subject = Subject::new(&manifest(parts), &[], &system).with_timing(PATIENT);
    let failure = subject.list().await.unwrap_err();
    assert!(failure.message.ends_with("it has more than 1000000 records"), "{failure}");
}

/// Nothing that is computed from an answer may take long: no deadline interrupts it.
#[tokio::test]
async fn no_answer_keeps_the_processor_busy() {
    let said = "error_handler: {response_filters: [{path: /error, action: fail, message_path: /error}]}\n";
    let attributes: String =
        (0..100_000).flat_map(|number| [" a".to_owned(), number.to_string(), "=''".to_owned()]).collect();
    let xml = format!("<list><items{attributes}></items></list>");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, parts, body) in [
        ("backslashes", said, json!({"error": "\\".repeat(7_000_000)}).to_string()),
        ("ampersands", said, json!({"error": "&".repeat(7_000_000)}).to_string()),
        ("percents", said, json!({"error": "%25".repeat(4_000_000)}).to_string()),
        ("half a credential", said, json!({"error": "opensesam".repeat(1_000_000)}).to_string()),
        ("depth", "", deep),
        ("attributes", "decoder: xml\n", xml),
        (
            "entities",
            "decoder: xml\n",
            format!(
                "<!DOCTYPE a [<!ENTITY a \"{}\"><!ENTITY b \"{}\">]><list>&b;</list>",
                "x".repeat(1000),
                "&a;".repeat(1000)
            ),
        ),
        ("elements", "decoder: xml\n", format!("<list>{}</list", "<a/>".repeat(1_000_000))),
    ] {
        let parts = format!("{BEARER}{parts}");
        let began = Instant::now();
        let failure = failing(&parts, move || Reply::text(body.clone())).await;
        let took = began.elapsed();
        assert_eq!(failure.class, FailureClass::BadResponse, "{name}: {failure}");
        assert!(failure.message.len() < 1000, "{name}");
        assert!(took < Duration::from_secs(25), "{name} took {took:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let utf16: Vec<u8> = "\u{feff}{\"items\": []}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // `{"items":[]}`, as gzip.
    let gzip: Vec<u8> = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0xca, 0x2c, 0x49, 0xcd, 0x2d];
    for body in [
        utf16,
        gzip,
        b"{\"items\": [{\"id\": \"\\ud800\"}]}".to_vec(),
        b"{\"items\": [{\"id\": \"\xff\"}]}".to_vec(),
        b"{\"items\": []} {\"items\": []}".to_vec(),
        b"{\"items\": [NaN]}".to_vec(),
        b"\0".to_vec(),
    ] {
        let sent = body.clone();
        let failure = failing("", move || Reply::text(sent.clone()).header("content-encoding", "gzip")).await;
        assert!(failure.message.ends_with("/orgs: the answer is not JSON"), "{body:?}: {failure}");
    }
}

#[tokio::test]
async fn counts_beyond_reason_end_or_are_told() {
    for count in ["1000000000", "18446744073709551615", "9999999999999999999999", "1e300", "3.0", "-7", "{}", "\"-1\""]
    {
        for kind in [
            "page_number, page_param: page, start_page: 1, total_pages_path: /total",
            "page_number, page_param: page, start_page: 1, total_path: /total",
            "offset, offset_param: page, total_path: /total",
        ] {
            let system = System::start(move |asked| {
                let records = if matches!(asked.query("page"), Some("0" | "1")) { r#"{"id": 1}"# } else { "" };
                let seen = asked.query("page") == Some("1") && kind.starts_with("offset");
                Reply::text(format!(r#"{{"items": [{}], "total": {count}}}"#, if seen { "" } else { records }))
            })
            .await;
            let parts = format!(
                "list_organizations: {{request: {{path: /orgs}}, record_selector: /items, paginator: {{type: {kind}}}, \
                 mapping: {{id: /id, name: /name}}}}"
            );
            let listed = Subject::new(&manifest(&parts), &[], &system).list().await;
            // A number that can be none is as none: then the empty page is the end.
            let plausible = matches!(count, "1000000000" | "18446744073709551615");
            match listed {
                Ok(listed) => assert!(!plausible && listed.len() == 1, "{count} {kind}"),
                Err(failure) => assert!(plausible && failure.message.contains(count), "{count} {kind}: {failure}"),
            }
            assert!(system.asked().len() < 20, "{count} {kind}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let login = "auth: {type: session_token, login: {url: 'https://id.example.com/login'}, token_path: /token, \
                 inject: {headers: {X-Session: '{{session.token}}'}}}";
    let oauth = "auth: {type: oauth2_client_credentials, token_url: 'https://id.example.com/login', client_id: a, \
                 client_secret: '{{config.secret}}'}";
    let long = "a".repeat(1_000_000);
    for token in [json!("a\r\nX-Evil: 1"), json!("a\nb"), json!("\u{0}"), json!(""), json!(7), json!(null), json!(long)]
    {
        let answer = json!({"token": token, "access_token": token});
        for parts in [login, oauth] {
            let answer = answer.clone();
            let system = System::start(move |_| Reply::json(&answer)).await;
            let failure = Subject::new(&manifest(parts), SECRET, &system).list().await.unwrap_err();
            assert!(failure.message.len() < 300, "{failure}");
            assert!(system.asked().iter().all(|asked| asked.path == "/login"), "{failure}");
        }
    }
    let saving = login.replace("token_path:", "save: {zone: /zone}, token_path:");
    let system = System::start(|_| Reply::json(&json!({"token": "t", "zone": ["x".repeat(1_000_000)]}))).await;
    let failure = Subject::new(&manifest(&saving), &[], &system).list().await.unwrap_err();
    assert!(failure.message.contains("for connection.zone, has more than 32768 bytes"), "{failure}");
    let system = System::start(|_| Reply::text("<!DOCTYPE html><p>Sign in, opensesame")).await;
    let failure = Subject::new(&manifest(oauth), SECRET, &system).list().await.unwrap_err();
    assert!(
        failure.message.starts_with("logging in failed: POST id.example.com/login: the answer is a web page"),
        "{failure}"
    );
}

/// Longer than anybody waits, and longer than there is time: each is enough to tell it at once.
#[tokio::test]
async fn a_wait_that_is_too_long_is_not_begun() {
    let minutes = Duration::from_mins(10);
    for (wait, timing) in [
        ("60", Timing { longest_wait: Duration::from_secs(2), list: minutes, ..QUICK }),
        ("60", Timing { longest_wait: minutes, list: Duration::from_secs(30), ..QUICK }),
    ] {
        for status in [429, 503] {
            let system = System::start(move |_| Reply::text("").status(status).header("retry-after", wait)).await;
            let subject = Subject::new(&manifest(""), &[], &system).with_timing(timing);
            let listed = tokio::time::timeout(Duration::from_secs(20), subject.list()).await.unwrap();
            assert_eq!(listed.unwrap_err().retry_after, Some(Duration::from_mins(1)));
            assert_eq!(system.asked().len(), 1);
        }
    }
}

/// A workflow gets failures as they are, and may well log them.
#[tokio::test]
async fn a_redirect_that_repeats_a_credential_is_told_without_it() {
    let system =
        System::start(|_| Reply::text("").status(307).header("location", "https://opensesame.evil.org/opensesame"))
            .await;
    let client = Subject::new(&manifest(BEARER), SECRET, &system).client("1").await.unwrap();
    let failure = client.get("/x", &[]).await.unwrap_err();
    assert!(failure.message.contains("[redacted].evil.org is linked to"), "{failure}");
}

#[tokio::test]
async fn a_cursor_that_is_false_and_details_that_come_twice() {
    let system = System::start(|asked| match asked.method.as_str() {
        "GET" => Reply::json(&json!({"items": [1, 2], "next": false})),
        _ => Reply::json(&json!({"items": [{"id": 1}, {"id": 2}, {"id": "1"}]})),
    })
    .await;
    let parts = "list_organizations: {request: {path: /ids}, record_selector: /items, \
                 paginator: {type: cursor, cursor_param: at, cursor_path: /next}, mapping: {id: /id, name: /name}, \
                 hydrate: {request: {method: POST, path: /details, body: {}}, ids_body_path: /ids, batch_size: 10, \
                 record_selector: /items}}";
    assert_eq!(Subject::new(&manifest(parts), &[], &system).list().await.unwrap().len(), 2);
    assert_eq!(system.asked().len(), 2);
}

/// Who logs in for all goes away: the next one does it, at once.
#[tokio::test]
async fn whoever_waits_for_a_login_that_is_given_up_logs_in() {
    let count = AtomicUsize::new(0);
    let system = System::start(move |asked| match asked.path.as_str() {
        "/login" if count.fetch_add(1, SeqCst) == 0 => Reply::text("").after(Duration::from_secs(4)),
        "/login" => Reply::json(&json!({"token": "t"})),
        _ => one_page(),
    })
    .await;
    let parts = "auth: {type: session_token, login: {url: 'https://id.example.com/login'}, token_path: /token, \
                 inject: {headers: {X-Session: '{{session.token}}'}}}";
    let subject = Subject::new(&manifest(parts), &[], &system);
    let began = Instant::now();
    let leader = tokio::time::timeout(Duration::from_millis(500), subject.list());
    let waiting = async {
        // Not for ever: on a busy machine the leader may be gone before it is there.
        while system.count("/login") == 0 && began.elapsed() < Duration::from_millis(400) {
            tokio::task::yield_now().await;
        }
        subject.list().await
    };
    let (leader, waiting) = tokio::join!(leader, waiting);
    assert!(leader.is_err());
    assert_eq!(waiting.unwrap().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(3));
}

/// A server that is no HTTP server: says `first`, then `again` for ever.
async fn raw(first: &'static [u8], again: &'static [u8], pause: Duration) -> (SocketAddr, JoinHandle<()>) {
    async fn talk(mut stream: TcpStream, first: &[u8], again: &[u8], pause: Duration) -> std::io::Result<()> {
        let _request = stream.read(&mut [0; 4096]).await?;
        stream.write_all(first).await?;
        loop {
            stream.write_all(again).await?;
            tokio::time::sleep(pause).await;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, first, again, pause));
        }
    });
    (address, task)
}

#[tokio::test]
async fn an_answer_without_end_ends() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const BODY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"items\": [";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let drip = Duration::from_millis(20);
    let flood = Duration::ZERO;
    for (name, first, again, pause) in [
        ("headers", OK, &b"x-more: 1234567890\r\n"[..], flood),
        ("headers, slowly", OK, b"x: 1\r\n", drip),
        ("one long header", b"HTTP/1.1 200 OK\r\nx: ", &[b'a'; 4096], flood),
        ("interim answers", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", flood),
        ("interim answers, slowly", b"", b"HTTP/1.1 100 Continue\r\n\r\n", drip),
        ("body", BODY, &[b' '; 4096], flood),
        ("body, slowly", BODY, b" ", drip),
        ("chunks", CHUNKED, b"1\r\n \r\n", flood),
        ("chunk extension", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=", &[b'a'; 4096], flood),
        (
            "trailers",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x: 12345678901234567890\r\n",
            flood,
        ),
        ("silence", b"", b"", Duration::from_mins(1)),
    ] {
        let (address, task) = raw(first, again, pause).await;
        let outbound = Outbound::with_host_map(HostMap::parse(&format!("*={address}")).unwrap()).unwrap();
        let timing = Timing { attempt: Duration::from_secs(1), ..QUICK };
        let integration = ManifestIntegration::new(load(&manifest("")), outbound).unwrap().with_timing(timing);
        let began = Instant::now();
        let error = integration.list_organizations(&Settings::none()).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(6), "{name}: {:?}", began.elapsed());
        let class = failure(error).class;
        let expected = [FailureClass::Timeout, FailureClass::Unreachable, FailureClass::BadResponse];
        assert!(expected.contains(&class), "{name}: {class:?}");
        task.abort();
    }
}
