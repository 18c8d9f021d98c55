//! The one public error of the crate and the precise causes behind it.
//!
//! Invariant: an error about a file names the file and, where there is one, the offset. The words
//! of a cause contain the wording that scripts know from other implementations of the format.

use std::fmt;
use std::io;
use std::sync::Arc;

use lz4_flex::block::DecompressError;

use crate::txid::TxidRange;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are damaged: another copy of the file may be sound.
    Corrupt,
    /// The file ends too early: it may still be in the course of being written or fetched.
    Truncated,
    /// The call or its input breaks a rule of the format: nothing to retry.
    Invalid,
    /// Well formed, but of a kind that this crate does not read (for example format version 1).
    Unsupported,
    /// The reader or writer below failed; see [`std::error::Error::source`].
    Io,
}

/// Why a file could not be read, written or merged.
pub struct Error(Box<Located>);

struct Located {
    kind: ErrorKind,
    file: Option<Arc<str>>,
    offset: Option<u64>,
    cause: Cause,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file, as the caller named it.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// Offset in the file of the part that is wrong.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The same cause as a mistake of the caller instead of damage in a file.
    pub(crate) fn invalid(cause: Cause) -> Self {
        let mut error = Self::from(cause);
        error.0.kind = ErrorKind::Invalid;
        error
    }

    /// Places the error in a file, unless it has been placed already.
    pub(crate) fn in_file(mut self, file: &Arc<str>) -> Self {
        self.0.file.get_or_insert_with(|| file.clone());
        self
    }

    /// Places the error at an offset, unless it has been placed already.
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(Box::new(Located {
            kind: cause.kind(),
            file: None,
            offset: None,
            cause,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.0.file {
            write!(f, "{file}: ")?;
        }
        if let Some(offset) = self.0.offset {
            write!(f, "offset {offset}: ")?;
        }
        self.0.cause.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("file", &self.0.file)
            .field("offset", &self.0.offset)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0.cause)
    }
}

/// What exactly is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("invalid LTX file: expected magic \"LTX1\", found {:?}", .0.escape_ascii().to_string())]
    Magic([u8; 4]),
    #[error("invalid flags: 0x{0:08x}")]
    HeaderFlags(u32),
    #[error("invalid page size: {0}")]
    PageSize(u32),
    #[error("minimum transaction id required")]
    MinTxid,
    #[error("maximum transaction id required")]
    MaxTxid,
    #[error("transaction ids out of order: ({0},{1})")]
    TxidOrder(u64, u64),
    #[error("wal offset cannot be negative: {0}")]
    WalOffset(i64),
    #[error("wal size cannot be negative: {0}")]
    WalSize(i64),
    #[error("wal offset required if salt exists")]
    SaltWithoutOffset,
    #[error("wal offset required if wal size exists")]
    SizeWithoutOffset,
    #[error("pre-apply checksum must be zero on snapshots, found {0:016x}")]
    PreApplyOnSnapshot(u64),
    #[error("pre-apply checksum not allowed, found {0:016x}")]
    PreApplyNotAllowed(u64),
    #[error("pre-apply checksum required on non-snapshot files")]
    PreApplyRequired,
    #[error("invalid pre-apply checksum format: {0:016x}")]
    PreApplyFormat(u64),

    #[error("page number required")]
    PageNumber,
    #[error("invalid page header flags: 0x{0:04x}")]
    PageFlags(u16),
    #[error("page number {pgno} out-of-bounds for commit size {commit}")]
    OutOfBounds { pgno: u32, commit: u32 },
    #[error("invalid page buffer size: {found}, expecting {expected}")]
    BufferSize { found: usize, expected: usize },
    #[error("cannot encode lock page: pgno={0}")]
    LockPage(u32),
    #[error("snapshot transaction file must start with page number 1, found {0}")]
    SnapshotStart(u32),
    #[error("nonsequential page numbers in snapshot transaction (skip lock page): {0},{1}")]
    SnapshotLockPage(u32, u32),
    #[error("nonsequential page numbers in snapshot transaction: {0},{1}")]
    SnapshotOrder(u32, u32),
    #[error("out-of-order page numbers: {0},{1}")]
    PageOrder(u32, u32),
    #[error("decode page {missing}: EOF: snapshot ends behind page {last} of {commit}")]
    SnapshotIncomplete {
        missing: u32,
        last: u32,
        commit: u32,
    },

