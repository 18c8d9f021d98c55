//! What changes no content: checkpoints of others, and readers that stay.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;

/// Mode of `PRAGMA wal_checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointMode {
    /// As much as goes without waiting.
    Passive,
    /// All frames.
    Full,
    /// All frames, and the next writer starts the WAL anew.
    Restart,
    /// All frames, and the WAL becomes empty.
    Truncate,
}

impl CheckpointMode {
    /// The four of them.
    pub const ALL: [Self; 4] = [Self::Passive, Self::Full, Self::Restart, Self::Truncate];

    /// The word of the pragma.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passive => "PASSIVE",
            Self::Full => "FULL",
            Self::Restart => "RESTART",
            Self::Truncate => "TRUNCATE",
        }
    }
}

impl std::str::FromStr for CheckpointMode {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(word));
        found.with_context(|| format!("{word:?} is no checkpoint mode"))
    }
}

/// The row that `PRAGMA wal_checkpoint` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointResult {
    /// Whether it could not do all it should because of others.
    pub busy: bool,
    /// Frames in the WAL; -1 when there is no WAL.
    pub log: i64,
    /// Frames of them that are in the database.
    pub checkpointed: i64,
}

/// Checkpoints over a connection of its own that never waits.
pub(super) fn checkpoint(path: &Path, mode: CheckpointMode) -> Result<CheckpointResult> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::ZERO)?;
    let pragma = format!("PRAGMA wal_checkpoint({})", mode.as_str());
    let result = connection.query_row(&pragma, [], |row| {
        Ok(CheckpointResult {
            busy: row.get(0)?,
            log: row.get(1)?,
            checkpointed: row.get(2)?,
        })
    });
    match result {
        // Another checkpoint is running: said as an error by some modes, as a row by others.
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == rusqlite::ErrorCode::DatabaseBusy =>
        {
            Ok(CheckpointResult {
                busy: true,
                log: -1,
                checkpointed: -1,
            })
        }
        other => Ok(other?),
    }
}

/// A connection that holds a read transaction until it is dropped.
#[derive(Debug)]
pub(super) struct Reader(#[expect(dead_code, reason = "held for its lock")] Connection);

impl Reader {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch("BEGIN")?;
        // The transaction begins with the first read.
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        anyhow::ensure!(tables > 0, "{} has no tables", path.display());
        Ok(Self(connection))
    }
}
