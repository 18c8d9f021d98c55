//! What capture hands on: committed batches and the events between them.
//!
//! Capture knows the WAL; a sink knows a format. The LTX writer is one sink; a format that keeps
//! the WAL's bytes would be another and gets the same calls in the same order.

use std::fs::File;

use ltx::{PageSize, Pgno};
use sqlite_wal::{Batch, Cursor, PageMap, ReadAt, Salts};

use super::connection::Connection;
use crate::error::{Error, Result};

/// Pages as they are at one committed state: in the WAL where the map says so, else in the
/// database file.
///
/// The pinned reader guarantees that neither changes while this is borrowed.
pub struct Pages<'a> {
    pub(crate) page_size: PageSize,
    pub(crate) map: &'a PageMap,
    pub(crate) wal: Option<(&'a File, &'a std::path::Path)>,
    pub(crate) batch: Option<(&'a Batch, &'a [u8])>,
    pub(crate) database: &'a Connection,
    pub(crate) database_path: &'a std::path::Path,
}

impl Pages<'_> {
    /// Size of each page.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Page numbers in the WAL, ascending.
    pub fn in_wal(&self) -> impl Iterator<Item = Pgno> + '_ {
        self.map.iter().filter_map(|(pgno, _)| Pgno::new(pgno))
    }

    /// Whether the newest version of the page is in the WAL.
    pub fn is_in_wal(&self, pgno: Pgno) -> bool {
        self.map.contains(pgno.get())
    }

    /// Reads the newest version of a page from the WAL; `false` when it is not there.
    pub fn read_from_wal(&self, pgno: Pgno, page: &mut [u8]) -> Result<bool> {
        let Some(frame) = self.map.get(pgno.get()) else {
            return Ok(false);
        };
        if let Some((batch, buffer)) = self.batch
            && let Some(bytes) = batch.buffered_page(buffer, frame)
        {
            page.copy_from_slice(bytes);
            return Ok(true);
        }
        let Some((wal, path)) = self.wal else {
            return Ok(false);
        };
        let offset = sqlite_wal::page_offset(self.page_size.get(), frame);
        let found = read_full(wal, page, offset).map_err(|error| Error::io("read", path, error))?;
        if found < page.len() {
            return Err(Error::ShortPage {
                pgno: pgno.get(),
                path: path.to_owned(),
                expected: page.len(),
                found,
            });
        }
        Ok(true)
    }

    /// Reads consecutive pages from the database file, without the WAL. What lies behind the end
    /// of the file is zero: SQLite reads it so too.
    pub fn read_from_database(&self, first: Pgno, pages: &mut [u8]) -> Result<()> {
        let found = self
            .database
            .read_database(pages, self.page_size.offset_of(first))?;
        if let Some(rest) = pages.get_mut(found..) {
            rest.fill(0);
        }
        Ok(())
    }

    /// Path of the database, for messages.
    pub fn database_path(&self) -> &std::path::Path {
        self.database_path
    }
}

fn read_full(source: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match source.read_at(rest, offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

/// Whole transactions behind the last ones, in one generation of the WAL.
pub struct CommitBatch<'a> {
    /// Where the batch begins.
    pub from: Cursor,
    /// Behind the last frame of the batch.
    pub to: Cursor,
    /// Size of the database in pages after the batch.
    pub commit: u32,
    /// The changed pages.
    pub pages: Pages<'a>,
    pub(crate) confirm: &'a dyn Fn() -> Result<()>,
}

impl CommitBatch<'_> {
    /// Makes sure that what was read is what was committed. To be called after the last page was
    /// read and before anything relies on it: a reader that was pinned when everything was copied
    /// does not keep a writer from starting the WAL anew.
    ///
    /// # Errors
    /// The WAL was started anew meanwhile; nothing of the batch may be kept.
    pub fn confirm(&self) -> Result<()> {
        (self.confirm)()
    }
}

/// The whole database at one committed state.
pub struct BaseImage<'a> {
    /// Salts of the WAL generation in force.
    pub salts: Salts,
    /// Frames of the WAL that the image includes.
    pub frames: u32,
    /// Size of the database in pages.
    pub commit: u32,
    /// The pages.
    pub pages: Pages<'a>,
    pub(crate) confirm: &'a dyn Fn() -> Result<()>,
}

impl BaseImage<'_> {
    /// As [`CommitBatch::confirm`].
    pub fn confirm(&self) -> Result<()> {
        (self.confirm)()
    }
}

/// Takes what capture reads. A call that fails changes nothing, and is made again.
pub trait Sink: Send {
    /// Transactions that follow directly on what the sink has.
    ///
    /// # Durability
    /// When this returns, the batch must survive a crash: the WAL may be started anew afterwards.
    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<()>;

    /// The WAL was started anew; the generation before ended exactly where the sink stands.
    fn restart(&mut self, salts: Salts);

    /// Continuity with what the sink has is not proved: here is the whole database instead.
    ///
    /// # Durability
    /// As for [`Self::commit`].
    fn base(&mut self, image: &BaseImage<'_>, reason: &str) -> Result<()>;
}
