//! The file header: 100 bytes, big-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `LTX1` |
//! | 4 | 4 | flags |
//! | 8 | 4 | page size |
//! | 12 | 4 | commit: database size in pages after the file is applied |
//! | 16 | 8 | first transaction |
//! | 24 | 8 | last transaction |
//! | 32 | 8 | timestamp, milliseconds since the Unix epoch |
//! | 40 | 8 | database checksum before the file; 0 when not tracked |
//! | 48 | 8 | offset in the WAL where the copied range starts |
//! | 56 | 8 | length of that range |
//! | 64 | 4 | salt 1 of the WAL |
//! | 68 | 4 | salt 2 of the WAL |
//! | 72 | 8 | id of the writing node |
//! | 80 | 20 | reserved: written as zero, ignored on reading |

use std::fmt;

use crate::checksum::FLAG;
use crate::error::{Cause, Error, Result};
use crate::page::PageSize;
use crate::timestamp::Timestamp;
use crate::txid::{Txid, TxidRange};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 100;

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"LTX1";

/// Header flags; only one is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HeaderFlags(u32);

impl HeaderFlags {
    /// No flag: database checksums are tracked.
    pub const NONE: Self = Self(0);
    /// Database checksums are not tracked; the checksum of the file itself stays mandatory.
    pub const NO_CHECKSUM: Self = Self(2);

    /// The bits as stored.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// `None` if an undefined bit is set.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::NO_CHECKSUM.0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// Whether database checksums are tracked.
    pub const fn tracks_checksums(self) -> bool {
        self.0 & Self::NO_CHECKSUM.0 == 0
    }
}

impl fmt::Display for HeaderFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The fields of a header.
///
/// Page size and transaction ids are valid by their types, the rules between fields are checked by
/// [`Header::validate`], on decoding, and before an encoder writes the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whether database checksums are tracked.
    pub flags: HeaderFlags,
    /// Page size of the database.
    pub page_size: PageSize,
    /// Database size in pages after the file is applied.
    pub commit: u32,
    /// First transaction.
    pub min_txid: Txid,
    /// Last transaction.
    pub max_txid: Txid,
    /// When the last transaction was captured.
    pub timestamp: Timestamp,
    /// Database checksum before the file, with the flag bit; 0 for snapshots and when not tracked.
    pub pre_apply: u64,
    /// Offset in the WAL where the copied range starts, 0 if none. At most [`i64::MAX`].
    pub wal_offset: u64,
    /// Length of that range in bytes. At most [`i64::MAX`].
    pub wal_size: u64,
    /// Salt 1 of the WAL, 0 if none.
    pub wal_salt1: u32,
    /// Salt 2 of the WAL, 0 if none.
    pub wal_salt2: u32,
    /// Id of the writing node; 0 if there is none.
    pub node_id: u64,
}

impl Header {
    /// A header without tracked checksums and without a WAL range.
    pub fn new(page_size: PageSize, commit: u32, range: TxidRange, timestamp: Timestamp) -> Self {
        Self {
            flags: HeaderFlags::NO_CHECKSUM,
            page_size,
            commit,
            min_txid: range.min,
            max_txid: range.max,
            timestamp,
            pre_apply: 0,
            wal_offset: 0,
            wal_size: 0,
            wal_salt1: 0,
            wal_salt2: 0,
            node_id: 0,
        }
    }

    /// The transactions the file holds.
    pub fn range(&self) -> TxidRange {
        TxidRange {
            min: self.min_txid,
            max: self.max_txid,
        }
    }

    /// Whether the file is a snapshot in the sense of the format: it starts with the first
    /// transaction and so holds every page. A full image with a later id is none.
    pub fn is_snapshot(&self) -> bool {
        self.min_txid == Txid::FIRST
    }

