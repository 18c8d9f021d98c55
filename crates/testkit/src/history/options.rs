//! The settings of a history.

use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::Connection;

/// `PRAGMA auto_vacuum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoVacuum {
    /// Free pages stay in the file.
    None,
    /// The file shrinks at every commit.
    Full,
    /// The file shrinks when asked.
    Incremental,
}

/// `PRAGMA encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
}

/// Settings of a history; the first three are properties of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes per page: a power of two from 512 to 65536.
    pub page_size: u32,
    /// Whether and when the file shrinks.
    pub auto_vacuum: AutoVacuum,
    /// How text is kept.
    pub encoding: Encoding,
    /// `PRAGMA wal_autocheckpoint` of the application, in pages; 0 is off.
    pub autocheckpoint: u32,
    /// How long the application waits for a lock.
    pub busy_timeout: Duration,
    /// `PRAGMA cache_size`, in pages. Small, so that larger transactions spill frames into
    /// the WAL before they commit or roll back.
    pub cache_pages: u32,
    /// Bytes of content above which a step deletes most of it.
    pub content_limit: u64,
    /// Whether every committed step is hashed; costs a read of the whole database each.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size: 4096,
            auto_vacuum: AutoVacuum::None,
            encoding: Encoding::Utf8,
            autocheckpoint: 1000,
            busy_timeout: Duration::from_secs(10),
            cache_pages: 16,
            content_limit: 2 << 20,
            record: true,
        }
    }
}

impl AutoVacuum {
    /// The three of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Full, Self::Incremental];

    /// The word of the pragma.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

impl Encoding {
    /// The three of them.
    pub const ALL: [Self; 3] = [Self::Utf8, Self::Utf16Le, Self::Utf16Be];

    /// The word of the pragma.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16le",
            Self::Utf16Be => "UTF-16be",
        }
    }
}

impl Options {
    /// Sets what belongs to the database; it must be empty.
    pub(super) fn lay_out(&self, connection: &Connection) -> Result<()> {
        connection.execute_batch(&format!(
            "PRAGMA page_size = {}; PRAGMA auto_vacuum = {}; PRAGMA encoding = '{}';",
            self.page_size,
            self.auto_vacuum.as_str(),
            self.encoding.as_str(),
        ))?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        ensure!(mode == "wal", "journal mode is {mode}, wanted wal");
        let size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        ensure!(
            size == self.page_size,
            "page size is {size}, wanted {}",
            self.page_size
        );
        Ok(())
    }

    /// Sets what belongs to the connection.
    pub(super) fn configure(&self, connection: &Connection) -> Result<()> {
        connection.busy_timeout(self.busy_timeout)?;
        connection.execute_batch(&format!(
            "PRAGMA wal_autocheckpoint = {}; PRAGMA cache_size = {}; PRAGMA synchronous = NORMAL;",
            self.autocheckpoint, self.cache_pages,
        ))?;
        Ok(())
    }
}
