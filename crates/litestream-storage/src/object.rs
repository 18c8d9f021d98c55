//! What is said about an object: its metadata, and the options of each call.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;

use crate::{Key, Result};

/// What a store knows about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Name of the object.
    pub key: Key,
    /// Length of the whole object in bytes, also when only a range of it was asked for.
    pub size: u64,
    /// When the store believes the object was written, in Unix milliseconds. Some stores keep
    /// whole seconds only; the file backend answers its stored timestamp.
    pub modified: i64,
    /// The timestamp given at [`put`](crate::ObjectStore::put), in Unix milliseconds. `Some` only
    /// when it is exact to the millisecond: a store that keeps no or coarser timestamps answers
    /// `None`, and so does a listing that was not asked for timestamps if they cost extra.
    pub timestamp: Option<i64>,
    /// Opaque version of the content, for [`Condition::IfMatch`] and to notice an overwrite.
    pub etag: Option<String>,
}

/// One object being read.
pub struct Object {
    /// Metadata of the whole object.
    pub meta: ObjectMeta,
    /// The bytes of the range that was asked for, in chunks of at most [`crate::CHUNK_SIZE`] from
    /// the backends of this crate. An empty one is a sign of life, while bytes before the range
    /// are passed over. Ends early only with an error. Dropping it stops the transfer.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl Object {
    /// Reads the rest of the body into memory. Only for objects and ranges known to be small.
    pub async fn into_bytes(mut self) -> Result<Bytes> {
        let Some(first) = self.body.try_next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.body.try_next().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.body.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// The part of an object to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRange {
    /// First byte to read. At or after the end of the object the body is empty, not an error.
    pub offset: u64,
    /// Number of bytes, cut off at the end of the object; `None` reads to the end. `Some(0)` means
    /// no bytes and never goes out as a range, since some services take it for "everything".
    pub len: Option<u64>,
}

impl ByteRange {
    /// The whole object.
    pub const ALL: Self = Self {
        offset: 0,
        len: None,
    };

    /// From `offset` to the end.
    pub const fn from(offset: u64) -> Self {
        Self { offset, len: None }
    }

    /// At most `len` bytes from `offset`.
    pub const fn new(offset: u64, len: u64) -> Self {
        Self {
            offset,
            len: Some(len),
        }
    }

    /// Whether no bytes can be in it, of whatever object; such a range cannot be asked for.
    #[cfg(feature = "rest")]
    pub(crate) fn is_nothing(self) -> bool {
        self.len == Some(0) || self.offset > i64::MAX.unsigned_abs()
    }

    /// The value of a `Range` header. Not for ranges without bytes, which cannot be said there.
    #[cfg(feature = "rest")]
    pub(crate) fn header(self) -> String {
        match self.len {
            None => format!("bytes={}-", self.offset),
            Some(len) => {
                // Services read signed numbers.
                let last = self.offset.saturating_add(len.saturating_sub(1));
                let last = last.min(i64::MAX.unsigned_abs());
                format!("bytes={}-{last}", self.offset)
            }
        }
    }

    /// How many bytes this range has in an object of `size` bytes.
    pub fn len_in(self, size: u64) -> u64 {
        let rest = size.saturating_sub(self.offset);
        self.len.map_or(rest, |len| len.min(rest))
    }
}

/// What must hold for a put to take effect. Checked by the store, atomically with the write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing: an existing object is replaced.
    #[default]
    None,
    /// No object has the key; else
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists).
    IfAbsent,
    /// The object has this etag; else (also when there is none)
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed).
    IfMatch(String),
}

/// Options of [`put`](crate::ObjectStore::put).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// Unix milliseconds to keep with the object, see [`ObjectMeta::timestamp`].
    pub timestamp: Option<i64>,
    /// What must hold for the put to take effect.
    pub condition: Condition,
    /// Expected length in bytes of a [`Body::Stream`](crate::Body::Stream), so that a backend can
    /// choose how to send it. Never checked: a stream that ends is complete, whatever its length.
    pub size_hint: Option<u64>,
}

/// Options of [`list`](crate::ObjectStore::list).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Exclusive lower bound: only keys greater than this one, by bytes, whether or not it exists.
    /// To list `name` and what follows, give a proper prefix of it that sorts before all that is
    /// not wanted: a bare transaction number sorts before every file name that begins with it.
    pub start_after: Option<Key>,
    /// `true`: [`ObjectMeta::timestamp`] must be filled wherever the store keeps it, even when
    /// that costs a request per object. `false`: only where it comes for free.
    pub timestamps: bool,
}
