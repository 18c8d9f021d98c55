//! How the stand-in goes wrong.

use russh_sftp::protocol::StatusCode;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    /// Opens what is there.
    Open,
    /// Opens a file that is to be made.
    Create,
    Close,
    Read,
    Write,
    Fstat,
    Stat,
    SetTime,
    OpenDir,
    ReadDir,
    Remove,
    MkDir,
    Rename,
    PosixRename,
    Hardlink,
    Fsync,
    Statvfs,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) verb: Verb,
    /// As it was sent; that of an open file is the one it was opened by.
    pub(crate) path: String,
    /// The second path of those that have two.
    pub(crate) onto: String,
    /// Of reads and writes.
    pub(crate) offset: u64,
    /// Of reads and writes.
    pub(crate) len: usize,
    /// Which connection it came by, counted from 0.
    pub(crate) connection: usize,
}

impl Asked {
    /// What is the same of a request when it is sent again: names of files that are being written
    /// differ from try to try.
    pub(crate) fn alike(&self) -> (Verb, String, u64) {
        (self.verb, lasting(&self.path).to_owned(), self.offset)
    }
}

/// The name that a file will have, of one that is being written.
pub(crate) fn lasting(path: &str) -> &str {
    let name = path.strip_suffix(".tmp").unwrap_or(path);
    if name.len() == path.len() {
        return path;
    }
    // `NAME.PROCESS.MOMENT`
    name.rsplitn(3, '.').last().unwrap_or(name)
}

/// What happens to a request instead of its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Misdeed {
    /// This status, and no effect.
    Instead(StatusCode),
    /// The effect, but this status.
    After(StatusCode),
    /// The connection breaks, with the answers that are on their way.
    Hangup {
        /// Whether the request had its effect.
        after_effect: bool,
    },
    /// What came before is answered; then the server takes its leave.
    Leave {
        /// Whether the request had its effect.
        after_effect: bool,
    },
    /// No answer to this request and any after it on its connection, which stays open.
    Silence {
        /// Whether the request had its effect.
        after_effect: bool,
    },
    /// Of a read, so many bytes are answered. Of a write, so many bytes take effect before the
    /// connection breaks. Others behave.
    Short(usize),
}

/// Says of each request whether and how it goes wrong.
pub(crate) type Rule = Box<dyn FnMut(&Asked) -> Option<Misdeed> + Send>;
