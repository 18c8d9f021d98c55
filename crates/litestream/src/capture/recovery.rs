//! Decides at start whether the WAL continues what was captured before.
//!
//! Invariant: "continue" is only said when it is proved that no committed frame lies between the
//! position and the point of continuation; in every other case a new base image is taken. The
//! reader is pinned before any of this is looked at, so nothing moves meanwhile.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ltx::Decoder;
use sqlite_wal::{Cursor, PageMap, Salts, WalHeader, WalIndex, probe_frame};

use super::record::{FileStamp, Record};
use crate::error::{Error, Result};
use crate::local::LocalDir;

/// Where capture stands in the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing of the generation in force is captured; with the next frame comes its header.
    Fresh,
    /// Captured up to here.
    At(Cursor),
}

impl Tail {
    /// Frames of the generation `salts` that are captured.
    pub(crate) fn frames_of(&self, salts: Salts) -> u32 {
        match self {
            Self::At(cursor) if cursor.header.salts == salts => cursor.frame,
            _ => 0,
        }
    }
}

/// What start-up found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing was missed: go on here.
    Continue(Tail),
    /// A new base image is needed, for this reason.
    Rebase(&'static str),
}

/// The newest level-0 file.
pub(crate) struct Newest<'a> {
    pub(crate) header: &'a ltx::Header,
    /// The record, if it speaks of this file.
    pub(crate) record: Option<Record>,
}

/// All that the decision depends on.
pub(crate) struct Evidence<'a> {
    pub(crate) newest: Newest<'a>,
    /// The record, also when it speaks of an older file.
    pub(crate) record: Option<Record>,
    /// Where the level-0 files are.
    pub(crate) local: &'a LocalDir,
    pub(crate) index: WalIndex,
    pub(crate) wal: Option<&'a File>,
    pub(crate) wal_path: &'a Path,
    /// The database file before it was opened.
    pub(crate) database: FileStamp,
    pub(crate) page_size: u32,
    /// Which start of the machine this is, 0 when not known.
    pub(crate) boot: u64,
}

