//! The meta directory of a database: its level-0 files and the position they stand for.
//!
//! Invariant: a file under its final name is complete and durable; TXIDs are a contiguous run that
//! ends at the position, so the newest file is never removed while the database is managed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ltx::{FileName, PageSize, Txid, TxidRange};

use crate::error::{Error, Result};
use crate::files::{Chain, Files, Ownership, Staged, open_in_place, parent_of};
use crate::page_sums::{Head, PageSums, SumsWriter};
use crate::pool::Pool;

/// Bytes of the smallest LTX file there can be.
pub(crate) const LEAST_SIZE: u64 = (ltx::HEADER_SIZE + ltx::TRAILER_SIZE) as u64;

/// Folder of the local state of one database.
#[derive(Debug, Clone)]
pub(crate) struct LocalDir {
    root: PathBuf,
    files: Files,
    /// One at a time moves the page checksums or removes files under them.
    folding: Arc<Mutex<()>>,
    /// Whether page checksums are being written from scratch.
    writing_sums: Arc<AtomicBool>,
    lock: Arc<Mutex<Lock>>,
    /// Whether the names of the folders above the level-0 files are durable, as far as this process knows:
    /// one before it may have been killed after it had made them.
    rooted: Arc<AtomicBool>,
    pool: Pool,
}

/// The lock file, and how many in this process hold it together.
#[derive(Debug, Default)]
struct Lock {
    file: Option<fs::File>,
    holders: usize,
}

/// The database is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock(Arc<Mutex<Lock>>);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        let mut lock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lock.holders = lock.holders.saturating_sub(1);
        if lock.holders > 0 {
            return;
        }
        // Closing alone would leave the lock to a child process that has not yet begun its program.
        if let Some(file) = lock.file.take()
            && let Err(error) = file.unlock()
        {
            tracing::debug!(%error, "unlock meta directory");
        }
    }
}

/// Header, trailer and size of a level-0 file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) header: ltx::Header,
    pub(crate) trailer: [u8; ltx::TRAILER_SIZE],
    pub(crate) size: u64,
}

/// The default meta directory of a database: `.NAME-litestream` beside it.
pub fn default_meta_path(database: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(database.file_name().unwrap_or_default());
    name.push("-litestream");
    database.with_file_name(name)
}

impl LocalDir {
    pub(crate) fn new(root: PathBuf, files: Files, pool: Pool) -> Self {
        Self {
            root,
            files,
            folding: Arc::default(),
            writing_sums: Arc::default(),
            lock: Arc::default(),
            rooted: Arc::default(),
            pool,
        }
    }

    /// The threads for work on these files.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
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