    /// Checks the rules between the fields.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(Error::invalid)
    }

    pub(crate) fn check(&self) -> Result<(), Cause> {
        if self.min_txid > self.max_txid {
            return Err(Cause::TxidOrder(self.min_txid.get(), self.max_txid.get()));
        }
        if i64::try_from(self.wal_offset).is_err() {
            return Err(Cause::WalOffset(self.wal_offset.cast_signed()));
        }
        if i64::try_from(self.wal_size).is_err() {
            return Err(Cause::WalSize(self.wal_size.cast_signed()));
        }
        if self.wal_offset == 0 && (self.wal_salt1 != 0 || self.wal_salt2 != 0) {
            return Err(Cause::SaltWithoutOffset);
        }
        if self.wal_offset == 0 && self.wal_size != 0 {
            return Err(Cause::SizeWithoutOffset);
        }
        match (
            self.is_snapshot(),
            self.flags.tracks_checksums(),
            self.pre_apply,
        ) {
            (true, _, 0) | (false, false, 0) => Ok(()),
            (true, _, found) => Err(Cause::PreApplyOnSnapshot(found)),
            (false, false, found) => Err(Cause::PreApplyNotAllowed(found)),
            (false, true, 0) => Err(Cause::PreApplyRequired),
            (false, true, found) if found & FLAG == 0 => Err(Cause::PreApplyFormat(found)),
            (false, true, _) => Ok(()),
        }
    }

    /// The bytes of the header, reserved bytes zero. Does not validate.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, self.flags.bits().to_be_bytes());
        put(&mut bytes, 8, self.page_size.get().to_be_bytes());
        put(&mut bytes, 12, self.commit.to_be_bytes());
        put(&mut bytes, 16, self.min_txid.get().to_be_bytes());
        put(&mut bytes, 24, self.max_txid.get().to_be_bytes());
        put(&mut bytes, 32, self.timestamp.as_millis().to_be_bytes());
        put(&mut bytes, 40, self.pre_apply.to_be_bytes());
        put(&mut bytes, 48, self.wal_offset.to_be_bytes());
        put(&mut bytes, 56, self.wal_size.to_be_bytes());
        put(&mut bytes, 64, self.wal_salt1.to_be_bytes());
        put(&mut bytes, 68, self.wal_salt2.to_be_bytes());
        put(&mut bytes, 72, self.node_id.to_be_bytes());
        bytes
    }

    /// Reads and validates a header. The reserved bytes are ignored.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), or
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for undefined flags.
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Result<Self> {
        let magic = get(bytes, 0);
        if magic != MAGIC {
            return Err(Error::from(Cause::Magic(magic)).at(0));
        }
        let bits = u32::from_be_bytes(get(bytes, 4));
        let flags = HeaderFlags::from_bits(bits).ok_or(Cause::HeaderFlags(bits));
        let size = u32::from_be_bytes(get(bytes, 8));
        let min = Txid::new(u64::from_be_bytes(get(bytes, 16)));
        let max = Txid::new(u64::from_be_bytes(get(bytes, 24)));
        let header = Self {
            flags: flags.map_err(|cause| Error::from(cause).at(4))?,
            page_size: PageSize::new(size)
                .ok_or_else(|| Error::from(Cause::PageSize(size)).at(8))?,
            commit: u32::from_be_bytes(get(bytes, 12)),
            min_txid: min.ok_or_else(|| Error::from(Cause::MinTxid).at(16))?,
            max_txid: max.ok_or_else(|| Error::from(Cause::MaxTxid).at(24))?,
            timestamp: Timestamp::from_millis(i64::from_be_bytes(get(bytes, 32))),
            pre_apply: u64::from_be_bytes(get(bytes, 40)),
            wal_offset: u64::from_be_bytes(get(bytes, 48)),
            wal_size: u64::from_be_bytes(get(bytes, 56)),
            wal_salt1: u32::from_be_bytes(get(bytes, 64)),
            wal_salt2: u32::from_be_bytes(get(bytes, 68)),
            node_id: u64::from_be_bytes(get(bytes, 72)),
        };
        header.check().map_err(|cause| Error::from(cause).at(0))?;
        Ok(header)
    }
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_SIZE], offset: usize, field: [u8; N]) {
    let room = bytes
        .get_mut(offset..offset + N)
        .expect("a field lies inside the header");
    room.copy_from_slice(&field);
}

fn get<const N: usize>(bytes: &[u8; HEADER_SIZE], offset: usize) -> [u8; N] {
    let field = bytes.get(offset..).and_then(|tail| tail.first_chunk::<N>());
    *field.expect("a field lies inside the header")
}

#[cfg(test)]
mod tests;
