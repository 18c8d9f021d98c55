//! The counters of a database: what moves them, and that nothing else does.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use litestream::{FileStep, FileSteps};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use litestream::ErrorKind;
use litestream_storage::{ErrorKind as StoreErrorKind, Fault, Operation};

use crate::bed::{Bed, commit, create};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_moves_its_counters() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    let nothing = engine.database.metrics();
    assert_eq!(
        (nothing.sync_count, nothing.wal_size, nothing.txid),
        (0, 0, 0)
    );
    bed.sync(&engine).await;
    let base = engine.database.metrics();
    let wal = || std::fs::metadata(bed.wal()).unwrap().len();
    assert_eq!(base.wal_size, wal());
    assert_eq!(
        (base.txid, base.total_wal_bytes),
        (1, 0),
        "a base image is no WAL"
    );
    assert!(base.sync_count > 0 && base.sync_duration > Duration::ZERO);
    commit(&application, 3);
    bed.sync(&engine).await;
    let then = engine.database.metrics();
    assert_eq!((then.txid, then.wal_size), (2, wal()));
    assert_eq!(then.total_wal_bytes, wal() - base.wal_size);
    assert!(then.sync_count > base.sync_count && then.sync_duration > base.sync_duration);
    let pages: u64 = application
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    assert!(then.database_size <= pages * 4096);
    crate::bed::checkpoint(&application, "PASSIVE");
    bed.sync(&engine).await;
    assert_eq!(engine.database.metrics().database_size, pages * 4096);
    assert_eq!((then.sync_errors, then.disk_full), (0, false));
}

/// The reference counted from the first success on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_that_fails_is_counted() {
    let bed = Bed::empty();
    std::fs::create_dir(&bed.path).unwrap();
    let engine = bed.start();
    for count in 1..=2 {
        engine.sync().await.unwrap_err();
        let metrics = engine.database.metrics();
        assert_eq!((metrics.sync_count, metrics.sync_errors), (count, count));
    }
    std::fs::remove_dir(&bed.path).unwrap();
    create(&bed.open());
    bed.sync(&engine).await;
    let metrics = engine.database.metrics();
    assert_eq!(metrics.sync_errors, 2);
    assert!(metrics.sync_count > 2);
}

/// Commits when the first file is captured, and refuses the next one: a checkpoint has more to capture then.
#[derive(Debug, Default)]
struct Interrupted(Mutex<Option<Connection>>, Mutex<bool>);

impl FileSteps for Interrupted {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        if !path.to_string_lossy().contains("ltx/0/") {
            return Ok(());
        }
        if step == FileStep::Create && *self.1.lock().unwrap() {
            return Err(io::Error::other("refused"));
        }
        if step == FileStep::Rename
            && let Some(application) = self.0.lock().unwrap().take()
        {
            commit(&application, 1);
            *self.1.lock().unwrap() = true;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_moves_its_counters_and_a_failed_one_its_errors() {
    let (mut bed, application) = Bed::new();
    let steps = Arc::new(Interrupted::default());
    bed.steps = Arc::clone(&steps) as Arc<dyn FileSteps>;
    bed.settings.min_checkpoint_pages = 1;
    bed.settings.truncate_pages = Some(30);
    let engine = bed.start();
    bed.sync(&engine).await;
    let first = engine.database.metrics();
    assert!(first.passive.count > 0 && first.passive.duration > Duration::ZERO);
    assert_eq!((first.passive.errors, first.truncate.count), (0, 0));
    commit(&application, 40);
    bed.sync(&engine).await;
    let cut = engine.database.metrics();
    assert!(cut.truncate.count > 0 && cut.truncate.duration > Duration::ZERO);
    assert!(cut.passive.count > first.passive.count);
    assert_eq!((cut.passive.errors, cut.truncate.errors), (0, 0));
    *steps.0.lock().unwrap() = Some(bed.open());
    commit(&application, 2);
    engine.sync().await.unwrap_err();
    let failed = engine.database.metrics();
    assert_eq!((failed.passive.errors, failed.truncate.errors), (1, 0));
    assert_eq!(failed.sync_errors, cut.sync_errors + 1);
    *steps.1.lock().unwrap() = false;
    bed.sync(&engine).await;
    assert_eq!(engine.database.metrics().passive.errors, 1);
    bed.prove().await;
}

const AWAY: Fault = Fault::Before(StoreErrorKind::Timeout);

/// An engine whose last commit is captured, and not yet in the replica.
async fn unfinished(timeout: Duration) -> (Bed, Connection, crate::bed::Engine) {
    let (mut bed, application) = Bed::new();
    bed.settings.shutdown_sync_timeout = timeout;
    bed.settings.shutdown_sync_interval = Duration::from_millis(1);
    let engine = bed.start();
    commit(&application, 1);
    bed.sync(&engine).await;
    commit(&application, 1);
    bed.sync(&engine).await;
    commit(&application, 1);
    engine.database.sync().await.unwrap();
    (bed, application, engine)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_upload_is_tried_until_it_succeeds() {
    let (bed, _application, engine) = unfinished(Duration::from_mins(10)).await;
    let puts = bed.remote.calls(Operation::Put);
    for nth in 1..=2 {
        bed.remote.fail_nth(Operation::Put, puts + nth, AWAY);
    }
    engine.stop().await;
    assert_eq!(bed.remote.calls(Operation::Put), puts + 3);
    bed.prove_latest(&bed.remote).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_time_the_last_upload_is_tried_once() {
    for fails in [true, false] {
        let (bed, _application, engine) = unfinished(Duration::ZERO).await;
        let puts = bed.remote.calls(Operation::Put);
        if fails {
            bed.remote.fail_next(Operation::Put, AWAY);
        }
        let closed = engine.store.close(&CancellationToken::new()).await;
        assert_eq!(closed.is_err(), fails, "{closed:?}");
        assert_eq!(bed.remote.calls(Operation::Put), puts + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_a_hurry_tries_nothing() {
    let (bed, _application, engine) = unfinished(Duration::from_mins(10)).await;
    let puts = bed.remote.calls(Operation::Put);
    let lists = bed.remote.calls(Operation::List);
    let hurry = CancellationToken::new();
    hurry.cancel();
    let error = engine.store.close(&hurry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(bed.remote.calls(Operation::Put), puts);
    assert_eq!(bed.remote.calls(Operation::List), lists);
}
