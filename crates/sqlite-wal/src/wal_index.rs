//! The head of the wal-index (`-shm`): what the connections to a database have agreed on.
//!
//! "WAL-mode File Format", sections "The WAL-Index File Format" and "WAL-Index Header". Integers are in
//! the byte order of the machine, because only processes of one machine share the file; the salts alone
//! are a byte copy of the big-endian words of the WAL header.
//!
//! | offset | field |
//! |---|---|
//! | 0 | version, 3007000 |
//! | 8 | `iChange`, counts transactions |
//! | 12 | `isInit`, 1 when initialised |
//! | 13 | `bigEndCksum`, 1 when the WAL's checksum words are big-endian |
//! | 14 | `szPage`, half word, 1 for 65536 |
//! | 16 | `mxFrame`, last committed frame |
//! | 20 | `nPage`, size of the database in pages |
//! | 24 | `aFrameCksum`, running checksum after `mxFrame`, two words |
//! | 32 | `aSalt`, two words |
//! | 40 | `aCksum`, checksum of bytes 0 to 39, two words |
//! | 48 | the same 48 bytes again |
//! | 96 | `nBackfill` |
//! | 100 | `aReadMark`, five words |
//! | 120 | eight bytes where locks are held |
//! | 128 | `nBackfillAttempted` |
//!
//! A writer changes the second copy first and the first one last, so equal copies with a fitting
//! checksum are one consistent header.

use crate::checksum::{ByteOrder, RunningChecksum};
use crate::fields::{big_u32, native_u16, native_u32};
use crate::salts::Salts;

/// Size in bytes of the part that [`parse_wal_index`] reads.
pub const WAL_INDEX_HEADER_SIZE: usize = 136;
/// Value of a read mark that no reader uses.
pub const READ_MARK_UNUSED: u32 = u32::MAX;

const COPY_SIZE: usize = 48;
const SUMMED_SIZE: usize = 40;

/// The header proper, of which the file holds two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalIndexHeader {
    /// Version of the format, 3007000. Not judged here.
    pub version: u32,
    /// `iChange`: counts transactions.
    pub change_counter: u32,
    /// `isInit`: always true in what [`parse_wal_index`] returns.
    pub is_init: bool,
    /// `bigEndCksum`: whether the WAL's checksum words are big-endian.
    pub big_endian_checksum: bool,
    /// `szPage` in bytes; 0 while the WAL is empty and no connection has written.
    pub page_size: u32,
    /// `mxFrame`: the last committed frame, 0 when none.
    pub max_frame: u32,
    /// `nPage`: size of the database in pages.
    pub page_count: u32,
    /// `aFrameCksum`: running checksum after `max_frame`.
    pub frame_checksum: RunningChecksum,
    /// `aSalt`: generation of the WAL.
    pub salts: Salts,
}

/// How far the WAL is copied into the database, and what readers hold on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckpointInfo {
    /// `nBackfill`: frames that are in the database file, and durable there.
    pub backfilled: u32,
    /// `aReadMark`: the frame that readers of each slot see. Slot 0 is always 0, its readers use the
    /// database file alone. [`READ_MARK_UNUSED`] is a slot never used. A mark stays when its reader
    /// leaves: only the lock tells whether a slot is held.
    pub read_marks: [u32; 5],
    /// `nBackfillAttempted`: frames that may be in the database file.
    pub backfill_attempted: u32,
}

/// The head of a wal-index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalIndex {
    /// The header; verified by its checksum.
    pub header: WalIndexHeader,
    /// Checkpoint state; not covered by a checksum, and it may move while the header does not.
    pub checkpoint: CheckpointInfo,
}

impl WalIndex {
    /// Whether every committed frame is in the database file, so that the next writer may restart the
    /// WAL if no reader uses it.
    pub fn is_backfilled(&self) -> bool {
        self.checkpoint.backfilled >= self.header.max_frame
    }
}

/// Reads the head of a wal-index as copied from shared memory.
///
/// `None` when there is no consistent header: the two copies differ or the checksum does not fit (a writer
/// is in the middle: read again), or it is not initialised (a connection is recovering it, or will).
pub fn parse_wal_index(bytes: &[u8; WAL_INDEX_HEADER_SIZE]) -> Option<WalIndex> {
    if bytes[..COPY_SIZE] != bytes[COPY_SIZE..2 * COPY_SIZE] {
        return None;
    }
    let is_init = bytes[12] != 0;
    let pair = |at| RunningChecksum {
        s0: native_u32(bytes, at),
        s1: native_u32(bytes, at + 4),
    };
    let mut computed = RunningChecksum::default();
    computed.update(ByteOrder::NATIVE, &bytes[..SUMMED_SIZE]);
    if !is_init || computed != pair(SUMMED_SIZE) {
        return None;
    }
    let page_size = u32::from(native_u16(bytes, 14));
    Some(WalIndex {
        header: WalIndexHeader {
            version: native_u32(bytes, 0),
            change_counter: native_u32(bytes, 8),
            is_init,
            big_endian_checksum: bytes[13] != 0,
            // Bit 0 stands for 65536, which does not fit into the half word.
            page_size: (page_size & 0xfffe) | (page_size & 1) << 16,
            max_frame: native_u32(bytes, 16),
            page_count: native_u32(bytes, 20),
            frame_checksum: pair(24),
            salts: Salts {
                salt1: big_u32(bytes, 32),
                salt2: big_u32(bytes, 36),
            },
        },
        checkpoint: CheckpointInfo {
            backfilled: native_u32(bytes, 96),
            read_marks: [100, 104, 108, 112, 116].map(|at| native_u32(bytes, at)),
            backfill_attempted: native_u32(bytes, 128),
        },
    })
}
