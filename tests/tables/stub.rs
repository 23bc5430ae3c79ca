//! A loopback server between the adapter and Azurite: it counts, and it fails as a network does.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// What becomes of one request.
pub enum Action {
    /// It reaches Azurite, and the answer comes back.
    Pass,
    /// It is answered here: status, further header lines, body.
    Answer(u16, String, String),
    /// The connection is closed instead of an answer.
    Drop,
    /// It reaches Azurite, but the answer is lost.
    LoseAnswer,
    /// Nothing, for ever.
    Silence,
}

/// A request as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and target.
    pub line: String,
    /// All of it up to the body.
    pub head: String,
}

/// Decides on every request, and keeps what it saw.
pub struct Stub {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    /// In front of the Azurite on that port. `decide` gets each request and how many like it came before: the requests
    /// that make the tables pass, and don't count.
    pub async fn before(azurite: u16, decide: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static) -> Self {
        Self::start(azurite, move |seen, number| match seen.line.split('?').next() {
            Some(line) if line.ends_with("/Tables HTTP/1.1") => None,
            _ => Some(decide(seen, number)),
        })
        .await
    }

    /// In front of nothing.
    pub async fn alone(decide: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static) -> Self {
        Self::start(0, move |seen, number| Some(decide(seen, number))).await
    }

    async fn start(azurite: u16, decide: impl Fn(&Seen, usize) -> Option<Action> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, decide) = (Arc::clone(&seen), Arc::new(decide));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (all, decide) = (Arc::clone(&all), Arc::clone(&decide));
                tokio::spawn(async move {
                    serve(client, azurite, |seen| {
                        let mut all = all.lock().unwrap();
                        let action = decide(&seen, all.len());
                        if action.is_some() {
                            all.push(seen);
                        }
                        action.unwrap_or(Action::Pass)
                    })
                    .await;
                });
            }
        });
        Self { port, seen }
    }

    /// The requests that were decided on.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request for each connection: it is then closed.
async fn serve(mut client: TcpStream, azurite: u16, decide: impl FnOnce(Seen) -> Action) {
    let Some((head, request)) = read_request(&mut client).await else {
        return;
    };
    let line = head.lines().next().unwrap_or_default().to_owned();
    match decide(Seen { line, head }) {
        Action::Pass => {
            let answer = forward(azurite, &request).await;
            let _ = client.write_all(&answer).await;
        }
        Action::Answer(status, headers, body) => {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Stub\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
            );
            let _ = client.write_all(answer.as_bytes()).await;
        }
        Action::Drop => {}
        Action::LoseAnswer => {
            forward(azurite, &request).await;
        }
        Action::Silence => std::future::pending().await,
    }
}

async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while bytes.len() < end + length.unwrap_or(0) {
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes))
}

/// The whole answer of Azurite, which is asked to close the connection after it.
async fn forward(azurite: u16, request: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect(("127.0.0.1", azurite)).await.unwrap();
    let first = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    server.write_all(&request[..first]).await.unwrap();
    server.write_all(b"Connection: close\r\n").await.unwrap();
    server.write_all(&request[first..]).await.unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.unwrap();
    answer
}

/// Hands every byte on, and counts connections.
pub struct Counter {
    pub port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Counter {
    pub async fn before(azurite: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", azurite)).await.unwrap();
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, accepted }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}
