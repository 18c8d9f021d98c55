//! Every request of compaction, snapshot and retention fails once, before and after its effect and
//! in the middle. After each failure the engine starts anew, nothing that was restorable is lost,
//! and the next attempt succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use litestream_storage::{ErrorKind, Fault, Faulty, MemoryStore, ObjectStore};
use ltx::Txid;

use super::super::chores::Chore;
use super::super::validate::validate;
use super::bed::{Bed, HOUR, START, Set, level, txid};
use crate::restore::Target;
use crate::settings::RetentionSettings;

/// Chores in the order of a day, the time before each, and the oldest state that must still be
/// there afterwards.
fn day() -> [(Chore, i64, u64); 9] {
    [
        (Chore::Snapshot, 0, 1),
        (Chore::Compact(level(1)), 0, 1),
        (Chore::Snapshot, 0, 1),
        (Chore::Compact(level(2)), 0, 1),
        // Of what is compacted only the last state is left.
        (Chore::RetainRaw, HOUR, 6),
        (Chore::Compact(level(1)), 0, 6),
        (Chore::Compact(level(2)), 0, 6),
        (Chore::Snapshot, 0, 6),
        // The snapshots before the last, and what only they made useful, may be gone.
        (Chore::RetainSnapshots, 30 * HOUR, 18),
    ]
}

struct Broken {
    fired: AtomicBool,
    calls: AtomicU64,
}

/// A day on which the request of this number fails; answers whether there was one.
async fn day_with(fault: Fault, number: u64) -> bool {
    let objects = MemoryStore::new();
    let remote = Arc::new(Faulty::new(objects.clone()));
    let seen: Arc<dyn ObjectStore> = remote.clone();
    let mut bed = Bed::new(RetentionSettings::default(), objects, Set::at(START), seen);
    bed.commits(4).await;
    let broken = Arc::new(Broken {
        fired: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    });
    for (chore, later, first) in day() {
        bed.clock.pass(later);
        let count = Arc::clone(&broken);
        remote.when(move |_| {
            let now = count.calls.fetch_add(1, Ordering::Relaxed) + 1 == number;
            count.fired.fetch_or(now, Ordering::Relaxed);
            now.then_some(fault)
        });
        let result = bed.perform(chore).await;
        remote.heal();
        if let Err(error) = result {
            bed.reopen();
            bed.prove_from(txid(first)).await;
            bed.database.sync_and_wait().await.unwrap();
            let again = bed.perform(chore).await;
            again.unwrap_or_else(|again| panic!("{chore:?}: {again}, after {error}"));
        }
        let replica = Arc::clone(bed.replica());
        let found = validate(&bed.database.inner, &replica).await.unwrap();
        assert_eq!(found, [], "after {chore:?}");
        bed.commits(2).await;
    }
    assert_eq!(bed.level(9), [(1, 18)]);
    assert_eq!(
        bed.level(2),
        [(7, 14)],
        "older ones ended before the last snapshot that went"
    );
    bed.commits(1).await;
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    bed.prove_from(txid(18)).await;
    bed.close().await;
    broken.fired.load(Ordering::Relaxed)
}

async fn every_request_fails_with(fault: Fault) {
    for number in 1.. {
        if !day_with(fault, number).await {
            assert!(number > 10, "only {number} requests: they are not seen");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chore_whose_request_fails_before_its_effect_loses_nothing() {
    every_request_fails_with(Fault::Before(ErrorKind::Io)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chore_whose_answer_is_lost_loses_nothing() {
    every_request_fails_with(Fault::After(ErrorKind::Io)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chore_whose_request_breaks_off_loses_nothing() {
    let kind = ErrorKind::Io;
    every_request_fails_with(Fault::Break { after: 50, kind }).await;
}

/// A file that the index still knows, but the store has lost: the chore fails once, lists anew, and
/// goes on with what is there. The hole is seen, and a snapshot closes it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_vanished_does_not_stop_compaction_for_ever() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(6).await;
    let lost = txid(3);
    let mut objects = bed.objects.snapshot();
    let name = format!("ltx/0/{lost}-{lost}.ltx");
    objects.retain(|key, _| key.as_str() != name);
    bed.objects.restore(objects);
    std::fs::remove_file(bed.database.inner.local.file(lost)).unwrap();
    bed.perform(Chore::Compact(level(1))).await.unwrap_err();
    bed.content(Target::Latest).await.unwrap_err();

    bed.replica().ensure_index().await.unwrap();
    assert!(!super::super::is_whole(bed.replica()));
    bed.passed[1].hole = true;
    let (at, chore) = bed.due().unwrap();
    assert_eq!((at.as_millis(), chore), (0, Chore::Snapshot));
    bed.perform(chore).await.unwrap();
    assert!(super::super::is_whole(bed.replica()));
    let (at, _) = bed.due().unwrap();
    assert!(at.as_millis() > 0, "once is enough");

    bed.perform(Chore::Compact(level(1))).await.unwrap();
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    assert_eq!(bed.level(1), [(2, 2), (4, 6)]);
    let newest: Txid = *bed.states.keys().last().unwrap();
    bed.prove_from(newest).await;
    bed.close().await;
}
