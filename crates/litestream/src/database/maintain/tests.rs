//! Every request of compaction and retention fails once; nothing that was restorable is lost, and
//! the next attempt succeeds.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use litestream_storage::{ErrorKind, Fault, Faulty, MemoryStore, ObjectStore};
use rusqlite::Connection;
use testkit::hash::{self, Access};

use super::*;
use crate::clock::Clock;
use crate::database::Database;
use crate::restore::{RestoreOptions, Source, Target, restore};
use crate::settings::{DatabaseSettings, ReplicaSettings};
use crate::{Layout, Store, StoreSettings};

/// Time as the test says.
#[derive(Debug)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

const HOUR: i64 = 3_600_000;

struct Bed {
    folder: tempfile::TempDir,
    application: Connection,
    remote: Arc<Faulty<MemoryStore>>,
    clock: Arc<Set>,
    store: Arc<Store>,
    database: Database,
    states: Vec<(Txid, String)>,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let application = Connection::open(&path).unwrap();
        application
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x)")
            .unwrap();
        let clock = Arc::new(Set(AtomicI64::new(1_000_000 * HOUR)));
        let remote = Arc::new(Faulty::new(MemoryStore::new()));
        let store = Store::open(StoreSettings {
            background: false,
            clock: clock.clone(),
            ..StoreSettings::default()
        });
        let store = store.unwrap();
        let replica = Arc::new(Replica::new(
            remote.clone(),
            Layout::Plain,
            ReplicaSettings::default(),
        ));
        store
            .add(DatabaseSettings::new(&path), vec![replica])
            .unwrap();
        let database = store.find(&path).unwrap();
        let mut bed = Self {
            folder,
            application,
            remote,
            clock,
            store,
            database,
            states: Vec::new(),
        };
        bed.commits(6).await;
        bed
    }

    fn replica(&self) -> &Arc<Replica> {
        &self.database.inner.replicas[0]
    }

    /// Commits, each captured and uploaded, a minute apart.
    async fn commits(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.0.fetch_add(HOUR / 60, Ordering::Relaxed);
            let sql = "INSERT INTO t SELECT randomblob(3000)";
            self.application.execute(sql, []).unwrap();
            let txid = self.database.sync_and_wait().await.unwrap().txid.unwrap();
            let content = hash::content_hash(self.database.path(), Access::Live).unwrap();
            self.states.push((txid, content));
        }
    }

    async fn perform(&self, chore: Chore) -> Result<()> {
        perform(&self.database.inner, self.replica(), chore).await
    }

    async fn content(&self, target: Target) -> Result<String> {
        let store: Arc<dyn ObjectStore> = Arc::new(self.remote.inner().clone());
        let output = tempfile::tempdir_in(self.folder.path()).unwrap();
        let output = output.path().join("out.db");
        restore(
            &Source::new(store, Layout::Plain),
            RestoreOptions {
                target,
                ..RestoreOptions::new(&output)
            },
        )
        .await?;
        Ok(hash::content_hash(Path::new(&output), Access::Rest).unwrap())
    }

    /// Every state from `first` on is restored as it was.
    async fn prove_from(&self, first: usize) {
        for (txid, content) in self.states.get(first..).unwrap() {
            let restored = self.content(Target::Txid(*txid)).await;
            let restored = restored.unwrap_or_else(|error| {
                let keys: Vec<_> = self.remote.inner().snapshot().into_keys().collect();
                panic!("{txid}: {error}, from {keys:?}")
            });
            assert_eq!(restored, *content, "{txid}");
        }
        let latest = self.content(Target::Latest).await.unwrap();
        assert_eq!(
            Some(&latest),
            self.states.last().map(|(_, content)| content)
        );
    }

    fn count(&self, level: Level) -> usize {
        let prefix = format!("ltx/{}/", level.get());
        self.remote
            .inner()
            .snapshot()
            .keys()
            .filter(|key| key.as_str().starts_with(&prefix))
            .count()
    }
}

fn one() -> Level {
    Level::new(1).unwrap()
}

/// Chores in the order of a day, and the first state that must still be there afterwards.
const DAY: [(Chore, i64); 6] = [
    (Chore::Compact(Level::new(1).unwrap()), 0),
    (Chore::Snapshot, 0),
    (Chore::Compact(Level::new(2).unwrap()), 0),
    (Chore::RetainRaw, HOUR),
    (Chore::Snapshot, 0),
    (Chore::RetainSnapshots, 30 * HOUR),
];

