//! What can go wrong with a store, said by what the caller may do about it.
//!
//! Invariant: [`Error::is_retryable`] is the only place that decides what is worth another try.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::Key;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call of [`ObjectStore`](crate::ObjectStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`put`](crate::ObjectStore::put)
    Put,
    /// [`get`](crate::ObjectStore::get)
    Get,
    /// [`head`](crate::ObjectStore::head)
    Head,
    /// [`list`](crate::ObjectStore::list)
    List,
    /// [`delete`](crate::ObjectStore::delete) and [`delete_if`](crate::ObjectStore::delete_if)
    Delete,
}

impl Operation {
    /// Every operation, in the order of their definition.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// The name used as metric label: `PUT`, `GET`, `HEAD`, `LIST` or `DELETE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::List => "LIST",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

/// What the caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such object.
    NotFound,
    /// There is an object already, and the put wanted none.
    AlreadyExists,
    /// The object is not the version that was asked for.
    PreconditionFailed,
    /// The credentials or the file permissions do not allow it.
    Denied,
    /// The store is not reachable, overloaded or restarting.
    Unavailable {
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    Timeout,
    /// No space, or the quota is used up.
    DiskFull,
    /// The request can never work: a key the backend cannot hold, a body of the wrong length.
    Invalid,
    /// The store holds or returned something other than what was written.
    Corrupt,
    /// Any other input or output error, a broken connection for one.
    Io,
    /// The work was given up because the process or the task is ending.
    Cancelled,
    /// The backend cannot do this at all.
    Unsupported,
}

impl ErrorKind {
    /// One word for logs and the metric label `code`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::Denied => "Denied",
            Self::Unavailable { .. } => "Unavailable",
            Self::Timeout => "Timeout",
            Self::DiskFull => "DiskFull",
            Self::Invalid => "Invalid",
            Self::Corrupt => "Corrupt",
            Self::Io => "Io",
            Self::Cancelled => "Cancelled",
            Self::Unsupported => "Unsupported",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "object not found",
            Self::AlreadyExists => "object already exists",
            Self::PreconditionFailed => "precondition failed",
            Self::Denied => "access denied",
            Self::Unavailable { .. } => "store unavailable",
            Self::Timeout => "timed out",
            Self::DiskFull => "disk full",
            Self::Invalid => "invalid request",
            Self::Corrupt => "corrupt object",
            Self::Io => "input/output error",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "not supported",
        }
    }
}

impl From<&io::Error> for ErrorKind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            // ENOSPC, EDQUOT.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::FileTooLarge => Self::Invalid,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}

/// A failed call: what was wanted (operation, backend, key), the [`ErrorKind`], and the cause.
///
/// The text has all but the cause, which is the [`source`](StdError::source).
#[derive(Debug)]
pub struct Error(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: ErrorKind,
    operation: Operation,
    backend: Option<&'static str>,
    key: Option<Key>,
    code: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    tries: Option<u32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` while doing `operation`. Backend and key are filled in on its way up.
    pub fn new(kind: ErrorKind, operation: Operation) -> Self {
        Self(Box::new(Details {
            kind,
            operation,
            backend: None,
            key: None,
            code: None,
            detail: None,
            tries: None,
            source: None,
        }))
    }

    /// An error caused by an input or output error, which decides its kind.
    pub fn from_io(operation: Operation, error: io::Error) -> Self {
        Self::new(ErrorKind::from(&error), operation).with_source(error)
    }

    /// An error for use inside a [`Body::Stream`](crate::Body::Stream) whose source failed. Of kind
    /// [`ErrorKind::Invalid`]: sending the same stream again cannot help.
    pub fn from_body(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Invalid, Operation::Put)
            .with_detail("body stream failed")
            .with_source(error)
    }

    /// Names the backend, unless a name is there already.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend.get_or_insert(backend);
        self
    }

    /// Names the object, unless a name is there already.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Self {
        self.0.key.get_or_insert_with(|| key.clone());
        self
    }

    /// Keeps the service's own error code, `SlowDown` for example.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Says more than the kind does.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says how many tries in a row brought nothing.
    #[must_use]
    pub(crate) fn with_tries(mut self, tries: u32) -> Self {
        self.0.tries = (tries > 1).then_some(tries);
        self
    }

    /// How many tries in a row brought nothing, if somebody has tried again already.
    pub(crate) fn tries(&self) -> Option<u32> {
        self.0.tries
    }

    /// The same error with another kind.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error of another operation.
    #[cfg(feature = "rest")]
    #[must_use]
    pub(crate) fn with_operation(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// What the caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The call that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The backend that failed, once it is known.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The object concerned, when it is one.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// The label for error metrics: the service's own code, else the name of the kind.
    pub fn label(&self) -> &str {
        self.0.code.as_deref().unwrap_or(self.0.kind.name())
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Whether the same call may succeed when it is made again after a while.
    ///
    /// A full disk is not retryable: it does not empty itself within the seconds that a retry
    /// waits, and whoever is responsible must see it. Retrying it is for the engine's own loop.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            ErrorKind::Unavailable { .. } | ErrorKind::Timeout | ErrorKind::Io => true,
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::PreconditionFailed
            | ErrorKind::Denied
            | ErrorKind::DiskFull
            | ErrorKind::Invalid
            | ErrorKind::Corrupt
            | ErrorKind::Cancelled
            | ErrorKind::Unsupported => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            kind,
            operation,
            backend,
            key,
            code,
            detail,
            tries,
            source,
            ..
        } = &*self.0;
        if let Some(backend) = backend {
            write!(f, "{backend}: ")?;
        }
        write!(f, "{operation}")?;
        if let Some(key) = key {
            write!(f, " {:?}", key.as_str())?;
        }
        write!(f, ": {}", kind.text())?;
        if let Some(code) = code {
            write!(f, " ({code})")?;
        }
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        // Log lines and answers show one text, and the cause is what people search for.
        if let Some(source) = source {
            write!(f, ": {source}")?;
        }
        if let Some(tries) = tries {
            write!(f, " (given up after {tries} tries)")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
