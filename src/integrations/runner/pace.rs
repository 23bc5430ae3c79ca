//! How fast requests go out: the manifest's rate limit, how many at once, and how long to wait after a refusal.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::integrations::{Failure, FailureClass, manifest::RateLimit};

/// Requests at the same time where the manifest does not say.
const CONCURRENCY: u32 = 4;

/// Times that a test may shorten.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From connecting to the last byte of one answer.
    pub attempt: Duration,
    /// The first wait before trying again; each further one is twice as long.
    pub back_off: Duration,
    /// The longest wait before trying again, whatever a `Retry-After` says.
    pub longest_wait: Duration,
    /// A whole list.
    pub list: Duration,
    /// A connection test.
    pub test: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(30),
            back_off: Duration::from_millis(500),
            longest_wait: Duration::from_mins(1),
            list: Duration::from_mins(2),
            test: Duration::from_secs(24),
        }
    }
}

/// The pace of one connection.
pub struct Pace {
    limiter: Option<DefaultDirectRateLimiter>,
    slots: Semaphore,
    concurrency: usize,
    /// Nothing is sent before, since a system that was asked too often said so.
    paused_until: Mutex<Option<Instant>>,
}

impl Pace {
    pub fn new(limit: RateLimit) -> Self {
        let concurrency = limit.concurrency.unwrap_or(CONCURRENCY).max(1) as usize;
        Self {
            limiter: quota(limit).map(DefaultDirectRateLimiter::direct),
            slots: Semaphore::new(concurrency),
            concurrency,
            paused_until: Mutex::new(None),
        }
    }

    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Waits for its turn, at most until the deadline. Keep what it returns until the answer is there.
    pub async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        // Whoever has the slots waits for the system itself.
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        let Ok(Ok(permit)) = slot else {
            let message = "the time was up while earlier requests to the external system were not answered yet";
            return Err(Failure::new(FailureClass::Timeout, message));
        };
        let turn = async {
            while let Some(until) = self.paused() {
                tokio::time::sleep_until(until).await;
            }
            if let Some(limiter) = &self.limiter {
                limiter.until_ready().await;
            }
        };
        match tokio::time::timeout_at(deadline, turn).await {
            Ok(()) => Ok(permit),
            Err(_) => Err(Failure::new(
                FailureClass::RateLimited,
                "the time was up while waiting for the rate limit of the external system",
            )),
        }
    }

    fn paused(&self) -> Option<Instant> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }

    /// Sends nothing for that long.
    pub fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_none_or(|before| before < until) {
            *paused = Some(until);
        }
    }
}

/// Half of the requests at once, the other half spread over the period: together never more than allowed in any period,
/// wherever the system begins to count.
fn quota(limit: RateLimit) -> Option<Quota> {
    let (requests, seconds) = (limit.requests?, limit.per_seconds?);
    let burst = NonZeroU32::new(requests.div_ceil(2))?;
    let spread = (requests - burst.get()).max(1);
    Quota::with_period(Duration::from_secs(seconds.into()) / spread).map(|quota| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_period_sees_more_requests_than_allowed() {
        use governor::clock::FakeRelativeClock;
        for (requests, seconds) in [(60, 60), (180, 60), (3000, 300), (1500, 3600), (2, 1), (3, 1), (10, 1)] {
            let limit = RateLimit { requests: Some(requests), per_seconds: Some(seconds), concurrency: None };
            let clock = FakeRelativeClock::default();
            let limiter = governor::RateLimiter::direct_with_clock(quota(limit).unwrap(), clock.clone());
            let step = Duration::from_secs(seconds.into()) / 400;
            let sent: Vec<usize> = (0..1200)
                .map(|_| {
                    clock.advance(step);
                    (0..=requests).take_while(|_| limiter.check().is_ok()).count()
                })
                .collect();
            let most = sent.windows(400).map(|period| period.iter().sum::<usize>()).max().unwrap();
            assert!(most <= requests as usize, "{requests} in {seconds} s, yet {most}");
            assert!(sent.iter().sum::<usize>() > requests as usize, "it must go on");
        }
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_back() {
        let pace = Pace::new(RateLimit::default());
        pace.pause(Duration::from_millis(30));
        pace.pause(Duration::from_millis(10));
        let began = Instant::now();
        drop(pace.turn(began + Duration::from_mins(1)).await.unwrap());
        assert!(began.elapsed() >= Duration::from_millis(29));
        pace.pause(Duration::from_secs(100));
        let failure = pace.turn(Instant::now() + Duration::from_millis(1)).await.err().unwrap();
        assert_eq!(failure.class, FailureClass::RateLimited);
    }
}
