//! Seeded random workloads on a database.
//!
//! Step `n` of a history depends on the seed, on `n` and on the logical content of the
//! database, and on nothing else: the same seed and options give the same
//! content after the same step, on every machine and whoever checkpoints meanwhile. Every committed step
//! writes its number into the table `history`, in the same transaction, so no two states
//! have the same hash and a restored database tells which step it is the state of.

mod action;
mod change;
mod maintain;
mod options;
mod random;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;

use self::maintain::Reader;
use self::random::Random;
use crate::hash::content_hash_of;

pub use self::action::Action;
pub use self::change::Change;
pub use self::maintain::{CheckpointMode, CheckpointResult};
pub use self::options::{AutoVacuum, Encoding, Options};

/// A workload on one database, through connections of this process.
///
/// Not for a database that an engine of this process replicates; see
/// [`crate::writer::HistoryWriter`] for that.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    seed: u64,
    options: Options,
    connection: Connection,
    reader: Option<Reader>,
    last: u64,
}

/// One step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Number, from 1.
    pub number: u64,
    /// What was done.
    pub action: Action,
    /// Content hash after the step, if it committed and hashes are recorded.
    pub hash: Option<String>,
    /// Unix time in nanoseconds before the commit began.
    pub before: u64,
    /// Unix time in nanoseconds after it returned.
    pub after: u64,
}

impl History {
    /// Makes a new database at `path` and puts it into WAL mode.
    pub fn create(path: &Path, seed: u64, options: Options) -> Result<Self> {
        ensure!(!path.try_exists()?, "{} exists already", path.display());
        let connection = open(path, &options)?;
        options.lay_out(&connection)?;
        change::create_tables(&connection)?;
        Ok(Self {
            path: path.to_owned(),
            seed,
            options,
            connection,
            reader: None,
            last: 0,
        })
    }

    /// Goes on after the last committed step of a database that [`History::create`] made
    /// with the same seed and options.
    pub fn resume(path: &Path, seed: u64, options: Options) -> Result<Self> {
        ensure!(path.try_exists()?, "{} does not exist", path.display());
        let connection = open(path, &options)?;
        let last = committed_step_of(&connection)
            .with_context(|| format!("{} has no history", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            seed,
            options,
            connection,
            reader: None,
            last,
        })
    }

    /// Does the next step.
    ///
    /// # Errors
    /// Also when the database stays busy for longer than the busy timeout; the step can
    /// then be tried again.
    pub fn step(&mut self) -> Result<Step> {
        let number = self.last + 1;
        let mut random = Random::for_step(self.seed, number);
        let action = action::choose(&mut random, &self.connection, &self.options)?;
        let before = unix_nanos();
        self.perform(action, number, &mut random)
            .with_context(|| format!("step {number} ({action}) of seed {}", self.seed))?;
        let after = unix_nanos();
        let recorded = self.options.record && action.commits();
        let hash = if recorded {
            Some(self.content_hash()?)
        } else {
            None
        };
        self.last = number;
        Ok(Step {
            number,
            action,
            hash,
            before,
            after,
        })
    }

    /// Does `count` steps.
    pub fn run(&mut self, count: u64) -> Result<Vec<Step>> {
        (0..count).map(|_| self.step()).collect()
    }

    /// Begins a read transaction on a connection of its own and holds it; an already
    /// held one stays as it is.
    pub fn open_reader(&mut self) -> Result<()> {
        if self.reader.is_none() {
            self.reader = Some(Reader::begin(&self.path)?);
        }
        Ok(())
    }

    /// Ends the held read transaction, if there is one.
    pub fn close_reader(&mut self) {
        self.reader = None;
    }

    /// Checkpoints over another connection, as a foreign program would, without waiting
    /// for readers or writers.
    pub fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointResult> {
        maintain::checkpoint(&self.path, mode)
    }

    /// Hash of the content now.
    pub fn content_hash(&self) -> Result<String> {
        content_hash_of(&self.connection)
    }

    /// The number of the last step done.
    pub fn last_step(&self) -> u64 {
        self.last
    }

    /// The connection of the application.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn perform(&mut self, action: Action, number: u64, random: &mut Random) -> Result<()> {
        match action {
            Action::ReaderOpen => self.open_reader(),
            Action::ReaderClose => {
                self.close_reader();
                Ok(())
            }
            Action::Checkpoint(mode) => self.checkpoint(mode).map(drop),
            Action::Vacuum => {
                self.connection.execute_batch("VACUUM")?;
                change::commit(&self.connection, number, |_| Ok(()))
            }
            Action::Rollback => change::roll_back(&self.connection, &self.options, number, random),
            Action::Change(change) => change::commit(&self.connection, number, |connection| {
                change::apply(change, connection, &self.options, number, random)
            }),
        }
    }
}

/// The last committed step of the database behind `connection`, e.g. a restored one.
pub fn committed_step_of(connection: &Connection) -> Result<u64> {
    Ok(connection.query_row("SELECT step FROM history", [], |row| row.get(0))?)
}

fn open(path: &Path, options: &Options) -> Result<Connection> {
    let connection =
        Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    options.configure(&connection)?;
    Ok(connection)
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is after 1970");
    u64::try_from(since.as_nanos()).expect("nanoseconds fit 64 bits until the year 2554")
}