async fn day(fault: Fault, number: u64) -> bool {
    let mut bed = Bed::new().await;
    let fired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&fired);
    let mut calls = 0;
    let mut first = 0;
    for (at, (chore, later)) in DAY.into_iter().enumerate() {
        bed.clock.0.fetch_add(later, Ordering::Relaxed);
        let seen = Arc::clone(&seen);
        let before = calls;
        let counter = Arc::new(AtomicI64::new(before));
        let count = Arc::clone(&counter);
        bed.remote.when(move |_| {
            let now = count.fetch_add(1, Ordering::Relaxed) + 1 == number.cast_signed();
            seen.fetch_or(now, Ordering::Relaxed);
            now.then_some(fault)
        });
        let result = bed.perform(chore).await;
        bed.remote.heal();
        calls = counter.load(Ordering::Relaxed);
        match chore {
            // Of what is compacted only the last state is left.
            Chore::RetainRaw => first = 5,
            // The first snapshot and what only it made useful may be gone.
            Chore::RetainSnapshots => first = bed.states.len() - 1,
            _ => {}
        }
        if let Err(error) = result {
            bed.prove_from(first).await;
            let again = bed.perform(chore).await;
            again.unwrap_or_else(|again| panic!("{chore:?}: {again}, after {error}"));
        }
        if at == 3 {
            assert_eq!(
                bed.count(Level::RAW),
                6,
                "level 0 is retired as far as it is compacted"
            );
        }
        bed.commits(2).await;
    }
    assert_eq!(bed.count(Level::SNAPSHOT), 1);
    bed.commits(1).await;
    bed.perform(Chore::Compact(one())).await.unwrap();
    bed.prove_from(first).await;
    bed.store
        .close(&tokio_util::sync::CancellationToken::new())
        .await
        .unwrap();
    fired.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chore_whose_request_fails_loses_nothing_and_succeeds_the_next_time() {
    for fault in [
        Fault::Before(ErrorKind::Io),
        Fault::After(ErrorKind::Io),
        Fault::Break {
            after: 50,
            kind: ErrorKind::Io,
        },
    ] {
        for number in 1.. {
            if !day(fault, number).await {
                assert!(number > 6, "only {number} requests: they are not seen");
                break;
            }
        }
    }
}

/// A file that the index still knows, but the store has lost: the chore fails once, lists anew, and
/// goes on with what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_vanished_does_not_stop_compaction_for_ever() {
    let bed = Bed::new().await;
    let first = bed.states.first().unwrap().0;
    let mut objects = bed.remote.inner().snapshot();
    let name = format!("ltx/0/{first}-{first}.ltx");
    objects.retain(|key, _| key.as_str() != name);
    bed.remote.inner().restore(objects);
    std::fs::remove_file(bed.database.inner.local.file(first)).unwrap();
    bed.perform(Chore::Compact(one())).await.unwrap_err();
    bed.perform(Chore::Snapshot).await.unwrap();
    bed.perform(Chore::Compact(one())).await.unwrap();
    let latest = bed.content(Target::Latest).await.unwrap();
    assert_eq!(Some(&latest), bed.states.last().map(|(_, content)| content));
}

#[test]
fn expired_files_are_deleted_many_at_a_time() {
    let settings = RetentionSettings::default();
    let file = |level, txid, created| RemoteFile {
        level: Level::new(level).unwrap(),
        range: ltx::TxidRange::single(Txid::new(txid).unwrap()),
        size: 1,
        created: Timestamp::from_millis(created),
    };
    let mut index = RemoteIndex::default();
    for n in 1..=20 {
        index.insert(file(0, n, n as i64 * 1000));
    }
    index.insert(file(1, 20, 20_000));
    let due = chores(&settings, &index, None);
    let (at, _) = due
        .into_iter()
        .find(|(_, chore)| *chore == Chore::RetainRaw)
        .unwrap();
    // 300 s after the first file, and then at the next of the looks, which are 15 s apart.
    assert_eq!(at.as_millis(), 315_000);
    let expired = compact::raw_to_delete(&index, settings.l0_retention, at);
    assert_eq!(expired.len(), 15);
}
