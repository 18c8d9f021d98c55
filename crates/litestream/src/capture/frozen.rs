//! The database at one captured transaction, kept readable while capture goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use ltx::{Header, PageSize, Timestamp, Txid};
use sqlite_wal::{PageMap, Salts, WAL_HEADER_SIZE, frames_end};

use super::Capture;
use super::connection::Connection;
use super::recovery::Tail;
use super::sink::Pages;
use crate::error::{Error, Result};

/// Holds a read transaction of its own until it is dropped.
pub(crate) struct Frozen {
    path: PathBuf,
    wal_path: PathBuf,
    connection: Connection,
    wal: Option<File>,
    map: PageMap,
    page_size: PageSize,
    commit: u32,
    salts: Salts,
    frames: u32,
    txid: Txid,
    timestamp: Timestamp,
}

impl Capture {
    /// Freezes the newest captured transaction. Captures what is new on the way.
    pub(crate) fn freeze(&mut self) -> Result<Frozen> {
        // SQLite keeps the descriptor of a closed connection while another holds locks, and gives
        // it to the next one: closing the spare first saves a descriptor for each database.
        self.pin.drop_spare();
        let connection = Connection::open(&self.settings.path, self.settings.busy_timeout)?;
        connection.begin_read()?;
        // What the new reader sees is at most what is committed now; all of that gets captured, so
        // the reader never holds less in place than the position needs.
        let index = self.pin.peek()?;
        while self.is_behind(&index) || self.rebase.is_some() {
            self.step()?;
        }
        let Some(position) = self.ltx.position() else {
            return Err(Error::NoPosition);
        };
        let index = self.pin.peek()?;
        let (salts, frames) = match self.tail {
            Tail::At(cursor) => (cursor.header.salts, cursor.frame),
            Tail::Fresh => (index.header.salts, 0),
        };
        let mut map = PageMap::new();
        let mut wal = None;
        // Frames that are not copied keep the generation from being replaced while the reader is
        // there; a generation that was replaced, or copied, is in the database file.
        if let Tail::At(end) = self.tail
            && salts == index.header.salts
            && index.checkpoint.backfilled < frames
        {
            let file = self.open_wal()?;
            self.map_generation(&file, end, &mut map)?;
            wal = Some(file);
        }
        Ok(Frozen {
            path: self.settings.path.clone(),
            wal_path: self.wal_path.clone(),
            connection,
            wal,
            map,
            page_size: self.page_size,
            commit: position.commit,
            salts,
            frames,
            txid: position.txid,
            timestamp: position.timestamp,
        })
    }
}

impl Frozen {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn txid(&self) -> Txid {
        self.txid
    }

    /// Time of the transaction.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    pub(crate) fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Size of the database in pages.
    pub(crate) fn commit(&self) -> u32 {
        self.commit
    }

    /// Adds the last WAL frame that is included, as the reference does.
    pub(crate) fn describe(&self, header: Header) -> Header {
        let size = self.page_size.get();
        let end = frames_end(size, self.frames);
        let (offset, length) = match self.frames {
            0 => (WAL_HEADER_SIZE, 0),
            frames => {
                let start = frames_end(size, frames - 1);
                (start, end - start)
            }
        };
        Header {
            wal_offset: offset,
            wal_size: length,
            wal_salt1: self.salts.salt1,
            wal_salt2: self.salts.salt2,
            ..header
        }
    }

    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages {
            page_size: self.page_size,
            map: &self.map,
            wal: self.wal.as_ref().map(|wal| (wal, self.wal_path.as_path())),
            batch: None,
            database: &self.connection,
            database_path: &self.path,
        }
    }
}
