//! The checkpoint protocol with the real engine beside real applications in processes of their own.
//!
//! Writers, checkpointers of all modes, readers that hold, and applications that come and go work
//! on one database. At several moments and at the end, what is acknowledged is restored from the
//! replica and proved to be exactly the state of a transaction; no application ever sees
//! `SQLITE_BUSY`. `docs/checkpoint-protocol.md` says why that must be so.
#![expect(clippy::print_stdout, reason = "the runs tell what they measured")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "stress/apps.rs"]
mod apps;
#[path = "stress/role.rs"]
mod role;
#[path = "stress/scene.rs"]
mod scene;
#[path = "stress/side.rs"]
mod side;
#[path = "stress/times.rs"]
mod times;

use tokio::sync::{Mutex, MutexGuard};

use self::apps::Library::{self, Bundled, System};
use self::role::Work;
use self::scene::{Plan, Ran, engine, run};

/// One run at a time: each has more processes than the machine may have cores.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// The entry of the application processes; without a role there is nothing to do.
#[test]
#[ignore = "started by the other tests as the application"]
fn application() {
    if let Some(role) = role::given() {
        role.play();
    }
}

fn prefix(page_size: u32, autocheckpoint: u32, full_sync: bool) -> (Library, Work) {
    let work = Work::Prefix {
        seed: 11,
        page_size,
        autocheckpoint,
        full_sync,
        rate: Some(200.0),
    };
    (Bundled, work)
}

fn side(library: Library, worker: u64, autocheckpoint: u32, reopen_every: u64) -> (Library, Work) {
    let work = Work::Side {
        worker,
        autocheckpoint,
        full_sync: worker % 2 == 1,
        reopen_every,
        rate: 100.0,
    };
    (library, work)
}

fn checkpoints(library: Library, modes: &[&str], pause_ms: u64) -> (Library, Work) {
    let modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
    (library, Work::Checkpoints { modes, pause_ms })
}

fn reads(hold_ms: u64) -> (Library, Work) {
    (Bundled, Work::Reads { hold_ms })
}

impl Ran {
    /// What every run owes to the applications.
    fn check(&self, largest_wal: u64) {
        for (name, _, outcome) in &self.outcomes {
            assert_eq!(outcome.busy, 0, "{name}: {outcome:?}");
            assert!(outcome.done > 0, "{name} did nothing");
        }
        // One that waits for our reader in vain takes its whole patience of 1000 ms.
        let checkpoints = self.outcomes.iter();
        for (name, work, outcome) in checkpoints {
            if matches!(work, Work::Checkpoints { .. }) {
                assert!(outcome.times.p50 < 500.0, "{name}: {outcome:?}");
            }
        }
        assert!(self.wal.largest < largest_wal, "{:?}", self.wal);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_checkpointers_of_all_modes_and_readers() {
    let _alone = alone().await;
    let ran = run(Plan {
        name: "all modes",
        page_size: 4096,
        engine: Some(engine(20, 100, Some(2000))),
        apps: vec![
            prefix(4096, 0, false),
            side(Bundled, 1, 1000, 0),
            side(Bundled, 2, 0, 5),
            checkpoints(Bundled, &["PASSIVE", "FULL", "RESTART", "TRUNCATE"], 50),
            reads(40),
        ],
        moments: 4,
        commits: 60,
        restarts: 12,
    })
    .await;
    ran.check(64 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_autocheckpoints_and_large_pages() {
    let _alone = alone().await;
    let ran = run(Plan {
        name: "autocheckpoints",
        page_size: 16384,
        engine: Some(engine(10, 1000, Some(121_359))),
        apps: vec![
            prefix(16384, 1000, true),
            side(Bundled, 1, 10, 0),
            side(Bundled, 2, 10, 7),
            checkpoints(Bundled, &["TRUNCATE", "RESTART"], 40),
            reads(30),
        ],
        moments: 3,
        commits: 60,
        restarts: 12,
    })
    .await;
    ran.check(64 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_checkpoints_of_the_engine_alone() {
    let _alone = alone().await;
    let ran = run(Plan {
        name: "engine alone",
        page_size: 1024,
        engine: Some(engine(50, 16, Some(120))),
        apps: vec![
            prefix(1024, 0, false),
            side(Bundled, 1, 0, 0),
            side(Bundled, 2, 0, 3),
            side(Bundled, 3, 0, 0),
        ],
        moments: 3,
        commits: 60,
        restarts: 12,
    })
    .await;
    ran.check(16 << 20);
    let metrics = ran.metrics.unwrap();
    assert!(metrics.truncate.count > 0, "{metrics:?}");
}

/// An application on an old library may damage its own database (the WAL-reset bug of SQLite 3.7.0
/// to 3.51.2). The run tells that from a loss by the engine: the control shows what happens without us, and
/// with us the replica holds everything that was committed, whatever became of the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_an_application_on_the_library_of_the_distribution() {
    let Some(version) = apps::system_library() else {
        return;
    };
    println!("SQLite of the application: {version}");
    let _alone = alone().await;
    let plan = |name, engine| Plan {
        name,
        page_size: 4096,
        engine,
        apps: vec![
            side(System, 1, 1000, 0),
            side(System, 2, 10, 5),
            checkpoints(System, &["TRUNCATE", "PASSIVE", "RESTART"], 50),
            checkpoints(System, &["FULL", "PASSIVE"], 70),
        ],
        moments: 3,
        commits: 60,
        restarts: 12,
    };
    let control = run(plan("old library, no engine", None)).await;
    let ran = run(plan("old library", Some(engine(20, 100, Some(1000))))).await;
    ran.check(64 << 20);
    if let Some(damage) = &ran.damage {
        println!(
            "the control: {:?}; with the engine: {damage}",
            control.damage
        );
    }
}

/// FULL, RESTART and TRUNCATE wait for the pinned reader, and keep all writers out meanwhile. If the
/// engine did not notice, they would wait for the next capture: here for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_does_not_wait_for_the_pace_of_captures() {
    let _alone = alone().await;
    let ran = run(Plan {
        name: "slow pace",
        page_size: 4096,
        engine: Some(engine(60_000, 1000, Some(121_359))),
        apps: vec![
            side(Bundled, 1, 0, 0),
            checkpoints(Bundled, &["FULL", "TRUNCATE"], 50),
        ],
        moments: 1,
        commits: 60,
        restarts: 12,
    })
    .await;
    ran.check(16 << 20);
}
