//! Every step on the disk and every request fails once, and a crash comes at each of them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use litestream::{AllSteps, FileStep, FileSteps, FollowStart};
use litestream_storage::{ErrorKind, Fault, Operation};

use super::bed::temporary_files;
use super::scene::{Scene, status};

/// Lets one step fail, or all from one on.
#[derive(Debug)]
struct Nth {
    left: AtomicU64,
    is_crash: bool,
    fired: AtomicBool,
}

impl Nth {
    fn new(number: u64, is_crash: bool) -> Arc<Self> {
        Arc::new(Self {
            left: number.into(),
            is_crash,
            fired: AtomicBool::new(false),
        })
    }

    fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

impl FileSteps for Nth {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 1 || (left == 0 && self.is_crash && self.fired()) {
            self.fired.store(true, Ordering::SeqCst);
            let message = format!("injected: {step:?} {}", path.display());
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

/// Something new for the follower: growth, changes only, and a database that becomes smaller.
async fn change(scene: &Scene, round: u64) {
    match round % 3 {
        0 => scene.commit(2).await,
        1 => {
            scene.execute("UPDATE u SET value = 'y' || id").await;
            scene.execute("DELETE FROM u WHERE id > 20").await;
            scene.execute("VACUUM").await
        }
        _ => {
            scene
                .execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n LIMIT 200)
                     INSERT OR REPLACE INTO u SELECT i, printf('%0200d', i) FROM n;",
                )
                .await
        }
    };
}

async fn steps_fail(is_crash: bool) {
    let scene = Scene::new().await;
    let mut follow = scene.start().await.unwrap();
    let mut failed_after_the_commit = 0;
    for round in 1.. {
        assert!(round < 200, "the steps have no end");
        let before = status(&follow).position.unwrap();
        change(&scene, round).await;
        let steps = Nth::new(round, is_crash);
        let mut broken = scene.follower(scene.options(steps.clone()));
        let mut result = broken.start().await.map(|_| ());
        if result.is_ok() {
            result = broken.step().await.map(|_| ());
        }
        if !steps.fired() {
            result.unwrap();
            assert!(round > 12, "only {round} steps");
            break;
        }
        // Only the removal of what is no longer needed may fail without notice.
        let state = scene.is_committed();
        assert!(
            state >= before,
            "round {round}: from {before} back to {state}"
        );
        if let Ok(()) = result {
            assert_eq!(state, status(&broken).position.unwrap(), "round {round}");
        } else if state > before {
            failed_after_the_commit += 1;
        }
        if is_crash {
            drop(broken);
            follow = scene.follower(scene.options(Arc::new(AllSteps)));
            let resumed = follow.start().await.unwrap();
            assert_eq!(resumed, FollowStart::Resumed(state), "round {round}");
        } else {
            // The same follower goes on: only one step failed.
            follow = broken;
            if status(&follow).position.is_none() {
                follow.start().await.unwrap();
            }
        }
        scene.catches_up(&mut follow).await;
        assert_eq!(
            temporary_files(scene.bed.directory.path()),
            [] as [&Path; 0]
        );
    }
    assert!(failed_after_the_commit > 0);
}

#[tokio::test]
async fn every_step_on_the_disk_fails_once() {
    steps_fail(false).await;
}

#[tokio::test]
async fn a_crash_comes_at_every_step_on_the_disk() {
    steps_fail(true).await;
}

#[tokio::test]
async fn a_crash_comes_at_every_step_of_the_first_restore() {
    let scene = Scene::new().await;
    for round in 1.. {
        let steps = Nth::new(round, true);
        let mut broken = scene.follower(scene.options(steps.clone()));
        let result = broken.start().await;
        if !steps.fired() {
            result.unwrap();
            assert!(round > 8, "only {round} steps");
            return;
        }
        result.unwrap_err();
        // With or without the copy: the next start must not need a human.
        let mut follow = scene.start().await.unwrap();
        scene.catches_up(&mut follow).await;
        for suffix in ["", "-txid", "-follow"] {
            std::fs::remove_file(testkit::hash::with_suffix(&scene.copy, suffix)).unwrap();
        }
    }
}

#[tokio::test]
async fn every_request_fails_once() {
    for fault in [
        Fault::Before(ErrorKind::Timeout),
        Fault::Before(ErrorKind::NotFound),
        Fault::Break {
            after: 60,
            kind: ErrorKind::Io,
        },
        Fault::CutOff { after: 60 },
    ] {
        let scene = Scene::new().await;
        let mut follow = scene.start().await.unwrap();
        for round in 1.. {
            scene.commit(3).await;
            let mut seen = 0;
            let fired = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&fired);
            scene.bed.remote.when(move |_| {
                seen += 1;
                told.fetch_or(seen == round, Ordering::SeqCst);
                (seen == round).then_some(fault)
            });
            // It may well succeed: another plan may do, or the first half of a listing.
            let result = follow.step().await;
            scene.bed.remote.heal();
            assert_eq!(scene.is_committed(), status(&follow).position.unwrap());
            if !fired.load(Ordering::SeqCst) {
                result.unwrap();
                assert!(round > 4, "{fault:?}: only {round} requests");
                break;
            }
            scene.catches_up(&mut follow).await;
        }
        assert!(scene.bed.remote.calls(Operation::Get) > 0);
    }
}
