//! What chores leave alone, and what they go round.

use std::collections::BTreeSet;
use std::sync::Arc;

use litestream_storage::{
    ErrorKind as StorageErrorKind, Fault, Faulty, Key, MemoryStore, ObjectStore as _, Operation,
    PutOptions,
};

use super::super::chores::Chore;
use super::bed::{Bed, HOUR, MINUTE, START, Set, level, txid};
use crate::ErrorKind;
use crate::files::{AllSteps, Files, Ownership};
use crate::local::{LocalDir, default_meta_path};
use crate::pool::Pool;
use crate::restore::Target;
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

/// A start without the meta directory, while the replica is out of reach: what is captured then has numbers
/// that files in the replica have too. Merges and the copy of the base take each for what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_files_of_another_history_are_not_taken_for_the_replicas() {
    for captured in [1, 2, 3, 4, 9] {
        let objects = MemoryStore::new();
        let remote = Arc::new(Faulty::new(objects.clone()));
        let settings = RetentionSettings::default();
        let mut bed = Bed::new(settings, objects, Set::at(START), Arc::clone(&remote) as _);
        bed.commits(3).await;
        std::fs::remove_dir_all(default_meta_path(bed.database.path())).unwrap();
        remote.fail_all(Fault::Before(StorageErrorKind::Denied));
        bed.reopen();
        for _ in 0..captured {
            let sql = "INSERT INTO t(x) SELECT randomblob(3000)";
            bed.application.execute(sql, []).unwrap();
            bed.database.sync().await.unwrap();
        }
        remote.heal();
        bed.commits(2).await;
        bed.pass(2 * HOUR).await;
        // By now the newest state is in merged files and an image: the copy of the base, unless the replica was
        // taken over with a snapshot.
        let is_copied = bed.level(9).first() == Some(&(1, 1));
        assert!(is_copied || captured >= 3, "{captured}: {:?}", bed.names());
        if is_copied {
            let first = bed.content(Target::Txid(txid(1))).await.unwrap();
            assert_eq!(Some(&first), bed.states.values().next(), "{captured}");
        }
        let newest = *bed.states.keys().last().unwrap();
        bed.prove_from(newest).await;
        bed.close().await;
    }
}

/// A database with a base of at least `bytes`, and beside its replica, which was seen empty, an object in
/// place of the base of another level.
async fn beside(bytes: usize, name: &str, object: &[u8]) -> Bed {
    let bed = Bed::in_memory(RetentionSettings::default());
    let fill = format!("CREATE TABLE more AS SELECT randomblob({bytes}) AS content");
    bed.application.execute_batch(&fill).unwrap();
    bed.replica().ensure_index().await.unwrap();
    let (key, body) = (Key::new(name.to_owned()), object.to_vec().into());
    let put = bed.objects.put(key, body, PutOptions::default());
    put.await.unwrap();
    bed
}

/// Bytes of a base, and the other level.
const BASES: [(usize, u8); 2] = [(1, 9), (600_000, 0)];

fn base_of(level: u8) -> String {
    format!("ltx/{level}/{0}-{0}.ltx", txid(1))
}

/// Another writer that began on the same empty replica at the same time, with a base that goes to another
/// level: nothing of ours is acknowledged, or left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_base_of_another_writer_on_another_level_is_noticed() {
    for (bytes, theirs) in BASES {
        let mut bed = beside(bytes, &base_of(theirs), &[1; 1000]).await;
        let error = bed.sync().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(bed.names(), [base_of(theirs)]);
        assert_eq!(bed.replica().acknowledged(), None);
    }
}

/// What is too short for a base is one under way at most: its writer will look, too, and find ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_short_for_a_base_is_left_to_its_writer() {
    for (bytes, theirs) in BASES {
        let mut bed = beside(bytes, &base_of(theirs), &[]).await;
        bed.sync().await.unwrap();
        assert_eq!(bed.replica().acknowledged(), Some(txid(1)));
    }
}
