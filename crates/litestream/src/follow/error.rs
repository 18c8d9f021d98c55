//! What can go wrong with a copy that is kept current.

use std::path::PathBuf;

use ltx::Txid;

use crate::error::ErrorKind;

/// Why a copy cannot be followed, or not now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The copy has no saved position.
    #[error(
        "cannot resume follow mode: database exists but no -txid file found; \
         delete the database to re-restore: {}", .0.display()
    )]
    NoPosition(PathBuf),
    /// The saved position cannot be read.
    #[error("cannot resume follow mode: read {}: {source}", path.display())]
    Position {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ltx::ParseTxidError,
    },
    /// The replica ends before the copy.
    #[error(
        "TXID {position} of the copy is ahead of latest snapshot and of every other file of the \
         replica, whose newest TXID is {newest}"
    )]
    Ahead {
        /// Where the copy is.
        position: Txid,
        /// Where the replica ends.
        newest: Txid,
    },
    /// The replica has no file at all.
    #[error("the replica is empty, the copy is at TXID {position}")]
    Empty {
        /// Where the copy is.
        position: Txid,
    },
    /// Somebody else wrote to the copy.
    #[error("the copy was written by another program: {}: {detail}", path.display())]
    Written {
        /// The copy.
        path: PathBuf,
        /// How that was noticed.
        detail: String,
    },
    /// Readers did not let go of the copy.
    #[error("readers hold the copy, tried for {seconds:.1} s: {}", path.display())]
    Held {
        /// The copy.
        path: PathBuf,
        /// How long.
        seconds: f64,
    },
    /// A file is not about the state that the copy is in.
    #[error(
        "file {range} is about another database: it starts from checksum {expected:016x}, the \
         copy has {found:016x}"
    )]
    OtherHistory {
        /// The file.
        range: ltx::TxidRange,
        /// What the file says.
        expected: u64,
        /// What the copy is.
        found: u64,
    },
}

impl FollowError {
    /// What a caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPosition(_) | Self::Position { .. } | Self::Written { .. } => {
                ErrorKind::Conflict
            }
            Self::Ahead { .. } | Self::Empty { .. } => ErrorKind::NotFound,
            Self::Held { .. } => ErrorKind::Busy,
            Self::OtherHistory { .. } => ErrorKind::Corrupt,
        }
    }

    /// What a user can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPosition(_) => None,
            Self::Position { .. } => Some("delete the copy to restore it anew"),
            Self::Ahead { .. } | Self::Empty { .. } | Self::OtherHistory { .. } => Some(
                "the history of the replica was restarted, or this is another replica; delete \
                 the copy to restore it anew",
            ),
            Self::Written { .. } => Some(
                "a copy that is followed may only be read; delete it to restore it anew, or use \
                 it without -f",
            ),
            Self::Held { .. } => Some("end long read transactions on the copy"),
        }
    }
}
