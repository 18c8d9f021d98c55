//! Databases in one folder, each with an application and a replica of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    Database, DatabaseSettings, Layout, Replica, ReplicaSettings, RestoreOptions, Source, Store,
    StoreSettings, restore,
};
use litestream_storage::{MemoryStore, ObjectStore};
use rusqlite::Connection;
use tempfile::TempDir;

/// No wait of these tests takes longer, unless something is wrong.
pub(super) const LONG: Duration = Duration::from_mins(1);

/// See the module.
pub(super) struct Scene {
    pub(super) directory: TempDir,
    pub(super) store: Arc<Store>,
}

impl Scene {
    pub(super) fn new(settings: StoreSettings) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            store: Store::open(settings).unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Creates a database with one row, and an application that has it open.
    pub(super) fn create(&self, name: &str) -> Connection {
        let application = Connection::open(self.path(name)).unwrap();
        application
            .query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))
            .unwrap();
        application
            .execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t (a)")
            .unwrap();
        insert(&application);
        application
    }

    /// Replicates a database into `remote`, with deadlines that fit a test.
    pub(super) fn add(&self, name: &str, remote: Arc<dyn ObjectStore>) -> Database {
        self.add_with(name, remote, |_| {})
    }

    pub(super) fn add_with(
        &self,
        name: &str,
        remote: Arc<dyn ObjectStore>,
        change: impl FnOnce(&mut DatabaseSettings),
    ) -> Database {
        let mut settings = settings(&self.path(name));
        change(&mut settings);
        assert!(self.store.add(settings, vec![replica(remote)]).unwrap());
        self.store.find(&self.path(name)).unwrap()
    }

    /// Rows of what the replica holds.
    pub(super) async fn restored_rows(&self, remote: &Arc<MemoryStore>) -> i64 {
        let output = tempfile::tempdir_in(self.directory.path()).unwrap();
        let output = output.path().join("restored");
        let source = Source::new(Arc::clone(remote) as Arc<dyn ObjectStore>, Layout::Plain);
        restore(&source, RestoreOptions::new(&output))
            .await
            .unwrap();
        rows(&Connection::open(&output).unwrap())
    }
}

pub(super) fn settings(path: &Path) -> DatabaseSettings {
    let mut settings = DatabaseSettings::new(path);
    settings.shutdown_sync_timeout = Duration::from_millis(200);
    settings.shutdown_sync_interval = Duration::from_millis(20);
    settings
}

pub(super) fn replica(remote: Arc<dyn ObjectStore>) -> Arc<Replica> {
    let settings = ReplicaSettings::default();
    Arc::new(Replica::new(remote, Layout::Plain, settings))
}

pub(super) fn insert(application: &Connection) {
    application.execute("INSERT INTO t VALUES (1)", []).unwrap();
}

pub(super) fn rows(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

/// Waits for a transaction of the database behind `after` to be in its replica.
pub(super) async fn replicated_after(database: &Database, after: Option<ltx::Txid>) {
    let replica = Arc::clone(database.replicas().first().unwrap());
    let mut acknowledged = replica.subscribe();
    let waiting = acknowledged.wait_for(|txid| *txid > after);
    let waited = tokio::time::timeout(LONG, waiting).await;
    waited.expect("the transaction is replicated").unwrap();
}
