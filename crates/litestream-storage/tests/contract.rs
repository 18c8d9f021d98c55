//! Every backend keeps the contract, bare and inside every wrapper.

use std::sync::Arc;

use litestream_storage::contract::{Abilities, check};
use litestream_storage::{
    Call, ErrorKind, Fault, Faulty, FileModes, FileStore, MemoryStore, Metered, ObjectStore,
    Operation, Retry, RetryPolicy, Retrying, SystemClock,
};

/// Over one page of the file backend's listing, with few enough syncs to be quick.
const FILE: Abilities = Abilities {
    many: 530,
    ..Abilities::full()
};

fn file() -> (tempfile::TempDir, FileStore) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().join("replica/root");
    (dir, FileStore::new(root, FileModes::default()))
}

fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

fn retry<S: ObjectStore>(inner: S) -> Retry<S> {
    Retry::new(inner, Retrying::new(RetryPolicy::default()))
}

#[tokio::test]
async fn memory() {
    check(Arc::new(MemoryStore::new()), Abilities::full()).await;
}

#[tokio::test]
async fn memory_with_costly_timestamps() {
    let store = MemoryStore::new().with_costly_timestamps();
    check(Arc::new(store), Abilities::full()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files() {
    let (_dir, store) = file();
    check(Arc::new(store), FILE).await;
}

#[tokio::test(start_paused = true)]
async fn memory_in_each_wrapper() {
    let memory = MemoryStore::new;
    check(Arc::new(Metered::new(memory(), clock())), Abilities::full()).await;
    check(Arc::new(Faulty::new(memory())), Abilities::full()).await;
    check(Arc::new(retry(memory())), Abilities::full()).await;
    check(Arc::new(Box::new(Arc::new(memory()))), Abilities::full()).await;
}

#[tokio::test(start_paused = true)]
async fn files_in_all_wrappers() {
    let (_dir, store) = file();
    let store = retry(Metered::new(Faulty::new(store), clock()));
    check(Arc::new(store), FILE).await;
}

/// Every second call fails, in all the ways that a retry can make good.
fn storm(call: &Call) -> Option<Fault> {
    let kind = match call.number % 3 {
        0 => ErrorKind::Io,
        1 => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable { retry_after: None },
    };
    // What is left of a stream cannot be sent again, so those may only fail before.
    let stream = call
        .keys
        .iter()
        .any(|key| key.as_str().contains("streams/"));
    // Whether a lost delete was the one that made the object go cannot be known.
    if call
        .keys
        .iter()
        .any(|key| key.as_str().contains("/delete_if/"))
    {
        return None;
    }
    match (call.number % 10, call.operation) {
        (0 | 4, _) => Some(Fault::Before(kind)),
        (2, Operation::Put) if stream => Some(Fault::Before(kind)),
        (2, _) => Some(Fault::After(kind)),
        (6, Operation::Get) => Some(Fault::CutOff { after: 700_000 }),
        (6, Operation::Put) if stream => None,
        (6 | 8, Operation::Get | Operation::Put) if !stream => Some(Fault::Break {
            after: 100_000,
            kind,
        }),
        (6 | 8, Operation::List) => Some(Fault::Break { after: 3, kind }),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn memory_in_a_storm() {
    let faulty = Faulty::new(MemoryStore::new());
    faulty.when(storm);
    let store = retry(faulty);
    check(
        Arc::new(store.clone()),
        Abilities {
            many: 1100,
            ..Abilities::full()
        },
    )
    .await;
    assert!(store.retries() > 100, "{} retries", store.retries());
}

#[tokio::test(start_paused = true)]
async fn files_in_a_storm() {
    let (_dir, inner) = file();
    let faulty = Faulty::new(inner);
    faulty.when(storm);
    let store = retry(faulty);
    check(Arc::new(store.clone()), FILE).await;
    assert!(store.retries() > 100, "{} retries", store.retries());
}
