//! The contract between the engine and whatever holds its objects.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, Operation, PutOptions,
    Result,
};

/// A place that keeps objects under keys.
///
/// Every backend and every wrapper passes the same suite, the `contract` module (feature
/// `contract`). No call is made before a future or stream is polled; dropping one gives the call
/// up, and then, as after an error, a put or delete may or may not have taken effect, wholly.
///
/// # Cost
///
/// The number of requests in the documentation of each call is that of a service such as S3. A
/// store makes no request of its own accord: without calls there is no traffic.
pub trait ObjectStore: Send + Sync + Debug + 'static {
    /// Short name of the backend (`file`, `s3`, ...), label of metrics and logs.
    fn kind(&self) -> &'static str;

    /// Whether a large object is best read in parts, by several calls of [`get`](Self::get) at a
    /// time. Where it is not, a range that begins at an offset may cost all that is before it,
    /// or it is one stream that is read fastest.
    ///
    /// A service that turns out to ignore ranges makes it `false`: to be asked after an answer as
    /// well as before. A store around another one answers what that one does.
    ///
    /// # Cost
    ///
    /// No request.
    fn reads_parts(&self) -> bool;

    /// Stores `body` under `key` and answers what was stored.
    ///
    /// # Durability
    ///
    /// When it returns success the object survives the loss of power, in full. Before that the
    /// object is never visible half-written: readers see the old object, if any, until they see
    /// the new one. After an error the old object, or none, or the complete new one is there.
    /// Of several puts under one key at the same time one wins.
    ///
    /// # Cost
    ///
    /// One request; for large bodies one more per part, and two more to begin and to complete.
    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>>;

    /// Opens `range` of the object `key`. The body belongs to one version of the object, that of
    /// the answered metadata, even when the object is replaced or deleted while it is read.
    ///
    /// # Cost
    ///
    /// One request, and the bytes that are read. Where [`reads_parts`](Self::reads_parts) is
    /// `false` the bytes before the range may come as well, and are passed over.
    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>>;

    /// Answers the metadata of the object `key`, with its timestamp.
    ///
    /// # Cost
    ///
    /// One request.
    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>>;

    /// Lists the objects whose keys begin with `prefix`, in ascending order of their bytes.
    ///
    /// The prefix is text, not a directory: `a/1` lists `a/1`, `a/10` and `a/1/x`. Without any
    /// match the listing is empty. An error ends the stream and is its last item; a stream that
    /// ends without one has listed everything that was there from before it began and was not
    /// deleted since.
    ///
    /// # Cost
    ///
    /// One request per 1000 objects or so from the lower bound on; with
    /// [`timestamps`](ListOptions::timestamps) one more per object on some stores. Dropping the
    /// stream stops the requests.
    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>>;

    /// Deletes objects. Missing ones count as deleted. Answers those that could not be deleted;
    /// an error means that it is not known which are gone. Without keys nothing is done.
    ///
    /// # Durability
    ///
    /// After a loss of power a deleted object may be back.
    ///
    /// # Cost
    ///
    /// One request per 1000 keys on stores that have bulk deletion, else one per key.
    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>>;

    /// Deletes the object `key` only if it still has this etag; else
    /// [`ErrorKind::PreconditionFailed`], or [`ErrorKind::NotFound`] when there is none.
    ///
    /// Stores that have no such request answer [`ErrorKind::Unsupported`].
    ///
    /// # Cost
    ///
    /// One request.
    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        let error = Error::new(ErrorKind::Unsupported, Operation::Delete)
            .with_backend(self.kind())
            .with_key(&key)
            .with_detail(format!("delete only if the etag is {etag:?}"));
        async { Err(error) }.boxed()
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<S: ObjectStore + ?Sized> ObjectStore for $pointer<S> {
            fn kind(&self) -> &'static str {
                (**self).kind()
            }

            fn reads_parts(&self) -> bool {
                (**self).reads_parts()
            }

            fn put(
                &self,
                key: Key,
                body: Body,
                options: PutOptions,
            ) -> BoxFuture<'_, Result<ObjectMeta>> {
                (**self).put(key, body, options)
            }

            fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
                (**self).get(key, range)
            }

            fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
                (**self).head(key)
            }

            fn list(
                &self,
                prefix: String,
                options: ListOptions,
            ) -> BoxStream<'_, Result<ObjectMeta>> {
                (**self).list(prefix, options)
            }

            fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
                (**self).delete(keys)
            }

            fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
                (**self).delete_if(key, etag)
            }
        }
    };
}

forward!(Arc);
forward!(Box);
