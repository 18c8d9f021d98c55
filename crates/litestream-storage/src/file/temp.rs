//! Temporary files, each for one writer alone.
//!
//! Invariant: whoever has a temporary file holds the lock on it and found it under its name after
//! locking; a leftover of a dead process has no lock and is removed, never written to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::Shared;
use super::steps::FileStep;
use super::version::same_file;
use crate::tree::TEMP_SUFFIX;

const DEFAULT_MODE: u32 = 0o600;

/// A temporary file, removed when it is dropped without having been published.
pub(super) struct TempFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Set once the file has its final name.
    pub(super) published: bool,
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.published {
            // Nobody to tell; the next writer of this key removes it if it is still there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where a file that will become `target` is written.
pub(super) fn temp_path(target: &Path) -> PathBuf {
    with_suffix(target, TEMP_SUFFIX)
}

impl Shared {
    /// Opens the temporary file of `target` for this writer alone, or one of another name when
    /// that is in use.
    pub(super) fn open_temp(&self, target: &Path) -> io::Result<TempFile> {
        let mode = self.modes().file.unwrap_or(DEFAULT_MODE) & 0o7777;
        let path = temp_path(target);
        self.step(FileStep::CreateTemp, &path, || {
            // Bounded: every further round means that another writer came in between.
            for _ in 0..8 {
                match claim(&path, mode)? {
                    Claim::Mine(file) => {
                        let path = path.clone();
                        return Ok(TempFile {
                            file,
                            path,
                            published: false,
                        });
                    }
                    Claim::Again => {}
                    Claim::Taken => break,
                }
            }
            own_name(target, mode)
        })
    }
}

enum Claim {
    Mine(File),
    Again,
    Taken,
}

/// Tries to become the writer of the file `temp`.
fn claim(temp: &Path, mode: u32) -> io::Result<Claim> {
    let mut options = OpenOptions::new();
    let created = options.read(true).write(true).create_new(true).mode(mode);
    match open_no_follow(created, temp) {
        Ok(file) => {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, temp)? => Ok(Claim::Mine(file)),
                // Between creating and locking, another writer took it for a leftover: it has
                // removed it, or is about to. Removing it here as well could hit a third one's.
                Ok(()) => Ok(Claim::Again),
                Err(Errno::WOULDBLOCK) => Ok(Claim::Taken),
                // No locks here, so nobody can have taken it.
                Err(_) => remove_if_same(&file, temp).map(|()| Claim::Taken),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let Ok(file) = open_no_follow(OpenOptions::new().read(true), temp) else {
                return Ok(Claim::Taken);
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(Claim::Taken);
            }
            // Nobody writes it. Never reuse it: it may be linked elsewhere, even be an object.
            Ok(match remove_if_same(&file, temp) {
                Ok(()) => Claim::Again,
                Err(_) => Claim::Taken,
            })
        }
        Err(error) => Err(error),
    }
}

/// A temporary file beside one that another writer has.
fn own_name(target: &Path, mode: u32) -> io::Result<TempFile> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let suffix = format!(".{}-{number}{TEMP_SUFFIX}", std::process::id());
        let path = with_suffix(target, &suffix);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(mode);
        match open_no_follow(options, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => {
                return opened.map(|file| TempFile {
                    file,
                    path,
                    published: false,
                });
            }
        }
    }
}

fn remove_if_same(file: &File, path: &Path) -> io::Result<()> {
    if is_at(file, path)? {
        fs::remove_file(path)
    } else {
        Ok(())
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(same_file(&named, &file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens without following a link at the end, and without waiting for a pipe.
pub(super) fn open_no_follow(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}
