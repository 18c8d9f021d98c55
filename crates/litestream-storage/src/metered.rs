//! Counting what passes through a store.
//!
//! Invariant: counting changes nothing: every call, chunk, item and error passes as it is.

mod meter;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::{
    Body, ByteRange, Clock, Error, Key, ListOptions, Object, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result,
};

pub use meter::{DURATION_BUCKETS, Meter, OperationCounts};

/// A store that counts its calls, per operation, in a [`Meter`].
///
/// It counts calls of this trait: below a [`Retry`](crate::Retry) each try, above it each call of
/// the engine.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
}

impl<S> Metered<S> {
    /// Counts the calls of `inner` from zero.
    pub fn new(inner: S, clock: Arc<dyn Clock>) -> Self {
        Self::counting(inner, clock, Arc::default())
    }

    /// Counts the calls of `inner` in counters that other stores may count in, too.
    pub fn counting(inner: S, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        Self {
            inner,
            meter,
            clock,
        }
    }

    /// The counters, which may be read while the store works and after it is gone.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn begin(&self, operation: Operation) -> Running {
        self.meter.call(operation);
        Running {
            meter: Arc::clone(&self.meter),
            clock: Arc::clone(&self.clock),
            started: self.clock.monotonic(),
            operation,
        }
    }
}

/// A call that has begun. Its end, however it comes, is when this is dropped.
struct Running {
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    started: Duration,
    operation: Operation,
}

impl Running {
    fn moved(&self, objects: u64, bytes: u64) {
        self.meter.moved(self.operation, objects, bytes);
    }

    fn check<T>(&self, result: &Result<T>) {
        if let Err(error) = result {
            self.meter.error(self.operation, error);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let took = self.clock.monotonic().saturating_sub(self.started);
        self.meter.took(self.operation, took);
    }
}

impl<S: ObjectStore> ObjectStore for Metered<S> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let running = self.begin(Operation::Put);
            let stored = self.inner.put(key, body, options).await;
            running.check(&stored);
            if let Ok(meta) = &stored {
                running.moved(1, meta.size);
            }
            stored
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            let running = self.begin(Operation::Get);
            let opened = self.inner.get(key, range).await;
            running.check(&opened);
            let Object { meta, body } = opened?;
            running.moved(1, 0);
            let body = body.inspect(move |chunk| {
                running.check(chunk);
                if let Ok(chunk) = chunk {
                    running.moved(0, chunk.len() as u64);
                }
            });
            Ok(Object {
                meta,
                body: body.boxed(),
            })
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let running = self.begin(Operation::Head);
            let found = self.inner.head(key).await;
            running.check(&found);
            if found.is_ok() {
                running.moved(1, 0);
            }
            found
        }
        .boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        futures_util::stream::once(async move {
            let running = self.begin(Operation::List);
            self.inner.list(prefix, options).inspect(move |item| {
                running.check(item);
                if item.is_ok() {
                    running.moved(1, 0);
                }
            })
        })
        .flatten()
        .boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            let running = self.begin(Operation::Delete);
            let count = keys.len();
            let deleted = self.inner.delete(keys).await;
            running.check(&deleted);
            if let Ok(failures) = &deleted {
                running.moved(count.saturating_sub(failures.len()) as u64, 0);
                for (_, error) in failures {
                    running.meter.error(Operation::Delete, error);
                }
            }
            deleted
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        async move {
            let running = self.begin(Operation::Delete);
            let deleted = self.inner.delete_if(key, etag).await;
            running.check(&deleted);
            if deleted.is_ok() {
                running.moved(1, 0);
            }
            deleted
        }
        .boxed()
    }
}
