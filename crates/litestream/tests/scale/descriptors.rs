//! More databases than descriptors.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    ErrorKind, Layout, RestoreOptions, Source, State, Store, StoreSettings, Target, restore,
};
use litestream_storage::{Key, MemoryStore};
use testkit::process::wait_until;
use tokio_util::sync::CancellationToken;

use super::scene::{LONG, Scene, insert, replica, replicated_after, rows, settings};

/// What the process has open of the databases below `folder`: the -shm, once each.
fn open_databases(folder: &Path) -> usize {
    let mut open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|path| path.starts_with(folder) && path.to_string_lossy().ends_with("-shm"))
        .collect();
    open.sort();
    open.dedup();
    open.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_at_rest_make_room_and_wake_up() {
    const DATABASES: usize = 24;
    const ROOM: usize = 8;
    let scene = Scene::new(StoreSettings {
        descriptors: Some(5 * ROOM),
        ..StoreSettings::default()
    });
    let mut all = Vec::new();
    for number in 0..DATABASES {
        let name = format!("{number}.db");
        // The application comes and goes: it must not count as one that has the database open.
        drop(scene.create(&name));
        let remote = Arc::new(MemoryStore::new());
        all.push((scene.add(&name, Arc::clone(&remote) as _), remote));
    }
    for (database, _) in &all {
        replicated_after(database, None).await;
    }
    let folder = scene.directory.path();
    assert!(open_databases(folder) <= ROOM);
    let few = wait_until(LONG, "those at rest are closed", || {
        open_databases(folder) < ROOM - 1
    });
    few.unwrap();
    for (database, remote) in &all {
        let before = database.txid();
        let application = rusqlite::Connection::open(database.path()).unwrap();
        insert(&application);
        replicated_after(database, before).await;
        assert!(
            open_databases(folder) <= ROOM + 1,
            "the application has one open"
        );
        // The replica got an increment: what happened while it was closed is proved.
        let txid = database.txid().unwrap();
        let key = Key::new(format!("ltx/0/{txid}-{txid}.ltx"));
        let objects = remote.snapshot();
        let object = objects.get(&key).expect("in the replica");
        let decoder = ltx::Decoder::new(&object.content[..], key.to_string()).unwrap();
        assert_ne!(decoder.header().wal_offset, 0, "{txid}");
        assert_eq!(scene.restored_rows(remote).await, rows(&application));
    }
    scene.store.close(&CancellationToken::new()).await.unwrap();
}

/// While a database is closed because it rests, its meta directory is not locked: another process may take it
/// over. Whoever had it before finds that out when it wakes up, says so, and stays away; when the other
/// has ended it goes on from what is on the disk. Two locks of one process exclude each other as those
/// of two do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_taken_over_while_it_rests_has_one_history() {
    let scene = Scene::new(StoreSettings {
        // Three may be open.
        descriptors: Some(20),
        ..StoreSettings::default()
    });
    let mut all = Vec::new();
    for name in ["a.db", "b.db", "c.db", "d.db"] {
        let application = scene.create(name);
        let remote = Arc::new(MemoryStore::new());
        let database = scene.add_with(name, Arc::clone(&remote) as _, |settings| {
            settings.monitor_interval = Duration::from_millis(10);
        });
        all.push((database, application, remote));
    }
    // Nothing more is to be done for any of them: the copy of the base is the last.
    let copy = Key::new(format!("ltx/9/{0}-{0}.ltx", ltx::Txid::new(1).unwrap()));
    for (_, _, remote) in &all {
        let is_copied = || remote.snapshot().contains_key(&copy);
        wait_until(LONG, "every base is copied", is_copied).unwrap();
    }
    let is_free = |database: &litestream::Database| {
        let lock = litestream::default_meta_path(database.path()).join("lock");
        let file = std::fs::File::open(&lock).unwrap();
        file.try_lock().is_ok()
    };
    let closed = || all.iter().position(|(database, ..)| is_free(database));
    wait_until(LONG, "one database is closed", || closed().is_some()).unwrap();
    let (first, application, remote) = all.swap_remove(closed().unwrap());

    let other = Store::open(StoreSettings::default()).unwrap();
    let replica = replica(Arc::clone(&remote) as _);
    other.add(settings(first.path()), vec![replica]).unwrap();
    let second = other.find(first.path()).unwrap();
    replicated_after(&second, None).await;
    for _ in 0..3 {
        let before = second.txid();
        insert(&application);
        replicated_after(&second, before).await;
    }
    // The first one has seen the writes, too.
    let says = || {
        let status = first.status().replicas.remove(0);
        let cause = status.cause.unwrap_or_default();
        status.state == State::Failed && cause.contains("replicated by another process")
    };
    wait_until(LONG, "the first one says why it stays away", says).unwrap();
    assert_eq!(scene.restored_rows(&remote).await, 4);
    let error = first.sync_and_wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    other.close(&CancellationToken::new()).await.unwrap();

    insert(&application);
    let synced = first.sync_and_wait().await.unwrap();
    assert_eq!(scene.restored_rows(&remote).await, 5);
    assert_eq!(synced.replicated, synced.txid);
    // Each transaction is there once, and each adds to the one before.
    let source = Source::new(Arc::clone(&remote) as _, Layout::Plain);
    let mut rows_before = 0;
    for txid in 1..=synced.txid.unwrap().get() {
        let output = scene.path(&format!("restored-{txid}"));
        let mut options = RestoreOptions::new(&output);
        options.target = Target::Txid(ltx::Txid::new(txid).unwrap());
        restore(&source, options).await.unwrap();
        let rows = rows(&rusqlite::Connection::open(&output).unwrap());
        assert!(rows >= rows_before, "{txid}: {rows} after {rows_before}");
        rows_before = rows;
    }
    assert_eq!(rows_before, 5);
    scene.store.close(&CancellationToken::new()).await.unwrap();
}
