//! Measures the engine beside an application in a process of its own.
//!
//! `cargo run --example measure -- WHAT [FOLDER]`, where WHAT is
//!
//! * `commits`: how long commits take without the engine, with it, and with SQLite's own checkpoints;
//! * `lag`: from the return of a lone commit to its acknowledgement by a file replica;
//! * `checkpoints`: how long TRUNCATE takes while a writer commits 200 times a second;
//! * `mixed`: commits of several sizes beside readers that hold and checkpoints of all modes, with and
//!   without the engine in turn, and how many of them saw `SQLITE_BUSY` (`mixed FOLDER SECONDS ROUNDS`);
//! * `held`: the same with a reader that holds all the time, as a snapshot does while it is uploaded;
//! * `idle`: wake-ups, processor time, descriptors and memory of a hundred idle databases.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

#[path = "measure/application.rs"]
mod application;
#[path = "measure/mixed.rs"]
mod mixed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use litestream::{
    Database, DatabaseSettings, Layout, Replica, ReplicaSettings, Store, StoreSettings,
};
use litestream_storage::{FileModes, FileStore};
use tokio_util::sync::CancellationToken;

use self::application::Application;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = match words.get(1) {
        Some(folder) if words.first().is_some_and(|word| word != "application") => {
            tempfile::tempdir_in(folder)?
        }
        _ => tempfile::tempdir()?,
    };
    match words.first().map(String::as_str) {
        Some("application") => application::play(&words),
        Some("commits") => commits(folder.path()).await,
        Some("lag") => lag(folder.path()).await,
        Some("checkpoints") => checkpoints(folder.path()).await,
        Some("mixed") => {
            mixed::run(
                folder.path(),
                words.get(2..).unwrap_or_default(),
                &mixed::PLANS,
            )
            .await
        }
        Some("held") => {
            mixed::run(
                folder.path(),
                words.get(2..).unwrap_or_default(),
                &mixed::HELD,
            )
            .await
        }
        Some("idle") => idle(folder.path()).await,
        _ => bail!("usage: measure commits|lag|checkpoints|mixed|held|idle [FOLDER]"),
    }
}

struct Engine {
    store: Arc<Store>,
    database: Database,
    replica: Arc<Replica>,
}

fn start(db: &Path, copy: PathBuf, settings: DatabaseSettings) -> Result<Engine> {
    let store = Store::open(StoreSettings::default())?;
    let replica = file_replica(copy);
    store.add(settings, vec![Arc::clone(&replica)])?;
    let database = store.find(db)?;
    Ok(Engine {
        store,
        database,
        replica,
    })
}

fn file_replica(copy: PathBuf) -> Arc<Replica> {
    let store = FileStore::new(copy, FileModes::default());
    let settings = ReplicaSettings::default();
    Arc::new(Replica::new(Arc::new(store), Layout::Plain, settings))
}

async fn commits(folder: &Path) -> Result<()> {
    let cases = [
        ("no engine, autocheckpoint 1000", None, 1000),
        ("engine, autocheckpoint 0", Some(()), 0),
        ("engine, autocheckpoint 1000", Some(()), 1000),
    ];
    for synchronous in ["NORMAL", "FULL"] {
        for (rate, what) in [(200, "200/s"), (0, "flat out")] {
            for (name, engine, autocheckpoint) in cases {
                let part = tempfile::tempdir_in(folder)?;
                let db = part.path().join("app.db");
                let mut application = Application::start(&db, autocheckpoint, synchronous)?;
                application.ask("commit")?;
                let engine = match engine {
                    Some(()) => Some(start(
                        &db,
                        part.path().join("copy"),
                        DatabaseSettings::new(&db),
                    )?),
                    None => None,
                };
                if let Some(engine) = &engine {
                    engine.database.sync_and_wait().await?;
                }
                let answer =
                    tokio::task::block_in_place(|| application.ask(&format!("load {rate} 8")))?;
                print_times(&format!("{synchronous} {what:8} {name}"), parse(&answer)?);
                application.stop()?;
                if let Some(engine) = engine {
                    println!(
                        "    write lock {:?}",
                        engine.database.metrics().write_lock_longest
                    );
                    engine.store.close(&CancellationToken::new()).await?;
                }
            }
        }
    }
    Ok(())
}

