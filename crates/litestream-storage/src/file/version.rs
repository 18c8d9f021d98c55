//! Versions of objects, and changes that depend on them.
//!
//! Invariant: of several writers that want to change the same version of a file, in this process
//! or another, one does; the others find another version.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use super::path;
use super::steps::{FileStep, fail, failed};
use super::temp::open_no_follow;
use crate::{Error, ErrorKind, Operation, Result};

/// The version of a file: its identity, its size and both its times to the nanosecond. The change
/// time cannot be set from outside and moves at each rename, so a file that got the inode number
/// of an earlier one still differs.
pub(super) fn etag(file: &Metadata) -> String {
    format!(
        "{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
        file.ino(),
        file.len(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec()
    )
}

/// Whether two descriptions are of the same file.
pub(super) fn same_file(a: &Metadata, b: &Metadata) -> bool {
    a.dev() == b.dev() && a.ino() == b.ino()
}

/// Runs `change` while the file `target` is there in the version `etag` and no other
/// conditional writer can come in between.
pub(super) fn while_version(
    operation: Operation,
    target: &Path,
    wanted: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let missing = || match operation {
        Operation::Put => Error::new(ErrorKind::PreconditionFailed, operation)
            .with_detail(format!("expected etag {wanted:?}, found no object")),
        _ => Error::new(ErrorKind::NotFound, operation),
    };
    let other = |found: &str| {
        Error::new(ErrorKind::PreconditionFailed, operation)
            .with_detail(format!("expected etag {wanted:?}, found {found}"))
    };
    let current = match open_no_follow(OpenOptions::new().read(true), target) {
        Ok(file) => file,
        Err(error) if path::is_missing(&error) => return Err(missing()),
        Err(error) => return fail(operation, FileStep::Open, target, error),
    };
    let locked = retry_on_intr(|| flock(&current, FlockOperation::LockExclusive));
    locked.map_err(|error| {
        Error::new(ErrorKind::Unsupported, operation)
            .with_detail(format!("lock {}", target.display()))
            .with_source(io::Error::from(error))
    })?;
    // The wait for the lock may have outlived the file: only its name says that it is current.
    let held = current
        .metadata()
        .map_err(failed(operation, FileStep::Open, target))?;
    match fs::symlink_metadata(target) {
        Ok(named) if same_file(&named, &held) => {}
        Ok(named) => return Err(other(&format!("{:?}", etag(&named)))),
        Err(error) if path::is_missing(&error) => return Err(missing()),
        Err(error) => return fail(operation, FileStep::Open, target, error),
    }
    let found = etag(&held);
    if found != wanted {
        return Err(other(&format!("{found:?}")));
    }
    change()
}
