//! What the meter counts and how faults strike.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    ByteRange, Clock as _, DURATION_BUCKETS, ErrorKind, Fault, Faulty, FileModes, FileStore, Key,
    ListOptions, MemoryStore, Metered, ObjectStore, Operation, OperationCounts, Pace, Paced,
    PutOptions, Retry, RetryPolicy, Retrying, SystemClock,
};

fn key(name: &str) -> Key {
    Key::from(name)
}

async fn put(store: &impl ObjectStore, name: &str, len: usize) {
    let put = store.put(key(name), vec![1; len].into(), PutOptions::default());
    put.await.expect("stored");
}

fn metered() -> Metered<Faulty<MemoryStore>> {
    Metered::new(
        Faulty::new(MemoryStore::new()),
        Arc::new(SystemClock::new()),
    )
}

fn basic(counts: &OperationCounts) -> (u64, u64, u64) {
    (counts.calls, counts.objects, counts.bytes)
}

#[tokio::test(start_paused = true)]
async fn the_meter_counts_calls_objects_and_bytes() {
    let store = metered();
    let meter = Arc::clone(store.meter());
    assert_eq!(meter.calls(), 0);
    put(&store, "a", 100).await;
    put(&store, "b", 50).await;
    let object = store
        .get(key("a"), ByteRange::new(90, 20))
        .await
        .expect("there");
    assert_eq!(object.into_bytes().await.expect("readable").len(), 10);
    store.head(key("a")).await.expect("there");
    let listed = store.list(String::new(), ListOptions::default());
    assert_eq!(listed.count().await, 2);
    store
        .delete(vec![key("a"), key("missing")])
        .await
        .expect("deletable");
    let etag = store
        .head(key("b"))
        .await
        .expect("there")
        .etag
        .expect("memory etags exist");
    store.delete_if(key("b"), etag).await.expect("deletable");
    drop(store.head(key("never polled")));

    let found = meter.snapshot().map(|(operation, counts)| {
        assert!(counts.errors.is_empty());
        assert_eq!(counts.ended, counts.calls);
        (operation.name(), basic(&counts))
    });
    let expected = [
        ("PUT", (2, 2, 150)),
        ("GET", (1, 1, 10)),
        ("HEAD", (2, 2, 0)),
        ("LIST", (1, 2, 0)),
        ("DELETE", (2, 3, 0)),
    ];
    assert_eq!(found, expected);
    assert_eq!(meter.calls(), 8);
}

