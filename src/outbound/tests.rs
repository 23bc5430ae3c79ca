//! Requests against real servers on loopback, friendly and hostile. A mapped host is reached over plain HTTP; TLS is reached
//! with an injected lookup and a judgement that takes 127.0.0.1 for public.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::FutureExt;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::*;

/// For `api.example.com`, from 2020 to 2120, signed by itself.
const CERTIFICATE: &str = "MIIBLTCB4KADAgECAgEBMAUGAytlcDAZMRcwFQYDVQQDDA5jcm9zc3dhbGstdGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw\
    MDEwMTAwMDAwMFowGTEXMBUGA1UEAwwOY3Jvc3N3YWxrLXRlc3QwKjAFBgMrZXADIQCmdHOtU1W37KPYkF4s53AGJ/Xurg4FhVVgaewBHIZ/gqNLMEkw\
    GgYDVR0RBBMwEYIPYXBpLmV4YW1wbGUuY29tMAwGA1UdEwEB/wQCMAAwHQYDVR0OBBYEFIOZS/K7pg4IjMtnnAy8ZdzhH/VMMAUGAytlcANBAF2hcMlj\
    aW4vEeSTXLbxifxWIiZbFZL+Yxl7TdlS+qbsQooLFWV3WU9kHciySatxCpjvmuMwlZtlqY30igfPuwQ=";
/// Of that certificate; opens nothing.
const CERTIFICATE_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIM4pk5eT/JtHi2DS0SMoA8hLVCyp9Xn2iU9rgnbEq7DV";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
/// Ends only a test that is about to fail.
const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(200);

fn der(base64: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(base64).unwrap()
}

/// Answers every connection on a port of its own.
async fn server<F: Future<Output = io::Result<()>> + Send + 'static>(
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// The text of one request: its head, and as much body as that announces.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(stream.read_u8().await?.into());
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    Ok(text + &String::from_utf8(body).unwrap())
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) -> io::Result<()> {
    request(stream).await?;
    stream.write_all(answer).await?;
    stream.shutdown().await
}

/// Answers always the same; tells what it was asked.
async fn recording(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    let address = server(move |mut stream| {
        let kept = kept.clone();
        async move {
            let text = request(&mut stream).await?;
            kept.lock().unwrap().push(text);
            stream.write_all(answer).await?;
            stream.shutdown().await
        }
    })
    .await;
    (address, requests)
}

/// Every host is played by this server.
fn played_by(address: SocketAddr) -> Outbound {
    Outbound::with_host_map(HostMap::parse(&format!("*={address}")).unwrap()).unwrap()
}

/// A GET with a secret in each place that could have one.
fn get(url: &str, timeout: Duration) -> Outgoing {
    let mut url: Url = url.parse().unwrap();
    url.set_path("/path-s3cret");
    url.set_query(Some("key=s3cret"));
    let headers = [(HeaderName::from_static("x-api-key"), HeaderValue::from_static("s3cret"))].into_iter().collect();
    Outgoing { method: Method::GET, url, headers, body: Some("s3cret".into()), timeout }
}

