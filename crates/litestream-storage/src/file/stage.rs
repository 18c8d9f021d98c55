//! A file on its way to being an object.
//!
//! Invariant: nothing gets a final name before its content and its times are durable.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use super::dirs::{Unsynced, sync_dir};
use super::steps::{FileStep, failed};
use super::temp::{TempFile, temp_path};
use super::version::while_version;
use super::{Shared, object_meta, path};
use crate::behind::WriteBehind;
use crate::clock::from_unix_ms;
use crate::{Condition, Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result, body};

/// Bytes the kernel copies in one go: the time until a copy that nobody waits for any more stops.
const COPY_STEP: u64 = 64 << 20;

/// A temporary file next to the object it will become.
pub(super) struct Staged {
    shared: Arc<Shared>,
    temp: TempFile,
    target: PathBuf,
    unsynced: Unsynced,
    len: u64,
    behind: WriteBehind,
}

impl Staged {
    /// Makes the directories of `key` and an empty temporary file.
    pub(super) fn create(shared: &Arc<Shared>, key: &Key) -> Result<Self> {
        let target = path::object(&shared.root, key.as_str(), Operation::Put)?;
        let dir = target.parent().expect("an object is below the root");
        let mut unsynced = shared.prepare(dir)?;
        let opened = match shared.open_temp(&target) {
            // The directory was removed behind our back: what is known about it is outdated.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                shared.dirs.forget(dir);
                unsynced = shared.prepare(dir)?;
                shared.open_temp(&target)
            }
            opened => opened,
        };
        let opened = opened.map_err(|error| {
            failed(Operation::Put, FileStep::CreateTemp, &temp_path(&target))(error)
        });
        let staged = Self {
            shared: Arc::clone(shared),
            temp: opened?,
            target,
            unsynced,
            len: 0,
            behind: WriteBehind::default(),
        };
        staged.give_away();
        Ok(staged)
    }

    /// Appends chunks.
    pub(super) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        for chunk in chunks {
            let written = self.shared.step(FileStep::Write, &self.temp.path, || {
                (&self.temp.file).write_all(chunk)
            });
            written.map_err(failed(Operation::Put, FileStep::Write, &self.temp.path))?;
            self.grew(chunk.len() as u64);
        }
        Ok(())
    }

    /// Appends the `size` bytes of the file `source`, by the kernel where it can. Gives up when
    /// `cancelled` is set.
    pub(super) fn copy(&mut self, source: &Path, size: u64, cancelled: &AtomicBool) -> Result<()> {
        let mut from = File::open(source).map_err(|error| body::unreadable(source, error))?;
        // The length is looked at before, for special files, and after, for ones that shrink.
        let found = from
            .metadata()
            .map_err(|error| body::unreadable(source, error))?
            .len();
        if found != size {
            return Err(body::wrong_length(source, size, found));
        }
        let mut done = 0;
        while done < size {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Cancelled, Operation::Put));
            }
            let want = COPY_STEP.min(size - done);
            let copied = self.shared.step(FileStep::Write, &self.temp.path, || {
                io::copy(&mut (&mut from).take(want), &mut &self.temp.file)
            });
            let copied =
                copied.map_err(failed(Operation::Put, FileStep::Write, &self.temp.path))?;
            if copied == 0 {
                return Err(body::wrong_length(source, size, done));
            }
            done += copied;
            self.grew(copied);
        }
        Ok(())
    }

    fn grew(&mut self, by: u64) {
        self.len += by;
        self.behind.wrote(&self.temp.file, self.len);
    }

    /// Makes the file durable and then visible under its final name.
    pub(super) fn publish(mut self, key: &Key, options: &PutOptions) -> Result<ObjectMeta> {
        if let Some(time) = modification_time(options)? {
            let times = FileTimes::new().set_accessed(time).set_modified(time);
            let set = self.shared.step(FileStep::SetTimes, &self.temp.path, || {
                self.temp.file.set_times(times)
            });
            set.map_err(failed(Operation::Put, FileStep::SetTimes, &self.temp.path))?;
        }
        let synced = self.shared.step(FileStep::SyncFile, &self.temp.path, || {
            self.temp.file.sync_all()
        });
        synced.map_err(failed(Operation::Put, FileStep::SyncFile, &self.temp.path))?;

        let target = self.target.clone();
        let named = match &options.condition {
            Condition::None => self.rename(),
            Condition::IfAbsent => self.rename_to_free_name(),
            Condition::IfMatch(etag) => {
                while_version(Operation::Put, &target, etag, || self.rename())
            }
        };
        match named {
            Ok(()) => {}
            // Whoever put it may have died before it was durable, and the caller may find that it is his.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.sync_names()?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        if let Err(error) = self.sync_names() {
            if options.condition == Condition::IfAbsent {
                // Nothing was replaced. A name that may not be durable must not be found and relied upon.
                drop(fs::remove_file(&target));
            }
            return Err(error);
        }
        // Taken last: renaming and linking change the times that the etag is made of.
        let file =
            self.temp
                .file
                .metadata()
                .map_err(failed(Operation::Put, FileStep::Open, &target))?;
        Ok(object_meta(key, &file))
    }

    /// Makes the final name durable, and those of the directories above it.
    fn sync_names(&self) -> Result<()> {
        let dir = self.target.parent().expect("an object is below the root");
        let synced = self.shared.step(FileStep::SyncDir, dir, || sync_dir(dir));
        synced.map_err(failed(Operation::Put, FileStep::SyncDir, dir))?;
        self.shared.sync_entries(&self.unsynced)
    }

    fn rename(&mut self) -> Result<()> {
        let target = &self.target;
        let renamed = self.shared.step(FileStep::Publish, target, || {
            fs::rename(&self.temp.path, target)?;
            // Before anything may fail: what has the final name must not be removed as a leftover.
            self.temp.published = true;
            Ok(())
        });
        renamed.map_err(failed(Operation::Put, FileStep::Publish, target))
    }

    /// Renames unless the final name is taken, in one step.
    fn rename_to_free_name(&mut self) -> Result<()> {
        let target = &self.target;
        let renamed = self.shared.step(FileStep::Publish, target, || {
            match rename_no_replace(&self.temp.path, target) {
                // Not every file system can; a hard link takes a name only if it is free as well.
                Err(error) if is_unsupported(&error) => {
                    fs::hard_link(&self.temp.path, target)?;
                    fs::remove_file(&self.temp.path)?;
                }
                renamed => renamed?,
            }
            self.temp.published = true;
            Ok(())
        });
        renamed.map_err(failed(Operation::Put, FileStep::Publish, target))
    }

    /// Only a privileged process may give files away; the object works either way.
    fn give_away(&self) {
        if let Some((user, group)) = self.shared.modes().owner {
            let _ = fchown(&self.temp.file, Some(user), Some(group));
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_no_replace(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// The modification time the file gets, `None` for what the kernel gives.
fn modification_time(options: &PutOptions) -> Result<Option<SystemTime>> {
    match (options.timestamp, &options.condition) {
        (Some(ms), _) => from_unix_ms(ms).map(Some).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, Operation::Put)
                .with_detail(format!("timestamp {ms} ms is out of range"))
        }),
        (None, Condition::None) => Ok(None),
        // The kernel's own times move in steps of milliseconds; the full resolution of the clock
        // keeps the etags of quick successors apart even if an inode number comes back.
        (None, _) => Ok(Some(SystemTime::now())),
    }
}
