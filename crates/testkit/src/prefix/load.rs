//! The application that commits a provable history, as fast as told.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use super::{Prefix, Progress};

/// What a writer of a provable history does.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The history.
    pub prefix: Prefix,
    /// The database; made when it does not exist.
    pub db: PathBuf,
    /// Where [`Progress`] is told.
    pub progress: PathBuf,
    /// Commits per second; `None` is flat out.
    pub rate: Option<f64>,
    /// Stop after so many.
    pub transactions: Option<u64>,
    /// `PRAGMA wal_autocheckpoint`, in pages; 0 is off.
    pub autocheckpoint: u32,
    /// How long `SQLite` waits for a lock before it says busy.
    pub busy_timeout: Duration,
    /// `PRAGMA synchronous = FULL`: every commit waits for the disk; else NORMAL.
    pub full_sync: bool,
}

impl Load {
    /// Flat out, without end, with `SQLite`'s own checkpoints and a busy timeout of 5 s.
    pub fn new(prefix: Prefix, db: impl Into<PathBuf>, progress: impl Into<PathBuf>) -> Self {
        Self {
            prefix,
            db: db.into(),
            progress: progress.into(),
            rate: None,
            transactions: None,
            autocheckpoint: 1000,
            busy_timeout: Duration::from_secs(5),
            full_sync: false,
        }
    }
}

/// What the application saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the last committed transaction.
    pub last: u64,
    /// Transactions committed in this run.
    pub committed: u64,
    /// How often a transaction ended with `SQLITE_BUSY` (and was tried again).
    pub busy: u64,
    /// Seconds from the first to the last commit.
    pub seconds: f64,
    /// Median time of a transaction in milliseconds, tries that were busy included.
    pub p50_ms: f64,
    /// 99 of 100 were not slower.
    pub p99_ms: f64,
    /// 999 of 1000 were not slower.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Commits until the load is done, or anything (or the end) comes from `stop`.
///
/// A busy database is never the end: the same transaction is tried again and counted.
pub fn write(load: &Load, stop: &Receiver<()>) -> Result<Report> {
    let mut writer = Writer::open(load)?;
    let started = Instant::now();
    let mut due = started;
    let mut latencies = Vec::new();
    while load
        .transactions
        .is_none_or(|limit| (latencies.len() as u64) < limit)
    {
        if stopped(stop, due) {
            break;
        }
        match writer.commit_next(stop)? {
            Some(latency) => latencies.push(latency),
            None => break,
        }
        if let Some(rate) = load.rate {
            due += Duration::from_secs_f64(1.0 / rate);
            // Too slow for the rate: go on from here rather than hoard.
            due = due.max(
                Instant::now()
                    .checked_sub(Duration::from_secs(1))
                    .unwrap_or(due),
            );
        }
    }
    Ok(writer.report(started.elapsed(), latencies))
}

/// Waits until `due`; true when the writer is to stop.
fn stopped(stop: &Receiver<()>, due: Instant) -> bool {
    let left = due.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return !matches!(stop.try_recv(), Err(TryRecvError::Empty));
    }
    !matches!(stop.recv_timeout(left), Err(RecvTimeoutError::Timeout))
}

struct Writer {
    prefix: Prefix,
    connection: Connection,
    progress: File,
    first: u64,
    last: u64,
    busy: u64,
}

impl Writer {
    fn open(load: &Load) -> Result<Self> {
        if !load.db.try_exists()? {
            drop(load.prefix.create(&load.db)?);
        }
        let connection = Prefix::open(&load.db, load.autocheckpoint, load.busy_timeout)?;
        if load.full_sync {
            connection.pragma_update(None, "synchronous", "FULL")?;
        }
        let last = load.prefix.last(&connection)?;
        let progress = Progress::create(&load.progress, last)?;
        Ok(Self {
            prefix: load.prefix,
            connection,
            progress,
            first: last,
            last,
            busy: 0,
        })
    }

    /// The time the next transaction took, or `None` when told to stop before it went through.
    fn commit_next(&mut self, stop: &Receiver<()>) -> Result<Option<Duration>> {
        let s = self.last + 1;
        self.tell(s)?;
        let began = Instant::now();
        loop {
            match self.prefix.apply(&mut self.connection, s) {
                Ok(()) => break,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    self.busy += 1;
                    self.tell(s)?;
                    if stopped(stop, began) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error).with_context(|| format!("transaction {s}")),
            }
        }
        let took = began.elapsed();
        self.last = s;
        self.tell(s)?;
        Ok(Some(took))
    }

    fn tell(&self, begun: u64) -> Result<()> {
        Progress {
            begun,
            committed: self.last,
            busy: self.busy,
        }
        .store(&self.progress)
    }

    fn report(&self, elapsed: Duration, mut latencies: Vec<Duration>) -> Report {
        latencies.sort_unstable();
        let quantile = |part: f64| {
            let rank = (latencies.len() as f64 * part).ceil() as usize;
            let found = latencies
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default();
            found.as_secs_f64() * 1000.0
        };
        Report {
            last: self.last,
            committed: self.last - self.first,
            busy: self.busy,
            seconds: elapsed.as_secs_f64(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: quantile(1.0),
        }
    }
}
