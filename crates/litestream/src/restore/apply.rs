//! Writes the pages of the fetched files into the new database, newest file first.
//!
//! Invariant: a page comes from the newest file that has it; every file is decoded to its end and
//! verified; all pages from 1 to the commit size of the newest file are there, or it is an error.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ltx::{Decoder, Header, PageSize, Pgno};

use super::RestoreOptions;
use super::fetch::{Fetched, Files as FetchedFiles};
use super::integrity;
use crate::error::{Error, Result};
use crate::files::{Files, Ownership};

mod decode;

/// Pages gathered into one write: 1 MiB.
const WRITE_SIZE: usize = 1 << 20;

/// Applies all files and makes the output durable under its name. Returns its size in bytes.
pub(super) fn apply(
    mut files: FetchedFiles,
    local: &Files,
    options: &RestoreOptions,
) -> Result<u64> {
    let output = options.output.as_path();
    let mut target: Option<Target> = None;
    // As a program would create it: 0666 through the umask.
    let staged = local.stage(
        output,
        &Ownership {
            file_mode: Some(0o666),
            ..Ownership::default()
        },
    )?;
    while let Some(fetched) = files.blocking_recv() {
        let fetched = fetched?;
        let fail = damaged("decode database");
        let decoder = Decoder::new(fetched.bytes, fetched.name).map_err(fail)?;
        let header = *decoder.header();
        let target = match &mut target {
            Some(target) => {
                target.check_follows(&header)?;
                target
            }
            empty => empty.insert(Target::new(staged.handle()?, output, &header)),
        };
        target.oldest = header;
        target.take_file(decoder, fetched.file.size)?;
    }
    let Some(mut target) = target else {
        return Err(Error::TxNotAvailable);
    };
    target.check_complete()?;
    let size = target.finish()?;
    drop(target);
    integrity::check(staged.path(), options.integrity_check)?;
    if options.replace {
        // A WAL of the old database must never be read as one of the new.
        for side in super::sidecars(output) {
            local.remove(&side)?;
        }
    }
    staged.commit()?;
    Ok(size)
}

fn damaged(operation: &'static str) -> impl Fn(ltx::Error) -> Error {
    move |source| Error::LtxStream { operation, source }
}

/// The database being written.
struct Target {
    file: File,
    path: std::path::PathBuf,
    page_size: PageSize,
    commit: u32,
    /// Header of the file applied last, which is the oldest so far.
    oldest: Header,
    /// One bit for each page, set once its newest version is written.
    written: Vec<u64>,
    /// Consecutive pages on their way to the file.
    run: Vec<u8>,
    run_start: u64,
}

impl Target {
    fn new(file: File, path: &Path, newest: &Header) -> Self {
        Self {
            file,
            path: path.to_owned(),
            page_size: newest.page_size,
            commit: newest.commit,
            oldest: *newest,
            written: vec![0; newest.commit as usize / 64 + 1],
            run: Vec::with_capacity(WRITE_SIZE),
            run_start: 0,
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
        decode::pages(decoder, size, page_bytes, &mut |pgno, page| {
            self.put(pgno, page)
        })?;
        self.flush()
    }

    fn put(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        if pgno.get() > self.commit || !self.claim(pgno) {
            return Ok(());
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
            self.run.clear();
        }
        Ok(())
    }

    fn check_complete(&mut self) -> Result<()> {
        if self.oldest.min_txid != ltx::Txid::FIRST {
            return Err(Error::Setting(
                "cannot decode non-snapshot LTX file to SQLite database".to_owned(),
            ));
        }
        let lock = self.page_size.lock_page();
        for number in 1..=self.commit {
            let Some(pgno) = Pgno::new(number) else {
                continue;
            };
            if self.claim(pgno) && pgno != lock {
                return Err(Error::MissingPage {
                    pgno: number,
                    commit: self.commit,
                });
            }
        }
        Ok(())
    }

    /// Gives the file its size; the lock page, and nothing else, is a hole of zeros.
    fn finish(&mut self) -> Result<u64> {
        let size = u64::from(self.commit) * u64::from(self.page_size.get());
        self.file
            .set_len(size)
            .map_err(|error| Error::io("set size", &self.path, error))?;
        Ok(size)
    }
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

/// What is applied is one file of the plan.
impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
