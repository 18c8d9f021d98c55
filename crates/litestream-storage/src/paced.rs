//! A store that is used at a limited pace: so many requests a second, so many bytes a second.
//!
//! Invariant: over any stretch of time no more goes through than the rate allows plus one burst,
//! and whoever waits first goes first. An unused store is not paced behind: it has no timers.

mod bucket;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};

use crate::{
    Body, ByteRange, Clock, Error, Key, ListOptions, Object, ObjectMeta, ObjectStore, PutOptions,
    Result,
};

use bucket::Bucket;

/// How fast a store may be used. What is `None` has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// Calls per second. A listing counts one call for each 1000 objects, a deletion one for
    /// each 1000 keys.
    pub requests: Option<Rate>,
    /// Bytes per second of bodies towards the store.
    pub upload: Option<Rate>,
    /// Bytes per second of bodies from the store.
    pub download: Option<Rate>,
}

/// A rate with the amount that may go through at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: f64,
}

impl Rate {
    /// `per_second` units in the long run, and up to `burst` of them at once. `None` unless the
    /// rate is a positive, finite number.
    pub fn new(per_second: f64, burst: NonZeroU64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then(|| Self {
            per_second,
            burst: burst.get() as f64,
        })
    }

    /// A rate of bytes, with what goes through in a second at once, and 64 KiB at least.
    pub fn bytes(per_second: NonZeroU64) -> Self {
        Self {
            per_second: per_second.get() as f64,
            burst: per_second.get().max(PIECE as u64) as f64,
        }
    }
}

/// Objects or keys that a listing or deletion handles with one request, on stores that do so.
const PAGE: usize = 1000;
/// Most bytes that go through in one go.
const PIECE: usize = 64 * 1024;

/// A store that waits before it calls another one, so that a [`Pace`] is kept. Clones share it.
///
/// Bodies of puts are handed on as streams as soon as there is a limit for uploads, with their
/// length as [`PutOptions::size_hint`]; such a body cannot be sent again, so retries belong around
/// this store and not inside.
///
/// # Cost
///
/// Time. No requests of its own.
#[derive(Debug, Clone)]
pub struct Paced<S> {
    inner: S,
    requests: Option<Bucket>,
    upload: Option<Bucket>,
    download: Option<Bucket>,
}

impl<S> Paced<S> {
    /// Uses `inner` at `pace`, in the time of `clock`.
    pub fn new(inner: S, pace: Pace, clock: &Arc<dyn Clock>) -> Self {
        let bucket = |rate: Option<Rate>| rate.map(|rate| Bucket::new(rate, Arc::clone(clock)));
        Self {
            inner,
            requests: bucket(pace.requests),
            upload: bucket(pace.upload),
            download: bucket(pace.download),
        }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Waits until `count` requests may be made.
    async fn requests(&self, count: usize) {
        if let Some(requests) = &self.requests {
            requests.take(count as f64).await;
        }
    }
}

/// The same bytes, each piece when its time has come.
fn slowed(
    body: BoxStream<'static, Result<Bytes>>,
    bucket: Bucket,
) -> BoxStream<'static, Result<Bytes>> {
    let start = (body, VecDeque::new(), bucket);
    stream::unfold(start, |(mut body, mut pieces, bucket)| async move {
        while pieces.is_empty() {
            match body.next().await? {
                // A sign of life, which must not wait for the first byte.
                Ok(chunk) if chunk.is_empty() => return Some((Ok(chunk), (body, pieces, bucket))),
                Ok(chunk) => pieces.extend(cut(chunk)),
                Err(error) => return Some((Err(error), (body, pieces, bucket))),
            }
        }
        let piece: Bytes = pieces.pop_front()?;
        bucket.take(piece.len() as f64).await;
        Some((Ok(piece), (body, pieces, bucket)))
    })
    .boxed()
}

fn cut(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let len = chunk.len().min(PIECE);
        (len > 0).then(|| chunk.split_to(len))
    })
}

impl<S: ObjectStore> ObjectStore for Paced<S> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(
        &self,
        key: Key,
        body: Body,
        mut options: PutOptions,
    ) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            self.requests(1).await;
            let body = match &self.upload {
                Some(bucket) => {
                    options.size_hint = body.size().or(options.size_hint);
                    Body::Stream(slowed(body.into_stream(), bucket.clone()))
                }
                None => body,
            };
            self.inner.put(key, body, options).await
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            self.requests(1).await;
            let object = self.inner.get(key, range).await?;
            Ok(match &self.download {
                Some(bucket) => Object {
                    body: slowed(object.body, bucket.clone()),
                    ..object
                },
                None => object,
            })
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            self.requests(1).await;
            self.inner.head(key).await
        }
        .boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        let costly = options.timestamps;
        let inner = self.inner.list(prefix, options);
        stream::unfold((inner, 0_usize), move |(mut inner, listed)| async move {
            // With timestamps many stores make a request for each object.
            if costly || listed.is_multiple_of(PAGE) {
                self.requests(1).await;
            }
            let next = inner.next().await?;
            Some((next, (inner, listed + 1)))
        })
        .boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            self.requests(keys.len().div_ceil(PAGE)).await;
            self.inner.delete(keys).await
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        async move {
            self.requests(1).await;
            self.inner.delete_if(key, etag).await
        }
        .boxed()
    }
}