impl Evidence<'_> {
    /// See the module.
    pub(crate) fn judge(&self) -> Result<Verdict> {
        if self.newest.header.page_size.get() != self.page_size {
            return Ok(Verdict::Rebase("page size changed"));
        }
        let header = self.newest.header;
        let captured = Salts {
            salt1: header.wal_salt1,
            salt2: header.wal_salt2,
        };
        let end = (header.wal_offset + header.wal_size).max(sqlite_wal::WAL_HEADER_SIZE);
        let Ok(frames) = sqlite_wal::frame_at_offset(self.page_size, end) else {
            return Ok(Verdict::Rebase("wal position is not at a frame"));
        };
        let empty = Salts { salt1: 0, salt2: 0 };
        if captured == self.index.header.salts && captured != empty {
            return self.same_generation(captured, frames);
        }
        if self.is_untouched() {
            // Nothing was copied into the database file, so no generation with a frame that we do
            // not have can have ended.
            return self.start_of_generation();
        }
        if self.index.header.max_frame == 0 {
            return Ok(Verdict::Rebase("wal truncated by another process"));
        }
        if self.ended_at(captured, frames)? {
            return self.start_of_generation();
        }
        Ok(Verdict::Rebase("wal header salt reset, snapshotting"))
    }

    fn is_untouched(&self) -> bool {
        self.newest
            .record
            .is_some_and(|record| record.proves_untouched(&self.database))
    }

    fn is_same_boot(&self) -> bool {
        self.newest
            .record
            .is_some_and(|record| record.boot != 0 && record.boot == self.boot)
    }

    /// The WAL is of the generation that was captured last: is it the same up to our position?
    fn same_generation(&self, salts: Salts, frames: u32) -> Result<Verdict> {
        if self.index.header.max_frame < frames {
            return Ok(Verdict::Rebase("wal truncated by another process"));
        }
        let Some(header) = self.wal_header(salts)? else {
            return Ok(match self.index.header.max_frame {
                0 => Verdict::Continue(Tail::Fresh),
                _ => Verdict::Rebase("wal header does not fit the wal-index"),
            });
        };
        if frames == 0 {
            return Ok(Verdict::Continue(Tail::At(Cursor::start(header))));
        }
        match self.proved_cursor(header, frames)? {
            Some(cursor) => Ok(Verdict::Continue(Tail::At(cursor))),
            None => Ok(Verdict::Rebase(
                "last page does not exist in last ltx file, wal overwritten by another process",
            )),
        }
    }

    /// The cursor behind `frames`, if that frame is the very one that was captured.
    fn proved_cursor(&self, header: WalHeader, frames: u32) -> Result<Option<Cursor>> {
        let Some(wal) = self.wal else { return Ok(None) };
        let Some(frame) =
            probe_frame(wal, self.page_size, frames).map_err(|error| self.unreadable(error))?
        else {
            return Ok(None);
        };
        if frame.salts != header.salts {
            return Ok(None);
        }
        let cursor = Cursor {
            header,
            frame: frames,
            checksum: frame.checksum,
        };
        let proved = match self.newest.record {
            Some(record) => {
                (record.salts, record.frame, record.checksum)
                    == (header.salts, frames, frame.checksum)
            }
            None => self.files_match(wal, cursor)?,
        };
        Ok(proved.then_some(cursor))
    }

    /// Without a record of the newest file: the level-0 files must hold the very pages that the WAL
    /// holds, from its beginning, or from where an older record knows the running checksum.
    ///
    /// The newest file alone proves nothing: after a loss of power its transaction may have been
    /// done again byte for byte, behind another one that was not.
    fn files_match(&self, wal: &File, end: Cursor) -> Result<bool> {
        let mut end = end;
        let mut header = *self.newest.header;
        loop {
            let Some(start) = self.file_matches(wal, &header, end)? else {
                return Ok(false);
            };
            if start.frame == 0 || self.is_recorded(start) {
                return Ok(true);
            }
            let Some(before) = header.min_txid.prev() else {
                return Ok(false);
            };
            let Some(older) = read_header(&self.local.file(before))? else {
                return Ok(false);
            };
            let salts = Salts {
                salt1: older.wal_salt1,
                salt2: older.wal_salt2,
            };
            if older.page_size != header.page_size
                || salts != end.header.salts
                || older.wal_offset + older.wal_size != header.wal_offset
            {
                return Ok(false);
            }
            (header, end) = (older, start);
        }
    }

    fn is_recorded(&self, cursor: Cursor) -> bool {
        self.record.is_some_and(|record| {
            (record.salts, record.frame, record.checksum)
                == (cursor.header.salts, cursor.frame, cursor.checksum)
        })
    }

    /// Whether the WAL range of a level-0 file, which ends at `end`, holds the pages of the file and
    /// no others, with running checksums that lead to its end. Gives the beginning of the range.
    fn file_matches(&self, wal: &File, file: &ltx::Header, end: Cursor) -> Result<Option<Cursor>> {
        let Ok(first) = sqlite_wal::frame_at_offset(self.page_size, file.wal_offset) else {
            return Ok(None);
        };
        let start = if first == 0 {
            Cursor::start(end.header)
        } else {
            match probe_frame(wal, self.page_size, first).map_err(|error| self.unreadable(error))? {
                Some(frame) if frame.salts == end.header.salts => Cursor {
                    header: end.header,
                    frame: first,
                    checksum: frame.checksum,
                },
                _ => return Ok(None),
            }
        };
        if start == end {
            return Ok(Some(start));
        }
        let (mut map, mut buffer) = (PageMap::new(), Vec::new());
        let batch = sqlite_wal::read_batch(wal, start, end.frame, 0, &mut map, &mut buffer)
            .map_err(|error| self.unreadable(error))?;
        if batch.to != end || batch.commit != file.commit {
            return Ok(None);
        }
        let path = self.local.file(file.max_txid);
        Ok(self.compare(&path, wal, &map)?.then_some(start))
    }

    fn compare(&self, path: &Path, wal: &File, map: &PageMap) -> Result<bool> {
        use sqlite_wal::ReadAt;
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let reader = std::io::BufReader::with_capacity(1 << 18, file);
        let fail = |error| Error::ltx("decode", path, error);
        let mut decoder = Decoder::new(reader, path.display().to_string()).map_err(fail)?;
        let mut page = vec![0; self.page_size as usize];
        let mut other = page.clone();
        let mut matched = 0;
        while let Some(pgno) = decoder.next_page(&mut page).map_err(fail)? {
            let Some(frame) = map.get(pgno.get()) else {
                continue;
            };
            let offset = sqlite_wal::page_offset(self.page_size, frame);
            let read = wal.read_at(&mut other, offset);
            if read.map_err(|error| Error::io("read", self.wal_path, error))? < other.len()
                || page != other
            {
                return Ok(false);
            }
            matched += 1;
        }
        Ok(matched == map.len())
    }

    /// Whether the captured generation certainly ended at our position, seen from what is left of
    /// it behind the frames of its successor.
    fn ended_at(&self, captured: Salts, frames: u32) -> Result<bool> {
        let index = &self.index.header;
        let Some(wal) = self.wal else {
            return Ok(false);
        };
        // Without the same boot the file system may have lost the middle of the old generation.
        if frames == 0
            || !self.is_same_boot()
            || index.max_frame >= frames
            || !index.salts.is_successor_of(captured)
        {
            return Ok(false);
        }
        let Some(header) = self.wal_header(index.salts)? else {
            return Ok(false);
        };
        // The slot behind is read before the slot of the position: a generation that grows
        // meanwhile overwrites them in the other order, so it cannot hide the one and spare the
        // other. The slot must exist: a file that was cut shows nothing.
        let next =
            probe_frame(wal, self.page_size, frames + 1).map_err(|error| self.unreadable(error))?;
        let Some(next) = next.filter(|next| next.salts != index.salts) else {
            return Ok(false);
        };
        let whole = sqlite_wal::frames_end(self.page_size, frames + 1);
        let length = wal
            .metadata()
            .map_err(|error| Error::io("stat", self.wal_path, error))?
            .len();
        if length < whole {
            return Ok(false);
        }
        let old = WalHeader {
            salts: captured,
            ..header
        };
        let Some(cursor) = self.proved_cursor(old, frames)? else {
            return Ok(false);
        };
        Ok(next.salts != captured
            || !sqlite_wal::continues(wal, cursor).map_err(|error| self.unreadable(error))?)
    }

    fn start_of_generation(&self) -> Result<Verdict> {
        if self.index.header.max_frame == 0 {
            return Ok(Verdict::Continue(Tail::Fresh));
        }
        Ok(match self.wal_header(self.index.header.salts)? {
            Some(header) => Verdict::Continue(Tail::At(Cursor::start(header))),
            None => Verdict::Rebase("wal header does not fit the wal-index"),
        })
    }

    fn unreadable(&self, error: sqlite_wal::Error) -> Error {
        Error::wal(self.wal_path, error)
    }

    /// The header of the WAL file, if it is of this generation.
    fn wal_header(&self, salts: Salts) -> Result<Option<WalHeader>> {
        let Some(wal) = self.wal else { return Ok(None) };
        let header = WalHeader::read(wal).map_err(|error| self.unreadable(error))?;
        Ok(header.filter(|header| header.salts == salts && header.page_size == self.page_size))
    }
}

/// The header of a level-0 file, `None` when there is no such file or it is not one.
fn read_header(path: &Path) -> Result<Option<ltx::Header>> {
    let mut bytes = [0; ltx::HEADER_SIZE];
    match File::open(path).and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => Ok(ltx::Header::decode(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}
