//! The page index: where each page stands in a file.
//!
//! Sorted entries of three uvarints (page number, offset of the frame, size of the frame), a zero
//! byte, and behind that the length of all this as 8 bytes. It serves random access only: reading a
//! file front to back ignores what the index says, as other writers' indexes may be wrong.

use std::ops::Range;

use crate::error::{Cause, Error, Result};
use crate::header::HEADER_SIZE;
use crate::page::{PAGE_HEADER_SIZE, Pgno};
use crate::trailer::TRAILER_SIZE;
use crate::varint::Partial;

/// Bytes of the length behind the entries.
const LENGTH_SIZE: usize = 8;
/// Bytes behind the index: its length and the trailer.
const TAIL_SIZE: usize = LENGTH_SIZE + TRAILER_SIZE;

/// Where one page stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// Offset of the frame in the file.
    pub offset: u64,
    /// Bytes of the frame, its header included.
    pub size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) pgno: Pgno,
    pub(crate) size: u32,
    pub(crate) offset: u64,
}

/// The index of one file. Memory: 16 bytes per page.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PageIndex {
    slots: Vec<Slot>,
}

impl PageIndex {
    /// Parses the entries up to and including the zero byte behind them; what follows is ignored.
    ///
    /// As in other readers the last entry of a page counts, if there are several.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut scan = Scan::default();
        let mut slots = Vec::with_capacity(bytes.len() / 6);
        for (at, &byte) in bytes.iter().enumerate() {
            let located = |cause| Error::from(cause).at(at as u64);
            match scan.push(byte).map_err(located)? {
                Step::More => {}
                Step::Entry(entry) => slots.push(entry.slot().map_err(located)?),
                Step::End => return Ok(Self::from_slots(slots)),
            }
        }
        let (expected, found) = (bytes.len() as u64 + 1, bytes.len() as u64);
        Err(Cause::EndOfFile {
            part: "read page index",
            expected,
            found,
        }
        .into())
    }

    /// Where a page stands. Cost: a binary search.
    pub fn lookup(&self, pgno: Pgno) -> Option<IndexEntry> {
        let at = self
            .slots
            .binary_search_by_key(&pgno, |slot| slot.pgno)
            .ok()?;
        self.slots.get(at).map(Slot::entry)
    }

    /// All pages in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Pgno, IndexEntry)> + '_ {
        self.slots.iter().map(|slot| (slot.pgno, slot.entry()))
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the file holds no page.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Checks that every frame lies behind the header and in front of the index of a file of
    /// `file_size` bytes, so that no entry can send a reader elsewhere.
    pub fn check_bounds(&self, file_size: u64) -> Result<()> {
        let end = file_size.saturating_sub((PAGE_HEADER_SIZE + TAIL_SIZE) as u64);
        for slot in &self.slots {
            let found = slot.offset.saturating_add(u64::from(slot.size));
            let what = if slot.offset < HEADER_SIZE as u64 {
                "offset"
            } else if slot.size as usize <= PAGE_HEADER_SIZE || found > end {
                "end of frame"
            } else {
                continue;
            };
            return Err(Cause::IndexRange {
                what,
                found,
                limit: end,
            }
            .into());
        }
        Ok(())
    }

    /// Sorts only if needed: every sound index is sorted already.
    pub(crate) fn from_slots(mut slots: Vec<Slot>) -> Self {
        if !slots.is_sorted_by(|a, b| a.pgno < b.pgno) {
            // Stable, so the last of equal entries is the last one read; it is moved to the front,
            // where `dedup` keeps it.
            slots.reverse();
            slots.sort_by_key(|slot| slot.pgno);
            slots.dedup_by_key(|slot| slot.pgno);
        }
        slots.shrink_to_fit();
        Self { slots }
    }
}

impl Slot {
    fn entry(&self) -> IndexEntry {
        IndexEntry {
            offset: self.offset,
            size: u64::from(self.size),
        }
    }
}

impl std::fmt::Debug for PageIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// One entry as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) pgno: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl RawEntry {
    fn slot(self) -> Result<Slot, Cause> {
        let range = |what, found| Cause::IndexRange {
            what,
            found,
            limit: u64::from(u32::MAX),
        };
        let number = u32::try_from(self.pgno).ok().and_then(Pgno::new);
        Ok(Slot {
            pgno: number.ok_or_else(|| range("page number", self.pgno))?,
            size: u32::try_from(self.size).map_err(|_| range("size", self.size))?,
            offset: self.offset,
        })
    }
}

/// What one more byte of an index completes.
pub(crate) enum Step {
    More,
    Entry(RawEntry),
    End,
}

/// Reads an index byte by byte, so that it may span buffers.
#[derive(Default)]
pub(crate) struct Scan {
    partial: Partial,
    pgno: Option<u64>,
    offset: Option<u64>,
}

impl Scan {
    pub(crate) fn push(&mut self, byte: u8) -> Result<Step, Cause> {
        let Some(value) = self.partial.push(byte).map_err(|_| Cause::Varint)? else {
            return Ok(Step::More);
        };
        match (self.pgno, self.offset) {
            (None, _) if value == 0 => Ok(Step::End),
            (None, _) => {
                self.pgno = Some(value);
                Ok(Step::More)
            }
            (Some(_), None) => {
                self.offset = Some(value);
                Ok(Step::More)
            }
            (Some(pgno), Some(offset)) => {
                *self = Self::default();
                Ok(Step::Entry(RawEntry {
                    pgno,
                    offset,
                    size: value,
                }))
            }
        }
    }
}

/// Where the entries of an index are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexLocation {
    /// Inside the tail that was given: this part of it goes to [`PageIndex::parse`].
    InTail(Range<usize>),
    /// In front of it: these bytes of the file have to be fetched first.
    Fetch {
        /// Offset in the file.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

/// Finds the page index from the last bytes of a file of `file_size` bytes.
///
/// 32 KiB of tail hold the index of about 4,000 pages. The length of the index is checked
/// against the file, so a damaged one cannot ask for more than the file has.
pub fn index_location(tail: &[u8], file_size: u64) -> Result<IndexLocation> {
    let too_short = || Error::from(Cause::NoRoomForIndex(tail.len() as u64));
    let entries_end = tail.len().checked_sub(TAIL_SIZE).ok_or_else(too_short)?;
    let length = tail
        .get(entries_end..)
        .and_then(|tail| tail.first_chunk::<LENGTH_SIZE>());
    let len = u64::from_be_bytes(*length.ok_or_else(too_short)?);
    let limit = file_size.checked_sub((HEADER_SIZE + PAGE_HEADER_SIZE + TAIL_SIZE) as u64);
    let limit = limit.ok_or_else(|| Error::from(Cause::NoRoomForIndex(file_size)))?;
    if len == 0 || len > limit {
        let cause = Cause::IndexRange {
            what: "index size",
            found: len,
            limit,
        };
        return Err(Error::from(cause).at(file_size - TAIL_SIZE as u64));
    }
    Ok(match entries_end.checked_sub(len as usize) {
        Some(start) => IndexLocation::InTail(start..entries_end),
        None => IndexLocation::Fetch {
            offset: file_size - TAIL_SIZE as u64 - len,
            len,
        },
    })
}

#[cfg(test)]
mod tests;
