//! HTTP by hand, for what a well-behaved client cannot send: paths and headers as they are, bodies in pieces.

use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{client::Answer, server::Server};

/// Sends a request line with headers, each ended by a line break, and a body; the answer is checked like every other if its
/// path is one of the API.
pub async fn send(server: &Server, head: impl AsRef<[u8]>, body: &[u8]) -> Answer {
    let head = head.as_ref();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[head, b"Host: localhost\r\nConnection: close\r\n\r\n"].concat()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let answer = receive(&mut stream, &String::from_utf8_lossy(head)).await;
    let line = String::from_utf8_lossy(head).into_owned();
    let mut words = line.split([' ', '\r']);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    if let (Ok(method), true) = (method.parse::<Method>(), target.starts_with("/api")) {
        answer.distrust(&method, target);
    }
    answer
}

/// Reads an answer up to the end of the connection.
pub async fn receive(stream: &mut TcpStream, what: &str) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    parse(&bytes, what)
}

fn parse(bytes: &[u8], what: &str) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{what}: no answer but {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    let body = bytes[end + 4..].to_vec();
    if let Some(length) = headers.get("content-length") {
        assert_eq!(length.to_str().unwrap(), body.len().to_string(), "{what}: the answer broke off");
    }
    Answer { what: what.lines().next().unwrap_or_default().to_owned(), status, headers, body }
}

/// A body in chunks of the chunked transfer coding.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}
