//! How compactions and snapshots read: what breaks off goes on, times are true, the WAL is bounded.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use litestream_storage::{
    Clock, ErrorKind, Fault, Faulty, Jitter, MemoryStore, Metered, ObjectStore, Operation, Retry,
    RetryPolicy, Retrying, SystemClock,
};
use ltx::Timestamp;
use testkit::hash::{self, Access};

use super::super::chores::Chore;
use super::bed::{Bed, HOUR, START, Set, level, txid};
use crate::Layout;
use crate::restore::{RestoreOptions, Source, Target, restore_plan};
use crate::settings::RetentionSettings;

/// Waits for nothing, and for nothing that takes too long.
#[derive(Debug)]
struct Impatient;

impl Clock for Impatient {
    fn now_ms(&self) -> i64 {
        START
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_mins(1) {
            async {}.boxed()
        } else {
            std::future::pending().boxed()
        }
    }
}

#[derive(Debug)]
struct Even;

impl Jitter for Even {
    fn fraction(&self) -> f64 {
        0.5
    }
}

/// Compaction of remote files over connections that drop every few hundred bytes: each byte is
/// delivered once, and the result is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_breaks_off_goes_on_where_it_was() {
    let objects = MemoryStore::new();
    let remote = Arc::new(Faulty::new(Metered::new(
        objects.clone(),
        Arc::new(SystemClock::new()),
    )));
    let retry = Retry::new(
        Arc::clone(&remote),
        Retrying::with(RetryPolicy::default(), Arc::new(Impatient), Arc::new(Even)),
    );
    let mut bed = Bed::new(
        RetentionSettings::default(),
        objects,
        Set::at(START),
        Arc::new(retry),
    );
    bed.commits(4).await;
    bed.perform(Chore::Snapshot).await.unwrap();
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    bed.commits(3).await;
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    remote.when(|call| {
        // More than a tenth of what gives a read all its tries back.
        let after = 600;
        let kind = ErrorKind::Io;
        (call.operation == Operation::Get).then_some(Fault::Break { after, kind })
    });
    let sizes = bed.objects.snapshot();
    let sizes = sizes
        .iter()
        .filter(|(key, _)| key.as_str().starts_with("ltx/1/"));
    let bytes: usize = sizes.map(|(_, object)| object.content.len()).sum();
    bed.perform(Chore::Compact(level(2))).await.unwrap();
    remote.heal();
    assert_eq!(bed.level(2), [(2, 7)]);
    let gets = remote.calls(Operation::Get);
    assert!(gets as usize >= bytes / 600, "{gets} gets of {bytes} bytes");
    // Only the new level leads to the newest state now.
    let mut left = bed.objects.snapshot();
    left.retain(|key, _| {
        !key.as_str().starts_with("ltx/0/") && !key.as_str().starts_with("ltx/1/")
    });
    bed.objects.restore(left);
    assert_eq!(
        bed.content(Target::Txid(txid(7))).await.unwrap(),
        bed.live()
    );
}

/// On a store whose listings do not tell the time of a transaction, only that of the upload, a
/// merged file still carries the time of its newest transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_files_carry_the_time_of_their_newest_transaction() {
    let objects = MemoryStore::new().with_costly_timestamps();
    let remote = Arc::new(objects.clone());
    let mut bed = Bed::new(
        RetentionSettings::default(),
        objects,
        Set::at(START),
        remote,
    );
    bed.commits(3).await;
    bed.perform(Chore::Snapshot).await.unwrap();
    let time = bed.now();
    let content = bed.live();
    // The listing after a restart knows upload times only, which are those of this machine.
    bed.reopen();
    bed.clock.pass(HOUR);
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    bed.perform(Chore::Compact(level(2))).await.unwrap();
    let stored = bed.objects.snapshot();
    for number in [1, 2] {
        let prefix = format!("ltx/{number}/");
        let (key, object) = stored
            .iter()
            .find(|(key, _)| key.as_str().starts_with(&prefix))
            .unwrap();
        let decoder = ltx::Decoder::new(&object.content[..], key.as_str()).unwrap();
        assert_eq!(decoder.header().timestamp, time);
        assert_eq!(object.timestamp, Some(time.as_millis()));
    }
    let mut left = stored;
    left.retain(|key, _| !key.as_str().starts_with("ltx/0/"));
    bed.objects.restore(left);
    let before = |time: i64| Target::Before(Timestamp::from_millis(time));
    let at = time.as_millis();
    assert_eq!(bed.content(before(at + 1)).await.unwrap(), content);
    assert_eq!(bed.content(before(at)).await.unwrap(), bed.states[&txid(1)]);
}

