//! One large object, fetched by several requests at a time and handed on in order.
//!
//! A single connection to a distant store is much slower than the way there. A store that cannot
//! begin in the middle is read in one stream. Invariants: all parts are of one version of the
//! object; no more than [`AHEAD`] parts are in memory or on their way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    ByteRange, Error, ErrorKind, Key, Object, ObjectMeta, ObjectStore, Operation, Result,
};

/// Bytes per request: large enough that its latency does not count.
const PART: u64 = 2 << 20;
/// Requests at a time.
const AHEAD: usize = 8;

/// The content of an object from its first byte to its last. `held` is dropped with the stream,
/// at its end at the latest.
///
/// # Cost
///
/// A request for each part. One in all where that [does not
/// pay](ObjectStore::reads_parts); one more if it turns out only then.
pub(super) async fn open(
    store: Arc<dyn ObjectStore>,
    key: Key,
    held: impl Send + 'static,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    if store.reads_parts() {
        let first = store.get(key.clone(), ByteRange::new(0, PART)).await?;
        // Else it is the whole that is on its way, of which no more than this part would be seen.
        if store.reads_parts() {
            let body = parts(store, first).await?;
            return Ok(holding(body, held));
        }
    }
    let object = store.get(key, ByteRange::ALL).await?;
    Ok(holding(object.body, held))
}

fn holding(
    body: BoxStream<'static, Result<Bytes>>,
    held: impl Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    body.inspect(move |_| {
        let _held = &held;
    })
    .boxed()
}

/// The parts of an object, of which `first` is the first.
async fn parts(
    store: Arc<dyn ObjectStore>,
    first: Object,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let meta = Arc::new(first.meta.clone());
    let begin = first.into_bytes().await?;
    let rest = (0..)
        .map(|part: u64| begin_of(part))
        .take_while({
            let size = meta.size;
            move |offset| *offset < size
        })
        .skip(1);
    let parts = stream::iter(rest)
        .map(move |offset| fetch(Arc::clone(&store), Arc::clone(&meta), offset))
        .buffered(AHEAD);
    let parts = parts
        .map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok)))
        .try_flatten();
    Ok(stream::once(async { Ok(begin) }).chain(parts).boxed())
}

fn begin_of(part: u64) -> u64 {
    part.saturating_mul(PART)
}

/// A whole part, in the pieces in which it came.
async fn fetch(
    store: Arc<dyn ObjectStore>,
    meta: Arc<ObjectMeta>,
    offset: u64,
) -> Result<Vec<Bytes>> {
    let range = ByteRange::new(offset, PART);
    let object = store.get(meta.key.clone(), range).await?;
    let found = &object.meta;
    if found.size != meta.size || found.etag != meta.etag {
        let detail = format!(
            "the object was replaced while it was read: {} bytes {:?}, then {} bytes {:?}",
            meta.size, meta.etag, found.size, found.etag
        );
        let error = Error::new(ErrorKind::PreconditionFailed, Operation::Get);
        return Err(error.with_key(&meta.key).with_detail(detail));
    }
    let expected = range.len_in(meta.size);
    let chunks: Vec<Bytes> = object.body.try_collect().await?;
    let found: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    if found != expected {
        let detail = format!("at {offset}: expected {expected} bytes, found {found}");
        let error = Error::new(ErrorKind::Corrupt, Operation::Get);
        return Err(error.with_key(&meta.key).with_detail(detail));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests;
