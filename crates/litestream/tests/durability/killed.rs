//! A process that dies for good at each durability point, local or of the file replica: what it had
//! acknowledged is restored, and the next process goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use litestream::{FileStep, FileSteps, Target};
use litestream_storage::{self as storage, FileModes, FileStore};

use crate::bed::{Bed, application, checkpoint, commit, create};

const FOLDER: &str = "LITESTREAM_TEST_FOLDER";
const STEP: &str = "LITESTREAM_TEST_DIES_AT";

/// Ends the process at one step, without any cleaning up.
#[derive(Debug)]
struct Deadly {
    left: AtomicU64,
}

impl Deadly {
    fn take(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

impl FileSteps for Deadly {
    fn before(&self, _: FileStep, _: &Path) -> io::Result<()> {
        self.take();
        Ok(())
    }
}

impl storage::FileSteps for Deadly {
    fn before(&self, _: storage::FileStep, _: &Path) -> io::Result<()> {
        self.take();
        Ok(())
    }

    fn after(&self, _: storage::FileStep, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn rows(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

/// The process that dies; without the variables it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dies_when_told() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else {
        return;
    };
    let deadly = Arc::new(Deadly {
        left: step.parse::<u64>().unwrap().into(),
    });
    let bed = bed_in(Path::new(&folder), deadly.clone());
    let root = Path::new(&folder).join("replica");
    let replica = Arc::new(FileStore::with_steps(root, FileModes::default(), deadly));
    let writer = bed.open();
    create(&writer);
    for task in 0..4 {
        let engine = bed.start_on(vec![replica.clone()]);
        for _ in 0..2 {
            commit(&writer, 1);
            engine.sync().await.unwrap();
            eprintln!("acknowledged {}", rows(&bed.path));
        }
        engine.crash();
        if task % 2 == 0 {
            commit(&writer, 1);
            assert_eq!(checkpoint(&writer, "TRUNCATE"), (0, 0, 0));
        }
    }
}

fn bed_in(folder: &Path, steps: Arc<dyn FileSteps>) -> Bed {
    let mut bed = Bed::empty();
    bed.path = folder.join("app.db");
    bed.settings = litestream::DatabaseSettings::new(&bed.path);
    bed.settings.max_staged_bytes = Some(0);
    bed.steps = steps;
    bed
}

/// Runs the process until its step; gives the rows that it had acknowledged, and whether it lived.
fn run_until(folder: &Path, step: u64) -> (u64, bool) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["killed::dies_when_told", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEP, step.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut told = text
        .lines()
        .filter_map(|line| line.strip_prefix("acknowledged "));
    let acknowledged = told.next_back().map_or(0, |rows| rows.parse().unwrap());
    assert!(!text.contains("panicked"), "step {step}: {text}");
    (acknowledged, output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_durability_point_loses_nothing() {
    // Every third step: the kinds of steps follow in turn, and runs of one kind are longer than that.
    for step in (1_u64..).step_by(3) {
        let folder = tempfile::tempdir().unwrap();
        let (acknowledged, lived) = run_until(folder.path(), step);
        let bed = bed_in(folder.path(), Arc::new(litestream::AllSteps));
        let root: PathBuf = folder.path().join("replica");
        let replica = Arc::new(FileStore::new(root, FileModes::default()));
        if acknowledged > 0 {
            let restored = bed.restore_store(replica.clone(), Target::Latest).await;
            assert!(rows(&restored.unwrap()) >= acknowledged, "step {step}");
        }
        let writer = application(&bed.path);
        commit(&writer, 1);
        let engine = bed.start_on(vec![replica.clone()]);
        let synced = engine.sync().await;
        synced.unwrap_or_else(|error| panic!("step {step}: {error}"));
        engine.stop().await;
        let restored = bed.restore_store(replica, Target::Latest).await.unwrap();
        assert_eq!(rows(&restored), rows(&bed.path), "step {step}");
        assert_eq!(crate::temporary_files(&bed.meta()), [] as [&Path; 0]);
        if lived {
            assert!(step > 60, "only {step} steps: they are not seen");
            break;
        }
    }
}
