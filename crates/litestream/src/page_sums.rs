//! Checksums of all pages of the state after one transaction: what lets a lost position be caught up
//! with by the pages that differ, instead of the whole database.
//!
//! The file `pages` in the meta directory:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `LSPAGES1` |
//! | 8 | 4 | page size |
//! | 12 | 4 | size of the database in pages |
//! | 16 | 8 | transaction |
//! | 24 | 8 | file checksum of the level-0 file of that transaction; 0 when there is none |
//! | 32 | 8 | CRC-64 of the 32 bytes before |
//! | 40 | 8 each | checksum of page 1, 2, ...; 0 when not known |
//!
//! All fields are big-endian. The file is written whole with a base image, and from then on moved
//! forward ("folded") over level-0 files in place, right before those are removed. The level-0 files
//! are its redo log: an entry that a fold has touched is written again by the next fold, so a crash in
//! between leaves nothing wrong behind. The header moves last, after an fsync of the entries.
//!
//! Invariant: applied to the level-0 files behind its transaction, the entries are those of the newest
//! one. An entry that is lost says "not known", and its page counts as changed. The file is believed
//! only while the level-0 file that it names is there: it cannot be taken for one of another history.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ltx::{Checksum, Decoder, PageSize, Pgno, Txid};

use crate::error::{Error, Result};
use crate::files::{FileStep, Files, Ownership, Staged};
use crate::local::Turn;

const MAGIC: [u8; 8] = *b"LSPAGES1";
const HEAD_SIZE: u64 = 40;
/// Entries are read and written in windows of this size: 512 pages.
const WINDOW: usize = 4096;

/// What the entries stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) page_size: PageSize,
    /// Size of the database in pages.
    pub(crate) commit: u32,
    pub(crate) txid: Txid,
    /// File checksum of the level-0 file of the transaction; 0 for a state that was read from a
    /// replica and has no such file here.
    pub(crate) file_checksum: u64,
}

impl Head {
    fn encode(&self) -> [u8; HEAD_SIZE as usize] {
        let mut bytes = [0; HEAD_SIZE as usize];
        let (fields, sum) = bytes.split_at_mut(HEAD_SIZE as usize - 8);
        let (magic, rest) = fields.split_at_mut(8);
        magic.copy_from_slice(&MAGIC);
        let sizes = u64::from(self.page_size.get()) << 32 | u64::from(self.commit);
        for (slot, word) in
            rest.chunks_exact_mut(8)
                .zip([sizes, self.txid.get(), self.file_checksum])
        {
            slot.copy_from_slice(&word.to_be_bytes());
        }
        sum.copy_from_slice(&crc(fields).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEAD_SIZE as usize]) -> Option<Self> {
        let (fields, sum) = bytes.split_at(HEAD_SIZE as usize - 8);
        if sum != crc(fields).to_be_bytes() || !fields.starts_with(&MAGIC) {
            return None;
        }
        let mut words = fields
            .chunks_exact(8)
            .skip(1)
            .filter_map(|word| Some(u64::from_be_bytes(word.try_into().ok()?)));
        let sizes = words.next()?;
        Some(Self {
            page_size: PageSize::new((sizes >> 32) as u32)?,
            commit: sizes as u32,
            txid: Txid::new(words.next()?)?,
            file_checksum: words.next()?,
        })
    }
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64GoIso, bytes)
}

/// Entries of a file, seen through one small window: memory does not grow with the database.
struct Entries {
    path: PathBuf,
    file: File,
    files: Files,
    window: Vec<u8>,
    /// Offset of the window in the file; none yet when the window is empty.
    start: u64,
    is_dirty: bool,
}

impl Entries {
    fn new(path: &Path, file: File, files: &Files) -> Self {
        Self {
            path: path.to_owned(),
            file,
            files: files.clone(),
            window: Vec::new(),
            start: 0,
            is_dirty: false,
        }
    }

    /// The entry of a page, in the window; loads another window when it is not in this one.
    fn slot(&mut self, pgno: Pgno) -> Result<&mut [u8]> {
        let index = u64::from(pgno.get() - 1) * 8;
        let start = index - index % WINDOW as u64;
        if self.window.is_empty() || start != self.start {
            self.flush()?;
            self.start = start;
            self.window.resize(WINDOW, 0);
            let found = read_at(&self.file, &mut self.window, HEAD_SIZE + start)
                .map_err(|error| Error::io("read", &self.path, error))?;
            if let Some(rest) = self.window.get_mut(found - found % 8..) {
                rest.fill(0);
            }
        }
        let at = (index - start) as usize;
        self.window
            .get_mut(at..at + 8)
            .ok_or_else(|| Error::io("read", &self.path, io::ErrorKind::InvalidData.into()))
    }

