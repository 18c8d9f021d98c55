//! Where continuity is lost, only the pages that differ are captured: what has to be at hand for that,
//! and what must not be believed.

use litestream::Target;
use litestream_storage::{ErrorKind, Fault, Key, Operation};
use ltx::{Level, Txid};
use testkit::hash;

use crate::bed::{Bed, Engine, checkpoint, commit, kill, level};

/// A database of some hundred pages, captured and stopped.
async fn captured() -> (Bed, rusqlite::Connection, Txid) {
    let (bed, application) = Bed::new();
    commit(&application, 100);
    let engine = bed.start();
    bed.sync(&engine).await;
    commit(&application, 2);
    let last = bed.sync(&engine).await;
    engine.stop().await;
    (bed, application, last)
}

/// What happens while nobody looks: the WAL is cut, so that nothing of it proves anything.
fn lose_continuity(application: &rusqlite::Connection, commits: u32) {
    commit(application, commits);
    assert_eq!(checkpoint(application, "TRUNCATE"), (0, 0, 0));
}

async fn goes_on(bed: &Bed, application: &rusqlite::Connection, engine: &Engine) {
    for _ in 0..2 {
        commit(application, 1);
        bed.sync(engine).await;
    }
    bed.prove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_pages_that_differ_are_captured() {
    let (bed, application, last) = captured().await;
    lose_continuity(&application, 1);
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, last.next());
    let raw = bed.raw(last.next());
    assert!(raw.pages <= 5, "{raw:?}");
    assert!(raw.header.commit > 20, "{raw:?}");
    goes_on(&bed, &application, &engine).await;
}

/// Nothing was committed: there is nothing to capture, and no file says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_captured_when_nothing_differs() {
    let (bed, application, last) = captured().await;
    lose_continuity(&application, 0);
    for _ in 0..3 {
        let engine = bed.start();
        assert_eq!(bed.sync(&engine).await, last);
        engine.stop().await;
    }
    let engine = bed.start();
    goes_on(&bed, &application, &engine).await;
    assert!(!bed.raw(last.next()).is_base());
}

/// The database shrinks and grows while nobody looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_another_size_is_compared_too() {
    for change in [
        "DELETE FROM u WHERE id > 20; VACUUM",
        "INSERT INTO u SELECT id + 1000, value FROM u",
        "DELETE FROM u; VACUUM; INSERT INTO u SELECT id, 'new' FROM t",
    ] {
        let (bed, application, last) = captured().await;
        application.execute_batch(change).unwrap();
        lose_continuity(&application, 0);
        let engine = bed.start();
        assert_eq!(bed.sync(&engine).await, last.next());
        goes_on(&bed, &application, &engine).await;
    }
}

/// The page checksums are gone or damaged, or of another database: the replica tells what the pages
/// were. When it does not answer the whole database is captured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_checksums_at_hand_the_replica_is_asked() {
    for how in ["gone", "damaged", "of another database"] {
        for answers in [true, false] {
            let (bed, application, last) = captured().await;
            match how {
                "gone" => std::fs::remove_file(bed.sums()).unwrap(),
                "damaged" => std::fs::write(bed.sums(), b"LSPAGES1").unwrap(),
                _ => {
                    let (other, application) = Bed::new();
                    application.execute_batch("CREATE TABLE other(x)").unwrap();
                    let engine = other.start();
                    other.sync(&engine).await;
                    engine.stop().await;
                    std::fs::copy(other.sums(), bed.sums()).unwrap();
                }
            }
            lose_continuity(&application, 1);
            let engine = bed.start();
            if !answers {
                bed.remote.when(|call| {
                    (call.operation == Operation::Get).then_some(Fault::Before(ErrorKind::Timeout))
                });
                engine.database.sync().await.unwrap();
                bed.remote.heal();
            }
            assert_eq!(bed.sync(&engine).await, last.next());
            let raw = bed.raw(last.next());
            // Checksums of another database are not even looked at.
            assert_eq!(raw.is_base(), !answers, "{how}: {raw:?}");
            goes_on(&bed, &application, &engine).await;
            assert!(bed.sums().exists());
        }
    }
}

