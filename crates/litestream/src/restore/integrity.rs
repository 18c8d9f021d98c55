//! SQLite's own check of a restored database.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};

/// How thoroughly SQLite checks the result of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntegrityCheck {
    /// Not at all: the files' checksums are verified in any case.
    #[default]
    None,
    /// `PRAGMA quick_check`: structure, without comparing indexes with tables.
    Quick,
    /// `PRAGMA integrity_check`.
    Full,
}

impl IntegrityCheck {
    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// Reads the word of the command line.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Quick, Self::Full]
            .into_iter()
            .find(|check| check.as_str() == word)
    }
}

/// Checks a database that has no name yet, and removes what SQLite put beside it.
pub(super) fn check(path: &Path, check: IntegrityCheck) -> Result<()> {
    let sql = match check {
        IntegrityCheck::None => return Ok(()),
        IntegrityCheck::Quick => "PRAGMA quick_check",
        IntegrityCheck::Full => "PRAGMA integrity_check",
    };
    let result = ask(path, sql);
    for file in super::sidecars(path) {
        remove(&file);
    }
    let reason = match result {
        Ok(answer) if answer == "ok" => return Ok(()),
        Ok(answer) => format!("integrity check failed: {answer}"),
        Err(error) => error.to_string(),
    };
    Err(Error::Integrity { reason })
}

fn ask(path: &Path, sql: &str) -> rusqlite::Result<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let answer = connection.query_row(sql, [], |row| row.get(0));
    connection.close().map_err(|(_, error)| error)?;
    answer
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove");
    }
}
