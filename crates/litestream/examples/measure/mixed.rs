//! Writers of several sizes, readers that hold and checkpoints of all modes, with the engine and without.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use litestream::DatabaseSettings;
use tokio_util::sync::CancellationToken;

use super::application::Application;
use super::{Engine, parse, print_times, start};

/// The least patience that is promised to be enough.
const PATIENCE: &str = "patience 1000";

/// Bytes, transactions a second and how commits are synced.
const WRITERS: [(u32, u32, &str); 4] = [
    (300, 100, "NORMAL"),
    (300, 20, "FULL"),
    (20_000, 20, "NORMAL"),
    (1_000_000, 1, "NORMAL"),
];
/// One kind of run.
pub(crate) struct Plan {
    what: &'static str,
    /// Milliseconds between checkpoints of the application; `None`: SQLite's own ones.
    pause: Option<u32>,
    /// How long the readers hold, in milliseconds; the second one for the whole run if it says 0.
    holds: [u32; 2],
}

/// What an application does.
pub(crate) const PLANS: [Plan; 3] = [
    Plan {
        what: "SQLite's own checkpoints",
        pause: None,
        holds: [20, 150],
    },
    Plan {
        what: "checkpoints of all modes, 500 ms apart",
        pause: Some(500),
        holds: [20, 150],
    },
    Plan {
        what: "checkpoints of all modes, 50 ms apart",
        pause: Some(50),
        holds: [20, 40],
    },
];

/// The same with a reader that never lets go.
pub(crate) const HELD: [Plan; 2] = [
    Plan {
        what: "SQLite's own checkpoints, a reader holds",
        pause: None,
        holds: [20, 0],
    },
    Plan {
        what: "checkpoints of all modes, 500 ms apart, a reader holds",
        pause: Some(500),
        holds: [20, 0],
    },
];

/// What was measured of one kind of run, over all rounds.
#[derive(Default)]
struct Seen {
    largest_wal: u64,
    commits: Vec<Vec<f64>>,
    busy: Vec<usize>,
    checkpoints: Vec<f64>,
    incomplete: usize,
    write_lock: Duration,
}

/// Alternates between runs without and with the engine, `seconds` each.
pub(crate) async fn run(folder: &Path, words: &[String], plans: &[Plan]) -> Result<()> {
    let number = |at: usize, otherwise: u32| {
        let word = words.get(at).map(|word| word.parse());
        word.unwrap_or(Ok(otherwise))
    };
    let (seconds, rounds) = (number(0, 15)?, number(1, 6)?);
    for plan in plans {
        println!("{}: {rounds} times {seconds} s", plan.what);
        let mut seen = [Seen::default(), Seen::default()];
        for _ in 0..rounds {
            for (with_engine, seen) in [false, true].into_iter().zip(&mut seen) {
                slice(folder, with_engine, plan, seconds, seen).await?;
            }
        }
        report(seen);
    }
    Ok(())
}

async fn slice(
    folder: &Path,
    with_engine: bool,
    plan: &Plan,
    seconds: u32,
    seen: &mut Seen,
) -> Result<()> {
    let pause = plan.pause;
    let part = tempfile::tempdir_in(folder)?;
    let db = part.path().join("app.db");
    let autocheckpoint = if pause.is_some() { 0 } else { 1000 };
    let applications = |synchronous: &str| -> Result<Application> {
        let mut application = Application::start(&db, autocheckpoint, synchronous)?;
        application.ask(PATIENCE)?;
        Ok(application)
    };
    let mut writers = Vec::new();
    for (_, _, synchronous) in WRITERS {
        writers.push(applications(synchronous)?);
    }
    let mut readers = Vec::new();
    for _ in plan.holds {
        readers.push(applications("NORMAL")?);
    }
    let mut checkpointer = applications("NORMAL")?;
    checkpointer.ask("commit")?;
    let engine = if with_engine {
        let engine = start(&db, part.path().join("copy"), DatabaseSettings::new(&db))?;
        engine.database.sync_and_wait().await?;
        Some(engine)
    } else {
        None
    };
    for (writer, (bytes, rate, _)) in writers.iter_mut().zip(WRITERS) {
        writer.say(&format!("write {bytes} {rate} {seconds}"))?;
    }
    for (reader, hold) in readers.iter_mut().zip(plan.holds) {
        let hold = if hold == 0 { seconds * 1000 } else { hold };
        reader.say(&format!("read {hold} {seconds}"))?;
    }
    if let Some(pause) = pause {
        checkpointer.say(&format!("checkpoints {pause} {seconds}"))?;
    }
    seen.commits.resize(WRITERS.len(), Vec::new());
    seen.busy.resize(WRITERS.len(), 0);
    let sums = seen.commits.iter_mut().zip(&mut seen.busy);
    for (mut writer, (commits, busy)) in writers.into_iter().zip(sums) {
        let (missed, times) = hear(&mut writer)?;
        *busy += missed;
        commits.extend(times);
        writer.stop()?;
    }
    for mut reader in readers {
        let (busy, _) = hear(&mut reader)?;
        anyhow::ensure!(busy == 0, "a reader saw SQLITE_BUSY");
        reader.stop()?;
    }
    if pause.is_some() {
        let (incomplete, times) = hear(&mut checkpointer)?;
        seen.incomplete += incomplete;
        seen.checkpoints.extend(times);
    }
    // The last application to close would delete it.
    let wal = std::fs::metadata(part.path().join("app.db-wal"))?;
    seen.largest_wal = seen.largest_wal.max(wal.len());
    checkpointer.stop()?;
    if let Some(Engine {
        store, database, ..
    }) = engine
    {
        let held = database.metrics().write_lock_longest;
        seen.write_lock = seen.write_lock.max(held);
        store.close(&CancellationToken::new()).await?;
    }
    Ok(())
}

fn hear(application: &mut Application) -> Result<(usize, Vec<f64>)> {
    let line = tokio::task::block_in_place(|| application.hear())?;
    let mut numbers = parse(&line)?;
    anyhow::ensure!(!numbers.is_empty(), "empty answer");
    let busy = numbers.remove(0);
    Ok((busy as usize, numbers))
}

fn report(seen: [Seen; 2]) {
    let all = seen.each_ref().map(|seen| seen.commits.concat());
    for (number, (bytes, rate, synchronous)) in WRITERS.into_iter().enumerate() {
        for (seen, what) in seen.iter().zip(["no engine", "engine   "]) {
            let busy = seen.busy.get(number).copied().unwrap_or(0);
            let times = seen.commits.get(number).cloned().unwrap_or_default();
            let name = format!("{what} {bytes} bytes, {rate}/s, {synchronous}, busy {busy}");
            print_times(&name, times);
        }
    }
    for (seen, what) in seen.into_iter().zip(["no engine", "engine   "]) {
        if !seen.checkpoints.is_empty() {
            let name = format!("{what} checkpoints, {} incomplete", seen.incomplete);
            print_times(&name, seen.checkpoints);
        }
        println!(
            "    {what} largest WAL at the end of a run {} KiB",
            seen.largest_wal / 1024
        );
        if !seen.write_lock.is_zero() {
            println!("    longest write lock of the engine {:?}", seen.write_lock);
        }
    }
    let [without, with] = all.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times
    });
    for part in [0.5, 0.99, 0.999, 1.0] {
        let at = |times: &[f64]| {
            let rank = (times.len() as f64 * part).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        let (without, with) = (at(&without), at(&with));
        let ratio = with / without;
        println!(
            "all commits p{:<4} {without:8.2} ms, engine {with:8.2} ms, ratio {ratio:.2}",
            part * 100.0
        );
    }
}
