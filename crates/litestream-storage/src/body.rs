//! The bytes of a put, in the form the caller has them in.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::{Error, ErrorKind, Operation, Result, blocking};

/// Most bytes in one chunk of a body that a backend of this crate hands out: 1 MiB.
pub const CHUNK_SIZE: usize = 1 << 20;

/// The content of an object to be stored.
pub enum Body {
    /// Content in memory. Can be sent again after a failure.
    Bytes(Bytes),
    /// A local file of exactly `size` bytes. Can be sent again after a failure, and a backend may
    /// copy it without the bytes passing through this process. A file that turns out to have
    /// another length fails the put with [`ErrorKind::Invalid`].
    File {
        /// Where the file is.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// Content made on the way. Read once and in order; an error in it aborts the put, and nothing
    /// becomes visible. Use [`Error::from_body`] to make such an error.
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Body {
    /// Length in bytes, unless it is a stream.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { size, .. } => Some(*size),
            Self::Stream(_) => None,
        }
    }

    /// A second body with the same content, unless it is a stream.
    pub fn try_clone(&self) -> Option<Self> {
        match self {
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::File { path, size } => Some(Self::File {
                path: path.clone(),
                size: *size,
            }),
            Self::Stream(_) => None,
        }
    }

    /// The content as a stream of chunks, for backends that send from memory. Fails inside the
    /// stream when a file cannot be read or has another length than was said.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => stream::empty().boxed(),
            Self::Bytes(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            Self::File { path, size } => file_stream(path, size),
            Self::Stream(stream) => stream,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::File { path, size } => write!(f, "File({}, {size} bytes)", path.display()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// The error of a body file that is not as long as was said.
pub(crate) fn wrong_length(path: &Path, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Invalid, Operation::Put).with_detail(format!(
        "body file {}: expected {expected} bytes, found {}{found}",
        path.display(),
        if found > expected { "at least " } else { "" }
    ))
}

/// The error of a body file that cannot be read.
pub(crate) fn unreadable(path: &Path, source: std::io::Error) -> Error {
    let error = Error::from_io(Operation::Put, source);
    // It is not the object that was not found.
    let error = match error.kind() {
        ErrorKind::NotFound => error.with_kind(ErrorKind::Invalid),
        _ => error,
    };
    error.with_detail(format!("read body file {}", path.display()))
}

fn file_stream(path: PathBuf, size: u64) -> BoxStream<'static, Result<Bytes>> {
    let start = (path, None::<File>, 0_u64);
    stream::try_unfold(start, move |(path, file, done)| async move {
        blocking::run(Operation::Put, move || {
            let mut file = match file {
                Some(file) => file,
                None => File::open(&path).map_err(|source| unreadable(&path, source))?,
            };
            let left = size - done;
            // One byte more than expected, so that a file that grew is noticed.
            let want = left.saturating_add(1).min(CHUNK_SIZE as u64);
            let mut chunk = Vec::with_capacity(want as usize);
            (&mut file)
                .take(want)
                .read_to_end(&mut chunk)
                .map_err(|source| unreadable(&path, source))?;
            let found = chunk.len() as u64;
            if found > left || (found < want && found < left) {
                return Err(wrong_length(&path, size, done + found));
            }
            let next = (path, Some(file), done + found);
            Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), next)))
        })
        .await
    })
    .boxed()
}
