//! How many files of a plan are open at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use futures_util::{FutureExt, stream};
use litestream::{Layout, RestoreOptions, Source, restore};
use litestream_storage::{
    Body, ByteRange, Error, Key, ListOptions, MemoryStore, Object, ObjectMeta, ObjectStore,
    PutOptions, Result,
};

use crate::bed::{Bed, commit};

/// Objects whose bytes are being read, now and at most so far.
#[derive(Debug, Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
}

/// One object that is open until this is dropped.
struct Opened(Arc<Open>);

impl Opened {
    fn count(open: &Arc<Open>) -> Self {
        open.opened.fetch_add(1, Ordering::SeqCst);
        let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
        open.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Counting {
    inner: MemoryStore,
    open: Arc<Open>,
}

impl ObjectStore for Counting {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.inner.put(key, body, options)
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            let opened = Opened::count(&self.open);
            // Others get their chance to be opened too.
            tokio::task::yield_now().await;
            let Object { meta, body } = self.inner.get(key, range).await?;
            let body = stream::unfold((body, opened), |(mut body, opened)| async move {
                let chunk = body.next().await?;
                Some((chunk, (body, opened)))
            });
            let body = body.boxed();
            Ok(Object { meta, body })
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

/// The reference opens all files of a plan before it reads the first: thousands of streams for a long tail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_has_few_files_open_however_long_the_plan() {
    const PARALLELISM: usize = 3;
    for (files, bytes) in [(60, 100), (14, 600_000)] {
        let (bed, application) = Bed::new();
        let engine = bed.start();
        for _ in 0..files {
            commit(&application, 1);
            let sql = "UPDATE t SET value = randomblob(?1) WHERE id = 1";
            application.execute(sql, [bytes]).unwrap();
            bed.sync(&engine).await;
        }
        let open = Arc::new(Open::default());
        let store = Counting {
            inner: bed.remote.inner().clone(),
            open: Arc::clone(&open),
        };
        let source = Source::new(Arc::new(store), Layout::Plain);
        let mut options = RestoreOptions::new(bed.output());
        options.parallelism = PARALLELISM;
        restore(&source, options).await.unwrap();
        assert_eq!(open.opened.load(Ordering::SeqCst), files);
        assert_eq!(open.now.load(Ordering::SeqCst), 0);
        // Those that are fetched, one that waits for its turn, one that is handed over, one that is applied.
        let most = open.most.load(Ordering::SeqCst);
        assert!((2..=PARALLELISM + 3).contains(&most), "{most} of {files}");
    }
}