    fn get(&mut self, pgno: Pgno) -> Result<u64> {
        let slot = self.slot(pgno)?;
        Ok(slot.try_into().map_or(0, u64::from_be_bytes))
    }

    fn set(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        let sum = Checksum::of_page(pgno, page).get();
        self.slot(pgno)?.copy_from_slice(&sum.to_be_bytes());
        self.is_dirty = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(());
        }
        let fail = |error| Error::io("write", &self.path, error);
        self.files
            .before(FileStep::Write, &self.path)
            .map_err(fail)?;
        write_at(&self.file, &self.window, HEAD_SIZE + self.start).map_err(fail)
    }

    fn write_head(&self, head: &Head) -> Result<()> {
        let fail = |error| Error::io("write", &self.path, error);
        self.files
            .before(FileStep::Write, &self.path)
            .map_err(fail)?;
        write_at(&self.file, &head.encode(), 0).map_err(fail)
    }
}

/// The checksums of one state; see the module.
pub(crate) struct PageSums {
    head: Head,
    entries: Entries,
}

impl PageSums {
    /// Opens the file; `None` when there is none, or it is not one.
    pub(crate) fn open(files: &Files, path: &Path) -> Result<Option<Self>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let mut bytes = [0; HEAD_SIZE as usize];
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        }
        Ok(Head::decode(&bytes).map(|head| Self {
            head,
            entries: Entries::new(path, file, files),
        }))
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether the page is certainly as it was in this state.
    pub(crate) fn holds(&mut self, pgno: Pgno, page: &[u8]) -> Result<bool> {
        Ok(pgno.get() <= self.head.commit
            && self.entries.get(pgno)? == Checksum::of_page(pgno, page).get())
    }

    /// Moves on over one level-0 file; the file on disk still stands for the state before until
    /// [`Self::publish`].
    ///
    /// # Errors
    /// The file does not follow, has another page size or is damaged.
    pub(crate) fn apply(&mut self, path: &Path, txid: Txid) -> Result<()> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let (header, checksum) = read_pages(file, path, |pgno, page| self.entries.set(pgno, page))?;
        let follows = self.head.txid.next() == txid
            && (header.min_txid, header.max_txid) == (txid, txid)
            && header.page_size == self.head.page_size;
        if !follows {
            return Err(Error::Setting(format!(
                "{} does not follow the page checksums of {}",
                path.display(),
                self.head.txid
            )));
        }
        self.head = Head {
            commit: header.commit,
            txid,
            file_checksum: checksum,
            ..self.head
        };
        Ok(())
    }

    /// Makes the file stand for the state that it was moved on to.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.entries.flush()?;
        let path = &self.entries.path;
        let fail = |error| Error::io("fsync", path, error);
        self.entries
            .files
            .before(FileStep::SyncFile, path)
            .map_err(fail)?;
        self.entries.file.sync_data().map_err(fail)?;
        self.entries.write_head(&self.head)
    }
}

/// Reads all pages of an LTX stream to its end; gives its header and its file checksum.
pub(crate) fn read_pages(
    reader: impl Read,
    path: &Path,
    mut put: impl FnMut(Pgno, &[u8]) -> Result<()>,
) -> Result<(ltx::Header, u64)> {
    let fail = |error| Error::ltx("decode", path, error);
    let mut decoder = Decoder::new(reader, path.display().to_string()).map_err(fail)?;
    let mut page = vec![0; decoder.header().page_size.bytes()];
    while let Some(pgno) = decoder.next_page(&mut page).map_err(fail)? {
        put(pgno, &page)?;
    }
    let verified = decoder.finish().map_err(fail)?;
    Ok((verified.header, verified.trailer.file_checksum))
}

/// Builds the file from scratch under a temporary name, which only one may use at a time.
pub(crate) struct SumsWriter {
    staged: Staged,
    entries: Entries,
    /// Given back last.
    _turn: Turn,
}

impl SumsWriter {
    pub(crate) fn create(
        files: &Files,
        path: &Path,
        ownership: &Ownership,
        turn: Turn,
    ) -> Result<Self> {
        let staged = files.stage(path, ownership)?;
        let entries = Entries::new(staged.path(), staged.handle()?, files);
        Ok(Self {
            staged,
            entries,
            _turn: turn,
        })
    }

    /// Notes a page; of several with one number the last counts.
    pub(crate) fn set(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        self.entries.set(pgno, page)
    }

    /// Gives the file its name. Nothing is synced: entries that a loss of power takes away say that they are
    /// not known, and the file of an older state names a level-0 file that it belongs to.
    pub(crate) fn finish(mut self, head: &Head) -> Result<()> {
        self.entries.flush()?;
        self.entries.write_head(head)?;
        self.staged.commit_hint()
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests;
