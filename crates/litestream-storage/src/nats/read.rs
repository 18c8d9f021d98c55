//! Get, head and list.
//!
//! Invariant: a body that was read to its end has the length and the digest that the object was
//! put with; a chunk that is missing is an error.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use futures_util::stream::{self, BoxStream};
use sha2::{Digest as _, Sha256};

use super::info::{Found, Info, digest_text, ms, parse};
use super::messages::Messages;
use super::{KIND, Shared};
use crate::{
    ByteRange, CHUNK_SIZE, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, Operation,
    Result,
};

/// Chunks per request: 2 MiB when they are full.
const CHUNKS: usize = 16;
/// Descriptions per request.
const DESCRIPTIONS: usize = 500;
/// Objects that a listing may have; more are refused instead of filling the memory.
const MOST_OBJECTS: usize = 4_000_000;

pub(super) async fn head(shared: &Shared, key: Key) -> Result<ObjectMeta> {
    let (_, found) = find(shared, Operation::Head, &key).await?;
    Ok(found.meta(key))
}

async fn find(
    shared: &Shared,
    operation: Operation,
    key: &Key,
) -> Result<(Arc<super::connect::Bucket>, Found)> {
    let bucket = shared.connection.bucket(operation).await?;
    let found = bucket.last(operation, &shared.name(key.as_str())).await?;
    match found.filter(|found| found.info.is_object()) {
        Some(found) => Ok((bucket, found)),
        None => Err(Error::new(ErrorKind::NotFound, operation)),
    }
}

pub(super) async fn get(shared: &Shared, key: Key, range: ByteRange) -> Result<Object> {
    let (bucket, found) = find(shared, Operation::Get, &key).await?;
    let meta = found.meta(key.clone());
    let len = range.len_in(meta.size);
    if len == 0 {
        return Ok(Object {
            meta,
            body: stream::empty().boxed(),
        });
    }
    let subject = bucket.chunks(&found.info.nuid);
    let messages = Messages::open(bucket, Operation::Get, subject, CHUNKS).await?;
    let reading = Reading {
        messages,
        key,
        // Only what is read to its end can be compared.
        digest: (range.offset.saturating_add(len) == meta.size).then(Sha256::new),
        info: found.info,
        at: 0,
        start: range.offset,
        left: len,
        rest: Bytes::new(),
    };
    let body = stream::try_unfold(reading, |mut reading| async move {
        match reading.chunk().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, reading))),
            Err(error) => Err(error.with_backend(KIND).with_key(&reading.key)),
        }
    });
    Ok(Object {
        meta,
        body: body.boxed(),
    })
}

/// An object being read.
struct Reading {
    messages: Messages,
    key: Key,
    info: Info,
    /// Of everything read so far.
    digest: Option<Sha256>,
    /// Offset after the last message.
    at: u64,
    /// Offset of the first byte that is wanted.
    start: u64,
    /// Bytes still wanted.
    left: u64,
    /// What is left of a message that was too long for one chunk.
    rest: Bytes,
}

impl Reading {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            if self.left == 0 {
                return Ok(None);
            }
            // Empty when all of it was to be passed over, which shows that it goes on.
            self.message().await?;
        }
        let len = self.rest.len().min(CHUNK_SIZE);
        Ok(Some(self.rest.split_to(len)))
    }

    /// Reads the next message and keeps what is wanted of it.
    async fn message(&mut self) -> Result<()> {
        let Some(message) = self.messages.next().await? else {
            // Purged since: by a newer version or a deletion.
            return Err(
                Error::new(ErrorKind::Io, Operation::Get).with_detail(format!(
                    "the chunks end at offset {}, expected {} bytes",
                    self.at, self.info.size
                )),
            );
        };
        let payload = message.message.payload;
        if let Some(digest) = &mut self.digest {
            digest.update(&payload);
        }
        let skip = self.start.saturating_sub(self.at).min(payload.len() as u64);
        self.at += payload.len() as u64;
        let take = self.left.min(payload.len() as u64 - skip);
        self.left -= take;
        self.rest = payload.slice(skip as usize..(skip + take) as usize);
        if self.left == 0 {
            self.check()?;
        }
        Ok(())
    }

    /// Compares with the description, before the last bytes are handed out.
    fn check(&mut self) -> Result<()> {
        let Some(digest) = self.digest.take() else {
            return Ok(());
        };
        let found = digest_text(&digest.finalize());
        let right = match &self.info.digest {
            Some(expected) => expected.trim_end_matches('=') == found.trim_end_matches('='),
            None => true,
        };
        if self.at == self.info.size && right {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::Corrupt, Operation::Get).with_detail(format!(
                "expected {} bytes with {:?}, found {} with {found:?}",
                self.info.size, self.info.digest, self.at
            )),
        )
    }
}

pub(super) fn list(
    shared: &Shared,
    prefix: String,
    options: ListOptions,
) -> BoxStream<'_, Result<ObjectMeta>> {
    let all = async move {
        let metas = read_all(shared, &prefix, options.start_after.as_ref()).await;
        let metas = metas.map_err(|error| shared.connection.explain(error).with_backend(KIND))?;
        Ok(stream::iter(metas.into_iter().map(Ok)))
    };
    stream::once(all).try_flatten().boxed()
}

/// The server keeps descriptions in the order they were written, under names that it cannot
/// search: all are read, and what is wanted is sorted here.
async fn read_all(shared: &Shared, prefix: &str, after: Option<&Key>) -> Result<Vec<ObjectMeta>> {
    let bucket = shared.connection.bucket(Operation::List).await?;
    let subject = format!("$O.{}.M.>", bucket.name);
    let mut messages = Messages::open(bucket, Operation::List, subject, DESCRIPTIONS).await?;
    // By key: an object that is replaced while this goes on is met twice.
    let mut metas = std::collections::BTreeMap::new();
    while let Some(message) = messages.next().await? {
        let (sequence, stored) = {
            let place = messages.info(&message)?;
            (place.stream_sequence, ms(place.published))
        };
        let subject = message.message.subject.as_str();
        let info = parse(Operation::List, subject, &message.message.payload)?;
        let Some(key) = shared.key(&info.name) else {
            continue;
        };
        let wanted = key.starts_with(prefix) && after.is_none_or(|after| key > after.as_str());
        if !wanted {
            continue;
        }
        let key = Key::from(key);
        if !info.is_object() {
            metas.remove(&key);
            continue;
        }
        let found = Found {
            info,
            sequence,
            stored,
        };
        metas.insert(key.clone(), found.meta(key));
        if metas.len() > MOST_OBJECTS {
            let detail = format!("more than {MOST_OBJECTS} objects");
            return Err(Error::new(ErrorKind::Invalid, Operation::List).with_detail(detail));
        }
    }
    Ok(metas.into_values().collect())
}
