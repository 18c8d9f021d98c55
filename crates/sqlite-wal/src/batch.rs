//! Reads whole transactions: from a cursor to the last commit frame within the limits.
//!
//! Invariant: what a batch and its page map tell is a committed state. A transaction is taken entirely or
//! not at all; frames behind the last commit are left for the next batch.

use crate::cursor::Cursor;
use crate::error::Result;
use crate::layout::FRAME_HEADER_SIZE;
use crate::page_map::PageMap;
use crate::reader::{ChainEnd, WalReader};
use crate::source::ReadAt;

/// What [`read_batch`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Where reading began.
    pub from: Cursor,
    /// Behind the last commit frame taken; equal to `from` when nothing was committed.
    pub to: Cursor,
    /// Size of the database in pages after the last transaction, 0 when nothing was committed.
    pub commit: u32,
    /// Number of transactions.
    pub transactions: u64,
    /// Whether reading stopped because `max_bytes` was reached. There may be more, or not.
    pub limited: bool,
    /// Valid frames behind the last commit: a transaction in the making, or one that was given up.
    pub uncommitted: u32,
    /// Frames up to the limit that should be there and are not valid: 0 unless the WAL holds less than
    /// the caller's wal-index promised (or no limit was given). A caller that pinned the limit must
    /// take this as lost continuity.
    pub missing: u32,
    /// Why reading ended, `None` when it was `max_bytes`.
    pub end: Option<ChainEnd>,
    held: (u32, u32),
}

impl Batch {
    /// Whether nothing was committed behind the cursor.
    pub fn is_empty(&self) -> bool {
        self.transactions == 0
    }

    /// Offset in bytes of the first frame taken.
    pub fn start_offset(&self) -> u64 {
        self.from.offset()
    }

    /// Offset in bytes behind the last frame taken.
    pub fn end_offset(&self) -> u64 {
        self.to.offset()
    }

    /// The page in `frame`, if it is still in `buffer`, the one that was given to [`read_batch`] and not
    /// touched since. Saves reading small batches a second time; `None` means: read it from the WAL.
    pub fn buffered_page<'b>(&self, buffer: &'b [u8], frame: u32) -> Option<&'b [u8]> {
        let (first, count) = self.held;
        let index = frame.checked_sub(first).filter(|index| *index < count)?;
        let page_size = self.from.header.page_size as usize;
        let frame_size = FRAME_HEADER_SIZE as usize + page_size;
        let start = index as usize * frame_size + FRAME_HEADER_SIZE as usize;
        buffer.get(start..start + page_size)
    }
}

/// Reads the transactions behind `cursor` into `map`, which is cleared first.
///
/// `limit_frame` is the last frame that may be read, `u32::MAX` for all. `max_bytes` ends the batch at the
/// first commit with which at least so many bytes of WAL were read, 0 for no such limit: one transaction
/// is never split, so a larger one exceeds it. `buffer` is scratch memory of up to 1 MiB, to be reused.
///
/// Pages above the final size of the database are dropped from the map.
///
/// # Errors
/// As [`WalReader::next_frame`]; the map is then empty and the cursor is as good as before.
///
/// # Cost
/// One pass over the new bytes in reads of up to 1 MiB, and 8 bytes of memory for each distinct page.
pub fn read_batch<S: ReadAt + ?Sized>(
    source: &S,
    cursor: Cursor,
    limit_frame: u32,
    max_bytes: u64,
    map: &mut PageMap,
    buffer: &mut Vec<u8>,
) -> Result<Batch> {
    map.clear();
    let mut reader = WalReader::new(source, cursor, limit_frame, buffer);
    let mut batch = Batch {
        from: cursor,
        to: cursor,
        commit: 0,
        transactions: 0,
        limited: false,
        uncommitted: 0,
        missing: 0,
        end: None,
        held: (0, 0),
    };
    if let Err(error) = take_transactions(&mut reader, max_bytes, map, &mut batch) {
        map.clear();
        return Err(error);
    }
    map.finish(batch.commit);
    let last = reader.cursor().frame;
    batch.end = reader.end();
    batch.held = reader.held();
    batch.uncommitted = last - batch.to.frame;
    if limit_frame != u32::MAX && !batch.limited {
        batch.missing = limit_frame.saturating_sub(last);
    }
    Ok(batch)
}

/// Takes frames until the chain ends or a commit reaches `max_bytes`.
fn take_transactions<S: ReadAt + ?Sized>(
    reader: &mut WalReader<'_, S>,
    max_bytes: u64,
    map: &mut PageMap,
    batch: &mut Batch,
) -> Result<()> {
    while let Some(frame) = reader.next_frame()? {
        let header = frame.header;
        map.record(header.pgno, frame.number);
        if !header.is_commit() {
            continue;
        }
        map.commit();
        batch.commit = header.commit;
        batch.transactions += 1;
        batch.to = reader.cursor();
        if max_bytes != 0 && batch.end_offset() - batch.start_offset() >= max_bytes {
            batch.limited = true;
            break;
        }
    }
    Ok(())
}
