//! A database, or the part of it that a plan's files hold, on its way into a local file.
//!
//! Invariant: files are taken newest first and read to their end, so that a page comes from the
//! newest file that has it, and nothing is complete before every file of the plan was verified.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use litestream_storage::WriteBehind;
use ltx::{Decoder, Header, PageSize, Pgno};

use super::fetch::{Failed, Fetched, Files as FetchedFiles};
use crate::error::{Error, Result};

mod decode;

/// Pages gathered into one write: 1 MiB.
const WRITE_SIZE: usize = 1 << 20;

/// Compressed size from which on a file has so many of the image's pages that they are written
/// behind; the pages of a smaller one lie anywhere.
const WRITTEN_BEHIND: u64 = 32 << 20;

/// See the module. Memory: one bit per page.
pub(crate) struct Image {
    file: File,
    path: PathBuf,
    page_size: PageSize,
    commit: u32,
    /// Header of the file applied first.
    newest: Header,
    /// Header of the file applied last, which is the oldest so far.
    oldest: Header,
    /// The first page, once it is known.
    first: Option<Vec<u8>>,
    /// One bit for each page, set once its newest version is written.
    written: Vec<u64>,
    /// Consecutive pages on their way to the file.
    run: Vec<u8>,
    run_start: u64,
    /// Of the file that is applied, if it is a large one.
    behind: Option<WriteBehind>,
}

impl Image {
    /// Takes all files, newest first. `file` gets the pages at their offsets; `path` is what
    /// messages call it.
    pub(crate) fn gather(
        files: &mut FetchedFiles,
        file: &File,
        path: &Path,
    ) -> Result<Self, Failed> {
        let mut image: Option<Self> = None;
        while let Some(fetched) = files.blocking_recv() {
            let fetched = fetched?;
            let remote = fetched.file;
            Self::add(&mut image, fetched, file, path).map_err(|error| Failed {
                file: Some(remote),
                error,
            })?;
        }
        image.ok_or_else(|| Error::TxNotAvailable.into())
    }

    fn add(image: &mut Option<Self>, fetched: Fetched, file: &File, path: &Path) -> Result<()> {
        let decoder =
            Decoder::new(fetched.bytes, fetched.name).map_err(damaged("decode database"))?;
        let header = *decoder.header();
        let image = match image {
            Some(image) => {
                image.check_follows(&header)?;
                image
            }
            empty => {
                let file = file
                    .try_clone()
                    .map_err(|error| Error::io("open", path, error))?;
                empty.insert(Self::new(file, path, &header))
            }
        };
        image.oldest = header;
        image.take_file(decoder, fetched.file.size)
    }

    fn new(file: File, path: &Path, newest: &Header) -> Self {
        Self {
            file,
            path: path.to_owned(),
            page_size: newest.page_size,
            commit: newest.commit,
            newest: *newest,
            oldest: *newest,
            first: None,
            written: vec![0; newest.commit as usize / 64 + 1],
            run: Vec::with_capacity(WRITE_SIZE),
            run_start: 0,
            behind: None,
        }
    }

    /// The next older file must lead to the file that was applied before it.
    fn check_follows(&self, older: &Header) -> Result<()> {
        let newer = &self.oldest;
        if older.page_size != newer.page_size {
            return Err(Error::Setting(format!(
                "input files have mismatched page sizes: {} != {}",
                older.page_size.get(),
                newer.page_size.get()
            )));
        }
        if newer.range().extends(&older.range()) {
            return Ok(());
        }
        Err(Error::NonContiguous {
            have: older.max_txid,
            next: newer.min_txid,
        })
    }

    fn take_file<R: io::Read + Send>(&mut self, decoder: Decoder<R>, size: u64) -> Result<()> {
        let page_bytes = self.page_size.bytes();
        self.behind = (size >= WRITTEN_BEHIND).then(WriteBehind::default);
        decode::pages(decoder, size, page_bytes, &mut |pgno, page| {
            self.put(pgno, page)
        })?;
        self.flush()
    }

    fn put(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        if pgno.get() > self.commit || !self.claim(pgno) {
            return Ok(());
        }
        if pgno == Pgno::FIRST {
            self.first = Some(page.to_vec());
        }
        let offset = self.page_size.offset_of(pgno);
        let follows = self.run_start + self.run.len() as u64 == offset;
        if !follows || self.run.len() + page.len() > WRITE_SIZE {
            self.flush()?;
            self.run_start = offset;
        }
        self.run.extend_from_slice(page);
        Ok(())
    }

