//! One slow database or replica delays nobody else.

use std::sync::Arc;
use std::time::Duration;

use litestream::{ErrorKind, Store, StoreSettings};
use litestream_storage::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::hanging::{Hanging, How};
use super::scene::{LONG, Scene, insert, replicated_after, rows};

/// More than any bound on what may go on at the same time.
const HUNG: usize = 80;

/// Replicas that hang took the threads that all databases share, or their turns.
async fn hung_replicas_delay_nobody(how: How) {
    let scene = Scene::new(StoreSettings::default());
    let mut hung = Vec::new();
    for number in 0..HUNG {
        let name = format!("hung-{number}");
        scene.create(&name);
        let remote = Hanging::new(how);
        scene.add(&name, Arc::clone(&remote) as _);
        hung.push(remote);
    }
    for remote in &hung {
        let mut begun = remote.begun.subscribe();
        let begun = begun.wait_for(|begun| *begun > 0);
        let begun = tokio::time::timeout(LONG, begun).await;
        begun.expect("a put begins to hang").unwrap();
    }
    let application = scene.create("lively");
    let remote = Arc::new(MemoryStore::new());
    let lively = scene.add("lively", Arc::clone(&remote) as _);
    replicated_after(&lively, None).await;
    insert(&application);
    let synced = tokio::time::timeout(LONG, lively.sync_and_wait()).await;
    let synced = synced.expect("nobody is in the way").unwrap();
    assert_eq!(synced.replicated, synced.txid);
    // It ends well and at once, although all others run into their deadlines.
    insert(&application);
    let error = scene.store.close(&CancellationToken::new()).await;
    let error = error.expect_err("the others are not replicated");
    assert!(error.to_string().contains("hung-"), "{error}");
    assert_eq!(scene.restored_rows(&remote).await, rows(&application));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_never_answer_delay_nobody() {
    hung_replicas_delay_nobody(How::Waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_take_their_thread_delay_nobody() {
    hung_replicas_delay_nobody(How::Blocking).await;
}

/// The second signal must end a stop that waits for a store that hangs, and say that it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hurry_ends_a_stop_that_hangs() {
    let scene = Scene::new(StoreSettings::default());
    let application = scene.create("hung");
    let remote = Hanging::new(How::Waiting);
    scene.add_with("hung", Arc::clone(&remote) as _, |settings| {
        settings.shutdown_sync_timeout = Duration::from_hours(1);
    });
    scene.create("well");
    let well = scene.add("well", Arc::new(MemoryStore::new()));
    replicated_after(&well, None).await;
    insert(&application);
    let hurry = CancellationToken::new();
    let closing = tokio::spawn({
        let (store, hurry) = (Arc::clone(&scene.store), hurry.clone());
        async move { store.close(&hurry).await }
    });
    let mut begun = remote.begun.subscribe();
    begun.wait_for(|begun| *begun > 0).await.unwrap();
    hurry.cancel();
    let closed = tokio::time::timeout(LONG, closing).await;
    let error = closed
        .expect("it ends")
        .unwrap()
        .expect_err("data is missing");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("hung"), "{error}");
}

/// A database with more transactions than fit into one file got a thread for itself until the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_streams_delay_nobody() {
    const TRANSACTIONS: usize = 400;
    let scene = Scene::new(StoreSettings::default());
    let mut busy = Vec::new();
    // As many as there are threads for captures.
    for number in 0..4 {
        let name = format!("busy-{number}");
        let application = scene.create(&name);
        let database = scene.add_with(&name, Arc::new(MemoryStore::new()), |settings| {
            settings.max_sync_wal_bytes = 1;
            settings.shutdown_sync_timeout = LONG;
        });
        replicated_after(&database, None).await;
        busy.push((database, application));
    }
    let application = scene.create("lively");
    let lively = scene.add("lively", Arc::new(MemoryStore::new()));
    replicated_after(&lively, None).await;
    let before: Vec<_> = busy
        .iter()
        .map(|(database, _)| database.txid().unwrap().get())
        .collect();
    for (_, application) in &busy {
        for _ in 0..TRANSACTIONS {
            insert(application);
        }
    }
    for _ in 0..3 {
        insert(&application);
        lively.sync_and_wait().await.unwrap();
    }
    let done = |(database, before): (&litestream::Database, &u64)| {
        database.txid().unwrap().get() - before >= TRANSACTIONS as u64
    };
    let mut all = busy.iter().map(|(database, _)| database).zip(&before);
    assert!(!all.all(done), "its turn came when the others were through");
    close(&scene.store).await;
}

async fn close(store: &Store) {
    let closed = store.close(&CancellationToken::new()).await;
    closed.unwrap();
}
