//! The engine in the background on a clock that a test moves: what it does by itself, and how often.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use litestream::{
    Clock, DatabaseSettings, FileSteps, Layout, Replica, ReplicaSettings, RetentionSettings, Store,
    StoreSettings,
};
use litestream_storage::ObjectStore;
use ltx::Txid;
use rusqlite::Connection;
use tokio::time::Instant;

use crate::bed::{Bed, Engine, commit, create};
use crate::staging::FullDisk;
use crate::told;

/// A database of its own name.
fn named(name: &str) -> (Bed, Connection) {
    let mut bed = Bed::empty();
    bed.path = bed.directory.path().join(name);
    bed.settings = DatabaseSettings::new(&bed.path);
    let application = bed.open();
    create(&application);
    (bed, application)
}

/// As the program runs it; nothing is compacted meanwhile.
fn background(bed: &Bed, pace: ReplicaSettings) -> Engine {
    let settings = StoreSettings {
        clock: Arc::clone(&bed.clock) as Arc<dyn Clock>,
        steps: Arc::clone(&bed.steps),
        retention: RetentionSettings {
            levels: vec![Duration::from_hours(20)],
            ..RetentionSettings::default()
        },
        ..StoreSettings::default()
    };
    let store = Store::open(settings).unwrap();
    let remote = Arc::clone(&bed.remote) as Arc<dyn ObjectStore>;
    let replica = Arc::new(Replica::new(remote, Layout::Plain, pace));
    store.add(bed.settings.clone(), vec![replica]).unwrap();
    let database = store.find(&bed.path).unwrap();
    Engine { store, database }
}

/// Lets time pass until something is so; the clock stands still while anything is at work.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_mins(20);
    while !condition() {
        assert!(Instant::now() < limit, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn captured(engine: &Engine, number: u64) {
    let txid = Txid::new(number);
    until("a capture", || engine.database.txid() == txid).await;
}

/// The reference looked whether something had changed since its own checkpoint, and forgot it at times.
#[tokio::test(start_paused = true)]
async fn what_was_committed_is_copied_after_the_interval_without_another_commit() {
    let (bed, application) = Bed::new();
    let engine = background(&bed, ReplicaSettings::default());
    captured(&engine, 1).await;
    let passive = || engine.database.metrics().passive.count;
    until("the base is copied", || passive() > 0).await;
    let before = passive();
    commit(&application, 1);
    captured(&engine, 2).await;
    let started = Instant::now();
    assert_eq!(passive(), before, "one commit is no reason yet");
    until("a checkpoint", || passive() > before).await;
    let after = started.elapsed();
    let expected = Duration::from_secs(55)..Duration::from_secs(70);
    assert!(expected.contains(&after), "{after:?}");
    let length = || std::fs::metadata(bed.wal()).unwrap().len();
    let full = length();
    let before = passive();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(passive(), before, "there is nothing to copy any more");
    commit(&application, 1);
    captured(&engine, 3).await;
    assert_eq!(length(), full, "the WAL was started anew");
    engine.stop().await;
}

/// The reference ran a checkpoint each second that could not copy anything, and wrote a frame and a file each
/// time. Above the threshold it kept writers waiting for as long.
#[tokio::test(start_paused = true)]
async fn a_reader_that_holds_costs_a_try_now_and_then() {
    let (mut bed, application) = Bed::new();
    bed.settings.truncate_pages = Some(5);
    let engine = background(&bed, ReplicaSettings::default());
    captured(&engine, 1).await;
    let reader = bed.open();
    let hold = "BEGIN; SELECT count(*) FROM t";
    reader.execute_batch(hold).unwrap();
    commit(&application, 20);
    captured(&engine, 2).await;
    let before = engine.database.metrics();
    let started = Instant::now();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let after = engine.database.metrics();
    let tries = after.passive.count - before.passive.count;
    // Ten intervals of a minute; a try looks twice.
    assert!(
        (5..=30).contains(&tries),
        "{tries} in {:?}",
        started.elapsed()
    );
    assert_eq!(after.truncate.count, before.truncate.count);
    assert_eq!(
        after.write_lock, before.write_lock,
        "nobody was kept waiting"
    );
    assert_eq!(
        engine.database.txid(),
        Txid::new(2),
        "nothing new was captured"
    );
    reader.execute_batch("COMMIT").unwrap();
    let cut = || engine.database.metrics().truncate.count > before.truncate.count;
    until("the WAL is cut", cut).await;
    engine.stop().await;
}

/// A disk that stays full is no reason to try each second; it has words of its own; and nobody needs to help
/// when there is room again.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_in_the_background_is_told_and_waited_for() {
    told::listen();
    let (mut bed, application) = named("full-disk.db");
    let disk = Arc::new(FullDisk::default());
    bed.steps = Arc::clone(&disk) as Arc<dyn FileSteps>;
    let engine = background(&bed, ReplicaSettings::default());
    captured(&engine, 1).await;
    disk.0.store(true, Ordering::SeqCst);
    commit(&application, 1);
    tokio::time::sleep(Duration::from_mins(10)).await;
    let metrics = engine.database.metrics();
    assert!((5..=12).contains(&metrics.sync_errors), "{metrics:?}");
    assert!(metrics.disk_full && metrics.txid == 1, "{metrics:?}");
    let said = |text| told::times("full-disk.db", text);
    let full = "disk full while staging ltx file, replication paused until space is freed";
    assert!(
        (2..=metrics.sync_errors as usize).contains(&said(full)),
        "{}",
        said(full)
    );
    assert_eq!((said("sync error"), said("sync recovered")), (0, 0));
    disk.0.store(false, Ordering::SeqCst);
    captured(&engine, 2).await;
    until("it is told", || said("sync recovered") == 1).await;
    assert!(!engine.database.metrics().disk_full);
    engine.stop().await;
    bed.prove_latest(&bed.remote).await;
}

/// A backlog goes out batch by batch, each at once: the interval is for what comes later.
#[tokio::test(start_paused = true)]
async fn a_full_batch_is_followed_by_the_next_at_once() {
    told::listen();
    let (bed, application) = named("batches.db");
    let engine = bed.start();
    for _ in 0..4 {
        commit(&application, 1);
        engine.database.sync().await.unwrap();
    }
    engine.crash();
    let pace = ReplicaSettings {
        sync_interval: Duration::from_hours(10),
        max_sync_ltx_files: 1,
    };
    let started = Instant::now();
    let engine = background(&bed, pace);
    until("the backlog is there", || {
        engine.database.replicated() == Txid::new(4)
    })
    .await;
    assert!(started.elapsed() < Duration::from_hours(1));
    assert_eq!(told::times("batches.db", "replica sync limited"), 3);
    engine.stop().await;
    bed.prove_latest(&bed.remote).await;
}
