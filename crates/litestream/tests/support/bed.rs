//! A database with an application, a replica in memory and the engine, step by step.
//!
//! Nothing runs in the background: the engine captures and uploads when it is told to. Application
//! and engine use one `SQLite` library in one process, which keeps their locks apart as it does
//! between processes; no test opens the database file or the -shm other than through `SQLite`
//! while the engine has it.
#![allow(dead_code, reason = "every test file uses another part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use litestream::{
    Clock, Database, DatabaseSettings, Error, FileSteps, IntegrityCheck, Layout, Replica,
    ReplicaSettings, RestoreOptions, Source, Store, StoreSettings, Synced, Target, restore,
};
use litestream_storage::{Faulty, MemoryStore, ObjectStore};
use ltx::{Level, Timestamp, Txid};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;
use testkit::hash::{self, Access};
use tokio_util::sync::CancellationToken;

/// A store that a test can break and look into.
pub(crate) type Remote = Arc<Faulty<MemoryStore>>;

/// The machine's clock, moved.
#[derive(Debug, Default)]
pub(crate) struct Moved(AtomicI64);

impl Moved {
    pub(crate) fn by(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        let now = Timestamp::from_system_time(std::time::SystemTime::now());
        Timestamp::from_millis(now.as_millis() + self.0.load(Ordering::Relaxed))
    }
}

/// See the module.
pub(crate) struct Bed {
    pub(crate) directory: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) remote: Remote,
    pub(crate) clock: Arc<Moved>,
    pub(crate) settings: DatabaseSettings,
    pub(crate) steps: Arc<dyn FileSteps>,
    /// Content after each transaction that was acknowledged while nobody wrote.
    pub(crate) states: std::cell::RefCell<Vec<(Txid, String)>>,
    restores: AtomicU64,
}

impl Bed {
    /// A folder with the place for a database, and an empty replica.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        Self {
            settings: DatabaseSettings::new(&path),
            directory,
            path,
            remote: remote(),
            clock: Arc::default(),
            steps: Arc::new(litestream::AllSteps),
            states: std::cell::RefCell::default(),
            restores: AtomicU64::new(0),
        }
    }

    /// The same with a database and its application.
    pub(crate) fn new() -> (Self, Connection) {
        let bed = Self::empty();
        let application = bed.open();
        create(&application);
        (bed, application)
    }

    /// Another connection of the application; nobody checkpoints by accident.
    pub(crate) fn open(&self) -> Connection {
        application(&self.path)
    }

    pub(crate) fn wal(&self) -> PathBuf {
        hash::with_suffix(&self.path, "-wal")
    }

    pub(crate) fn meta(&self) -> PathBuf {
        litestream::default_meta_path(&self.path)
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.meta().join("position")
    }

    /// The page checksums.
    pub(crate) fn sums(&self) -> PathBuf {
        self.meta().join("pages")
    }

    pub(crate) fn local(&self, txid: Txid) -> PathBuf {
        self.meta().join(format!("ltx/0/{txid}-{txid}.ltx"))
    }

    /// The engine with one replica.
    pub(crate) fn start(&self) -> Engine {
        self.start_with(&[&self.remote])
    }

    pub(crate) fn start_with(&self, remotes: &[&Remote]) -> Engine {
        let stores = remotes
            .iter()
            .map(|remote| Arc::clone(remote) as Arc<dyn ObjectStore>);
        self.start_on(stores.collect())
    }

    pub(crate) fn start_on(&self, stores: Vec<Arc<dyn ObjectStore>>) -> Engine {
        let settings = StoreSettings {
            background: false,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            steps: Arc::clone(&self.steps),
            ..StoreSettings::default()
        };
        let store = Store::open(settings).unwrap();
        let replicas = stores.into_iter().map(|store| {
            let settings = ReplicaSettings::default();
            Arc::new(Replica::new(store, Layout::Plain, settings))
        });
        store
            .add(self.settings.clone(), replicas.collect())
            .unwrap();
        let database = store.find(&self.path).unwrap();
        Engine { store, database }
    }

    /// Captures and uploads, and remembers the content at that transaction.
    pub(crate) async fn sync(&self, engine: &Engine) -> Txid {
        let synced = engine.sync().await.unwrap();
        assert_eq!(synced.replicated, synced.txid);
        let txid = synced.txid.unwrap();
        self.note(txid);
        txid
    }

    pub(crate) fn note(&self, txid: Txid) {
        let content = hash::content_hash(&self.path, Access::Live).unwrap();
        let mut states = self.states.borrow_mut();
        match states.last() {
            Some((last, before)) if *last == txid => assert_eq!(*before, content, "{txid}"),
            last => {
                assert!(last.is_none_or(|(last, _)| *last < txid));
                states.push((txid, content));
            }
        }
    }

    /// Forgets the states up to now: their history is not ours any more.
    pub(crate) fn forget_states(&self) {
        self.states.borrow_mut().clear();
    }

    pub(crate) fn output(&self) -> PathBuf {
        let number = self.restores.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("restored-{number}.db"))
    }

    /// Restores from the replica alone.
    pub(crate) async fn restore(&self, target: Target) -> Result<PathBuf, Error> {
        self.restore_from(&self.remote, target).await
    }

    pub(crate) async fn restore_from(
        &self,
        remote: &Remote,
        target: Target,
    ) -> Result<PathBuf, Error> {
        let store = Arc::clone(remote) as Arc<dyn ObjectStore>;
        self.restore_store(store, target).await
    }

    pub(crate) async fn restore_store(
        &self,
        store: Arc<dyn ObjectStore>,
        target: Target,
    ) -> Result<PathBuf, Error> {
        let output = self.output();
        let mut options = RestoreOptions::new(&output);
        options.target = target;
        options.integrity_check = IntegrityCheck::Full;
        restore(&Source::new(store, Layout::Plain), options).await?;
        Ok(output)
    }

    /// Every state that was noted must be restored, and the newest must be what there is now.
    pub(crate) async fn prove(&self) {
        self.prove_from(&self.remote).await;
    }

    pub(crate) async fn prove_from(&self, remote: &Remote) {
        self.prove_states_from(remote).await;
        self.prove_latest(remote).await;
    }

    /// Every state that was noted must be restored.
    pub(crate) async fn prove_states(&self) {
        self.prove_states_from(&self.remote).await;
    }

    async fn prove_states_from(&self, remote: &Remote) {
        let states = self.states.borrow().clone();
        assert!(!states.is_empty());
        for (txid, content) in &states {
            let output = self.restore_from(remote, Target::Txid(*txid)).await;
            let output = output.unwrap_or_else(|error| panic!("restore {txid}: {error}"));
            let restored = hash::content_hash(&output, Access::Rest).unwrap();
            assert_eq!(restored, *content, "content at {txid}");
        }
    }

    /// The newest state of the replica must be what there is now.
    pub(crate) async fn prove_latest(&self, remote: &Remote) {
        let output = self.restore_from(remote, Target::Latest).await.unwrap();
        assert_eq!(
            hash::content_hash(&output, Access::Rest).unwrap(),
            hash::content_hash(&self.path, Access::Live).unwrap(),
            "newest content"
        );
    }

    /// The file of a transaction as it was captured, as the replica has it.
    pub(crate) fn raw(&self, txid: Txid) -> Raw {
        raw(&self.remote, txid)
    }
}

