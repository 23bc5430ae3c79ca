//! A proxy before Azurite that writes down when each request came and was answered. It holds every request for a while, so
//! that what is sent side by side overlaps for certain, and what waits for an answer does not.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, task::JoinHandle};

use super::http::Connection;

/// How long a request is held.
const HOLD: Duration = Duration::from_millis(20);

/// One round trip to the store.
#[derive(Clone, Debug)]
pub struct Trip {
    began: Instant,
    pub ended: Instant,
}

/// Where trips are written down.
type Log = Arc<Mutex<Vec<Trip>>>;

/// The proxy, until the value goes.
pub struct Proxy {
    pub port: u16,
    log: Log,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(upstream: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (port, log) = (listener.local_addr()?.port(), Log::default());
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&shared);
                // A side that closes ends the pair; the service opens another one.
                tokio::spawn(async move { forward(Connection::over(stream)?, upstream, &log).await });
            }
        });
        Ok(Self { port, log, task })
    }

    /// The trips since the last call.
    pub fn take(&self) -> Vec<Trip> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: Connection, upstream: u16, log: &Log) -> anyhow::Result<()> {
    let mut store = Connection::open(upstream).await?;
    while client.receive().await?.is_some() {
        let began = Instant::now();
        tokio::time::sleep(HOLD).await;
        store.send(client.received()).await?;
        if store.receive().await?.is_none() {
            break;
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).push(Trip { began, ended: Instant::now() });
        client.send(store.received()).await?;
    }
    Ok(())
}

/// The most trips of which each began after the one before it had ended.
pub fn longest_chain(mut trips: Vec<Trip>) -> usize {
    trips.sort_by_key(|trip| trip.ended);
    let mut last: Option<Instant> = None;
    let mut length = 0;
    for trip in trips {
        if last.is_none_or(|ended| trip.began >= ended) {
            (last, length) = (Some(trip.ended), length + 1);
        }
    }
    length
}
