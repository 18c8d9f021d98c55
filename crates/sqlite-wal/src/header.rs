//! The 32 bytes at the head of a WAL: which generation it is and how its frames are to be read.
//!
//! "Database File Format", section "WAL File Format". All fields are big-endian words, whatever the
//! byte order of the checksum.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic: `377f0682` (checksum words little-endian) or `377f0683` (big-endian) |
//! | 4 | version, 3007000 |
//! | 8 | page size in bytes |
//! | 12 | checkpoint sequence number |
//! | 16 | salt-1 |
//! | 20 | salt-2 |
//! | 24 | checksum of bytes 0 to 23, two words |

use crate::checksum::{ByteOrder, RunningChecksum};
use crate::error::{Error, Result};
use crate::fields::big_u32;
use crate::layout::{WAL_HEADER_SIZE, check_page_size};
use crate::salts::Salts;
use crate::source::{ReadAt, read_full};

const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;
const VERSION: u32 = 3_007_000;

/// Header of a WAL.
///
/// Two headers are equal exactly when their 32 bytes are, so comparing with a kept one tells whether the
/// WAL is still of the same generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalHeader {
    /// Byte order of the words that checksums are taken over.
    pub byte_order: ByteOrder,
    /// Page size in bytes.
    pub page_size: u32,
    /// Checkpoint sequence number. Written from the state of one connection: not monotonic, so nothing
    /// can be concluded from it.
    pub checkpoint_seq: u32,
    /// Name of the generation.
    pub salts: Salts,
    /// Checksum of the header; the first frame continues it.
    pub checksum: RunningChecksum,
}

impl WalHeader {
    /// Reads the header out of the first bytes of a WAL; more than 32 bytes are allowed.
    ///
    /// `None` means that there is no header yet: fewer than 32 bytes, or the checksum does not fit (a
    /// torn write). SQLite takes such a WAL as empty.
    ///
    /// # Errors
    /// [`Error::WalMagic`]; and in a header whose checksum fits, [`Error::WalVersion`] or
    /// [`Error::PageSize`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(bytes) = bytes.first_chunk::<{ WAL_HEADER_SIZE as usize }>() else {
            return Ok(None);
        };
        let byte_order = match big_u32(bytes, 0) {
            MAGIC_LITTLE => ByteOrder::Little,
            MAGIC_BIG => ByteOrder::Big,
            found => return Err(Error::WalMagic { found }),
        };
        let checksum = RunningChecksum {
            s0: big_u32(bytes, 24),
            s1: big_u32(bytes, 28),
        };
        let mut computed = RunningChecksum::default();
        computed.update(byte_order, &bytes[..24]);
        if computed != checksum {
            return Ok(None);
        }
        let version = big_u32(bytes, 4);
        if version != VERSION {
            return Err(Error::WalVersion { found: version });
        }
        Ok(Some(Self {
            byte_order,
            page_size: check_page_size(big_u32(bytes, 8), 8)?,
            checkpoint_seq: big_u32(bytes, 12),
            salts: Salts {
                salt1: big_u32(bytes, 16),
                salt2: big_u32(bytes, 20),
            },
            checksum,
        }))
    }

    /// Reads the header of the WAL in `source`: one positional read.
    ///
    /// # Errors
    /// As [`WalHeader::parse`], and [`Error::Read`].
    pub fn read<S: ReadAt + ?Sized>(source: &S) -> Result<Option<Self>> {
        let mut bytes = [0; WAL_HEADER_SIZE as usize];
        let length = read_full(source, &mut bytes, 0)?;
        Self::parse(&bytes[..length])
    }
}