pub(crate) fn remote() -> Remote {
    Arc::new(Faulty::new(MemoryStore::new()))
}

/// What a level-0 file says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw {
    pub(crate) header: ltx::Header,
    pub(crate) pages: u32,
}

impl Raw {
    /// Whether the file holds the whole database.
    pub(crate) fn is_base(&self) -> bool {
        self.pages == self.header.commit && self.header.wal_offset == 32
    }

    /// Whether the file holds some pages only, found by comparing the whole database.
    pub(crate) fn is_difference(&self) -> bool {
        self.pages < self.header.commit && self.header.wal_offset == 32
    }
}

pub(crate) fn raw(remote: &Remote, txid: Txid) -> Raw {
    let key = format!("ltx/0/{txid}-{txid}.ltx");
    let objects = remote.inner().snapshot();
    let object = objects
        .get(&litestream_storage::Key::new(key.clone()))
        .expect("in the replica");
    let mut decoder = ltx::Decoder::new(&object.content[..], key).unwrap();
    let mut page = vec![0; decoder.header().page_size.bytes()];
    let mut pages = 0;
    while decoder.next_page(&mut page).unwrap().is_some() {
        pages += 1;
    }
    Raw {
        header: *decoder.header(),
        pages,
    }
}

/// Transactions of a level in a replica, as ranges.
pub(crate) fn level(remote: &Remote, level: Level) -> Vec<(u64, u64)> {
    let prefix = format!("ltx/{}/", level.get());
    let objects = remote.inner().snapshot();
    let names = objects
        .keys()
        .filter_map(|key| key.as_str().strip_prefix(&prefix));
    names
        .map(|name| {
            let range = ltx::FileName::parse(name).expect("a name of ours").range;
            (range.min.get(), range.max.get())
        })
        .collect()
}

/// The engine, running.
pub(crate) struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) database: Database,
}

impl Engine {
    pub(crate) async fn sync(&self) -> Result<Synced, Error> {
        self.database.sync_and_wait().await
    }

    /// Stops as the program does.
    pub(crate) async fn stop(self) {
        self.store.close(&CancellationToken::new()).await.unwrap();
    }

    /// Ends as a killed process does: nothing is captured, noted or uploaded any more.
    pub(crate) fn crash(self) {
        drop(self);
    }
}

/// A connection of the application; the first one makes the database.
pub(crate) fn application(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;",
        )
        .unwrap();
    connection
}

/// Two tables on many pages, so that a transaction changes some of them only.
pub(crate) fn create(application: &Connection) {
    application
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, value); CREATE TABLE u(id INTEGER PRIMARY KEY, value);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
             INSERT INTO u SELECT i, printf('%0200d', i) FROM n;",
        )
        .unwrap();
}

/// Commits rows, each in a transaction of its own that also changes an old page.
pub(crate) fn commit(application: &Connection, count: u32) {
    for _ in 0..count {
        application
            .execute_batch(
                "BEGIN; INSERT INTO t(value) SELECT printf('%0300d', count(*)) FROM t;
                 UPDATE u SET value = value || 'x' WHERE id = 1 + (SELECT count(*) FROM t) * 37 % 200;
                 COMMIT",
            )
            .unwrap();
    }
}

/// A checkpoint of the application; answers busy, frames, copied frames.
pub(crate) fn checkpoint(application: &Connection, mode: &str) -> (i64, i64, i64) {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    application.query_row(&sql, [], row).unwrap()
}

/// Ends a connection as a killed process does: its last close neither copies nor removes the WAL.
pub(crate) fn kill(application: Connection) {
    application
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    drop(application);
}

/// Name, length and bytes of every file below a folder that ends in `.tmp`.
pub(crate) fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let files = testkit::program::replica_files(folder);
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "tmp"))
        .collect()
}