    /// Takes the database for this process, until the last answer is dropped. The lock is on a file of its
    /// own: closing a descriptor of the database would let go of all locks that SQLite has on it.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it. A file system without locks is no error.
    pub(crate) fn lock(&self, ownership: &Ownership) -> Result<DirectoryLock> {
        let mut lock = self.lock_state();
        if lock.holders == 0 {
            self.files
                .create_directory(parent_of(&self.root), ownership)?;
            // Its name is made durable with that of the first level-0 file.
            self.files.make_directory(&self.root, ownership)?;
            let path = self.root.join("lock");
            let file =
                open_in_place(&path, ownership).map_err(|error| Error::io("open", &path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked { path }),
                Err(fs::TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "file system without locks");
                }
            }
            lock.file = Some(file);
        }
        lock.holders += 1;
        Ok(DirectoryLock(Arc::clone(&self.lock)))
    }

    /// The same, if somebody in this process has it already.
    pub(crate) fn share_lock(&self) -> Option<DirectoryLock> {
        let mut lock = self.lock_state();
        if lock.holders == 0 {
            return None;
        }
        lock.holders += 1;
        Some(DirectoryLock(Arc::clone(&self.lock)))
    }

    fn lock_state(&self) -> MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Takes the names of the folders above the level-0 files for durable.
    pub(crate) fn trust_folders(&self) {
        self.rooted.store(true, Ordering::Release);
    }

    /// What a level-0 file of this or another process stands on is durable when this returns.
    ///
    /// # Cost
    /// Nothing but the first time, and unless files were committed or trusted before.
    pub(crate) fn sync_folders(&self) -> Result<()> {
        if self.rooted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.files.sync_directory(&self.level_zero())?;
        self.files.sync_chain(&self.chain())
    }

    /// `ltx`, the meta directory, and the folder that it is in.
    fn chain(&self) -> Chain {
        Chain {
            folders: vec![
                self.root.join("ltx"),
                self.root.clone(),
                parent_of(&self.root).to_owned(),
            ],
            is_durable: Arc::clone(&self.rooted),
        }
    }

    /// Starts the level-0 file of a transaction; it counts once it is committed.
    pub(crate) fn stage(&self, txid: Txid, ownership: &Ownership) -> Result<Staged> {
        let folder = self.level_zero();
        let made = self.files.make_directory(&folder, ownership)?;
        let is_known = made.is_empty() && self.rooted.load(Ordering::Acquire);
        let chain = (!is_known).then(|| self.chain());
        let staged = self.files.stage(&self.file(txid), ownership)?;
        Ok(staged.with_chain(chain))
    }

    /// Removes what an interrupted run has left under temporary names.
    pub(crate) fn remove_temporary(&self) -> Result<()> {
        remove_temporary_in(&self.root, &self.files)
    }

    /// Removes level-0 files older than `first`; the caller keeps the newest. The page checksums are
    /// moved past them before.
    pub(crate) fn remove_before(&self, first: Txid) -> Result<usize> {
        let _one = self.fold_lock();
        let gone: Vec<Txid> = self
            .list()?
            .into_iter()
            .take_while(|txid| *txid < first)
            .collect();
        if !gone.is_empty() {
            self.fold(first, false);
        }
        for txid in &gone {
            self.files.remove(&self.file(*txid))?;
        }
        Ok(gone.len())
    }

    /// Removes level-0 files older than `first` for good, as [`Self::remove_before`]. Answers how many.
    ///
    /// # Durability
    /// They do not come back with a loss of power.
    pub(crate) fn begin_at(&self, first: Txid) -> Result<usize> {
        let gone = self.remove_before(first)?;
        if gone > 0 {
            self.files.sync_directory(&self.level_zero())?;
        }
        Ok(gone)
    }

    /// Bytes of all level-0 files.
    pub(crate) fn size(&self) -> Result<u64> {
        let mut size = 0;
        for txid in self.list()? {
            size += self.file_size(txid);
        }
        Ok(size)
    }

    /// Bytes of one level-0 file, 0 when it is not there.
    pub(crate) fn file_size(&self, txid: Txid) -> u64 {
        fs::metadata(self.file(txid)).map_or(0, |metadata| metadata.len())
    }

    /// Header, trailer and size of a level-0 file; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::LtxDamaged`] when it has none.
    pub(crate) fn ends(&self, txid: Txid) -> Result<Option<Ends>> {
        read_ends(&self.file(txid))
    }

    /// The same; `None` also for a file whose ends are damaged.
    pub(crate) fn sound_ends(&self, txid: Txid) -> Result<Option<Ends>> {
        match self.ends(txid) {
            Err(Error::LtxDamaged { .. }) => Ok(None),
            other => other,
        }
    }

    /// Path of the page checksums.
    fn sums_path(&self) -> PathBuf {
        self.root.join("pages")
    }

    fn fold_lock(&self) -> MutexGuard<'_, ()> {
        self.folding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts page checksums from scratch. `None` while somebody else does: a base image may be
    /// captured while the state before is still being read from a replica, and two states must not
    /// be mixed in one temporary file.
    pub(crate) fn write_sums(&self, ownership: &Ownership) -> Result<Option<SumsWriter>> {
        let Some(turn) = Turn::take(&self.writing_sums) else {
            return Ok(None);
        };
        self.files.make_directory(&self.root, ownership)?;
        SumsWriter::create(&self.files, &self.sums_path(), ownership, turn).map(Some)
    }

    /// Whether page checksums of the state after `txid` are likely to be had by [`Self::sums`]:
    /// also by moving them on, if it is a state that the local files lead to.
    pub(crate) fn has_sums(&self, txid: Txid, page_size: PageSize, is_local: bool) -> bool {
        match PageSums::open(&self.files, &self.sums_path()) {
            Ok(Some(sums)) => {
                let head = *sums.head();
                head.page_size == page_size
                    && (head.txid == txid
                        || (is_local && head.txid < txid && self.is_anchored(&head)))
            }
            _ => false,
        }
    }

    /// The page checksums of the state after `txid`, moved on as far as need be. `read_from_replica`
    /// also takes those that stand for a state of which there is no file here.
    pub(crate) fn sums(&self, txid: Txid, read_from_replica: bool) -> Option<PageSums> {
        let _one = self.fold_lock();
        self.fold(txid, read_from_replica)
            .filter(|sums| sums.head().txid == txid)
    }

    /// Moves page checksums that were read from a replica past the file that was built on them: from
    /// then on they stand on a file of ours.
    pub(crate) fn anchor(&self, sums: PageSums, txid: Txid) {
        let _one = self.fold_lock();
        self.fold_onto(sums, txid);
    }

    /// Forgets the page checksums: the next base image or snapshot writes new ones.
    pub(crate) fn drop_sums(&self) {
        let path = self.sums_path();
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove page checksums");
        }
    }

    /// Whether the level-0 file that the checksums stand on is there, and is the one.
    fn is_anchored(&self, head: &Head) -> bool {
        let ends = self.ends(head.txid).ok().flatten();
        ends.is_some_and(|ends| {
            ltx::Trailer::decode(&ends.trailer).file_checksum == head.file_checksum
        })
    }

    /// Moves the checksums to `txid`, or further if they are there already. What cannot be moved is
    /// of no use any more, and removed.
    fn fold(&self, txid: Txid, read_from_replica: bool) -> Option<PageSums> {
        let sums = match PageSums::open(&self.files, &self.sums_path()) {
            Ok(sums) => sums?,
            Err(error) => {
                self.give_up_sums(&error);
                return None;
            }
        };
        let head = *sums.head();
        let is_read = head.file_checksum == 0 && head.txid == txid && read_from_replica;
        if !is_read && !self.is_anchored(&head) {
            tracing::debug!(path = %self.sums_path().display(), txid = %head.txid,
                "page checksums stand for a state that is not ours");
            self.drop_sums();
            return None;
        }
        if head.txid >= txid {
            return Some(sums);
        }
        self.fold_onto(sums, txid)
    }

    fn fold_onto(&self, mut sums: PageSums, txid: Txid) -> Option<PageSums> {
        let mut apply = || {
            while sums.head().txid < txid {
                let next = sums.head().txid.next();
                sums.apply(&self.file(next), next)?;
            }
            sums.publish()
        };
        match apply() {
            Ok(()) => Some(sums),
            Err(error) => {
                self.give_up_sums(&error);
                None
            }
        }
    }

    fn give_up_sums(&self, error: &Error) {
        tracing::info!(
            path = %self.sums_path().display(), %error,
            "page checksums are of no use any more"
        );
        self.drop_sums();
    }
}

