//! The main job end to end, through the public API: replicate a live database, restore it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    DatabaseSettings, Layout, Replica, ReplicaSettings, RestoreOptions, Source, Store,
    StoreSettings, Target, restore,
};
use litestream_storage::{FileModes, FileStore, ObjectStore};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

fn file_store(path: &Path) -> Arc<dyn ObjectStore> {
    Arc::new(FileStore::new(path.to_owned(), FileModes::default()))
}

fn application(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = wal;")
        .unwrap();
    connection
}

fn settings(path: &Path) -> DatabaseSettings {
    DatabaseSettings {
        monitor_interval: Duration::from_millis(20),
        ..DatabaseSettings::new(path)
    }
}

fn replica(path: &Path) -> Arc<Replica> {
    let settings = ReplicaSettings {
        sync_interval: Duration::from_millis(1),
        ..Default::default()
    };
    Arc::new(Replica::new(file_store(path), Layout::Plain, settings))
}

async fn restored(replica: &Path, output: &Path, target: Target) -> Connection {
    let source = Source::new(file_store(replica), Layout::Plain);
    let mut options = RestoreOptions::new(output);
    options.target = target;
    options.integrity_check = litestream::IntegrityCheck::Full;
    restore(&source, options).await.unwrap();
    Connection::open(output).unwrap()
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_synced_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a?%41#.db");
    let copy = directory.path().join("replica");
    let application = application(&path);
    application.execute_batch("CREATE TABLE t(x)").unwrap();
    let store = Store::open(StoreSettings::default()).unwrap();
    store.add(settings(&path), vec![replica(&copy)]).unwrap();
    let database = store.find(&path).unwrap();
    let mut states = Vec::new();
    for n in 0..200_i64 {
        application
            .execute("INSERT INTO t VALUES(?1)", [n])
            .unwrap();
        if n % 20 == 0 {
            let synced = database.sync_and_wait().await.unwrap();
            assert_eq!(synced.txid, synced.replicated);
            states.push((synced.txid.unwrap(), n + 1));
        }
    }
    store.close(&CancellationToken::new()).await.unwrap();
    let latest = restored(&copy, &directory.path().join("latest.db"), Target::Latest).await;
    assert_eq!(count(&latest), 200);
    for (txid, rows) in states {
        let output = directory.path().join(format!("{txid}.db"));
        let state = restored(&copy, &output, Target::Txid(txid)).await;
        assert_eq!(count(&state), rows);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_commit_gets_to_the_replica_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let copy = directory.path().join("replica");
    let application = application(&path);
    application.execute_batch("CREATE TABLE t(x)").unwrap();
    let store = Store::open(StoreSettings::default()).unwrap();
    store.add(settings(&path), vec![replica(&copy)]).unwrap();
    let database = store.find(&path).unwrap();
    let mut acknowledged = database.replicas()[0].subscribe();
    for n in 0..20_i64 {
        let before = *acknowledged.borrow_and_update();
        application
            .execute("INSERT INTO t VALUES(?1)", [n])
            .unwrap();
        let moved = acknowledged.wait_for(|txid| *txid > before);
        tokio::time::timeout(Duration::from_secs(20), moved)
            .await
            .unwrap()
            .unwrap();
    }
    store.close(&CancellationToken::new()).await.unwrap();
    let latest = restored(&copy, &directory.path().join("latest.db"), Target::Latest).await;
    assert_eq!(count(&latest), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_without_a_new_base() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let copy = directory.path().join("replica");
    let application = application(&path);
    application.execute_batch("CREATE TABLE t(x)").unwrap();
    for round in 0..5_u64 {
        let store = Store::open(StoreSettings {
            background: false,
            ..Default::default()
        })
        .unwrap();
        store.add(settings(&path), vec![replica(&copy)]).unwrap();
        let database = store.find(&path).unwrap();
        application
            .execute("INSERT INTO t VALUES(?1)", [round as i64])
            .unwrap();
        let txid = database.sync_and_wait().await.unwrap().txid.unwrap();
        assert_eq!(txid.get(), round + 1);
        let name = format!("{txid}-{txid}.ltx");
        let bytes = std::fs::read(database.level_zero_path().join(name)).unwrap();
        let header = ltx::Header::decode(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!(
            header.wal_offset > 32,
            round > 0,
            "a base image only at the first start"
        );
        store.close(&CancellationToken::new()).await.unwrap();
        drop(store);
        application
            .execute("INSERT INTO t VALUES(?1)", [round as i64])
            .unwrap();
    }
    let latest = restored(&copy, &directory.path().join("latest.db"), Target::Latest).await;
    assert_eq!(count(&latest), 9);
}
