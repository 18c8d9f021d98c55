//! What one application process does: it writes, checkpoints or reads until its standard input ends.
//!
//! The process is the test binary itself, started once more with a [`Role`] in its environment. So
//! it is an application like any other to SQLite: it shares no lock state with the engine.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use serde::{Deserialize, Serialize};
use testkit::prefix::{Load, Prefix, Progress};

use super::side;
use super::times::{Summary, Times};

/// Environment variable with the role as JSON.
pub(crate) const VARIABLE: &str = "LITESTREAM_STRESS_ROLE";

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    /// The database.
    pub(crate) db: PathBuf,
    /// Where the process tells how far it is.
    pub(crate) progress: PathBuf,
    /// Where it leaves its [`Outcome`] at the end.
    pub(crate) outcome: PathBuf,
    pub(crate) busy_ms: u64,
    pub(crate) work: Work,
}

/// The kind of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Commits the provable history of testkit.
    Prefix {
        seed: u64,
        page_size: u32,
        autocheckpoint: u32,
        full_sync: bool,
        rate: Option<f64>,
    },
    /// Commits the history of [`side`] of one worker. Opens its connection anew each so many
    /// transactions, rolls large ones back now and then.
    Side {
        worker: u64,
        autocheckpoint: u32,
        full_sync: bool,
        reopen_every: u64,
        rate: f64,
    },
    /// Runs checkpoints of these modes in turn.
    Checkpoints { modes: Vec<String>, pause_ms: u64 },
    /// Opens, reads, holds, closes and pauses.
    Reads { hold_ms: u64 },
}

/// What the application saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Transactions committed, checkpoints run or reads made.
    pub(crate) done: u64,
    /// Statements that ended with `SQLITE_BUSY` although the application waits for locks.
    pub(crate) busy: u64,
    /// Checkpoints that could not do all that their mode asks for.
    pub(crate) incomplete: u64,
    /// How long each took.
    pub(crate) times: Summary,
}

impl Role {
    /// Does the work, then leaves the outcome.
    pub(crate) fn play(&self) {
        let (sender, stop) = channel();
        // Not joined: it ends with its input, as whoever started this process does.
        std::thread::spawn(move || {
            let read = std::io::stdin().read_line(&mut String::new());
            drop((read, sender.send(())));
        });
        let outcome = match &self.work {
            Work::Prefix { .. } => self.prefix(&stop),
            Work::Side { .. } => self.side(&stop),
            Work::Checkpoints { .. } => self.checkpoints(&stop),
            Work::Reads { .. } => self.reads(&stop),
        };
        std::fs::write(&self.outcome, serde_json::to_vec(&outcome).unwrap()).unwrap();
    }

    fn open(&self) -> Connection {
        let connection = Connection::open(&self.db).unwrap();
        connection
            .busy_timeout(Duration::from_millis(self.busy_ms))
            .unwrap();
        connection
    }

    fn prefix(&self, stop: &Receiver<()>) -> Outcome {
        let Work::Prefix {
            seed,
            page_size,
            autocheckpoint,
            full_sync,
            rate,
        } = self.work
        else {
            unreachable!("called for this work only")
        };
        let prefix = Prefix {
            page_size,
            ..Prefix::new(seed)
        };
        let load = Load {
            rate,
            autocheckpoint,
            full_sync,
            busy_timeout: Duration::from_millis(self.busy_ms),
            ..Load::new(prefix, &self.db, &self.progress)
        };
        let report = testkit::prefix::write(&load, stop).unwrap();
        Outcome {
            done: report.committed,
            busy: report.busy,
            incomplete: 0,
            times: Summary {
                p50: report.p50_ms,
                p99: report.p99_ms,
                max: report.max_ms,
            },
        }
    }

