//! When a retry tries again, how long it waits, and where it goes on.

mod read;
mod scripted;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use litestream_storage::{
    ByteRange, ErrorKind, Fault, Faulty, Jitter, Key, ListOptions, MemoryStore, ObjectMeta,
    ObjectStore, Operation, PutOptions, Result, Retry, RetryPolicy, Retrying, SystemClock,
};
use tokio::time::Instant;

#[derive(Debug)]
struct Fixed(f64);

impl Jitter for Fixed {
    fn fraction(&self) -> f64 {
        self.0
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        tries: 4,
        first_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(300),
        max_retry_after: Duration::from_secs(5),
        stall: Duration::from_secs(30),
        min_rate: 1000,
        least_step: 500,
        replay_limit: 1000,
        in_flight: 0,
    }
}

fn retry<S: ObjectStore>(inner: S, jitter: f64) -> Retry<S> {
    Retry::new(
        inner,
        Retrying::with(
            policy(),
            Arc::new(SystemClock::new()),
            Arc::new(Fixed(jitter)),
        ),
    )
}

fn faulty() -> Retry<Faulty<MemoryStore>> {
    retry(Faulty::new(MemoryStore::new()), 0.0)
}

const UNAVAILABLE: ErrorKind = ErrorKind::Unavailable { retry_after: None };
const KEY: &str = "dir/object";

fn key() -> Key {
    Key::from(KEY)
}

async fn fill(store: &impl ObjectStore, content: Vec<u8>) -> ObjectMeta {
    store
        .put(key(), content.into(), PutOptions::default())
        .await
        .expect("stored")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

async fn list(store: &impl ObjectStore) -> Result<Vec<String>> {
    let listing = store.list(String::new(), ListOptions::default());
    listing
        .map_ok(|meta| meta.key.to_string())
        .try_collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn waits_double_up_to_the_longest_and_end_after_the_last_try() {
    // Half of 100, 200 and 300 ms for certain, the other half by jitter.
    for (jitter, expected) in [(0.0, 300), (0.5, 450), (0.999_999_999, 600)] {
        let store = retry(Faulty::new(MemoryStore::new()), jitter);
        store.inner().fail_all(Fault::Before(UNAVAILABLE));
        let started = Instant::now();
        let error = store.head(key()).await.expect_err("never available");
        assert_eq!(error.kind(), UNAVAILABLE);
        assert!(
            error.to_string().ends_with("(given up after 4 tries)"),
            "{error}"
        );
        assert_eq!(store.inner().calls(Operation::Head), 4);
        assert_eq!(store.retries(), 3);
        let waited = started.elapsed().as_millis();
        // A timer may be late by its resolution of a millisecond.
        assert!(
            (expected..=expected + 3).contains(&waited),
            "{waited} ms for {jitter}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_may_ask_for_a_longer_wait_within_reason() {
    for (asked, expected) in [(0, 50), (2000, 2000), (3_600_000, 5000)] {
        let store = faulty();
        fill(store.inner().inner(), vec![1]).await;
        let retry_after = Some(Duration::from_millis(asked));
        let kind = ErrorKind::Unavailable { retry_after };
        store
            .inner()
            .fail_next(Operation::Head, Fault::Before(kind));
        let started = Instant::now();
        store.head(key()).await.expect("the second try works");
        let waited = started.elapsed().as_millis();
        assert!(
            (expected..=expected + 1).contains(&waited),
            "{waited} ms for {asked}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_fails_at_once() {
    let permanent = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::PreconditionFailed,
        ErrorKind::Denied,
        ErrorKind::DiskFull,
        ErrorKind::Invalid,
        ErrorKind::Corrupt,
        ErrorKind::Cancelled,
        ErrorKind::Unsupported,
    ];
    for kind in permanent {
        let store = faulty();
        store.inner().fail_all(Fault::Before(kind));
        let started = Instant::now();
        let put = store
            .put(key(), vec![1].into(), PutOptions::default())
            .await;
        let results = [
            put.map(drop),
            store.get(key(), ByteRange::ALL).await.map(drop),
            store.head(key()).await.map(drop),
            list(&store).await.map(drop),
            store.delete(vec![key()]).await.map(drop),
            store.delete_if(key(), "etag".into()).await,
        ];
        for result in results {
            let error = result.expect_err("broken");
            assert_eq!(error.kind(), kind);
            assert!(!error.to_string().contains("tries"), "{error}");
        }
        assert_eq!(started.elapsed(), Duration::ZERO, "{kind:?}");
        assert_eq!(store.retries(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_tried_again_also_when_nothing_answers() {
    for fault in [
        Fault::Before(ErrorKind::Io),
        Fault::After(ErrorKind::Io),
        Fault::Hang,
    ] {
        let store = faulty();
        for operation in Operation::ALL {
            store.inner().fail_nth(operation, 1, fault);
        }
        let started = Instant::now();
        fill(&store, vec![7; 10]).await;
        let object = store
            .get(key(), ByteRange::new(2, 3))
            .await
            .expect("readable");
        assert_eq!(object.into_bytes().await.expect("readable"), vec![7; 3]);
        store.head(key()).await.expect("there");
        assert_eq!(list(&store).await.expect("listable"), [KEY]);
        assert!(
            store
                .delete(vec![key()])
                .await
                .expect("deletable")
                .is_empty()
        );
        assert_eq!(store.retries(), 5, "{fault:?}");
        for operation in Operation::ALL {
            assert_eq!(store.inner().calls(operation), 2, "{fault:?}");
        }
        let stalls = if fault == Fault::Hang { 5 * 30_000 } else { 0 };
        let waited = started.elapsed().as_millis();
        assert!(
            (stalls + 250..stalls + 270).contains(&waited),
            "{waited} ms, {fault:?}"
        );
    }
}
