//! The 24 bytes in front of each page in a WAL.
//!
//! "Database File Format", section "WAL File Format". Big-endian words.
//!
//! | offset | field |
//! |---|---|
//! | 0 | page number |
//! | 4 | size of the database in pages after this commit; 0 when the frame is not a commit |
//! | 8 | salt-1 |
//! | 12 | salt-2 |
//! | 16 | running checksum up to and including this frame, two words |

use crate::checksum::RunningChecksum;
use crate::fields::big_u32;
use crate::layout::FRAME_HEADER_SIZE;
use crate::salts::Salts;

/// Header of one frame, as stored: nothing is verified by parsing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Number of the page, from 1.
    pub pgno: u32,
    /// Size of the database in pages after this commit; 0 when the frame does not end a transaction.
    pub commit: u32,
    /// Generation that the frame was written in.
    pub salts: Salts,
    /// Running checksum: bytes 0 to 7 of this header and the page, continuing the previous frame's.
    pub checksum: RunningChecksum,
}

impl FrameHeader {
    /// Takes the fields out of the bytes.
    pub fn parse(bytes: &[u8; FRAME_HEADER_SIZE as usize]) -> Self {
        Self {
            pgno: big_u32(bytes, 0),
            commit: big_u32(bytes, 4),
            salts: Salts {
                salt1: big_u32(bytes, 8),
                salt2: big_u32(bytes, 12),
            },
            checksum: RunningChecksum {
                s0: big_u32(bytes, 16),
                s1: big_u32(bytes, 20),
            },
        }
    }

    /// Whether this frame ends a transaction.
    pub fn is_commit(&self) -> bool {
        self.commit != 0
    }
}
