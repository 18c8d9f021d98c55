//! One SQLite connection to the user's database, with the few operations capture needs.
//!
//! Invariant: a connection never checkpoints by itself (no auto-checkpoint, none on close), never
//! writes to the database's content, and never creates a database that is not there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{ErrorCode, OpenFlags};

use super::shared;
use crate::error::{Error, Result};

/// Mode of a checkpoint, named as in `PRAGMA wal_checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointMode {
    /// Copies what no reader needs to be kept back; never waits.
    Passive,
    /// Like passive, then makes the next writer start the WAL anew and cuts the file to nothing.
    Truncate,
}

impl CheckpointMode {
    /// The word SQLite, logs and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passive => "PASSIVE",
            Self::Truncate => "TRUNCATE",
        }
    }
}

/// What `PRAGMA wal_checkpoint` answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointResult {
    /// The checkpoint could not do all its mode asks for.
    pub busy: bool,
    /// Frames in the WAL, -1 when not known.
    pub log: i64,
    /// Frames of them that are in the database file, -1 when not known.
    pub checkpointed: i64,
}

/// An open connection; see the module.
pub(crate) struct Connection {
    inner: rusqlite::Connection,
    path: PathBuf,
    busy_timeout: Duration,
}

impl Connection {
    /// Opens an existing database by its plain name: special characters have no meaning.
    pub(crate) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |source| Error::sqlite("open database", path, source);
        let inner = rusqlite::Connection::open_with_flags(path, flags).map_err(fail)?;
        inner.busy_timeout(busy_timeout).map_err(fail)?;
        // The WAL must outlive us: it is what proves continuity after the next start.
        inner
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(fail)?;
        shared::disable_lookaside(&inner);
        let connection = Self {
            inner,
            path: path.to_owned(),
            busy_timeout,
        };
        connection.run("PRAGMA wal_autocheckpoint = 0")?;
        // Few pages are ever read through the cache: page 1 and nothing else. Below 3, SQLite does not
        // allocate twenty of them in advance.
        connection.run("PRAGMA cache_size = 1")?;
        connection.shrink()?;
        Ok(connection)
    }

    /// Gives back the memory of pages and of the schema, which some statements load: it grows with the
    /// user's schema, and nothing here needs it for long.
    pub(crate) fn shrink(&self) -> Result<()> {
        // Nothing is written by this, nor can be afterwards: the schema is forgotten.
        self.run("PRAGMA writable_schema = RESET")?;
        self.run("PRAGMA shrink_memory")
    }

    /// Switches the database to WAL mode unless it is already; the switch is lasting.
    pub(crate) fn ensure_wal_mode(&self) -> Result<()> {
        let mode: String = self.ask("PRAGMA journal_mode")?;
        if mode.eq_ignore_ascii_case("wal") {
            return Ok(());
        }
        let mode: String = self.ask("PRAGMA journal_mode = wal")?;
        if mode.eq_ignore_ascii_case("wal") {
            return Ok(());
        }
        Err(Error::NotWal {
            path: self.path.clone(),
            mode,
        })
    }

    /// Page size of the database in bytes.
    pub(crate) fn page_size(&self) -> Result<u32> {
        self.ask("PRAGMA page_size")
    }

    /// Begins a read transaction and takes its read lock at once.
    ///
    /// The schema version is asked for because that takes the lock without loading the schema.
    pub(crate) fn begin_read(&self) -> Result<()> {
        self.run("BEGIN")?;
        match self.ask::<i64>("PRAGMA schema_version") {
            Ok(_) => Ok(()),
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    /// Takes the write lock without waiting; `false` when somebody else has it.
    pub(crate) fn try_begin_write(&self) -> Result<bool> {
        let fail = |source| Error::sqlite("set busy timeout", &self.path, source);
        self.inner.busy_timeout(Duration::ZERO).map_err(fail)?;
        let begun = self.inner.execute_batch("BEGIN IMMEDIATE");
        self.inner.busy_timeout(self.busy_timeout).map_err(fail)?;
        match begun {
            Ok(()) => Ok(true),
            Err(error) if is_busy(&error) => Ok(false),
            Err(source) => Err(Error::sqlite("take write lock", &self.path, source)),
        }
    }

    /// Ends whatever transaction is open; there being none is fine.
    pub(crate) fn end(&self) {
        if !self.inner.is_autocommit()
            && let Err(error) = self.inner.execute_batch("ROLLBACK")
        {
            tracing::debug!(path = %self.path.display(), %error, "end transaction");
        }
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.inner.is_autocommit()
    }

    /// Runs a checkpoint that never waits for others: the busy timeout is zero meanwhile.
    pub(crate) fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointResult> {
        let fail = |source| Error::sqlite("checkpoint", &self.path, source);
        self.inner.busy_timeout(Duration::ZERO).map_err(fail)?;
        let sql = format!("PRAGMA wal_checkpoint({})", mode.as_str());
        let result = self.inner.query_row(&sql, [], |row| {
            Ok(CheckpointResult {
                busy: row.get::<_, i64>(0)? != 0,
                log: row.get(1)?,
                checkpointed: row.get(2)?,
            })
        });
        self.inner.busy_timeout(self.busy_timeout).map_err(fail)?;
        match result {
            Err(error) if is_busy(&error) => Ok(CheckpointResult {
                busy: true,
                log: -1,
                checkpointed: -1,
            }),
            other => other.map_err(fail),
        }
    }

    /// The first 136 bytes of the wal-index that SQLite has mapped for this connection.
    pub(crate) fn wal_index_bytes(&self) -> Result<[u8; 136]> {
        shared::wal_index_bytes(&self.inner)
            .map_err(|code| Error::sqlite("read wal-index", &self.path, code))
    }

    /// Takes a shared lock on a reader slot apart from any transaction; `false` when somebody has it
    /// exclusively. It must be let go before the connection is closed.
    pub(crate) fn lock_slot(&self, slot: u8) -> Result<bool> {
        shared::lock_slot(&self.inner, slot)
            .map_err(|code| Error::sqlite("lock reader slot", &self.path, code))
    }

    /// Takes the mark of a reader slot away, as a checkpoint does; `false` when somebody uses the slot.
    pub(crate) fn clear_mark(&self, slot: u8) -> Result<bool> {
        shared::clear_mark(&self.inner, slot)
            .map_err(|code| Error::sqlite("clear read mark", &self.path, code))
    }

    /// Lets go of the lock on a reader slot.
    pub(crate) fn unlock_slot(&self, slot: u8) {
        if let Err(error) = shared::unlock_slot(&self.inner, slot) {
            tracing::debug!(path = %self.path.display(), %error, "unlock reader slot");
        }
    }

    /// Reads the database file through SQLite's own descriptor: no second descriptor is ever
    /// opened, so no POSIX lock of the process is dropped by closing one.
    ///
    /// Returns the bytes read; fewer than asked for means the end of the file.
    pub(crate) fn read_database(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        shared::read_database(&self.inner, buffer, offset)
            .map_err(|code| Error::sqlite("read database file", &self.path, code))
    }

    /// Size of the database file in bytes.
    pub(crate) fn database_size(&self) -> Result<u64> {
        shared::database_size(&self.inner)
            .map_err(|code| Error::sqlite("size of database file", &self.path, code))
    }

    fn run(&self, sql: &'static str) -> Result<()> {
        match self.inner.query_row(sql, [], |_| Ok(())) {
            Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
            Err(source) => Err(Error::sqlite(sql, &self.path, source)),
        }
    }

    fn ask<T: rusqlite::types::FromSql>(&self, sql: &'static str) -> Result<T> {
        self.inner
            .query_row(sql, [], |row| row.get(0))
            .map_err(|source| Error::sqlite(sql, &self.path, source))
    }
}

/// Whether SQLite says that somebody else holds a lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The reference set it in a form that its driver ignored.
    #[test]
    fn the_busy_timeout_is_in_force_whatever_was_done_before() {
        const TIMEOUT: Duration = Duration::from_millis(321);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let other = rusqlite::Connection::open(&path).unwrap();
        let sql = "PRAGMA journal_mode = wal; CREATE TABLE t(x)";
        other.execute_batch(sql).unwrap();
        let connection = Connection::open(&path, TIMEOUT).unwrap();
        let in_force = || {
            assert_eq!(connection.ask::<i64>("PRAGMA busy_timeout").unwrap(), 321);
        };
        in_force();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let started = Instant::now();
        assert!(!connection.try_begin_write().unwrap(), "without waiting");
        in_force();
        connection.checkpoint(CheckpointMode::Truncate).unwrap();
        in_force();
        // Whoever does wait waits so long.
        let waited = Instant::now();
        connection.run("BEGIN IMMEDIATE").unwrap_err();
        assert!(waited.elapsed() >= TIMEOUT / 2, "{:?}", waited.elapsed());
        assert!(started.elapsed() >= waited.elapsed());
    }
}
