//! Uploads and compactions that must not stand still: lost answers, and work that comes up while
//! something later is waited for.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    Database, DatabaseSettings, Layout, RemoteIndex, Replica, ReplicaSettings, RetentionSettings,
    Store, StoreSettings,
};
use litestream_storage::{ErrorKind, Fault, Faulty, MemoryStore, ObjectStore, Operation};
use ltx::{Level, Txid};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

fn start(
    path: &Path,
    store: Arc<dyn ObjectStore>,
    settings: StoreSettings,
) -> (Arc<Store>, Database) {
    let pace = ReplicaSettings {
        sync_interval: Duration::from_millis(1),
        ..ReplicaSettings::default()
    };
    let engine = Store::open(settings).unwrap();
    let replica = Replica::new(store, Layout::Plain, pace);
    engine
        .add(DatabaseSettings::new(path), vec![Arc::new(replica)])
        .unwrap();
    let database = engine.find(path).unwrap();
    (engine, database)
}

fn application(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x);")
        .unwrap();
    connection
}

/// The listing after the failure shows that the replica has everything; that has to be believed, or
/// whoever waits for the acknowledgement asks again without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_answer_was_lost_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let application = application(&path);
    let remote = Arc::new(Faulty::new(MemoryStore::new()));
    let settings = StoreSettings {
        background: false,
        ..StoreSettings::default()
    };
    let store: Arc<dyn ObjectStore> = Arc::clone(&remote) as _;
    let (engine, database) = start(&path, store, settings);
    database.sync_and_wait().await.unwrap();
    application
        .execute_batch("INSERT INTO t VALUES(1)")
        .unwrap();
    remote.fail_next(
        Operation::Put,
        Fault::After(ErrorKind::Unavailable { retry_after: None }),
    );
    database.sync_and_wait().await.unwrap_err();
    // On another task, so that the time limit also ends one that never lets go of its thread.
    let again = tokio::spawn(async move { database.sync_and_wait().await });
    let synced = tokio::time::timeout(LONG, again).await.unwrap().unwrap();
    let synced = synced.unwrap();
    assert_eq!(synced.txid, Txid::new(2));
    assert_eq!(synced.replicated, synced.txid);
    engine.close(&CancellationToken::new()).await.unwrap();
}

/// After quiet the next thing that is due may be a snapshot, a day later. What is written then must
/// be compacted in its own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_quiet_is_compacted_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let application = application(&path);
    let remote: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let settings = StoreSettings {
        retention: RetentionSettings {
            levels: vec![Duration::from_millis(50)],
            ..RetentionSettings::default()
        },
        ..StoreSettings::default()
    };
    let (engine, database) = start(&path, Arc::clone(&remote), settings);
    // The base: no level 1 for it.
    database.sync_and_wait().await.unwrap();
    for n in 0..4 {
        application
            .execute("INSERT INTO t VALUES(?1)", [n])
            .unwrap();
        let txid = database.sync_and_wait().await.unwrap().txid;
        let compacted = async {
            while level_one(&*remote).await < txid {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, compacted).await.unwrap();
    }
    engine.close(&CancellationToken::new()).await.unwrap();
}

async fn level_one(store: &dyn ObjectStore) -> Option<Txid> {
    let index = RemoteIndex::load(store, Layout::Plain, false)
        .await
        .unwrap();
    index.level_max(Level::new(1).unwrap())
}
