//! The seam at the file system: every step of the file backend passes it, named.
//!
//! Invariant: no call that changes or syncs anything on disk is made outside [`Shared::step`],
//! except the removal of a temporary file after a failure.

use std::fmt;
use std::io;
use std::path::Path;

use super::Shared;
use crate::{Error, ErrorKind, Operation, Result};

/// One step of the file backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileStep {
    /// Make a missing directory.
    CreateDir,
    /// Create the temporary file.
    CreateTemp,
    /// Write one chunk of the content, or have the kernel copy a part of it.
    Write,
    /// Set the modification time of the temporary file.
    SetTimes,
    /// Make the content durable.
    SyncFile,
    /// Give the file its final name; the path is the final one.
    Publish,
    /// Make the final name durable; the path is the directory.
    SyncDir,
    /// Make the entry of a directory in its parent durable; the path is the parent.
    SyncParent,
    /// Open an object for reading.
    Open,
    /// Read one chunk of an object.
    Read,
    /// Read the names in a directory.
    ReadDir,
    /// Delete an object.
    Remove,
}

impl FileStep {
    /// The steps of a put, in their order. The first and the last are taken only where they are needed.
    pub const PUT: [Self; 8] = [
        Self::CreateDir,
        Self::CreateTemp,
        Self::Write,
        Self::SetTimes,
        Self::SyncFile,
        Self::Publish,
        Self::SyncDir,
        Self::SyncParent,
    ];
}

impl fmt::Display for FileStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateDir => "create directory",
            Self::SyncParent => "sync parent directory",
            Self::CreateTemp => "create temporary file",
            Self::Write => "write",
            Self::SetTimes => "set times of",
            Self::SyncFile => "sync",
            Self::Publish => "publish",
            Self::SyncDir => "sync directory",
            Self::Open => "open",
            Self::Read => "read",
            Self::ReadDir => "read directory",
            Self::Remove => "remove",
        })
    }
}

/// Watches the steps of a [`FileStore`](super::FileStore) and makes them fail, for tests.
///
/// Called on the blocking pool, so it may wait. A store without one pays a null check per step.
pub trait FileSteps: Send + Sync + fmt::Debug + 'static {
    /// Called before a step; with an error the step is not taken and fails with it.
    fn before(&self, _step: FileStep, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Called after a step that succeeded; with an error the step has been taken and yet fails.
    fn after(&self, _step: FileStep, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Takes one step.
    pub(super) fn step<T>(
        &self,
        step: FileStep,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(steps) = &self.steps else {
            return work();
        };
        steps.before(step, path)?;
        let done = work()?;
        steps.after(step, path)?;
        Ok(done)
    }
}

/// The error of a failed step.
pub(super) fn failed(
    operation: Operation,
    step: FileStep,
    path: &Path,
) -> impl FnOnce(io::Error) -> Error {
    move |error| {
        let error = Error::from_io(operation, error);
        // What a put does not find is part of its way, not the object.
        let error = match (operation, error.kind()) {
            (Operation::Put, ErrorKind::NotFound) => error.with_kind(ErrorKind::Io),
            _ => error,
        };
        error.with_detail(format!("{step} {}", path.display()))
    }
}

/// The same, for places that return at once.
pub(super) fn fail<T>(
    operation: Operation,
    step: FileStep,
    path: &Path,
    error: io::Error,
) -> Result<T> {
    Err(failed(operation, step, path)(error))
}
