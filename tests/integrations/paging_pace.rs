//! How fast a list is read: side by side where the number of pages is known, in order whatever comes first, never faster than
//! the system allows.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crosswalk::integrations::{FailureClass, runner::Timing};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::{Barrier, watch};

use crate::{
    paging::{CURSOR, LINK, OFFSET, PAGES, ids, manifest, page},
    subject::{QUICK, Subject},
    system::{Reply, System},
};

/// Pages that hold two organizations each, answered when `wait` is over; counts how many are waiting at once.
async fn waiting<F: Future<Output = ()> + Send + 'static>(
    wait: impl Fn(usize) -> F + Send + Sync + 'static,
    most: Arc<AtomicUsize>,
) -> System {
    let now = Arc::new(AtomicUsize::new(0));
    System::start(move |asked| {
        let number = asked.number("page").unwrap();
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (now, wait) = (Arc::clone(&now), wait(number));
        let body = page(number * 2..number * 2 + 2, json!({"pages": 9})).to_string();
        Reply::chunks(
            stream::once(async move {
                wait.await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(Bytes::from(body))
            })
            .boxed(),
        )
    })
    .await
}

#[tokio::test]
async fn announced_pages_are_fetched_side_by_side_but_not_more_than_allowed() {
    // Nobody gets an answer before three wait for one: fewer at once would never end.
    let (barrier, most) = (Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
    let wait = move |number: usize| {
        let barrier = Arc::clone(&barrier);
        async move {
            // Pages 2 to 7 in groups of three; the last two would wait for a third.
            if (2..8).contains(&number) {
                barrier.wait().await;
            }
        }
    };
    let system = waiting(wait, Arc::clone(&most)).await;
    let text = manifest(PAGES).replace("list_organizations:", "rate_limit: {concurrency: 3}, list_organizations:");
    let listed = Subject::new(&text, &[], &system).list().await.unwrap();
    assert_eq!(ids(&listed), (2..20).map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn pages_that_arrive_in_reverse_are_listed_in_order() {
    // Of the four that are asked for at once, 5 is answered first and 2 last.
    let (answered, _) = watch::channel(vec![6]);
    let wait = move |number: usize| {
        let answered = answered.clone();
        async move {
            if (2..6).contains(&number) {
                let mut later = answered.subscribe();
                later.wait_for(|done| done.contains(&(number + 1))).await.unwrap();
                answered.send_modify(|done| done.push(number));
            }
        }
    };
    let system = waiting(wait, Arc::default()).await;
    let listed = Subject::new(&manifest(PAGES), &[], &system).list().await.unwrap();
    assert_eq!(ids(&listed), (2..20).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_period_sees_more_requests_than_the_rate_limit_allows() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let system = System::start(move |asked| {
        seen.lock().unwrap().push(Instant::now());
        let number = asked.number("page").unwrap();
        Reply::json(&page(number..number + 1, json!({"pages": 7})))
    })
    .await;
    let limit = "rate_limit: {requests: 4, per_seconds: 1, concurrency: 8}, list_organizations:";
    let text = manifest(PAGES).replace("list_organizations:", limit);
    assert_eq!(Subject::new(&text, &[], &system).list().await.unwrap().len(), 7);
    let times = times.lock().unwrap();
    let most = times.iter().map(|from| {
        times.iter().filter(|at| **at >= *from && at.duration_since(*from) < Duration::from_secs(1)).count()
    });
    assert!(most.max().unwrap() <= 4);
}

#[tokio::test]
async fn pages_that_were_guessed_wrong_give_their_turns_back() {
    // Page 6 is never answered; page 4 only when nobody waits for page 6 any more.
    struct Given(watch::Sender<bool>);
    impl Drop for Given {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let (asked_for, given_back) = (watch::channel(false).0, watch::channel(false).0);
    let system = System::start(move |asked| {
        let (body, wait) = match asked.number("page").unwrap() {
            0 => return Reply::json(&page(0..3, json!({"total": 9}))),
            3 => (page(3..4, json!({"total": 9})), asked_for.subscribe()),
            4 => (page(4..9, json!({"total": 9})), given_back.subscribe()),
            _ => {
                asked_for.send_replace(true);
                let given = Given(given_back.clone());
                let never = stream::pending().map(move |chunk| {
                    let _kept = &given;
                    chunk
                });
                return Reply::chunks(never.boxed());
            }
        };
        let mut wait = wait;
        let answer = async move {
            wait.wait_for(|done| *done).await.unwrap();
            Ok(Bytes::from(body.to_string()))
        };
        Reply::chunks(stream::once(answer).boxed())
    })
    .await;
    assert_eq!(Subject::new(&manifest(OFFSET), &[], &system).list().await.unwrap().len(), 9);
}

/// A list without an end: one new organization a page.
async fn endless() -> System {
    System::start(|asked| {
        let id = asked.number("page").unwrap_or(0) + 1;
        Reply::json(&page(id..id + 1, json!({"next": id})))
    })
    .await
}

#[tokio::test]
#[ignore = "10,000 requests"]
async fn no_list_has_more_than_10_000_pages() {
    let timing = Timing { list: Duration::from_mins(5), ..QUICK };
    let system = endless().await;
    let failure = Subject::new(&manifest(CURSOR), &[], &system).with_timing(timing).list().await.unwrap_err();
    insta::assert_snapshot!(failure, @"the list cannot be read to its end: it has more than 10000 pages");
    assert_eq!(system.asked().len(), 10_000);
}

#[tokio::test]
async fn an_endless_list_ends_at_its_deadline() {
    let timing = Timing { list: Duration::from_millis(150), ..QUICK };
    let system = endless().await;
    let failure = Subject::new(&manifest(CURSOR), &[], &system).with_timing(timing).list().await.unwrap_err();
    assert!(matches!(failure.class, FailureClass::Timeout | FailureClass::RateLimited), "{failure}");
}

#[tokio::test]
async fn a_link_to_an_address_inside_is_not_followed() {
    let inside = Arc::new(Mutex::new(String::new()));
    let link = Arc::clone(&inside);
    let system = System::start(move |_| Reply::json(&page(0..1, json!({"next": *link.lock().unwrap()})))).await;
    *inside.lock().unwrap() = format!("http://{}/v1/orgs?page=2", system.address());
    // Whatever the manifest allows.
    let text = manifest(LINK).replace("auth:", "allowed_hosts: ['*'], auth:");
    let failure = Subject::new(&text, &[], &system).list().await.unwrap_err();
    assert!(failure.message.starts_with("host 127.0.0.1 is linked to by the answer"), "{failure}");
    assert_eq!(system.asked().len(), 1);
}
