//! More databases than descriptors.

use std::path::Path;
use std::sync::Arc;

use litestream::StoreSettings;
use litestream_storage::{Key, MemoryStore};
use testkit::process::wait_until;
use tokio_util::sync::CancellationToken;

use super::scene::{LONG, Scene, insert, replicated_after, rows};

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