    /// Marks a page as written; `false` when a newer version was.
    fn claim(&mut self, pgno: Pgno) -> bool {
        let (word, bit) = (pgno.get() as usize / 64, 1 << (pgno.get() % 64));
        let Some(word) = self.written.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn flush(&mut self) -> Result<()> {
        if !self.run.is_empty() {
            write_at(&mut self.file, &self.run, self.run_start)
                .map_err(|error| Error::io("write", &self.path, error))?;
            let end = self.run_start + self.run.len() as u64;
            self.run.clear();
            if let Some(behind) = &mut self.behind {
                behind.wrote(&self.file, end);
            }
        }
        Ok(())
    }

    /// Size of a page.
    pub(crate) fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Size of the database in pages.
    pub(crate) fn commit(&self) -> u32 {
        self.commit
    }

    /// The newest file that was taken.
    pub(crate) fn newest(&self) -> &Header {
        &self.newest
    }

    /// The oldest file that was taken.
    pub(crate) fn oldest(&self) -> &Header {
        &self.oldest
    }

    /// The first page, if it is in one of the files.
    pub(crate) fn first_page(&self) -> Option<&[u8]> {
        self.first.as_deref()
    }

    /// Whether the page is in one of the files.
    pub(crate) fn has(&self, pgno: Pgno) -> bool {
        let word = self.written.get(pgno.get() as usize / 64);
        word.is_some_and(|word| word & (1 << (pgno.get() % 64)) != 0)
    }

    /// Leaves a page out after all.
    pub(crate) fn leave_out(&mut self, pgno: Pgno) {
        if let Some(word) = self.written.get_mut(pgno.get() as usize / 64) {
            *word &= !(1 << (pgno.get() % 64));
        }
    }

    /// The first page from `first` on that is in the files and not left out.
    pub(crate) fn next_page(&self, first: u32) -> Option<Pgno> {
        let (start, bit) = (first as usize / 64, first % 64);
        let words = self.written.iter().enumerate().skip(start);
        for (at, word) in words {
            let mask = if at == start {
                u64::MAX << bit
            } else {
                u64::MAX
            };
            let rest = word & mask;
            if rest != 0 {
                return u32::try_from(at * 64)
                    .ok()
                    .and_then(|base| Pgno::new(base + rest.trailing_zeros()));
            }
        }
        None
    }

    /// All pages must be there, from the first transaction on.
    pub(crate) fn check_complete(&self) -> Result<()> {
        if self.oldest.min_txid != ltx::Txid::FIRST {
            return Err(Error::Setting(
                "cannot decode non-snapshot LTX file to SQLite database".to_owned(),
            ));
        }
        self.check_present(1)
    }

    /// All pages from `first` on must be there.
    pub(crate) fn check_present(&self, first: u32) -> Result<()> {
        let lock = self.page_size.lock_page();
        let mut pages = (first..=self.commit).filter_map(Pgno::new);
        match pages.find(|pgno| *pgno != lock && !self.has(*pgno)) {
            Some(pgno) => Err(Error::MissingPage {
                pgno: pgno.get(),
                commit: self.commit,
            }),
            None => Ok(()),
        }
    }

    /// Gives the file its size; the lock page, and nothing else, is a hole of zeros.
    pub(crate) fn finish(&mut self) -> Result<u64> {
        let size = u64::from(self.commit) * u64::from(self.page_size.get());
        self.file
            .set_len(size)
            .map_err(|error| Error::io("set size", &self.path, error))?;
        Ok(size)
    }

    /// Replaces bytes of the file, after everything was taken.
    pub(crate) fn overwrite(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        write_at(&mut self.file, bytes, offset)
            .map_err(|error| Error::io("write", &self.path, error))
    }
}

fn damaged(operation: &'static str) -> impl Fn(ltx::Error) -> Error {
    move |source| Error::LtxStream { operation, source }
}

#[cfg(unix)]
fn write_at(file: &mut File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.flush()?;
    file.write_all_at(bytes, offset)
}

#[cfg(not(unix))]
fn write_at(file: &mut File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
