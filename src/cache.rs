//! Answers that are used again for a while: bounded in number, asked for once by all who wait, and aged by a clock that
//! tests set. Must not know what they are about. A failure is never kept.

use std::{hash::Hash, sync::Arc, time::Duration};

use moka::future::Cache as Entries;

/// Unix seconds. A function, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| chrono::Utc::now().timestamp())
}

/// Whether so many seconds have passed. A clock that was set back must not make anything last until it has caught up.
pub const fn is_over(since: i64, seconds: i64, now: i64) -> bool {
    now < since || now.saturating_sub(since) >= seconds
}

/// Answers by what was asked. Clones share them.
#[derive(Clone)]
pub struct Cache<K, V> {
    /// With the time before which nothing that was read can have changed unseen.
    entries: Entries<K, (i64, V)>,
    lifetime: Duration,
    clock: Clock,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most `most` answers, each for that many seconds.
    pub fn new(most: u64, lifetime: Duration, clock: Clock) -> Self {
        Self::knowing(most, lifetime, lifetime, clock)
    }

    /// The same, and what no longer counts is known ([`Self::last`]) until it is `kept` for so long.
    pub fn knowing(most: u64, lifetime: Duration, kept: Duration, clock: Clock) -> Self {
        let entries = Entries::builder().max_capacity(most).time_to_live(kept).build();
        Self { entries, lifetime, clock }
    }

    /// The answer, read if there is none that still counts. Who asks meanwhile waits for the same read.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn get_or_read<E>(&self, key: K, read: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        let now = (self.clock)();
        let found = self.entries.get(&key).await;
        let is_old = match found {
            Some((since, value)) if !self.is_over(since, now) => return Ok(value),
            found => found.is_some(),
        };
        // In a box: it is large, and most answers are there.
        let anew = async {
            if is_old {
                self.entries.invalidate(&key).await;
            }
            let read = async { Ok::<_, E>((now, read.await?)) };
            self.entries.try_get_with(key, read).await.map(|(_, value)| value).map_err(Arc::unwrap_or_clone)
        };
        Box::pin(anew).await
    }

    /// The last answer that is still in memory, however old.
    pub async fn last(&self, key: &K) -> Option<V> {
        self.entries.get(key).await.map(|(_, value)| value)
    }

    pub async fn insert(&self, key: K, value: V) {
        self.entries.insert(key, ((self.clock)(), value)).await;
    }

    fn is_over(&self, since: i64, now: i64) -> bool {
        is_over(since, self.lifetime.as_secs().try_into().unwrap_or(i64::MAX), now)
    }

    pub async fn forget(&self, key: &K) {
        self.entries.invalidate(key).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use super::*;

    struct Check {
        cache: Cache<&'static str, usize>,
        now: Arc<AtomicI64>,
        reads: AtomicUsize,
    }

    impl Check {
        fn new() -> Self {
            let now = Arc::new(AtomicI64::new(1000));
            let told = Arc::clone(&now);
            let clock: Clock = Arc::new(move || told.load(Ordering::SeqCst));
            Self {
                cache: Cache::knowing(10, Duration::from_secs(30), Duration::from_mins(1), clock),
                now,
                reads: AtomicUsize::new(0),
            }
        }

        /// The number of the read that the answer is from.
        async fn get(&self) -> usize {
            let read = async { Ok::<_, ()>(self.reads.fetch_add(1, Ordering::SeqCst) + 1) };
            self.cache.get_or_read("key", read).await.unwrap()
        }

        fn later(&self, seconds: i64) {
            self.now.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn an_answer_counts_from_before_it_was_read_until_its_time_is_over() {
        let check = Check::new();
        assert_eq!(check.get().await, 1);
        for (later, read) in [(29, 1), (1, 2), (29, 2), (1, 3), (i64::MAX - 2000, 4), (-1, 5)] {
            check.later(later);
            assert_eq!(check.get().await, read, "{later}");
        }
        let slow = async {
            check.later(20);
            Ok::<_, ()>(7)
        };
        assert_eq!(check.cache.get_or_read("slow", slow).await, Ok(7));
        check.later(10);
        assert_eq!(check.cache.get_or_read("slow", async { Ok::<_, ()>(8) }).await, Ok(8));
    }

    #[tokio::test]
    async fn who_asks_meanwhile_waits_for_the_same_read_also_when_an_old_answer_is_there() {
        let check = Check::new();
        for read in 1..4 {
            let all = futures::future::join_all((0..100).map(|_| check.get())).await;
            assert!(all.into_iter().all(|answer| answer == read));
            check.later(30);
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_no_answer_stands_in_for_it() {
        let check = Check::new();
        let failing = || check.cache.get_or_read("key", async { Err::<usize, _>("down") });
        assert_eq!(failing().await, Err("down"));
        assert_eq!(check.get().await, 1);
        assert_eq!(failing().await, Ok(1), "it still counts");
        check.later(30);
        assert_eq!(failing().await, Err("down"));
        assert_eq!(check.get().await, 2);
    }

    #[tokio::test]
    async fn the_last_answer_is_there_until_it_is_forgotten() {
        let check = Check::new();
        assert_eq!(check.cache.last(&"key").await, None);
        check.get().await;
        check.later(1000);
        assert_eq!(check.cache.last(&"key").await, Some(1));
        check.cache.insert("key", 9).await;
        assert_eq!((check.get().await, check.cache.last(&"key").await), (9, Some(9)));
        check.cache.forget(&"key").await;
        assert_eq!((check.cache.last(&"key").await, check.get().await), (None, 2));
    }
}
