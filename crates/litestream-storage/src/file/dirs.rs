//! Directories, made and made durable.
//!
//! Invariant: a directory is in `durable` only after its entry in its parent was synced. Making a
//! directory and dying, or failing, before that sync leaves it out, so the next put syncs again
//! even though the directory is there by then.
//!
//! The entries are synced after the first object has its name in the directory: on file systems with
//! a journal the sync of that name takes them with it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::steps::{FileStep, failed};
use super::{Shared, path};
use crate::{Error, ErrorKind, Operation, Result};

const DEFAULT_MODE: u32 = 0o700;

/// What is known about the directories of a store.
#[derive(Debug, Default)]
pub(super) struct Dirs {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Directories whose entry in their parent is durable.
    durable: HashSet<PathBuf>,
    /// Directories this store made whose entry is not yet durable.
    made: HashSet<PathBuf>,
}

/// Directories whose entries have to be synced before an object below them is durable, from the top,
/// each with whether this store made it.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Vec<(PathBuf, bool)>);

impl Dirs {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("no code that holds this lock panics")
    }

    fn is_durable(&self, dir: &Path) -> bool {
        self.lock().durable.contains(dir)
    }

    /// Forgets what was known about `dir` and all above it, which turned out to be gone.
    pub(super) fn forget(&self, dir: &Path) {
        let mut known = self.lock();
        for dir in dir.ancestors() {
            known.durable.remove(dir);
        }
    }
}

impl Shared {
    /// Makes `dir` (the root, or a directory below it) and what is missing above it. Durable after
    /// [`Self::sync_entries`].
    pub(super) fn prepare(&self, dir: &Path) -> Result<Unsynced> {
        path::refuse_links(&self.root, &dir.join("_"), Operation::Put)?;
        if self.dirs.is_durable(dir) {
            return Ok(Unsynced::default());
        }
        let mut chain: Vec<&Path> = dir.ancestors().collect();
        chain.reverse();
        // The ancestors of a relative path end in the empty one, the working directory.
        chain.retain(|dir| !dir.as_os_str().is_empty() && !self.dirs.is_durable(dir));
        let made = chain
            .into_iter()
            .map(|dir| Ok((dir.to_path_buf(), self.make(dir)?)));
        made.collect::<Result<_>>().map(Unsynced)
    }

    /// Makes the entries of directories durable.
    pub(super) fn sync_entries(&self, unsynced: &Unsynced) -> Result<()> {
        for (dir, made) in &unsynced.0 {
            // What was there above the root before us is not ours to sync.
            if *made || dir.starts_with(&self.root) {
                self.sync_entry(dir, *made)?;
            }
            let mut known = self.dirs.lock();
            known.made.remove(dir);
            known.durable.insert(dir.clone());
        }
        Ok(())
    }

    /// Makes one directory. Answers whether this store made it, now or in a try that failed later.
    fn make(&self, dir: &Path) -> Result<bool> {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() => return Ok(self.dirs.lock().made.contains(dir)),
            Ok(_) => {
                let error = Error::new(ErrorKind::Invalid, Operation::Put);
                return Err(error.with_detail(format!("{} is not a directory", dir.display())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(failed(Operation::Put, FileStep::CreateDir, dir)(error));
            }
        }
        let modes = self.modes();
        self.dirs.lock().made.insert(dir.to_path_buf());
        let made = self.step(FileStep::CreateDir, dir, || {
            let mode = modes.dir.unwrap_or(DEFAULT_MODE) & 0o7777;
            match DirBuilder::new().mode(mode).create(dir) {
                // Another put was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                created => created,
            }
        });
        made.map_err(failed(Operation::Put, FileStep::CreateDir, dir))?;
        if let Some((user, group)) = modes.dir_owner.or(modes.owner) {
            // Only a privileged process may; the directory works either way.
            let _ = chown(dir, Some(user), Some(group));
        }
        Ok(true)
    }

    /// Syncs the parent of `dir`.
    fn sync_entry(&self, dir: &Path, made: bool) -> Result<()> {
        let parent = match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        match self.step(FileStep::SyncParent, parent, || sync_dir(parent)) {
            // A parent that may be passed through but not read, of a directory that somebody else
            // made for us: nothing of ours is in it.
            Err(error) if !made && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced.map_err(failed(Operation::Put, FileStep::SyncParent, parent)),
        }
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some network file systems know no sync of directories; they have no better offer.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}
