//! Writers that are faster than captures, for as long as they like.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use litestream::{FileStep, FileSteps};
use rusqlite::{Connection, ErrorCode};

use crate::bed::{Bed, commit};

/// Frames from which on the WAL is cut.
const THRESHOLD: u32 = 60;

/// An application that commits twice for every level-0 file that is captured: captures never catch up
/// unless it is kept waiting.
#[derive(Debug)]
struct Overload {
    application: Mutex<Option<Connection>>,
    wal: PathBuf,
    left: AtomicU64,
    refused: AtomicU64,
    longest: AtomicU64,
}

impl FileSteps for Overload {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        let captured = step == FileStep::Rename && path.to_string_lossy().contains("ltx/0/");
        let application = self.application.lock().unwrap();
        let Some(application) = application.as_ref().filter(|_| captured) else {
            return Ok(());
        };
        for _ in 0..2 {
            if self.left.load(Ordering::SeqCst) == 0 {
                break;
            }
            let wrote = application.execute("INSERT INTO t(value) VALUES(randomblob(300))", []);
            match wrote {
                Ok(_) => self.left.fetch_sub(1, Ordering::SeqCst),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    self.refused.fetch_add(1, Ordering::SeqCst)
                }
                Err(error) => panic!("{error}"),
            };
        }
        let length = std::fs::metadata(&self.wal).map_or(0, |wal| wal.len());
        self.longest.fetch_max(length, Ordering::SeqCst);
        Ok(())
    }
}

fn overloaded(bed: &mut Bed, commits: u64) -> Arc<Overload> {
    let application = bed.open();
    application.busy_timeout(Duration::ZERO).unwrap();
    let overload = Arc::new(Overload {
        application: Mutex::new(Some(application)),
        wal: bed.wal(),
        left: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        longest: AtomicU64::new(0),
    });
    bed.steps = Arc::clone(&overload) as Arc<dyn FileSteps>;
    // A file for each commit.
    bed.settings.max_sync_wal_bytes = 1;
    bed.settings.truncate_pages = Some(THRESHOLD);
    overload.left.store(commits, Ordering::SeqCst);
    overload
}

/// The WAL grows by a transaction with each capture, and no capture is ever the last: without a
/// checkpoint in between it would hold everything in the end. Nothing of it gets lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_that_captures_do_not_catch_up_with_stays_bounded() {
    let (mut bed, application) = Bed::new();
    commit(&application, 1);
    let overload = overloaded(&mut bed, 1500);
    let engine = bed.start();
    let mut calls = 0;
    while overload.left.load(Ordering::SeqCst) > 0 {
        engine.sync().await.unwrap();
        commit(&application, 2);
        calls += 1;
        assert!(calls < 1500, "each call captures something");
    }
    bed.sync(&engine).await;
    let frames = overload.longest.load(Ordering::SeqCst) / 4120;
    assert!(frames < 400, "{frames} of some 3000 frames in the WAL");
    assert!(
        frames > u64::from(THRESHOLD),
        "{frames}: there was no overload"
    );
    assert!(overload.refused.load(Ordering::SeqCst) > 0);
    let metrics = engine.database.metrics();
    assert!(metrics.write_lock_longest > Duration::ZERO);
    assert!(metrics.truncate.count > 0);
    bed.prove().await;
}

/// Where another reader keeps the WAL from being copied it would be in vain to keep writers waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_kept_waiting_while_a_reader_holds_the_wal() {
    let (mut bed, application) = Bed::new();
    let reader = bed.open();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM t")
        .unwrap();
    commit(&application, 30);
    let overload = overloaded(&mut bed, 200);
    let engine = bed.start();
    while overload.left.load(Ordering::SeqCst) > 0 {
        commit(&application, 1);
        engine.sync().await.unwrap();
    }
    assert_eq!(overload.refused.load(Ordering::SeqCst), 0);
    let before = engine.database.metrics().truncate.count;
    assert_eq!(before, 0, "nothing was cut beside the reader");
    reader.execute_batch("COMMIT").unwrap();
    commit(&application, 1);
    bed.sync(&engine).await;
    assert!(engine.database.metrics().truncate.count > 0);
    assert_eq!(std::fs::metadata(bed.wal()).unwrap().len(), 0);
    bed.prove().await;
}

/// The file is cut when the checkpoint ends at rest, whatever was written before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncate_leaves_nothing_in_the_wal() {
    let (mut bed, application) = Bed::new();
    bed.settings.truncate_pages = Some(1);
    let engine = bed.start();
    for rows in [1, 40, 400] {
        commit(&application, rows);
        bed.sync(&engine).await;
        assert_eq!(std::fs::metadata(bed.wal()).unwrap().len(), 0, "{rows}");
    }
    bed.prove().await;
}