async fn lag(folder: &Path) -> Result<()> {
    for (from, to, count) in [(1100, 1500, 60), (200, 600, 200)] {
        for synchronous in ["NORMAL", "FULL"] {
            let part = tempfile::tempdir_in(folder)?;
            let db = part.path().join("app.db");
            let mut application = Application::start(&db, 0, synchronous)?;
            application.ask("commit")?;
            let engine = start(&db, part.path().join("copy"), DatabaseSettings::new(&db))?;
            engine.database.sync_and_wait().await?;
            let mut acknowledged = engine.replica.subscribe();
            let mut times = Vec::new();
            let mut random = 12345_u64;
            for _ in 0..count {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let pause = from + (random >> 33) % (to - from);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                acknowledged.borrow_and_update();
                // The answer may come after the acknowledgement.
                application.say("commit")?;
                acknowledged.changed().await?;
                let now = unix_nanoseconds()?;
                let committed: u64 = application.hear()?.parse()?;
                times.push(now.saturating_sub(committed) as f64 / 1e6);
            }
            print_times(
                &format!("lag, commits {from}-{to} ms apart, {synchronous}"),
                times,
            );
            application.stop()?;
            engine.store.close(&CancellationToken::new()).await?;
        }
    }
    Ok(())
}

async fn checkpoints(folder: &Path) -> Result<()> {
    for synchronous in ["NORMAL", "FULL"] {
        for with_engine in [false, true] {
            let part = tempfile::tempdir_in(folder)?;
            let db = part.path().join("app.db");
            let mut writer = Application::start(&db, 0, synchronous)?;
            writer.ask("commit")?;
            let mut checkpointer = Application::start(&db, 0, synchronous)?;
            let engine = if with_engine {
                let copy = part.path().join("copy");
                Some(start(&db, copy, DatabaseSettings::new(&db))?)
            } else {
                None
            };
            if let Some(engine) = &engine {
                engine.database.sync_and_wait().await?;
            }
            writer.say("load 200 15")?;
            let (mut times, mut busy) = (Vec::new(), 0);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(14) {
                tokio::time::sleep(Duration::from_millis(150)).await;
                let answer =
                    tokio::task::block_in_place(|| checkpointer.ask("checkpoint TRUNCATE"))?;
                let answer = parse(&answer)?;
                times.extend(answer.first());
                busy += usize::from(answer.get(1) != Some(&0.0));
            }
            let name = format!("TRUNCATE, {synchronous}, engine: {with_engine}, busy: {busy}");
            print_times(&name, times);
            let answer = tokio::task::block_in_place(|| writer.hear())?;
            print_times("    commits beside it", parse(&answer)?);
            writer.stop()?;
            checkpointer.stop()?;
            if let Some(engine) = engine {
                engine.store.close(&CancellationToken::new()).await?;
            }
        }
    }
    Ok(())
}

async fn idle(folder: &Path) -> Result<()> {
    const DATABASES: usize = 100;
    let store = Store::open(StoreSettings::default())?;
    let before = descriptors()?;
    let mut applications = Vec::new();
    for number in 0..DATABASES {
        let db = folder.join(format!("{number}.db"));
        let mut application = Application::start(&db, 1000, "NORMAL")?;
        application.ask("commit")?;
        applications.push(application);
        let copy = folder.join(format!("copy-{number}"));
        store.add(DatabaseSettings::new(&db), vec![file_replica(copy)])?;
    }
    for database in store.list() {
        database.sync_and_wait().await?;
    }
    // First everything is copied and what is not needed is closed.
    for seconds in [80, 30, 30] {
        let (switches, processor) = (switches()?, processor_ticks()?);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let fields = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let found = fields.lines().find(|line| line.starts_with(name));
            found
                .unwrap_or("?")
                .split_whitespace()
                .nth(1)
                .unwrap_or("?")
                .to_owned()
        };
        println!(
            "{seconds} s: {} wake-ups, {} ms of processor time, {:.1} descriptors a database, {} threads, {} KiB",
            self::switches()?.saturating_sub(switches),
            (processor_ticks()? - processor) * 10,
            (descriptors()? - before) as f64 / DATABASES as f64,
            field("Threads:"),
            field("VmRSS:")
        );
    }
    for application in applications {
        application.stop()?;
    }
    store.close(&CancellationToken::new()).await?;
    Ok(())
}

/// Voluntary context switches of all threads: how often one went to sleep.
fn switches() -> Result<u64> {
    let mut all = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches"));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        all += word.map_or(Ok(0), str::parse)?;
    }
    Ok(all)
}

/// User and system time in ticks of 10 ms.
fn processor_ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let words: Vec<&str> = stat.split(' ').collect();
    let [user, system] = [13, 14].map(|at| words.get(at).copied().unwrap_or("0"));
    Ok(user.parse::<u64>()? + system.parse::<u64>()?)
}

fn descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn unix_nanoseconds() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos(),
    )?)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn parse(line: &str) -> Result<Vec<f64>> {
    let numbers = line.split(' ').map(str::parse);
    numbers
        .collect::<Result<_, _>>()
        .with_context(|| format!("answer {line:?}"))
}

fn print_times(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let rank = (times.len() as f64 * part).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    println!(
        "{name}: {} times, p50 {:.2} p95 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
