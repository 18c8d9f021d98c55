//! The one error type of the crate, and the few kinds a caller decides by.
//!
//! Invariant: every variant names an offset or a number, what was expected and what was found. The
//! name of the file is not known here; the caller adds it.

use std::io;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The source could not be read: try again, or report the source.
    Io,
    /// The bytes are not what the format demands: the file is damaged or not of this format.
    Corrupt,
    /// The bytes are a version of the format that this crate does not know.
    Unsupported,
    /// The caller's own argument cannot be right.
    Invalid,
}

/// Why bytes could not be read as WAL, wal-index or database header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A positional read failed.
    #[error("read {length} bytes at offset {offset}: {source}")]
    Read {
        /// Offset in the source, in bytes.
        offset: u64,
        /// How many bytes were wanted.
        length: usize,
        /// What the source said.
        source: io::Error,
    },
    /// The first word of a WAL is neither of the two magic numbers.
    #[error("invalid wal header magic: {found:x} (offset 0, expected 377f0682 or 377f0683)")]
    WalMagic {
        /// The word at offset 0.
        found: u32,
    },
    /// The WAL is intact but of another version.
    #[error("unsupported wal version: {found} (offset 4, expected 3007000)")]
    WalVersion {
        /// The word at offset 4.
        found: u32,
    },
    /// A page size that is not a power of two between 512 and 65536.
    #[error(
        "invalid page size: {found} (offset {offset} of the header, expected a power of two from 512 to 65536)"
    )]
    PageSize {
        /// Offset of the field in its header.
        offset: u64,
        /// The size found, in bytes.
        found: u32,
    },
    /// An offset that is not the beginning of a frame.
    #[error("unaligned wal offset: {offset} (expected 32 + n * {frame_size}, n below 2^32)")]
    UnalignedOffset {
        /// The offset given, in bytes.
        offset: u64,
        /// Size of a frame with its header, in bytes.
        frame_size: u64,
    },
    /// The first 16 bytes of a database are not SQLite's.
    #[error(
        "invalid database header: \"{}\" (offset 0, expected \"SQLite format 3\\0\")",
        found.escape_ascii()
    )]
    DatabaseMagic {
        /// The bytes found.
        found: [u8; 16],
    },
    /// A field that has one legal value holds another.
    #[error("invalid database header: {field} is {found} (offset {offset}, expected {expected})")]
    DatabaseField {
        /// The field's name in the format's documentation.
        field: &'static str,
        /// Offset of the field.
        offset: u64,
        /// The legal value.
        expected: u8,
        /// The value found.
        found: u8,
    },
}

impl Error {
    /// The kind to decide by.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } => ErrorKind::Io,
            Self::WalVersion { .. } => ErrorKind::Unsupported,
            Self::UnalignedOffset { .. } => ErrorKind::Invalid,
            Self::WalMagic { .. }
            | Self::PageSize { .. }
            | Self::DatabaseMagic { .. }
            | Self::DatabaseField { .. } => ErrorKind::Corrupt,
        }
    }
}
