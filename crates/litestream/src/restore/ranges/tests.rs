//! How often a large object is asked for, how much of it comes, and that it comes whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    Body, ByteRange, Error, Fault, Faulty, Key, ListOptions, MemoryStore, Metered, Object,
    ObjectMeta, ObjectStore, Operation, PutOptions, Result, SystemClock,
};

use super::{PART, open};

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
        let body = open(store.clone(), Key::from("object"), ()).await.unwrap();
        let chunks: Vec<_> = body.try_collect().await.unwrap();
        assert!(chunks.concat() == content(len), "{len} bytes differ");
        let asked = store.meter().counts(Operation::Get).calls;
        assert_eq!(asked, len.div_ceil(PART).max(1), "{len}");
    }
}

#[tokio::test]
async fn another_version_is_an_error() {
    let store = Arc::new(MemoryStore::new());
    put(&*store, content(3 * PART)).await;
    let body = open(store.clone(), Key::from("object"), ()).await.unwrap();
    put(&*store, content(3 * PART)).await;
    let read: Result<Vec<_>> = body.try_collect().await;
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
    let body = open(store, Key::from("object"), ()).await.unwrap();
    let read: Result<Vec<_>> = body.try_collect().await;
    let text = read.unwrap_err().to_string();
    assert!(text.contains("found 100"), "{text}");
}

/// A store that sends each object from its first byte on, whatever the range.
#[derive(Debug)]
struct Sequential {
    inner: MemoryStore,
    /// What it says of itself: until the first range, if that makes it known.
    reads_parts: AtomicBool,
    requests: AtomicU64,
    bytes: Arc<AtomicU64>,
}

impl Sequential {
    async fn with(content: Vec<u8>, reads_parts: bool) -> Arc<Self> {
        let store = Self {
            inner: MemoryStore::new(),
            reads_parts: AtomicBool::new(reads_parts),
            requests: AtomicU64::new(0),
            bytes: Arc::default(),
        };
        put(&store.inner, content).await;
        Arc::new(store)
    }

    fn cost(&self) -> (u64, u64) {
        let [requests, bytes] =
            [&self.requests, &*self.bytes].map(|count| count.load(Ordering::Relaxed));
        (requests, bytes)
    }
}

impl ObjectStore for Sequential {
    fn kind(&self) -> &'static str {
        "sequential"
    }

    fn reads_parts(&self) -> bool {
        self.reads_parts.load(Ordering::Relaxed)
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.inner.put(key, body, options)
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        async move {
            if range != ByteRange::ALL {
                self.reads_parts.store(false, Ordering::Relaxed);
            }
            let end = range
                .len
                .map_or(u64::MAX, |len| range.offset.saturating_add(len));
            let sent = self.inner.get(key, ByteRange::new(0, end)).await?;
            let bytes = Arc::clone(&self.bytes);
            let mut skip = range.offset as usize;
            let body = sent.body.map_ok(move |mut chunk| {
                bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                let skipped = chunk.split_to(skip.min(chunk.len()));
                skip -= skipped.len();
                chunk
            });
            Ok(Object {
                meta: sent.meta,
                body: body.boxed(),
            })
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.inner.head(key)
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        self.inner.list(prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        self.inner.delete(keys)
    }
}

/// 20 MiB, which in parts would be more than a hundred of traffic.
const SIZE: u64 = 20 << 20;

#[tokio::test]
async fn a_store_that_cannot_begin_in_the_middle_is_asked_once() {
    let store = Sequential::with(content(SIZE), false).await;
    let body = open(store.clone(), Key::from("object"), ()).await.unwrap();
    let chunks: Vec<_> = body.try_collect().await.unwrap();
    assert!(chunks.concat() == content(SIZE));
    assert_eq!(store.cost(), (1, SIZE));
}

#[tokio::test]
async fn a_store_that_turns_out_to_ignore_ranges_is_read_in_one_stream() {
    let store = Sequential::with(content(SIZE), true).await;
    for (round, requests) in [(1, 2), (2, 3)] {
        let body = open(store.clone(), Key::from("object"), ()).await.unwrap();
        let chunks: Vec<_> = body.try_collect().await.unwrap();
        assert!(chunks.concat() == content(SIZE));
        assert_eq!(store.cost(), (requests, round * SIZE));
    }
}
