//! SQLite's rollback journal: the pages of the copy as they were before an apply.
//!
//! While the file is there and no program holds the reserved lock, whoever opens the copy next,
//! with whatever SQLite, puts the pages back first. Removing the file is the commit.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | number of records |
//! | 12 | 4 | nonce of the record checksums |
//! | 16 | 4 | size of the database in pages before the apply |
//! | 20 | 4 | sector size: where the records begin |
//! | 24 | 4 | page size |
//!
//! A record is page number (4), page, checksum (4). Invariant: [`Journal::seal`] has returned before
//! the first byte of the copy changes; the number of records is zero until they are durable.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ltx::{PageSize, Pgno};

use crate::error::{Error, Result};
use crate::files::{FileStep, Files, Ownership, open_in_place, parent_of};

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
const SECTOR: u32 = 4096;
/// Distance of the bytes that go into the checksum of a record.
const SAMPLE: usize = 200;

/// A journal being written; see the module.
pub(super) struct Journal<'a> {
    file: BufWriter<File>,
    path: PathBuf,
    files: &'a Files,
    nonce: u32,
    records: u32,
}

impl<'a> Journal<'a> {
    /// Starts the journal of a database of `pages` pages.
    pub(super) fn create(
        path: PathBuf,
        files: &'a Files,
        ownership: &Ownership,
        nonce: u32,
        page_size: PageSize,
        pages: u32,
    ) -> Result<Self> {
        let fail = |error| Error::io("create", &path, error);
        files.before(FileStep::Create, &path).map_err(fail)?;
        let file = open_in_place(&path, ownership).map_err(fail)?;
        file.set_len(0).map_err(fail)?;
        let mut head = vec![0; SECTOR as usize];
        let fields = [0, nonce, pages, SECTOR, page_size.get()];
        let bytes = MAGIC
            .into_iter()
            .chain(fields.into_iter().flat_map(u32::to_be_bytes));
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = from;
        }
        let mut journal = Self {
            file: BufWriter::with_capacity(1 << 18, file),
            path,
            files,
            nonce,
            records: 0,
        };
        journal.write(&head)?;
        Ok(journal)
    }

    /// Keeps a page as it was. The lock page must not be given: it would end the journal.
    pub(super) fn keep(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        self.write(&pgno.get().to_be_bytes())?;
        self.write(page)?;
        self.write(&checksum(self.nonce, page).to_be_bytes())?;
        self.records += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| Error::io("write", &self.path, error))
    }

    /// Makes the journal durable and valid: from now on it undoes whatever happens to the copy.
    pub(super) fn seal(mut self) -> Result<()> {
        let fail = |error| Error::io("write", &self.path, error);
        self.files
            .before(FileStep::Write, &self.path)
            .map_err(fail)?;
        self.file.flush().map_err(fail)?;
        self.sync()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(8)).map_err(fail)?;
        file.write_all(&self.records.to_be_bytes()).map_err(fail)?;
        self.sync()?;
        self.files.sync_directory(parent_of(&self.path))
    }

    fn sync(&self) -> Result<()> {
        let fail = |error| Error::io("fsync", &self.path, error);
        self.files
            .before(FileStep::SyncFile, &self.path)
            .map_err(fail)?;
        self.file.get_ref().sync_all().map_err(fail)
    }
}

/// Removes the journal: the apply is committed.
pub(super) fn remove(path: &Path, files: &Files) -> Result<()> {
    files.remove(path)?;
    files.sync_directory(parent_of(path))
}

fn checksum(nonce: u32, page: &[u8]) -> u32 {
    let mut sum = nonce;
    let mut at = page.len().saturating_sub(SAMPLE);
    while at > 0 {
        sum = sum.wrapping_add(u32::from(page.get(at).copied().unwrap_or(0)));
        at = at.saturating_sub(SAMPLE);
    }
    sum
}
