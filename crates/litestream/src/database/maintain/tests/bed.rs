//! A database, its application, a replica and the engine, with a clock that stands still.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use litestream_storage::{MemoryStore, ObjectStore};
use ltx::{Level, Timestamp, Txid};
use rusqlite::Connection;
use testkit::hash::{self, Access};

use super::super::chores::{Chore, Line, Passed};
use super::super::{next_due, perform};
use crate::clock::Clock;
use crate::database::Database;
use crate::error::Result;
use crate::restore::{RestoreOptions, Source, Target, restore};
use crate::settings::{DatabaseSettings, ReplicaSettings, RetentionSettings};
use crate::{Layout, Replica, Store, StoreSettings};

/// Time as the test says.
#[derive(Debug)]
pub(super) struct Set(AtomicI64);

impl Set {
    pub(super) fn at(time: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time)))
    }

    pub(super) fn pass(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn move_to(&self, time: Timestamp) {
        self.0.fetch_max(time.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(super) const SECOND: i64 = 1000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
/// A full hour, and a full day of the intervals that count from the year 1.
pub(super) const START: i64 = 20_000 * 24 * HOUR;

pub(super) struct Bed {
    pub(super) folder: tempfile::TempDir,
    pub(super) application: Connection,
    pub(super) objects: MemoryStore,
    pub(super) remote: Arc<dyn ObjectStore>,
    pub(super) clock: Arc<Set>,
    pub(super) settings: RetentionSettings,
    pub(super) store: Arc<Store>,
    pub(super) database: Database,
    /// What each line remembers.
    pub(super) passed: [Passed; 2],
    /// Content after each transaction that was acknowledged.
    pub(super) states: BTreeMap<Txid, String>,
}

impl Bed {
    /// `wrap` gives the store that the engine sees, in front of the objects.
    pub(super) fn new(
        settings: RetentionSettings,
        objects: MemoryStore,
        clock: Arc<Set>,
        remote: Arc<dyn ObjectStore>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let application = Connection::open(&path).unwrap();
        application
            .execute_batch(
                "PRAGMA journal_mode = wal; PRAGMA synchronous = off;
                 CREATE TABLE t(id INTEGER PRIMARY KEY, x)",
            )
            .unwrap();
        let (store, database) = open(&path, &settings, &clock, &remote);
        Self {
            folder,
            application,
            objects,
            remote,
            clock,
            settings,
            store,
            database,
            passed: <[Passed; 2]>::default(),
            states: BTreeMap::new(),
        }
    }

    pub(super) fn in_memory(settings: RetentionSettings) -> Self {
        let objects = MemoryStore::new();
        let remote = Arc::new(objects.clone());
        Self::new(settings, objects, Set::at(START), remote)
    }

    /// Ends as a killed process does, and starts again.
    pub(super) fn reopen(&mut self) {
        let path = self.database.path().to_owned();
        let (store, database) = open(&path, &self.settings, &self.clock, &self.remote);
        self.store = store;
        self.database = database;
        self.passed = <[Passed; 2]>::default();
    }

    pub(super) fn replica(&self) -> &Arc<Replica> {
        self.database.replicas().first().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Commits, each captured and uploaded, a minute apart.
    pub(super) async fn commits(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.pass(MINUTE);
            let sql = "INSERT INTO t(x) SELECT randomblob(3000)";
            self.application.execute(sql, []).unwrap();
            self.sync().await.unwrap();
        }
    }

    pub(super) async fn sync(&mut self) -> Result<Txid> {
        let txid = self.database.sync_and_wait().await?.txid.unwrap();
        self.states.insert(txid, self.live());
        Ok(txid)
    }

    pub(super) fn live(&self) -> String {
        hash::content_hash(self.database.path(), Access::Live).unwrap()
    }

    pub(super) async fn perform(&mut self, chore: Chore) -> Result<()> {
        let replica = Arc::clone(self.replica());
        let line = usize::from(chore == Chore::Snapshot);
        let passed = self.passed.get_mut(line).unwrap();
        perform(&self.database.inner, &replica, chore, passed).await
    }

    /// The chore of both lines that is due first.
    pub(super) fn due(&self) -> Option<(Timestamp, Chore)> {
        let lines = [Line::Ladder, Line::Snapshots]
            .into_iter()
            .zip(&self.passed);
        let due = lines.filter_map(|(line, passed)| {
            next_due(&self.database.inner, self.replica(), line, passed)
        });
        due.min_by_key(|(at, _)| *at)
    }

    /// Does everything that is due before `until`, each at its time, and moves the clock there.
    pub(super) async fn pass_to(&mut self, until: Timestamp) {
        while let Some((at, chore)) = self.due().filter(|(at, _)| *at < until) {
            self.clock.move_to(at);
            self.perform(chore).await.unwrap();
        }
        self.clock.move_to(until);
    }

    pub(super) async fn pass(&mut self, milliseconds: i64) {
        let until = Timestamp::from_millis(self.now().as_millis() + milliseconds);
        self.pass_to(until).await;
    }

    pub(super) async fn content(&self, target: Target) -> Result<String> {
        let store: Arc<dyn ObjectStore> = Arc::new(self.objects.clone());
        let output = tempfile::tempdir_in(self.folder.path()).unwrap();
        let output = output.path().join("out.db");
        let options = RestoreOptions {
            target,
            ..RestoreOptions::new(&output)
        };
        restore(&Source::new(store, Layout::Plain), options).await?;
        Ok(hash::content_hash(Path::new(&output), Access::Rest).unwrap())
    }

    /// Every state from `first` on, and the newest, is restored as it was.
    pub(super) async fn prove_from(&self, first: Txid) {
        for (txid, content) in self.states.range(first..) {
            let restored = self.content(Target::Txid(*txid)).await;
            let restored =
                restored.unwrap_or_else(|error| panic!("{txid}: {error}, from {:?}", self.names()));
            assert_eq!(restored, *content, "{txid}");
        }
        let latest = self.content(Target::Latest).await.unwrap();
        assert_eq!(Some(&latest), self.states.values().last());
    }

    pub(super) fn names(&self) -> Vec<String> {
        let objects = self.objects.snapshot().into_keys();
        objects.map(|key| key.as_str().to_owned()).collect()
    }

    /// First and last transactions of the files of a level.
    pub(super) fn level(&self, level: u8) -> Vec<(u64, u64)> {
        let prefix = format!("ltx/{level}/");
        let names = self.names().into_iter();
        let ranges = names.filter_map(|name| {
            let range = ltx::FileName::parse(name.strip_prefix(&prefix)?)?.range;
            Some((range.min.get(), range.max.get()))
        });
        ranges.collect()
    }

    pub(super) async fn close(self) {
        let hurry = tokio_util::sync::CancellationToken::new();
        self.store.close(&hurry).await.unwrap();
    }
}

fn open(
    path: &Path,
    settings: &RetentionSettings,
    clock: &Arc<Set>,
    remote: &Arc<dyn ObjectStore>,
) -> (Arc<Store>, Database) {
    let store = Store::open(StoreSettings {
        background: false,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        retention: settings.clone(),
        ..StoreSettings::default()
    });
    let store = store.unwrap();
    let replica = Replica::new(
        Arc::clone(remote),
        Layout::Plain,
        ReplicaSettings {
            sync_interval: Duration::ZERO,
            ..ReplicaSettings::default()
        },
    );
    store
        .add(DatabaseSettings::new(path), vec![Arc::new(replica)])
        .unwrap();
    let database = store.find(path).unwrap();
    (store, database)
}

pub(super) fn level(number: u8) -> Level {
    Level::new(number).unwrap()
}

pub(super) fn txid(number: u64) -> Txid {
    Txid::new(number).unwrap()
}
