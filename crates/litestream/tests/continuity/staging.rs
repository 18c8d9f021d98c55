//! Level-0 files in the meta directory: how many there may be, and a disk that is full.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use litestream::{ErrorKind, FileStep, FileSteps};
use litestream_storage::{ErrorKind as StoreErrorKind, Fault};
use ltx::Txid;

use crate::bed::{Bed, commit, remote, temporary_files};

const UNREACHABLE: Fault = Fault::Before(StoreErrorKind::Timeout);

fn local_files(bed: &Bed) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(bed.meta().join("ltx/0")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn local_bytes(bed: &Bed) -> u64 {
    let sizes = local_files(bed).into_iter();
    sizes.map(|file| file.metadata().unwrap().len()).sum()
}

/// Files that every replica has go first; nothing is missing because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_all_replicas_have_make_room() {
    let (mut bed, application) = Bed::new();
    bed.settings.max_staged_bytes = Some(20_000);
    let second = remote();
    let engine = bed.start_with(&[&bed.remote, &second]);
    for _ in 0..60 {
        commit(&application, 1);
        bed.sync(&engine).await;
        // The newest is acknowledged only after the look at the bound.
        let newest = bed.local(engine.database.txid().unwrap());
        let newest = newest.metadata().unwrap().len();
        assert!(local_bytes(&bed) <= 20_000 + 2 * newest.max(10_000));
    }
    assert!(
        engine
            .database
            .replicas()
            .iter()
            .all(|replica| replica.behind().is_none())
    );
    bed.prove_from(&bed.remote).await;
    bed.prove_from(&second).await;
    // The page checksums were moved on before the files went.
    engine.crash();
    commit(&application, 1);
    crate::bed::checkpoint(&application, "TRUNCATE");
    let engine = bed.start_with(&[&bed.remote, &second]);
    let next = bed.sync(&engine).await;
    assert!(bed.raw(next).is_difference());
    bed.prove_from(&second).await;
}

/// A replica that stays away does not fill the disk: it is behind, says so, and catches up with a
/// snapshot. The others lose nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stays_away_does_not_fill_the_disk() {
    for all in [false, true] {
        let (mut bed, application) = Bed::new();
        bed.settings.max_staged_bytes = Some(8_000);
        let second = remote();
        let engine = bed.start_with(&[&bed.remote, &second]);
        commit(&application, 1);
        bed.sync(&engine).await;
        second.fail_all(UNREACHABLE);
        if all {
            bed.remote.fail_all(UNREACHABLE);
        }
        for _ in 0..40 {
            commit(&application, 1);
            engine.sync().await.unwrap_err();
            assert!(local_bytes(&bed) <= 40_000, "{}", local_bytes(&bed));
        }
        let behind = engine.database.replicas()[1].behind().expect("behind");
        assert!(behind.staged > 8_000);
        assert_eq!(behind.acknowledged, Some(Txid::FIRST));
        let other = &engine.database.replicas()[0];
        assert_eq!(other.behind().is_some(), all);
        if !all {
            bed.prove_latest(&bed.remote).await;
        }
        second.heal();
        bed.remote.heal();
        bed.sync(&engine).await;
        assert_eq!(engine.database.replicas()[1].behind(), None);
        assert_eq!(engine.database.replicas()[0].behind(), None);
        commit(&application, 1);
        bed.sync(&engine).await;
        bed.prove_from(&bed.remote).await;
        bed.prove_from(&second).await;
    }
}

/// What an earlier run left behind counts too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_an_earlier_run_count() {
    let (mut bed, application) = Bed::new();
    let engine = bed.start();
    bed.sync(&engine).await;
    bed.remote.fail_all(UNREACHABLE);
    for _ in 0..40 {
        commit(&application, 1);
        engine.database.sync().await.unwrap();
    }
    engine.crash();
    let before = local_files(&bed).len();
    assert!(before > 40);
    bed.settings.max_staged_bytes = Some(20_000);
    bed.remote.heal();
    let engine = bed.start();
    bed.sync(&engine).await;
    commit(&application, 1);
    bed.sync(&engine).await;
    assert!(local_bytes(&bed) <= 40_000);
    bed.prove().await;
}

/// A disk that refuses to take more, as long as it is told to.
#[derive(Debug, Default)]
pub(crate) struct FullDisk(pub(crate) AtomicBool);

impl FileSteps for FullDisk {
    fn before(&self, step: FileStep, _: &Path) -> io::Result<()> {
        let takes_space = matches!(
            step,
            FileStep::Create | FileStep::CreateDirectory | FileStep::Write
        );
        if takes_space && self.0.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_recovers() {
    let (mut bed, application) = Bed::new();
    let disk = Arc::new(FullDisk::default());
    bed.steps = disk.clone();
    let engine = bed.start();
    commit(&application, 3);
    bed.sync(&engine).await;
    disk.0.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        commit(&application, 3);
        let error = engine.sync().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
        assert!(error.hint().is_some());
        assert!(engine.database.metrics().disk_full);
        assert_eq!(temporary_files(&bed.meta()), [] as [&Path; 0]);
    }
    bed.prove_states().await;
    disk.0.store(false, Ordering::SeqCst);
    commit(&application, 1);
    bed.sync(&engine).await;
    assert!(!engine.database.metrics().disk_full);
    bed.prove().await;
    // Also when it is full at start.
    engine.crash();
    disk.0.store(true, Ordering::SeqCst);
    commit(&application, 1);
    let engine = bed.start();
    assert_eq!(engine.sync().await.unwrap_err().kind(), ErrorKind::DiskFull);
    disk.0.store(false, Ordering::SeqCst);
    bed.sync(&engine).await;
    bed.prove().await;
}

/// A small file system of its own; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where it may not be made: that takes the rights of root.
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "litestream-test"])
            .arg(path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg(&self.0).status();
    }
}

/// The same with a real file system that is full. Without the rights for it, the test before has
/// shown what there is to show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_is_full_recovers_when_space_returns() {
    let (mut bed, application) = Bed::new();
    let folder = bed.directory.path().join("small");
    let Some(_disk) = SmallDisk::mount(&folder) else {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    };
    let meta = folder.join("meta");
    bed.settings.meta_path = Some(meta.clone());
    let engine = bed.start();
    commit(&application, 3);
    bed.sync(&engine).await;
    let ballast = folder.join("ballast");
    let filled = std::fs::write(&ballast, vec![1; 2 << 20]);
    assert_eq!(filled.unwrap_err().kind(), io::ErrorKind::StorageFull);
    for _ in 0..3 {
        commit(&application, 20);
        let error = engine.sync().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
        assert_eq!(temporary_files(&meta), [] as [&Path; 0]);
    }
    bed.prove_states().await;
    std::fs::remove_file(&ballast).unwrap();
    bed.sync(&engine).await;
    commit(&application, 1);
    bed.sync(&engine).await;
    bed.prove().await;
    // Full at start, with the history to be caught up with.
    engine.crash();
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap_err();
    commit(&application, 3);
    crate::bed::checkpoint(&application, "TRUNCATE");
    let engine = bed.start();
    engine.sync().await.unwrap_err();
    std::fs::remove_file(&ballast).unwrap();
    bed.sync(&engine).await;
    bed.prove().await;
    engine.stop().await;
}