    #[error("ltx encoder closed")]
    EncoderClosed,
    #[error("post-apply checksum not allowed, found {0:016x}")]
    PostApplyNotAllowed(u64),
    #[error("post-apply checksum required")]
    PostApplyRequired,
    #[error("invalid post-apply checksum format: {0:016x}")]
    PostApplyFormat(u64),
    #[error("post-apply checksum must be empty for zero-length database, found {0:016x}")]
    PostApplyNotEmpty(u64),

    #[error("{part}: unexpected EOF: expected {expected} bytes, found {found}")]
    EndOfFile {
        part: &'static str,
        expected: u64,
        found: u64,
    },
    #[error("cannot close, expected page: unexpected EOF in front of the end-of-pages marker")]
    NoEndOfPages,
    #[error("cannot close, expected page: pages are left to be read")]
    PagesLeft,
    #[error("frame accepted out of turn: expected the frame at offset {expected}, found {found}")]
    OutOfTurn { expected: u64, found: u64 },
    #[error("compressed size {found} out of range 1 to {limit}")]
    CompressedSize { found: u64, limit: u64 },
    #[error("decompress block: {0}")]
    Block(#[source] DecompressError),
    #[error("decompress block: expected {expected} bytes, found {found}")]
    BlockLength { found: usize, expected: usize },
    #[error("lz4: bad magic number: expected 184d2204, found {0:08x}")]
    Lz4Magic(u32),
    #[error("lz4: invalid header checksum: got {got:x}; expected {expected:x}")]
    Lz4HeaderChecksum { got: u8, expected: u8 },
    #[error("lz4: invalid block checksum: got {got:08x}; expected {expected:08x}")]
    Lz4BlockChecksum { got: u32, expected: u32 },
    #[error("read lz4 trailer: expected lz4 end frame: {0}")]
    Lz4End(&'static str),
    #[error(
        "read lz4 trailer: expected lz4 end frame: content checksum {expected:08x}, found {got:08x}"
    )]
    Lz4ContentChecksum { got: u32, expected: u32 },
    #[error("lz4: {0}")]
    Lz4Descriptor(&'static str),

    #[error("read page index: binary: varint overflows a 64-bit integer")]
    Varint,
    #[error("read page index: {what} out of range: {found}, limit {limit}")]
    IndexRange {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    #[error("ltx file too short to contain a page index: {0} bytes")]
    NoRoomForIndex(u64),

    #[error("file checksum mismatch: expected {expected:016x}, found {found:016x}")]
    FileChecksum { expected: u64, found: u64 },
    #[error("file checksum mismatch: data behind the trailer")]
    TrailingData,
    #[error(
        "post-apply checksum in trailer ({expected:016x}) does not match calculated checksum ({found:016x})"
    )]
    PostApplyMismatch { expected: u64, found: u64 },

    #[error("at least one input reader required")]
    NoInput,
    #[error("input files have mismatched page sizes: {0} != {1}")]
    MismatchedPageSizes(u32, u32),
    #[error(
        "non-contiguous transaction ids in input files: ({},{}) -> ({},{})",
        .0.min, .0.max, .1.min, .1.max
    )]
    NonContiguous(TxidRange, TxidRange),
    #[error("the merge has failed before")]
    MergeFailed,

    #[error("{action}: {source}")]
    Io {
        action: &'static str,
        source: io::Error,
    },
}

impl Cause {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::EndOfFile { .. } | Self::NoEndOfPages | Self::NoRoomForIndex(_) => {
                ErrorKind::Truncated
            }
            // The only flags ever used besides the valid one are those of format version 1,
            // and page flags out of range are how format version 2 shows.
            Self::HeaderFlags(_) | Self::PageFlags(_) | Self::Lz4Descriptor(_) => {
                ErrorKind::Unsupported
            }
            Self::Io { .. } => ErrorKind::Io,
            Self::BufferSize { .. }
            | Self::EncoderClosed
            | Self::PagesLeft
            | Self::OutOfTurn { .. }
            | Self::NoInput
            | Self::MismatchedPageSizes(..)
            | Self::NonContiguous(..)
            | Self::MergeFailed => ErrorKind::Invalid,
            _ => ErrorKind::Corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_kept() {
        let error = Error::from(Cause::HeaderFlags(3))
            .in_file(&"a.ltx".into())
            .at(4);
        let error = error.in_file(&"b.ltx".into()).at(9);
        assert_eq!(
            error.to_string(),
            "a.ltx: offset 4: invalid flags: 0x00000003"
        );
        assert_eq!((error.file(), error.offset()), (Some("a.ltx"), Some(4)));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
