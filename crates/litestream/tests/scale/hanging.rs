//! A store that hangs until it is let go, in one of the two ways in which stores hang.

use std::sync::{Arc, Condvar, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use litestream_storage::{
    Body, ByteRange, Error, Key, ListOptions, MemoryStore, Object, ObjectMeta, ObjectStore,
    PutOptions, Result,
};
use tokio::sync::watch;

/// How a put hangs.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// As a connection that nobody answers: nothing is taken by it.
    Waiting,
    /// As a file system that is away: a blocking thread is taken by it.
    Blocking,
}

/// See the module. Puts hang, everything else works.
#[derive(Debug)]
pub(super) struct Hanging {
    pub(super) inner: Arc<MemoryStore>,
    how: How,
    /// Puts that have begun to hang.
    pub(super) begun: watch::Sender<usize>,
    free: watch::Sender<bool>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Hanging {
    pub(super) fn new(how: How) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::default(),
            how,
            begun: watch::Sender::new(0),
            free: watch::Sender::new(false),
            gate: Arc::default(),
        })
    }

    /// Lets all puts go on.
    pub(super) fn let_go(&self) {
        self.free.send_replace(true);
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    async fn hang(&self) {
        self.begun.send_modify(|begun| *begun += 1);
        match self.how {
            How::Waiting => {
                let mut free = self.free.subscribe();
                let _let_go = free.wait_for(|free| *free).await;
            }
            How::Blocking => {
                let gate = Arc::clone(&self.gate);
                let blocked = tokio::task::spawn_blocking(move || {
                    let free = gate.0.lock().unwrap();
                    drop(gate.1.wait_while(free, |free| !*free).unwrap());
                });
                blocked.await.unwrap();
            }
        }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // A thread that is never let go keeps the runtime from ending.
        self.let_go();
    }
}

impl ObjectStore for Hanging {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            self.hang().await;
            self.inner.put(key, body, options).await
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.inner.get(key, range)
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

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        self.inner.delete_if(key, etag)
    }
}
