//! The whole database at one committed state, from the WAL and the database file.

use std::fs::File;

use sqlite_wal::{Cursor, PageMap, WalHeader, WalIndex};

use super::Capture;
use super::connection::Connection;
use super::pin::is_copied;
use super::recovery::Tail;
use super::sink::{BaseImage, Pages, Sink};
use crate::error::{Error, Result};

impl Capture {
    /// Goes on from the state that `index` tells, whatever happened before; from there on capture is
    /// incremental. Says whether a file was written: not if nothing changed since the newest one.
    pub(super) fn take_base(&mut self, index: &WalIndex, reason: &'static str) -> Result<bool> {
        let before = self.position();
        let (wal, tail) = self.state_at(index)?;
        let mut map = PageMap::new();
        if let (Some(wal), Tail::At(end)) = (&wal, tail)
            && !is_copied(index)
        {
            self.map_generation(wal, end, &mut map)?;
        }
        let from_wal = !map.is_empty();
        let confirm = || {
            if from_wal {
                self.pin.confirm(index.header.salts, &self.wal_path)
            } else {
                Ok(())
            }
        };
        let image = BaseImage {
            salts: index.header.salts,
            frames: index.header.max_frame,
            commit: commit_size(index, self.pin.connection(), self.page_size.get())?,
            pages: Pages {
                page_size: self.page_size,
                map: &map,
                wal: wal.as_ref().map(|wal| (wal, self.wal_path.as_path())),
                batch: None,
                database: self.pin.connection(),
                database_path: &self.settings.path,
            },
            confirm: &confirm,
        };
        self.ltx.base(&image, reason)?;
        // Thousands of databases may start at the same time.
        self.ltx.settle();
        self.tail = tail;
        self.rebase = None;
        Ok(self.position() != before)
    }

    /// Writes a transaction that changes nothing: page 1 as it is, and the page of the last frame
    /// that is captured, by which others find the position in the WAL. `false` when there is
    /// something real to capture, or nothing at all.
    pub(crate) fn mark(&mut self) -> Result<bool> {
        self.check_identity()?;
        let index = self.pin.peek()?;
        let commit = self.ltx.position().map_or(0, |position| position.commit);
        if self.is_behind(&index) || self.rebase.is_some() || commit == 0 {
            return Ok(false);
        }
        let (salts, frames) = match self.tail {
            Tail::At(cursor) => (cursor.header.salts, cursor.frame),
            Tail::Fresh => (index.header.salts, 0),
        };
        let (mut map, mut wal) = (PageMap::new(), None);
        // As for a frozen reader: what is not in the WAL in force is in the database file.
        if let Tail::At(end) = self.tail
            && salts == index.header.salts
            && index.checkpoint.backfilled < frames
        {
            let file = self.open_wal()?;
            self.map_generation(&file, end, &mut map)?;
            wal = Some(file);
        }
        let last = map.iter().find(|(_, frame)| *frame == frames);
        let confirm = || match wal {
            Some(_) => self.pin.confirm(salts, &self.wal_path),
            None => Ok(()),
        };
        let image = BaseImage {
            salts,
            frames,
            commit,
            pages: Pages {
                page_size: self.page_size,
                map: &map,
                wal: wal.as_ref().map(|wal| (wal, self.wal_path.as_path())),
                batch: None,
                database: self.pin.connection(),
                database_path: &self.settings.path,
            },
            confirm: &confirm,
        };
        self.ltx.mark(&image, last.map(|(pgno, _)| pgno))?;
        self.write_record();
        Ok(true)
    }

    /// The open WAL and the position at its end.
    fn state_at(&self, index: &WalIndex) -> Result<(Option<File>, Tail)> {
        let header = &index.header;
        if header.max_frame == 0 {
            return Ok((None, Tail::Fresh));
        }
        let wal = self.open_wal()?;
        let found = WalHeader::read(&wal).map_err(|error| Error::wal(&self.wal_path, error))?;
        let found = found
            .filter(|found| found.salts == header.salts && found.page_size == self.page_size.get());
        let Some(found) = found else {
            return Err(Error::Replaced {
                what: "wal",
                path: self.wal_path.clone(),
            });
        };
        let cursor = Cursor {
            header: found,
            frame: header.max_frame,
            checksum: header.frame_checksum,
        };
        Ok((Some(wal), Tail::At(cursor)))
    }

    /// Newest frame of each page in the generation, up to `end`, verified from its first frame.
    pub(super) fn map_generation(&self, wal: &File, end: Cursor, map: &mut PageMap) -> Result<()> {
        let mut buffer = Vec::new();
        let start = Cursor::start(end.header);
        let batch = sqlite_wal::read_batch(wal, start, end.frame, 0, map, &mut buffer)
            .map_err(|error| Error::wal(&self.wal_path, error))?;
        if batch.to == end {
            return Ok(());
        }
        Err(Error::Replaced {
            what: "wal",
            path: self.wal_path.clone(),
        })
    }
}

/// Size of the database in pages: what the last commit says, else what the file holds.
fn commit_size(index: &WalIndex, connection: &Connection, page_size: u32) -> Result<u32> {
    if index.header.max_frame > 0 {
        return Ok(index.header.page_count);
    }
    let pages = connection.database_size()? / u64::from(page_size);
    u32::try_from(pages).map_err(|_| Error::Setting("the database has too many pages".to_owned()))
}