/// The right to do what only one may do at a time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<AtomicBool>);

impl Turn {
    /// `None` while somebody has it.
    pub(crate) fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        let was_free = !taken.swap(true, Ordering::AcqRel);
        was_free.then(|| Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Header, trailer and size of an LTX file; `None` when it is not there.
fn read_ends(path: &Path) -> Result<Option<Ends>> {
    use std::io::{Read, Seek, SeekFrom};
    let fail = |error| Error::io("read", path, error);
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let damaged = |reason: String| Error::LtxDamaged {
        path: path.to_owned(),
        reason,
    };
    let length = file.metadata().map_err(fail)?.len();
    if length < LEAST_SIZE {
        return Err(damaged(format!("{length} bytes are no ltx file")));
    }
    let mut header = [0; ltx::HEADER_SIZE];
    let mut trailer = [0; ltx::TRAILER_SIZE];
    file.read_exact(&mut header).map_err(fail)?;
    file.seek(SeekFrom::End(-(ltx::TRAILER_SIZE as i64)))
        .map_err(fail)?;
    file.read_exact(&mut trailer).map_err(fail)?;
    let size = file.stream_position().map_err(fail)?;
    let header = ltx::Header::decode(&header).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(Ends {
        header,
        trailer,
        size,
    }))
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

#[cfg(test)]
mod tests;
