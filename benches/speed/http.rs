//! HTTP/1.1 as thin as it can be: prepared bytes out, one whole message in, over a kept-alive socket. What a client costs
//! is part of what a benchmark on the same machine measures, so it must cost little, and the same for both sides.

use anyhow::{Context, anyhow, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request for `path`, ready to be sent as often as wanted.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}").into_bytes()
}

/// One message: a request or an answer.
pub struct Message<'a> {
    pub head: &'a str,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

/// One kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(port: u16) -> anyhow::Result<Self> {
        Self::over(TcpStream::connect(("127.0.0.1", port)).await.context("no connection")?)
    }

    pub fn over(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and reads its answer, which must be a 2xx.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Message<'_>> {
        self.send(request).await?;
        let answer = self.receive().await?.context("the connection was closed instead of an answer")?;
        match answer.status() {
            Some(200..=299) => Ok(answer),
            _ => bail!("{} {}", answer.head, String::from_utf8_lossy(answer.body)),
        }
    }

    pub async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(message).await?)
    }

    /// The next message; none if the other side has closed the connection.
    pub async fn receive(&mut self) -> anyhow::Result<Option<Message<'_>>> {
        self.buffer.clear();
        let extent = loop {
            if let Some(extent) = extent(&self.buffer)? {
                break extent;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(anyhow!("a message broke off")) };
            }
        };
        let (head, body) = self.buffer.split_at(extent.head);
        Ok(Some(Message { head: std::str::from_utf8(head)?, body: &body[..extent.body] }))
    }

    /// Everything that the last message consisted of.
    pub fn received(&self) -> &[u8] {
        &self.buffer
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// How long a message is.
struct Extent {
    head: usize,
    body: usize,
}

/// None while the message is not all there. Nobody here sends a second one before the first is answered.
fn extent(buffer: &[u8]) -> anyhow::Result<Option<Extent>> {
    let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    if let Some(length) = header(text, "content-length") {
        let body = length.parse()?;
        return Ok((buffer.len() >= head + body).then_some(Extent { head, body }));
    }
    if header(text, "transfer-encoding").is_some() {
        let body = buffer.len() - head;
        return Ok(buffer.ends_with(b"\r\n0\r\n\r\n").then_some(Extent { head, body }));
    }
    Ok(Some(Extent { head, body: 0 }))
}