/// While a snapshot is uploaded slowly, the application fills the WAL: past the bound the reader is
/// given up, and the snapshot is made of what the replica holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_does_not_let_the_wal_grow_without_bound() {
    let objects = MemoryStore::new();
    let remote = Arc::new(Faulty::new(objects.clone()));
    let seen: Arc<dyn ObjectStore> = remote.clone();
    let mut bed = Bed::new(RetentionSettings::default(), objects, Set::at(START), seen);
    let large = "INSERT INTO t(x) SELECT randomblob(12000000)";
    bed.application.execute(large, []).unwrap();
    bed.sync().await.unwrap();
    bed.commits(2).await;
    // The upload waits for the application, which writes more than the bound meanwhile.
    let path = bed.database.path().to_owned();
    let grown = std::sync::atomic::AtomicBool::new(false);
    remote.when(move |call| {
        let is_snapshot = call
            .keys
            .iter()
            .any(|key| key.as_str().starts_with("ltx/9/"));
        if is_snapshot && !grown.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let application = rusqlite::Connection::open(&path).unwrap();
            let many =
                "PRAGMA wal_autocheckpoint = 0; UPDATE t SET x = randomblob(13000000) WHERE id = 1";
            application.execute_batch(many).unwrap();
        }
        None
    });
    let most_wal = Some(2_000_000);
    super::super::super::snapshot::write_within(&bed.database.inner, bed.replica(), most_wal)
        .await
        .unwrap();
    remote.heal();
    let gets = remote.calls(Operation::Get);
    assert!(gets > 0, "it was merged from the replica");
    assert_eq!(bed.level(9), [(1, 1), (1, 3)]);
    bed.prove_from(txid(1)).await;
    bed.sync().await.unwrap();
    bed.prove_from(txid(1)).await;
    bed.close().await;
}

/// A plan is made, and before its files are fetched they are compacted and deleted: the same state
/// is restored from what took their place, and when that state is gone, the newest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_whose_files_vanish_plans_anew() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(5).await;
    bed.perform(Chore::Snapshot).await.unwrap();
    let source = Source::new(Arc::new(bed.objects.clone()), Layout::Plain);
    let at_end = source.plan(Target::Latest).await.unwrap();
    let inside = source.plan(Target::Txid(txid(3))).await.unwrap();
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    bed.commits(1).await;
    bed.clock.pass(HOUR);
    bed.perform(Chore::RetainRaw).await.unwrap();
    assert_eq!((bed.level(0), bed.level(1)), (vec![(6, 6)], vec![(2, 5)]));
    let output = bed.folder.path().join("out.db");
    let again = restore_plan(&source, &at_end, RestoreOptions::new(&output)).await;
    assert_eq!(again.unwrap().txid, txid(5));
    let content = hash::content_hash(&output, Access::Rest).unwrap();
    assert_eq!(Some(&content), bed.states.get(&txid(5)));

    let output = bed.folder.path().join("other.db");
    let again = restore_plan(&source, &inside, RestoreOptions::new(&output)).await;
    assert_eq!(again.unwrap().txid, txid(6), "the newest was asked for");
    let only = RestoreOptions {
        target: Target::Txid(txid(3)),
        ..RestoreOptions::new(bed.folder.path().join("third.db"))
    };
    let error = restore_plan(&source, &inside, only).await.unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::NotFound);
    bed.close().await;
}