/// The error of a request that must fail, with no secret in any form of it.
async fn refused(outbound: &Outbound, request: Outgoing) -> SendError {
    let shown = format!("{request:?}");
    let error = outbound.send(request).await.unwrap_err();
    for text in [shown, format!("{error} {error:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("path"), "{text}");
    }
    error
}

fn host() -> String {
    "api.example.com".to_owned()
}

#[tokio::test]
async fn nothing_is_sent_to_a_forbidden_url_mapped_or_not() {
    let (address, requests) = recording(OK).await;
    let port = address.port();
    for outbound in [Outbound::new().unwrap(), played_by(address)] {
        for url in [
            format!("http://api.example.com:{port}/"),
            format!("https://user:s3cret@api.example.com:{port}/"),
            format!("https://api.example.com@127.0.0.1:{port}/"),
            format!("https://localhost:{port}/"),
            format!("https://localhost.:{port}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("https://2130706433:{port}/"),
            format!("https://0177.1:{port}/"),
            format!("https://0.0.0.0:{port}/"),
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            "https://169.254.169.254/".to_owned(),
            "https://100.64.0.1/".to_owned(),
            "https://[fd00::1]/".to_owned(),
        ] {
            let error = refused(&outbound, get(&url, LONG)).await;
            assert!(matches!(error, SendError::Forbidden { .. }), "{url}: {error}");
        }
    }
    let literal = refused(&played_by(address), get("https://8.8.8.8/", LONG)).await;
    assert_eq!(literal.to_string(), "8.8.8.8: the host map has names only, so this address is not called");
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mapped_request_is_the_one_that_the_host_would_get() {
    let (address, requests) = recording(OK).await;
    let outbound = played_by(address);
    let headers = [("authorization", "Bearer t"), ("host", "other.example"), ("content-length", "9"), ("x-a", "1")];
    let headers: HeaderMap =
        headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
    let url = "https://API.example.com:8443/a%2Fb/../c//d;e?q=%20+x&&empty=&Ä#fragment";
    let full = Outgoing {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers,
        body: Some("{\"a\": 1}\r\n".into()),
        timeout: LONG,
    };
    assert_eq!(outbound.send(full).await.unwrap().body, "ok");

    let bare = Outgoing {
        method: Method::POST,
        url: "https://api.example.com:443".parse().unwrap(),
        headers: HeaderMap::new(),
        body: None,
        timeout: LONG,
    };
    outbound.send(bare.clone()).await.unwrap();
    let headers = [(reqwest::header::USER_AGENT, HeaderValue::from_static("own"))].into_iter().collect();
    outbound.send(Outgoing { method: Method::GET, headers, ..bare }).await.unwrap();

    let requests =
        requests.lock().unwrap().join("----\n").replace('\r', "").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(requests, @r#"
    POST /c//d;e?q=%20+x&&empty=&%C3%84 HTTP/1.1
    authorization: Bearer t
    x-a: 1
    host: api.example.com:8443
    accept: */*
    user-agent: crosswalk/VERSION
    content-length: 10

    {"a": 1}
    ----
    POST / HTTP/1.1
    content-length: 0
    host: api.example.com
    accept: */*
    user-agent: crosswalk/VERSION

    ----
    GET / HTTP/1.1
    user-agent: own
    host: api.example.com
    accept: */*
    "#);
}

#[tokio::test]
async fn only_mapped_hosts_are_played() {
    let (address, requests) = recording(OK).await;
    let map = HostMap::parse(&format!("api.example.com={address}")).unwrap();
    let outbound = Outbound { client: client(|_| vec!["10.0.0.1"], false), ..Outbound::with_host_map(map).unwrap() };
    let error = refused(&outbound, get("https://other.example.com/", LONG)).await;
    assert!(matches!(error, SendError::Forbidden { .. }), "{error}");
    assert!(outbound.send(get("https://api.example.com/", LONG)).await.is_ok());
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn every_answer_is_handed_on_as_it_came() {
    let table = [
        (
            &b"HTTP/1.1 302 Found\r\nlocation: https://a.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"[..],
            (302, "location", "https://a.example/", &b""[..]),
        ),
        (
            b"HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\x1f\x8b",
            (500, "content-encoding", "gzip", b"\x1f\x8b"),
        ),
    ];
    for (answer, (status, header, value, body)) in table {
        let (address, requests) = recording(answer).await;
        let answer = played_by(address).send(get("https://api.example.com/", LONG)).await.unwrap();
        assert_eq!(
            (answer.status, &answer.headers[header], &answer.body[..]),
            (status, &HeaderValue::from_static(value), body)
        );
        assert!(!format!("{answer:?}").contains("gzip"));
        let requests = requests.lock().unwrap();
        assert_eq!(requests.len(), 1);
        assert!(!requests[0].contains("accept-encoding"), "{}", requests[0]);
    }
}

#[tokio::test]
async fn an_answer_may_be_as_long_as_the_limit_and_no_longer() {
    let just = server(|mut stream| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_LIMIT}\r\n\r\n");
        answer(&mut stream, &[head.as_bytes(), &vec![b'a'; BODY_LIMIT]].concat()).await
    });
    let answer = played_by(just.await).send(get("https://api.example.com/", LONG)).await.unwrap();
    assert_eq!(answer.body.len(), BODY_LIMIT);

    let announced = server(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2147483648\r\n\r\n").await?;
        futures::future::pending().await
    });
    let endless = server(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        let chunk = [&b"4000\r\n"[..], &[b'a'; 0x4000], b"\r\n"].concat();
        loop {
            stream.write_all(&chunk).await?;
        }
    });
    for address in [announced.await, endless.await] {
        let error = refused(&played_by(address), get("https://api.example.com/", LONG)).await;
        assert_eq!(error, SendError::TooLarge { host: host() });
    }
}

#[tokio::test]
async fn the_deadline_covers_everything_to_the_last_byte() {
    let silent = server(|mut stream| async move {
        request(&mut stream).await?;
        futures::future::pending().await
    });
    let dripping = server(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            stream.write_all(b"a").await?;
        }
    });
    for address in [silent.await, dripping.await] {
        let error = refused(&played_by(address), get("https://api.example.com/", SHORT)).await;
        assert_eq!(error, SendError::Timeout { host: host() });
    }
    // Neither of these gets as far as a request: the name is not resolved, the handshake is not answered.
    let mute = server(|stream| async move {
        let _open = stream;
        futures::future::pending().await
    });
    let lookup = |_| futures::future::pending().boxed();
    let unresolved = secure(Resolver { lookup: Box::new(lookup), ..Resolver::system() }).build().unwrap();
    for (client, port) in [(unresolved, 443), (client(|_| vec!["127.0.0.1"], true), mute.await.port())] {
        let error = refused(&remote(client), get(&format!("https://api.example.com:{port}/"), SHORT)).await;
        assert_eq!(error, SendError::Timeout { host: host() });
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let halves: [&'static [u8]; 5] = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"220 smtp.example.com ESMTP\r\n",
    ];
    for half in halves {
        let (address, _) = recording(half).await;
        let error = refused(&played_by(address), get("https://api.example.com/", LONG)).await;
        assert_eq!(error, SendError::Broken { host: host() });
    }
}

/// A client whose n-th lookup has the answer that is given, and for which 127.0.0.1 is a public address.
fn client(lookup: impl Fn(usize) -> Vec<&'static str> + Send + Sync + 'static, trusting: bool) -> reqwest::Client {
    let count = AtomicUsize::new(0);
    let lookup = move |_| {
        let addresses = lookup(count.fetch_add(1, Ordering::SeqCst));
        futures::future::ok(addresses.into_iter().map(|text| text.parse().unwrap()).collect()).boxed()
    };
    let is_public = |address: IpAddr| address.to_string() == "127.0.0.1";
    let builder = secure(Resolver { lookup: Box::new(lookup), is_public, ..Resolver::system() });
    let certificate = reqwest::Certificate::from_der(&der(CERTIFICATE)).unwrap();
    if trusting { builder.add_root_certificate(certificate) } else { builder }.build().unwrap()
}

fn remote(client: reqwest::Client) -> Outbound {
    Outbound { client, host_map: None }
}

/// Speaks TLS with the certificate above; counts connections.
async fn secure_server() -> (u16, Arc<AtomicUsize>) {
    let certificates = vec![der(CERTIFICATE).into()];
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(certificates, der(CERTIFICATE_KEY).try_into().unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = server(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let acceptor = acceptor.clone();
        async move { answer(&mut acceptor.accept(stream).await?, OK).await }
    });
    (address.await.port(), connections)
}

#[tokio::test]
async fn a_connection_goes_to_the_address_that_was_judged() {
    let (port, connections) = secure_server().await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let client = client(
        move |count| {
            counted.store(count + 1, Ordering::SeqCst);
            match count {
                0 => vec!["127.0.0.1"],
                1 => vec!["127.0.0.1", "127.0.0.2"],
                _ => vec!["127.0.0.2"],
            }
        },
        true,
    );
    let outbound = remote(client);
    let request = get(&format!("https://api.example.com:{port}/"), LONG);
    // One lookup for one connection: nothing asks DNS again after the judgement.
    assert_eq!(outbound.send(request.clone()).await.unwrap().body, "ok");
    assert_eq!((lookups.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (1, 1));
    for expected in [2, 3] {
        let error = refused(&outbound, request.clone()).await;
        assert_eq!(error, SendError::Forbidden { host: host(), reason: address::NOT_PUBLIC });
        assert_eq!((lookups.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (expected, 1));
    }
}

#[tokio::test]
async fn no_certificate_but_the_right_one_will_do() {
    let (secure, _) = secure_server().await;
    let plain = server(|mut stream| async move { stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await });
    let closing = server(|mut stream| async move {
        // The whole first record: what is unread when a socket is closed turns the end into a reset.
        let mut head = [0; 5];
        stream.read_exact(&mut head).await?;
        let mut hello = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
        stream.read_exact(&mut hello).await.map(drop)
    });
    let table = [
        (secure, "api.example.com", false, "its certificate is from no known authority"),
        (secure, "api.example.org", true, "its certificate is for another name"),
        (plain.await.port(), "api.example.com", true, "it does not speak TLS"),
        (closing.await.port(), "api.example.com", true, "it closed the connection during the handshake"),
    ];
    for (port, host, trusting, reason) in table {
        let outbound = remote(client(|_| vec!["127.0.0.1"], trusting));
        let error = refused(&outbound, get(&format!("https://{host}:{port}/"), LONG)).await;
        assert_eq!(error, SendError::Tls { host: host.to_owned(), reason: reason.to_owned() });
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let closed = remote(client(|_| vec!["127.0.0.1"], true));
    let nameless = remote(client(|_| vec![], true));
    let table = [
        (closed, "it refuses connections"),
        (nameless, "its name has no address"),
        (played_by(address), "it refuses connections"),
    ];
    for (outbound, reason) in table {
        let error = refused(&outbound, get(&format!("https://api.example.com:{}/", address.port()), LONG)).await;
        assert_eq!(error, SendError::Unreachable { host: host(), reason });
    }
}
