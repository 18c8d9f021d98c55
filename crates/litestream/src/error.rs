//! The one error type of the engine: what failed, on which object, and what may be done about it.

use std::io;
use std::path::{Path, PathBuf};

use ltx::{Txid, TxidRange};

/// Result with the engine's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing asked for is not there.
    NotFound,
    /// The target is there already, or another party has written where we wanted to.
    Conflict,
    /// Trying again later may help.
    Unavailable,
    /// Credentials or permissions do not allow it.
    Denied,
    /// Stored bytes are not what they must be.
    Corrupt,
    /// The request or the configuration cannot be carried out.
    Invalid,
    /// A disk is full.
    DiskFull,
    /// Another connection holds a lock.
    Busy,
    /// The operation was given up because its owner is closing.
    Cancelled,
    /// A local file operation or SQLite failed.
    Io,
}

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A local file operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite refused a statement on the database.
    #[error("{operation} {}: {source}", path.display())]
    Sqlite {
        /// What was being done.
        operation: &'static str,
        /// The database.
        path: PathBuf,
        /// SQLite's answer; boxed because it is by far the largest of all causes.
        source: Box<rusqlite::Error>,
    },
    /// A local LTX file cannot be opened, read or trusted.
    #[error("{operation} ltx file {}: {source}", path.display())]
    Ltx {
        /// What was being done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ltx::Error,
    },
    /// LTX data in transit or in a replica is not what it must be.
    #[error("{operation}: {source}")]
    LtxStream {
        /// What was being done.
        operation: &'static str,
        /// What is wrong.
        source: ltx::Error,
    },
    /// The WAL holds what no WAL may hold.
    #[error("read wal {}: {source}", path.display())]
    Wal {
        /// The WAL file.
        path: PathBuf,
        /// What is wrong with it.
        source: sqlite_wal::Error,
    },
    /// The database could not be switched to WAL mode.
    #[error("enable wal failed, mode={mode:?}: {}", path.display())]
    NotWal {
        /// The database.
        path: PathBuf,
        /// The mode it stayed in.
        mode: String,
    },
    /// The file behind the path is not the one that was opened.
    #[error("{what} was replaced or removed while in use: {}", path.display())]
    Replaced {
        /// Database or WAL.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// A file that must hold whole pages ends early.
    #[error("read database page {pgno}: {}: expected {expected} bytes, found {found}", path.display())]
    ShortPage {
        /// The page.
        pgno: u32,
        /// The file read from.
        path: PathBuf,
        /// Bytes of a page.
        expected: usize,
        /// Bytes there were.
        found: usize,
    },
    /// The wal-index stayed unreadable.
    #[error("wal-index of {} is not consistent", path.display())]
    WalIndex {
        /// The database.
        path: PathBuf,
    },
    /// The object store failed.
    #[error("{0}")]
    Storage(#[from] litestream_storage::Error),
    /// No file of the replica leads to the state asked for.
    #[error("transaction not available")]
    TxNotAvailable,
    /// The replica's files have a hole.
    #[error("non-contiguous ltx files: have up to {have} but next file starts at {next}")]
    NonContiguous {
        /// Last transaction before the hole.
        have: Txid,
        /// First transaction behind it.
        next: Txid,
    },
    /// Planning a restore failed.
    #[error("cannot calc restore plan: {0}")]
    Plan(Box<Error>),
    /// A listed object is too small to be an LTX file.
    #[error("invalid ltx file: level={level} min={} max={} has size {size} bytes (minimum 100)", range.min, range.max)]
    TooSmall {
        /// Its level.
        level: ltx::Level,
        /// Its transactions.
        range: TxidRange,
        /// Its listed size.
        size: u64,
    },
    /// No file of a restore plan has the page.
    #[error("decode database: page {pgno} of {commit} is in no file of the plan")]
    MissingPage {
        /// The first page that is missing.
        pgno: u32,
        /// Size of the database in pages.
        commit: u32,
    },
    /// The output of a restore is there already.
    #[error("cannot restore, output path already exists: {}", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The restored database failed SQLite's check; it was removed.
    #[error("post-restore integrity check: {reason}")]
    Integrity {
        /// SQLite's first complaint.
        reason: String,
    },
    /// A copy cannot be kept current.
    #[error(transparent)]
    Follow(#[from] crate::follow::FollowError),
    /// A setting has a value that cannot be.
    #[error("{0}")]
    Setting(String),
    /// There is nothing to replicate yet.
    #[error("no position, waiting for data")]
    NoPosition,
    /// The store does not manage a database of this path.
    #[error("database not found: {}", path.display())]
    DatabaseNotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The database is managed, but stopped.
    #[error("database not open: {}", path.display())]
    DatabaseNotOpen {
        /// The path asked for.
        path: PathBuf,
    },
    /// All databases that may be open at the same time are busy.
    #[error("open database {}: {limit} databases are open, and the limit of open files allows no more", path.display())]
    Descriptors {
        /// The database that has to wait.
        path: PathBuf,
        /// How many may be open.
        limit: usize,
    },
    /// What a replica holds must be listed anew before this can be said.
    #[error("{kind} replica: listing was given up after an error")]
    Unlisted {
        /// Type of the replica.
        kind: &'static str,
    },
    /// A local file that a replica still needs is gone.
    #[error("open ltx file {}: ltx file missing", path.display())]
    LtxMissing {
        /// The file.
        path: PathBuf,
    },
    /// A local file that a replica still needs is damaged.
    #[error("verify ltx file {}: ltx file corrupted: {reason}", path.display())]
    LtxDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else writes to the replica: this process has stopped writing to it, so that the two
    /// histories do not get mixed.
    #[error(
        "{kind} replica: another writer has put transaction {txid} there ({key}); stopped writing to it"
    )]
    ForeignWriter {
        /// Type of the replica.
        kind: &'static str,
        /// The first transaction that is not ours.
        txid: Txid,
        /// The object that shows it.
        key: String,
    },
    /// Another process replicates the same database.
    #[error("database is replicated by another process: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Several replicas failed, each for a reason of its own.
    #[error("{}", several(.0))]
    Several(Vec<Error>),
    /// The deadline passed.
    #[error("{what}: timed out after {seconds:.1} s")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: f64,
    },
    /// The owner is closing.
    #[error("{what}: closing")]
    Closing {
        /// What was given up.
        what: &'static str,
    },
    /// An earlier error that is being reported again.
    #[error("{context}: {source}")]
    Context {
        /// Around what.
        context: String,
        /// The error itself.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn sqlite(operation: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        Self::Sqlite {
            operation,
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    pub(crate) fn ltx(operation: &'static str, path: &Path, source: ltx::Error) -> Self {
        Self::Ltx {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn wal(path: &Path, source: sqlite_wal::Error) -> Self {
        Self::Wal {
            path: path.to_owned(),
            source,
        }
    }

    /// One error for all that failed; nothing for none.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// Whether trying again is of no use until replication is started anew.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::ForeignWriter { .. } => true,
            Self::Several(errors) => errors.iter().all(Self::is_final),
            Self::Context { source, .. } => source.is_final(),
            _ => false,
        }
    }

    /// Wraps the error in what was being done.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        Self::Context {
            context: context.into(),
            source: Box::new(self),
        }
    }

    /// What a caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => io_kind(source),
            Self::Sqlite { source, .. } => sqlite_kind(source),
            Self::Ltx { source, .. } | Self::LtxStream { source, .. } => ltx_kind(source),
            Self::Wal { .. }
            | Self::MissingPage { .. }
            | Self::ShortPage { .. }
            | Self::TooSmall { .. }
            | Self::Integrity { .. }
            | Self::LtxDamaged { .. }
            | Self::NonContiguous { .. } => ErrorKind::Corrupt,
            Self::NotWal { .. } | Self::Setting(_) => ErrorKind::Invalid,
            Self::Follow(error) => error.kind(),
            Self::Replaced { .. }
            | Self::OutputExists { .. }
            | Self::ForeignWriter { .. }
            | Self::Locked { .. } => ErrorKind::Conflict,
            Self::Several(errors) => errors.first().map_or(ErrorKind::Io, Error::kind),
            Self::WalIndex { .. } => ErrorKind::Busy,
            Self::Storage(error) => storage_kind(error),
            Self::TxNotAvailable | Self::DatabaseNotFound { .. } | Self::LtxMissing { .. } => {
                ErrorKind::NotFound
            }
            Self::NoPosition
            | Self::Unlisted { .. }
            | Self::DatabaseNotOpen { .. }
            | Self::Descriptors { .. }
            | Self::Timeout { .. } => ErrorKind::Unavailable,
            Self::Closing { .. } => ErrorKind::Cancelled,
            Self::Plan(source) | Self::Context { source, .. } => source.kind(),
        }
    }

    /// What a user can do, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::LtxMissing { .. } | Self::LtxDamaged { .. } => Some(
                "local state is incomplete; nothing in the replica was changed. The replica \
                 catches up with a new snapshot",
            ),
            Self::Follow(error) => error.hint(),
            Self::ForeignWriter { .. } => Some(
                "give each database a replica path of its own, stop the other writer, and start \
                 this one again",
            ),
            Self::Locked { .. } => Some("stop the other process, or this one"),
            Self::Several(errors) => errors.iter().find_map(Error::hint),
            Self::Descriptors { .. } => Some(
                "raise the limit of open files (ulimit -n, LimitNOFILE=): five for each database",
            ),
            Self::Plan(source) | Self::Context { source, .. } => source.hint(),
            _ => match self.kind() {
                ErrorKind::DiskFull => {
                    Some("free space on the disk; replication continues by itself")
                }
                ErrorKind::Denied => Some("check the permissions of the user that runs litestream"),
                _ => None,
            },
        }
    }
}

fn several(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    texts.join("; ")
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    }
}

fn sqlite_kind(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::DiskFull,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => ErrorKind::Denied,
        _ => ErrorKind::Io,
    }
}

fn ltx_kind(error: &ltx::Error) -> ErrorKind {
    use std::error::Error as _;
    match error.kind() {
        ltx::ErrorKind::Io => error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map_or(ErrorKind::Io, io_kind),
        ltx::ErrorKind::Invalid | ltx::ErrorKind::Unsupported => ErrorKind::Invalid,
        _ => ErrorKind::Corrupt,
    }
}

fn storage_kind(error: &litestream_storage::Error) -> ErrorKind {
    use litestream_storage::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Denied => ErrorKind::Denied,
        Kind::DiskFull => ErrorKind::DiskFull,
        Kind::Invalid => ErrorKind::Invalid,
        Kind::Corrupt => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}
