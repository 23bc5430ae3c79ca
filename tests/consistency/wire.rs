//! A wire between the service and the real emulator that can be cut, slowed, or answered in its place.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens to requests from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Connections are closed before a request is read.
    Down,
    /// Requests are taken and never answered.
    Silent,
    /// Requests arrive, and the connection breaks before the answer.
    LoseAnswer,
    /// Every request is answered with that status.
    Status(u16),
    /// Answers come after that time.
    Slow(Duration),
}

/// The wire. It is gone with the value.
pub struct Wire {
    pub port: u16,
    fault: Arc<Mutex<Fault>>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to a port on loopback.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        Self {
            port: listener.local_addr().unwrap().port(),
            fault: Arc::clone(&fault),
            task: tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(client, port, Arc::clone(&fault)));
                }
            }),
        }
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends when either side does, or as the fault demands.
async fn connection(mut client: TcpStream, port: u16, fault: Arc<Mutex<Fault>>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    loop {
        let request = message(&mut client).await?;
        let now = *fault.lock().unwrap();
        match now {
            Fault::Down => return None,
            Fault::Silent => std::future::pending().await,
            Fault::Status(status) => {
                let answer = format!("HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n");
                client.write_all(answer.as_bytes()).await.ok()?;
                continue;
            }
            Fault::None | Fault::LoseAnswer | Fault::Slow(_) => {}
        }
        server.write_all(&request).await.ok()?;
        let answer = message(&mut server).await?;
        match now {
            Fault::LoseAnswer => return None,
            Fault::Slow(wait) => tokio::time::sleep(wait).await,
            _ => {}
        }
        client.write_all(&answer).await.ok()?;
    }
}

/// One HTTP/1.1 message, head and body. None: the other side has gone.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if end_of(&message).is_some_and(|end| message.len() >= end) {
            return Some(message);
        }
        if !matches!(stream.read_buf(&mut message).await, Ok(1..)) {
            return None;
        }
    }
}

/// Where a message ends, as soon as its head is there.
fn end_of(message: &[u8]) -> Option<usize> {
    let head_end = message.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&message[..head_end]).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if header("transfer-encoding:") == Some("chunked") {
        let end = message[head_end - 2..].windows(7).position(|seven| seven == b"\r\n0\r\n\r\n")?;
        return Some(head_end - 2 + end + 7);
    }
    let length = header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    Some(head_end + length)
}
