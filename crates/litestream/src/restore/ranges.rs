//! One large object, fetched by several requests at a time and handed on in order.
//!
//! A single connection to a distant store is much slower than the way there. Invariants: all parts
//! are of one version of the object; no more than [`AHEAD`] parts are in memory or on their way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    ByteRange, Error, ErrorKind, Key, ObjectMeta, ObjectStore, Operation, Result,
};

/// Bytes per request: large enough that its latency does not count.
const PART: u64 = 2 << 20;
/// Requests at a time.
const AHEAD: usize = 8;

/// The content of an object from its first byte to its last; `first` is how it began. `held` is
/// dropped with the stream, at its end at the latest.
pub(super) fn stream(
    store: Arc<dyn ObjectStore>,
    first: (ObjectMeta, Bytes),
    held: impl Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    let (meta, begin) = first;
    let rest = (0..)
        .map(|part: u64| begin_of(part))
        .take_while({
            let size = meta.size;
            move |offset| *offset < size
        })
        .skip(1);
    let meta = Arc::new(meta);
    let parts = stream::iter(rest)
        .map(move |offset| fetch(Arc::clone(&store), Arc::clone(&meta), offset))
        .buffered(AHEAD);
    let parts = parts
        .map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok)))
        .try_flatten();
    stream::once(async { Ok(begin) })
        .chain(parts)
        .inspect(move |_| {
            let _held = &held;
        })
        .boxed()
}

/// The first part of an object, with what is known of the whole.
pub(super) async fn begin(store: &dyn ObjectStore, key: Key) -> Result<(ObjectMeta, Bytes)> {
    let object = store.get(key, ByteRange::new(0, PART)).await?;
    let meta = object.meta.clone();
    Ok((meta, object.into_bytes().await?))
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
mod tests {
    use std::sync::Arc;

    use futures_util::TryStreamExt as _;
    use litestream_storage::{
        Body, Fault, Faulty, Key, MemoryStore, Metered, ObjectStore, Operation, PutOptions,
        SystemClock,
    };

    use super::{PART, begin, stream};

    async fn put(store: &dyn ObjectStore, content: Vec<u8>) {
        let key = Key::from("object");
        store
            .put(key, Body::from(content), PutOptions::default())
            .await
            .unwrap();
    }

    fn content(len: u64) -> Vec<u8> {
        (0..len).map(|at| (at / 5 % 253) as u8).collect()
    }

    #[tokio::test]
    async fn parts_come_in_order_and_whole() {
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART, 10 * PART + 7] {
            let store = Arc::new(Metered::new(
                MemoryStore::new(),
                Arc::new(SystemClock::new()),
            ));
            put(&*store, content(len)).await;
            let first = begin(&*store, Key::from("object")).await.unwrap();
            let chunks: Vec<_> = stream(store.clone(), first, ())
                .try_collect()
                .await
                .unwrap();
            assert!(chunks.concat() == content(len), "{len} bytes differ");
            let asked = store.meter().counts(Operation::Get).calls;
            assert_eq!(asked, len.div_ceil(PART).max(1), "{len}");
        }
    }

    #[tokio::test]
    async fn another_version_is_an_error() {
        let store = Arc::new(MemoryStore::new());
        put(&*store, content(3 * PART)).await;
        let first = begin(&*store, Key::from("object")).await.unwrap();
        put(&*store, content(3 * PART)).await;
        let read: Result<Vec<_>, _> = stream(store, first, ()).try_collect().await;
        let text = read.unwrap_err().to_string();
        assert!(text.contains("replaced while it was read"), "{text}");
    }

    #[tokio::test]
    async fn a_part_that_ends_early_is_an_error() {
        let faulty = Faulty::new(MemoryStore::new());
        put(&faulty, content(3 * PART)).await;
        faulty.when(|call| {
            let second = call.operation == Operation::Get && call.of_operation == 2;
            second.then_some(Fault::CutOff { after: 100 })
        });
        let store: Arc<dyn ObjectStore> = Arc::new(faulty);
        let first = begin(&*store, Key::from("object")).await.unwrap();
        let read: Result<Vec<_>, _> = stream(store, first, ()).try_collect().await;
        let text = read.unwrap_err().to_string();
        assert!(text.contains("found 100"), "{text}");
    }
}