    fn side(&self, stop: &Receiver<()>) -> Outcome {
        let Work::Side {
            worker,
            autocheckpoint,
            full_sync,
            reopen_every,
            rate,
        } = self.work
        else {
            unreachable!("called for this work only")
        };
        let open = || {
            let connection = self.open();
            let synchronous = if full_sync { "FULL" } else { "NORMAL" };
            connection
                .execute_batch(&format!(
                    "PRAGMA wal_autocheckpoint = {autocheckpoint};
                     PRAGMA synchronous = {synchronous}; PRAGMA cache_size = 10;"
                ))
                .unwrap();
            connection
        };
        let mut connection = open();
        let file = Progress::create(&self.progress, 0).unwrap();
        let (mut committed, mut busy, mut times) = (0, 0, Times::default());
        while !stopped(stop, Duration::from_secs_f64(1.0 / rate)) {
            if reopen_every != 0 && committed % reopen_every == reopen_every - 1 {
                drop(connection);
                connection = open();
            }
            tell(&file, committed + 1, committed, busy);
            let began = Instant::now();
            let result = commit(&mut connection, worker, committed + 1);
            times.add(began.elapsed());
            match result {
                Ok(()) => committed += 1,
                Err(error) if is_busy(&error) => busy += 1,
                Err(error) => panic!("worker {worker}, transaction {}: {error}", committed + 1),
            }
            tell(&file, committed, committed, busy);
        }
        Outcome {
            done: committed,
            busy,
            incomplete: 0,
            times: times.summary(),
        }
    }

    fn checkpoints(&self, stop: &Receiver<()>) -> Outcome {
        let Work::Checkpoints { modes, pause_ms } = &self.work else {
            unreachable!("called for this work only")
        };
        let connection = self.open();
        let (mut outcome, mut times) = (Outcome::default(), Times::default());
        for mode in modes.iter().cycle() {
            if stopped(stop, Duration::from_millis(*pause_ms)) {
                break;
            }
            let began = Instant::now();
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            let busy: i64 = connection
                .query_row(&sql, [], |row| row.get(0))
                .unwrap_or_else(|error| panic!("{mode}: {error}"));
            times.add(began.elapsed());
            outcome.done += 1;
            outcome.incomplete += u64::from(busy != 0);
        }
        outcome.times = times.summary();
        outcome
    }

    /// Each read sees one state: the log of the provable history is as long as its last entry says.
    fn reads(&self, stop: &Receiver<()>) -> Outcome {
        let Work::Reads { hold_ms } = self.work else {
            unreachable!("called for this work only")
        };
        let (mut outcome, mut times) = (Outcome::default(), Times::default());
        loop {
            let connection = self.open();
            connection.execute_batch("BEGIN").unwrap();
            let began = Instant::now();
            let read = connection.query_row("SELECT count(*), max(s) FROM log", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
            });
            times.add(began.elapsed());
            match read {
                Ok((count, last)) => assert_eq!(count, last.unwrap_or(0), "a torn read"),
                Err(error) if is_busy(&error) => outcome.busy += 1,
                Err(error) => panic!("read: {error}"),
            }
            outcome.done += 1;
            let hold = Duration::from_millis(hold_ms * (outcome.done % 4) / 3);
            let end = stopped(stop, hold);
            drop(connection);
            if end || stopped(stop, Duration::from_millis(hold_ms)) {
                outcome.times = times.summary();
                return outcome;
            }
        }
    }
}

/// Commits transaction `n` of a worker; before each 23rd, a large one is rolled back, so that
/// frames that nobody committed get into the WAL.
fn commit(connection: &mut Connection, worker: u64, n: u64) -> rusqlite::Result<()> {
    if n.is_multiple_of(23) {
        let spilled = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        spilled.execute(
            "UPDATE side SET body = body || zeroblob(20000) WHERE worker = ?1",
            [worker],
        )?;
        spilled.rollback()?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    side::apply(&transaction, worker, n)?;
    transaction.commit()
}

fn tell(file: &std::fs::File, begun: u64, committed: u64, busy: u64) {
    let progress = Progress {
        begun,
        committed,
        busy,
    };
    progress.store(file).unwrap();
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Lets `pause` pass; true when the process is to end.
fn stopped(stop: &Receiver<()>, pause: Duration) -> bool {
    !matches!(stop.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}

/// The role in the environment, if there is one.
pub(crate) fn given() -> Option<Role> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// The file an outcome was left in.
pub(crate) fn read_outcome(path: &Path) -> Outcome {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}