/// After a base image that had to be whole, the next loss costs a difference again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_base_image_leaves_checksums() {
    let (bed, application, _) = captured().await;
    for _ in 0..3 {
        lose_continuity(&application, 3);
        let engine = bed.start();
        let first = bed.sync(&engine).await;
        assert!(bed.raw(first).is_difference());
        commit(&application, 30);
        bed.sync(&engine).await;
        engine.stop().await;
    }
    bed.prove().await;
}

/// Restored and put in place on a machine that knows nothing: the history goes on with what is new
/// (the wish "restore, then replicate on").
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_goes_on_with_an_increment() {
    for commits in [0, 1, 5] {
        let (bed, application, last) = captured().await;
        kill(application);
        let restored = bed.restore(Target::Latest).await.unwrap();
        for file in [bed.wal(), hash::with_suffix(&bed.path, "-shm")] {
            std::fs::remove_file(file).unwrap();
        }
        std::fs::remove_dir_all(bed.meta()).unwrap();
        std::fs::rename(restored, &bed.path).unwrap();
        let application = bed.open();
        commit(&application, commits);
        lose_continuity(&application, 0);
        let engine = bed.start();
        let first = bed.sync(&engine).await;
        if commits == 0 {
            assert_eq!(first, last, "nothing is new");
        } else {
            assert_eq!(first, last.next());
            assert!(bed.raw(first).is_difference());
        }
        goes_on(&bed, &application, &engine).await;
    }
}

/// The same with an older state: what was undone goes into the increment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_older_state_goes_on_with_an_increment() {
    let (bed, application, last) = captured().await;
    kill(application);
    let restored = bed.restore(Target::Txid(Txid::FIRST)).await.unwrap();
    for file in [bed.wal(), hash::with_suffix(&bed.path, "-shm")] {
        std::fs::remove_file(file).unwrap();
    }
    std::fs::remove_dir_all(bed.meta()).unwrap();
    std::fs::rename(restored, &bed.path).unwrap();
    let application = bed.open();
    let engine = bed.start();
    let first = bed.sync(&engine).await;
    assert_eq!(first, last.next());
    assert!(bed.raw(first).is_difference());
    goes_on(&bed, &application, &engine).await;
}

/// Level 0 of the replica is empty: the newest state is in a snapshot only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_level_zero_is_compared_with() {
    let (bed, application, last) = captured().await;
    let engine = bed.start();
    engine.database.snapshot().await.unwrap();
    engine.stop().await;
    assert_eq!(level(&bed.remote, Level::SNAPSHOT), [(1, 2)]);
    let mut objects = bed.remote.inner().snapshot();
    let newest = format!("ltx/9/{}-{last}.ltx", Txid::FIRST);
    objects.retain(|key, _| key.as_str() == newest);
    assert_eq!(objects.len(), 1);
    bed.remote.inner().restore(objects);
    std::fs::remove_dir_all(bed.meta()).unwrap();
    lose_continuity(&application, 1);
    bed.forget_states();
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, last.next());
    assert!(bed.raw(last.next()).is_difference());
    goes_on(&bed, &application, &engine).await;
    engine.stop().await;
    // The checksums stand on a file of ours by now.
    lose_continuity(&application, 1);
    let engine = bed.start();
    let reads = bed.remote.calls(Operation::Get);
    let first = bed.sync(&engine).await;
    assert!(bed.raw(first).is_difference());
    assert!(
        bed.remote.calls(Operation::Get) <= reads + 1,
        "nothing but the trailer is read"
    );
    bed.prove().await;
}

/// The replica has the base alone, in the snapshot level, and the meta directory is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_the_base_alone_is_compared_with() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    assert_eq!(bed.sync(&engine).await, Txid::FIRST);
    engine.crash();
    // Where a large base is.
    let objects = bed.remote.inner().snapshot();
    let raised = |key: &Key| Key::new(key.as_str().replace("ltx/0/", "ltx/9/"));
    let objects = objects.into_iter().map(|(key, base)| (raised(&key), base));
    bed.remote.inner().restore(objects.collect());
    assert_eq!(level(&bed.remote, Level::SNAPSHOT), [(1, 1)]);
    assert_eq!(bed.remote.inner().snapshot().len(), 1);
    std::fs::remove_dir_all(bed.meta()).unwrap();
    lose_continuity(&application, 1);
    let engine = bed.start();
    let first = bed.sync(&engine).await;
    assert_eq!(first, Txid::FIRST.next());
    assert!(bed.raw(first).is_difference());
    goes_on(&bed, &application, &engine).await;
}
