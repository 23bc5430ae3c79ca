//! Two things measured against each other: by turns, in one run, so that whatever else the machine does happens to both.

use std::time::{Duration, Instant};

use futures::future::try_join_all;

use super::{http::Connection, process::Process};

/// Requests to one server, sent one after another and then from the beginning.
pub struct Target<'a> {
    pub port: u16,
    pub requests: Vec<Vec<u8>>,
    /// Whose processor time is counted.
    pub process: Option<&'a Process>,
}

impl Target<'_> {
    fn request(&self, number: usize) -> &[u8] {
        &self.requests[number % self.requests.len()]
    }
}

/// Microseconds, sorted.
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// Asks the targets by turns, over one connection each, after a tenth of it to warm up.
pub async fn latencies<const N: usize>(targets: [&Target<'_>; N], rounds: usize) -> anyhow::Result<[Latencies; N]> {
    let mut connections = try_join_all(targets.map(|target| Connection::open(target.port))).await?;
    let mut measured = targets.map(|_| Vec::with_capacity(rounds));
    let warm_up = rounds / 10;
    for round in 0..warm_up + rounds {
        for ((target, connection), measured) in targets.iter().zip(&mut connections).zip(&mut measured) {
            let began = Instant::now();
            connection.ask(target.request(round)).await?;
            if round >= warm_up {
                measured.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    Ok(measured.map(|mut measured| {
        measured.sort_by(f64::total_cmp);
        Latencies(measured)
    }))
}

/// What two targets did in the same stretches of time.
pub struct Throughput {
    /// Requests per second, of each target in each stretch.
    rates: Vec<[f64; 2]>,
    /// Microseconds of processor time for one request.
    pub cpu: [Option<f64>; 2],
}

impl Throughput {
    /// Of the first to the second: a tenth of the stretches were below the first number, half below the second, a tenth
    /// above the third.
    pub fn ratios(&self) -> [f64; 3] {
        let mut ratios: Vec<_> = self.rates.iter().map(|[a, b]| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        let ratios = Latencies(ratios);
        [10, 50, 90].map(|percent| ratios.percentile(percent))
    }

    /// The median of each.
    pub fn rates(&self) -> [f64; 2] {
        [0, 1].map(|target| {
            let mut rates: Vec<_> = self.rates.iter().map(|rates| rates[target]).collect();
            rates.sort_by(f64::total_cmp);
            Latencies(rates).median()
        })
    }
}

/// Asks the targets by turns, each for a stretch over that many connections, after one stretch each to warm up.
pub async fn throughput(
    targets: [&Target<'_>; 2],
    connections: usize,
    stretch: Duration,
    rounds: usize,
) -> anyhow::Result<Throughput> {
    let mut open = Vec::new();
    for target in targets {
        open.push(try_join_all((0..connections).map(|_| Connection::open(target.port))).await?);
    }
    let mut rates = Vec::new();
    let (mut requests, mut cpu) = ([0; 2], [None; 2]);
    for round in 0..=rounds {
        let mut rate = [0.0; 2];
        for (number, target) in targets.into_iter().enumerate() {
            let (began, cpu_before) = (Instant::now(), target.process.and_then(Process::cpu));
            let deadline = began + stretch;
            let work = open[number].iter_mut().enumerate();
            let work = work.map(|(first, connection)| keep_asking(connection, target, first, connections, deadline));
            let count: usize = try_join_all(work).await?.into_iter().sum();
            rate[number] = f64::from(u32::try_from(count)?) / began.elapsed().as_secs_f64();
            if round > 0 {
                let spent = target
                    .process
                    .and_then(Process::cpu)
                    .zip(cpu_before)
                    .map(|(after, before)| after.saturating_sub(before));
                requests[number] += u32::try_from(count)?;
                cpu[number] = spent.map(|spent| spent + cpu[number].unwrap_or_default());
            }
        }
        if round > 0 {
            rates.push(rate);
        }
    }
    let per_request = |number: usize| {
        let cpu: Option<Duration> = cpu[number];
        cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / f64::from(requests[number].max(1)))
    };
    Ok(Throughput { rates, cpu: [per_request(0), per_request(1)] })
}

async fn keep_asking(
    connection: &mut Connection,
    target: &Target<'_>,
    first: usize,
    step: usize,
    deadline: Instant,
) -> anyhow::Result<usize> {
    let mut count = 0;
    while Instant::now() < deadline {
        connection.ask(target.request(first + count * step)).await?;
        count += 1;
    }
    Ok(count)
}

/// Sends that many requests over that many connections.
pub async fn exactly(target: &Target<'_>, connections: usize, count: usize) -> anyhow::Result<()> {
    let work = (0..connections).map(|first| async move {
        let mut connection = Connection::open(target.port).await?;
        for number in (first..count).step_by(connections) {
            connection.ask(target.request(number)).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(work).await.map(drop)
}