#[tokio::test(start_paused = true)]
async fn the_meter_counts_errors_by_label() {
    let store = metered();
    put(&store, "a", 100).await;
    store.head(key("missing")).await.expect_err("missing");
    store
        .get(key("missing"), ByteRange::ALL)
        .await
        .expect_err("missing");
    let broken = Fault::Break {
        after: 30,
        kind: ErrorKind::Io,
    };
    store.inner().fail_next(Operation::Get, broken);
    let object = store.get(key("a"), ByteRange::ALL).await.expect("opened");
    object.into_bytes().await.expect_err("broken");
    store
        .inner()
        .fail_next(Operation::List, Fault::Before(ErrorKind::Denied));
    let listed = store.list(String::new(), ListOptions::default());
    listed.try_collect::<Vec<_>>().await.expect_err("denied");
    store
        .inner()
        .fail_next(Operation::Put, Fault::Before(ErrorKind::DiskFull));
    let failed = store
        .put(key("b"), vec![1].into(), PutOptions::default())
        .await;
    failed.expect_err("full");

    let errors = |operation| {
        let errors = store.meter().counts(operation).errors;
        errors
            .into_iter()
            .map(|(label, count)| format!("{label} {count}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(errors(Operation::Head), ["NotFound 1"]);
    assert_eq!(errors(Operation::Get), ["Io 1", "NotFound 1"]);
    assert_eq!(errors(Operation::List), ["Denied 1"]);
    assert_eq!(errors(Operation::Put), ["DiskFull 1"]);
    assert!(errors(Operation::Delete).is_empty());
    assert_eq!(basic(&store.meter().counts(Operation::Get)), (2, 1, 30));
    assert_eq!(basic(&store.meter().counts(Operation::Put)), (2, 1, 100));
}

#[tokio::test(start_paused = true)]
async fn the_meter_measures_until_the_end_of_the_body() {
    let store = metered();
    put(&store, "a", 100).await;
    let object = store.get(key("a"), ByteRange::ALL).await.expect("opened");
    SystemClock::new().sleep(Duration::from_millis(700)).await;
    assert_eq!(store.meter().counts(Operation::Get).ended, 0);
    drop(object);
    let counts = store.meter().counts(Operation::Get);
    assert_eq!((counts.ended, counts.total.as_millis() / 10), (1, 70));
    // Cumulative: in every bucket from 1 s on.
    let expected = DURATION_BUCKETS.map(|bound| u64::from(bound >= 1.0));
    assert_eq!(counts.durations, expected);
}

#[tokio::test]
async fn faults_strike_before_after_and_in_the_middle() {
    let store = Faulty::new(MemoryStore::new());
    let there = |name: &str| store.inner().snapshot().contains_key(&key(name));
    let send = |name| store.put(key(name), vec![1; 100].into(), PutOptions::default());

    store.fail_next(Operation::Put, Fault::Before(ErrorKind::Denied));
    let error = send("before").await.expect_err("broken");
    assert_eq!(
        (error.kind(), error.key()),
        (ErrorKind::Denied, Some(&key("before")))
    );
    assert!(!there("before"));
    store.fail_next(Operation::Put, Fault::After(ErrorKind::Io));
    send("after").await.expect_err("broken");
    assert!(there("after"));
    store.fail_next(
        Operation::Put,
        Fault::Break {
            after: 50,
            kind: ErrorKind::Io,
        },
    );
    send("middle").await.expect_err("broken");
    assert!(!there("middle"));
    store.fail_next(Operation::Put, Fault::CutOff { after: 50 });
    assert_eq!(
        send("short").await.expect("as if nothing were wrong").size,
        50
    );
    store.fail_next(Operation::Put, Fault::Hang);
    assert!(send("hang").now_or_never().is_none());
    assert!(!there("hang"));
    send("fine").await.expect("no rule is left");
    assert_eq!(store.calls(Operation::Put), 6);

    store.fail_next(Operation::Delete, Fault::After(ErrorKind::Io));
    store.delete(vec![key("after")]).await.expect_err("broken");
    assert!(!there("after"));
}

#[tokio::test]
async fn faults_in_bodies_and_listings() {
    let store = Faulty::new(MemoryStore::new());
    for name in ["a", "b", "c"] {
        put(&store, name, 100).await;
    }
    let read = async |fault| {
        store.fail_next(Operation::Get, fault);
        let mut body = store
            .get(key("a"), ByteRange::ALL)
            .await
            .expect("opened")
            .body;
        let mut len = 0;
        loop {
            match body.next().await {
                Some(Ok(chunk)) => len += chunk.len(),
                Some(Err(error)) => return (len, Some(error.kind())),
                None => return (len, None),
            }
        }
    };
    let io = ErrorKind::Io;
    for after in [0, 1, 99, 100, 101] {
        let passed = after.min(100) as usize;
        assert_eq!(
            read(Fault::Break { after, kind: io }).await,
            (passed, Some(io))
        );
        assert_eq!(read(Fault::CutOff { after }).await, (passed, None));
    }
    let list = async |fault| {
        store.fail_next(Operation::List, fault);
        let listed = store.list(String::new(), ListOptions::default());
        let listed: Vec<_> = listed.collect().await;
        let failed = listed.iter().filter(|item| item.is_err()).count();
        (listed.len() - failed, failed)
    };
    for after in [0, 1, 3, 4] {
        let passed = after.min(3) as usize;
        assert_eq!(list(Fault::Break { after, kind: io }).await, (passed, 1));
        assert_eq!(list(Fault::CutOff { after }).await, (passed, 0));
    }
    assert_eq!(list(Fault::Before(io)).await, (0, 1));
    assert_eq!(list(Fault::After(io)).await, (3, 1));
    store.fail_all(Fault::Hang);
    assert!(
        store
            .list(String::new(), ListOptions::default())
            .next()
            .now_or_never()
            .is_none()
    );
    assert!(store.head(key("a")).now_or_never().is_none());
    store.heal();
    store.head(key("a")).await.expect("healed");
}

#[tokio::test]
async fn a_memory_store_forks_and_goes_back() {
    let store = MemoryStore::new();
    put(&store, "a", 1).await;
    let before = store.snapshot();
    let fork = store.fork();
    put(&store, "b", 2).await;
    put(&fork, "c", 3).await;
    let names = |store: &MemoryStore| {
        store
            .snapshot()
            .into_keys()
            .map(|key| key.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&store), ["a", "b"]);
    assert_eq!(names(&fork), ["a", "c"]);
    assert_eq!(names(&store.clone()), ["a", "b"]);

    let etag = store.head(key("b")).await.expect("there").etag;
    store.restore(before);
    assert_eq!(names(&store), ["a"]);
    put(&store, "b", 2).await;
    assert_ne!(store.head(key("b")).await.expect("there").etag, etag);
}

/// A store that is best read in one stream must not look otherwise from outside.
#[test]
fn wrappers_read_as_the_store_inside_does() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let clock: Arc<dyn litestream_storage::Clock> = Arc::new(SystemClock::new());
    let wrapped = |inner: Arc<dyn ObjectStore>| {
        let store = Paced::new(Faulty::new(inner), Pace::default(), &clock);
        let store = Metered::new(store, Arc::clone(&clock));
        Retry::new(Box::new(store), Retrying::new(RetryPolicy::default()))
    };
    let file = FileStore::new(dir.path().to_owned(), FileModes::default());
    assert!(!file.reads_parts());
    assert!(!wrapped(Arc::new(file)).reads_parts());
    assert!(wrapped(Arc::new(MemoryStore::new())).reads_parts());
}
