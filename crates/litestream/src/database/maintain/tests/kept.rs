//! What chores leave alone, and what they go round.

use std::collections::BTreeSet;
use std::sync::Arc;

use litestream_storage::{Faulty, MemoryStore, Operation};

use super::super::chores::Chore;
use super::bed::{Bed, HOUR, MINUTE, START, Set, level, txid};
use crate::ErrorKind;
use crate::files::{AllSteps, Files, Ownership};
use crate::local::{LocalDir, default_meta_path};
use crate::pool::Pool;
use crate::settings::RetentionSettings;

/// Where life-cycle rules of the provider delete, the engine must not; its own disk it clears all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_deletion_switched_off_nothing_is_deleted_but_local_files() {
    for delete_remote in [false, true] {
        let objects = MemoryStore::new();
        let remote = Arc::new(Faulty::new(objects.clone()));
        let settings = RetentionSettings {
            delete_remote,
            snapshot_interval: std::time::Duration::from_hours(1),
            snapshot_retention: std::time::Duration::from_hours(2),
            ..RetentionSettings::default()
        };
        let mut bed = Bed::new(settings, objects, Set::at(START), Arc::clone(&remote) as _);
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            bed.commits(5).await;
            bed.pass(HOUR).await;
            bed.database.enforce_retention().await.unwrap();
            seen.extend(bed.names());
        }
        let there: BTreeSet<_> = bed.names().into_iter().collect();
        if delete_remote {
            assert!(there.len() < seen.len(), "there was something to delete");
        } else {
            assert_eq!(there, seen);
            assert_eq!(remote.calls(Operation::Delete), 0);
            bed.prove_from(txid(1)).await;
        }
        let local = std::fs::read_dir(bed.database.level_zero_path()).unwrap();
        assert!(local.count() < 10, "of thirty");
        bed.close().await;
    }
}

/// A copy in the meta directory that is damaged after its upload: the replica's is as good as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_local_copy_does_not_stop_compaction() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(5).await;
    let name = format!("{0}-{0}.ltx", txid(3));
    let path = bed.database.level_zero_path().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    assert_eq!(bed.level(1), [(2, 5)]);
    bed.pass(MINUTE).await;
    bed.prove_from(txid(1)).await;
    bed.close().await;
}

/// Another process has taken the database over while it was closed: nothing is done to the replica, and
/// what was known of it is listed anew once the database is ours again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chores_wait_for_the_process_that_has_the_database() {
    let mut bed = Bed::in_memory(RetentionSettings::default());
    bed.commits(4).await;
    let inner = Arc::clone(&bed.database.inner);
    *inner.capture() = None;
    let files = Files::new(Arc::new(AllSteps));
    let meta = default_meta_path(bed.database.path());
    let other = LocalDir::new(meta, files, Pool::new(1));
    let lock = other.lock(&Ownership::default()).unwrap();
    let before = bed.names();
    for chore in [Chore::Compact(level(1)), Chore::Mark, Chore::Snapshot] {
        let error = bed.perform(chore).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{chore:?}: {error}");
    }
    let error = bed.sync().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(bed.names(), before);
    drop(lock);
    bed.perform(Chore::Compact(level(1))).await.unwrap();
    assert_eq!(bed.level(1), [(2, 4)]);
    bed.commits(1).await;
    bed.prove_from(txid(1)).await;
    bed.close().await;
}
