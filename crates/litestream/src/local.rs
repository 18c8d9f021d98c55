//! The meta directory of a database: its level-0 files and the position they stand for.
//!
//! Invariant: a file under its final name is complete and durable; TXIDs are a contiguous run that
//! ends at the position, so the newest file is never removed while the database is managed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ltx::{FileName, Txid, TxidRange};

use crate::error::{Error, Result};
use crate::files::{Files, Ownership, Staged};

/// Folder of the local state of one database.
#[derive(Debug, Clone)]
pub(crate) struct LocalDir {
    root: PathBuf,
    files: Files,
}

/// The default meta directory of a database: `.NAME-litestream` beside it.
pub fn default_meta_path(database: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(database.file_name().unwrap_or_default());
    name.push("-litestream");
    database.with_file_name(name)
}

impl LocalDir {
    pub(crate) fn new(root: PathBuf, files: Files) -> Self {
        Self { root, files }
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Folder of the level-0 files.
    pub(crate) fn level_zero(&self) -> PathBuf {
        self.root.join("ltx").join("0")
    }

    /// Path of the level-0 file of one transaction.
    pub(crate) fn file(&self, txid: Txid) -> PathBuf {
        let name = FileName {
            range: TxidRange::single(txid),
        };
        self.level_zero().join(name.to_string())
    }

    /// Path of the capture record, see [`crate::capture::record`].
    pub(crate) fn record(&self) -> PathBuf {
        self.root.join("position")
    }

    /// TXIDs of all level-0 files, ascending; a folder that is not there is empty.
    pub(crate) fn list(&self) -> Result<Vec<Txid>> {
        let folder = self.level_zero();
        let fail = |error| Error::io("list", &folder, error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let Some(name) = entry.file_name().to_str().and_then(FileName::parse) else {
                continue;
            };
            if name.range.is_single() {
                found.push(name.range.max);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Starts the level-0 file of a transaction; it counts once it is committed.
    pub(crate) fn stage(&self, txid: Txid, ownership: &Ownership) -> Result<Staged> {
        self.files.create_directory(&self.level_zero(), ownership)?;
        self.files.stage(&self.file(txid), ownership)
    }

    /// Removes what an interrupted run has left under temporary names.
    pub(crate) fn remove_temporary(&self) -> Result<()> {
        remove_temporary_in(&self.root, &self.files)
    }

    /// Removes level-0 files older than `first`; the caller keeps the newest.
    pub(crate) fn remove_before(&self, first: Txid) -> Result<usize> {
        let mut removed = 0;
        for txid in self.list()?.into_iter().take_while(|txid| *txid < first) {
            self.files.remove(&self.file(txid))?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn remove_temporary_in(folder: &Path, files: &Files) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            remove_temporary_in(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "tmp") {
            files.remove(&path)?;
        }
    }
    Ok(())
}
