//! The pace is kept in the time of the clock, whatever is asked for at once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Body, ByteRange, Clock, Fault, Faulty, Key, ListOptions, MemoryStore, ObjectStore, Operation,
    Pace, Paced, PutOptions, Rate, Retry, RetryPolicy, Retrying, SystemClock,
};
use tokio::time::Instant;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn count(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

fn requests(per_second: f64, burst: u64) -> Pace {
    Pace {
        requests: Rate::new(per_second, count(burst)),
        ..Pace::default()
    }
}

fn bytes(upload: Option<u64>, download: Option<u64>) -> Pace {
    let rate = |rate| Rate::bytes(count(rate));
    Pace {
        requests: None,
        upload: upload.map(rate),
        download: download.map(rate),
    }
}

fn paced(pace: Pace) -> Paced<MemoryStore> {
    Paced::new(MemoryStore::new(), pace, &clock())
}

async fn put(store: &impl ObjectStore, name: &str, len: usize) {
    let put = store.put(Key::from(name), vec![1; len].into(), PutOptions::default());
    put.await.expect("storable");
}

/// Paused time moves only by the waits, to the millisecond: rates are compared up to that.
fn took(start: Instant, expected: Duration) {
    let elapsed = start.elapsed();
    let slack = Duration::from_millis(5);
    assert!(
        elapsed + slack >= expected && elapsed <= expected + slack,
        "took {elapsed:?}, expected {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_burst_wait() {
    let store = paced(requests(10.0, 5));
    let start = Instant::now();
    for number in 0..5 {
        put(&store, &number.to_string(), 1).await;
    }
    took(start, Duration::ZERO);
    for number in 0..20 {
        put(&store, &number.to_string(), 1).await;
    }
    took(start, Duration::from_secs(2));
    // A pause fills the burst again, and no more than that.
    tokio::time::sleep(Duration::from_hours(1)).await;
    let start = Instant::now();
    for number in 0..6 {
        put(&store, &number.to_string(), 1).await;
    }
    took(start, Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_share_the_pace() {
    let store = paced(requests(4.0, 1));
    put(&store, "a", 1).await;
    let start = Instant::now();
    let clone = store.clone();
    let head = |number: usize| {
        let store = if number.is_multiple_of(2) {
            &store
        } else {
            &clone
        };
        async move {
            store.head(Key::from("a")).await.expect("there");
            (number, start.elapsed())
        }
    };
    let ends = join_all((0..40).map(head)).await;
    took(start, Duration::from_secs(10));
    // First come, first served.
    assert!(ends.is_sorted_by_key(|(_, end)| *end), "{ends:?}");
    assert!(ends.is_sorted_by_key(|(number, _)| *number), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_call_counts() {
    let store = paced(requests(1.0, 1));
    put(&store, "a", 1).await;
    let start = Instant::now();
    store.head(Key::from("a")).await.expect("there");
    took(start, Duration::from_secs(1));
    let object = store.get(Key::from("a"), ByteRange::ALL).await;
    object.expect("there").into_bytes().await.expect("readable");
    took(start, Duration::from_secs(2));
    let listed = store.list(String::new(), ListOptions::default());
    assert_eq!(listed.count().await, 1);
    took(start, Duration::from_secs(3));
    let keys = (0..2500).map(|number| Key::new(format!("k{number}")));
    store.delete(keys.collect()).await.expect("deletable");
    took(start, Duration::from_secs(6));
    let etag = store
        .inner()
        .head(Key::from("a"))
        .await
        .expect("there")
        .etag;
    let deleted = store.delete_if(Key::from("a"), etag.expect("it has one"));
    deleted.await.expect("deletable");
    took(start, Duration::from_secs(7));
    // Nothing to do, nothing to wait for.
    store.delete(Vec::new()).await.expect("nothing");
    took(start, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_listing_counts_its_pages() {
    let store = paced(requests(1.0, 1));
    for number in 0..2100 {
        put(store.inner(), &format!("{number:05}"), 1).await;
    }
    let start = Instant::now();
    let listing = store.list(String::new(), ListOptions::default());
    let listed: Vec<_> = listing.try_collect().await.expect("listable");
    assert_eq!(listed.len(), 2100);
    took(start, Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn bodies_go_up_and_down_at_their_rates() {
    const MIB: u64 = 1 << 20;
    let store = paced(bytes(Some(MIB), Some(2 * MIB)));
    let start = Instant::now();
    // One second's worth goes at once.
    put(&store, "a", 5 * MIB as usize).await;
    took(start, Duration::from_secs(4));
    let start = Instant::now();
    let object = store.get(Key::from("a"), ByteRange::ALL).await;
    let body = object.expect("there").into_bytes().await.expect("readable");
    assert_eq!(body, vec![1; 5 * MIB as usize]);
    took(start, Duration::from_millis(1500));
    // Two at the same time have half of it each.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    futures_util::future::join(
        put(&store, "b", 3 * MIB as usize),
        put(&store, "c", 3 * MIB as usize),
    )
    .await;
    took(start, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn no_limit_waits_for_nothing() {
    let store = paced(Pace::default());
    let start = Instant::now();
    for number in 0..1000 {
        put(&store, &number.to_string(), 100_000).await;
    }
    took(start, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_as_without() {
    check(Arc::new(paced(Pace::default())), Abilities::full()).await;
    let pace = Pace {
        requests: Rate::new(1e4, count(10)),
        upload: Some(Rate::bytes(count(50_000_000))),
        download: Some(Rate::bytes(count(50_000_000))),
    };
    check(Arc::new(paced(pace)), Abilities::full()).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_under_retries_is_sent_again_whole() {
    let faulty = Faulty::new(MemoryStore::new());
    faulty.when(|call| {
        let first = call.operation == Operation::Put && call.number == 1;
        first.then_some(Fault::Break {
            after: 100_000,
            kind: litestream_storage::ErrorKind::Io,
        })
    });
    let paced = Paced::new(faulty, bytes(Some(100_000), None), &clock());
    let store = Retry::new(paced, Retrying::new(RetryPolicy::default()));
    let content = vec![3; 400_000];
    let put = store.put(
        Key::from("a"),
        Body::from(content.clone()),
        PutOptions::default(),
    );
    assert_eq!(put.await.expect("tried again").size, 400_000);
    assert_eq!(store.retries(), 1);
    let object = store.get(Key::from("a"), ByteRange::ALL).await;
    let body = object.expect("there").into_bytes().await.expect("readable");
    assert_eq!(body, content);
}

#[test]
fn rates_are_positive() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Rate::new(rate, count(1)), None, "{rate}");
    }
    assert!(Rate::new(0.001, count(1)).is_some());
}
