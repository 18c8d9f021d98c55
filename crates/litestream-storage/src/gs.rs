//! Objects in a bucket of Google Cloud Storage.
//!
//! Invariants: an object appears as a whole, by one upload or at the end of a resumable session;
//! a session that fails is given up and finalises nothing. The etag of this backend is the
//! generation of the object.
//!
//! Listings, metadata, uploads and deletions use the JSON interface; downloads the plain one, which
//! answers content and metadata in one request.

mod credentials;
mod list;
mod read;
mod service;
mod session;
mod subject;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::Method;

use crate::calls::delete_each;
use crate::retry::Retrying;
use crate::{
    Body, ByteRange, Error, ErrorKind, HttpClient, HttpError, Key, ListOptions, Object, ObjectMeta,
    ObjectStore, Operation, PutOptions, Result,
};
use service::Service;

pub use credentials::GsCredentials;

const KIND: &str = "gs";

/// Name of the metadata that holds the timestamp.
const TIMESTAMP: &str = "litestream-timestamp";

/// Deletions in flight: there is no bulk deletion.
const DELETES: usize = 16;

/// Which bucket, and how it is reached.
#[derive(Debug, Clone)]
pub struct GsSettings {
    /// Bucket.
    pub bucket: String,
    /// What every object name begins with, verbatim: `path/`, or nothing.
    pub prefix: String,
    /// `https://storage.googleapis.com`, or the address of an emulator.
    pub endpoint: String,
    /// Who we are.
    pub credentials: GsCredentials,
    /// Bytes per request of an upload, a multiple of 256 KiB; a body that is not larger goes up in
    /// one request. Each upload holds about this much memory. Default 8 MiB.
    pub part_size: usize,
}

impl GsSettings {
    /// Google's own address.
    pub const ENDPOINT: &'static str = "https://storage.googleapis.com";
    /// Default of [`part_size`](Self::part_size).
    pub const PART_SIZE: usize = 8 << 20;
}

/// The objects of a bucket below a prefix.
#[derive(Debug, Clone)]
pub struct GsStore(Arc<Service>);

impl GsStore {
    /// A store over `http`. Makes no request. The rest is about the parts of large uploads, which
    /// are tried again one by one.
    pub fn new(
        settings: GsSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Service::new(settings, http, retrying)?)))
    }

    async fn delete_version(&self, key: &Key, etag: &str) -> Result<()> {
        if etag.parse::<u64>().is_ok() {
            let query = format!("ifGenerationMatch={etag}");
            let request = self.0.object_request(Method::DELETE, key, &query);
            match self.0.send(Operation::Delete, Some(key), request).await {
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
        // Another version, or none at all.
        let found = self.0.head(Operation::Delete, key).await?;
        Err(self.0.finish(
            Error::new(ErrorKind::PreconditionFailed, Operation::Delete).with_detail(format!(
                "expected generation {etag:?}, found {:?}",
                found.etag
            )),
            Some(key),
        ))
    }
}

impl ObjectStore for GsStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        true
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let put = upload::put(&self.0, &key, body, &options).await;
            put.map_err(|error| self.0.finish(error, Some(&key)))
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            let object = read::get(&self.0, &key, range).await;
            object.map_err(|error| self.0.finish(error, Some(&key)))
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move { self.0.head(Operation::Head, &key).await }.boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        list::list(&self.0, &prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            let delete = |key: Key| async move {
                let request = self.0.object_request(Method::DELETE, &key, "");
                let sent = self.0.send(Operation::Delete, Some(&key), request).await;
                sent.map(drop)
            };
            Ok(delete_each(KIND, keys, DELETES, delete).await)
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        async move { self.delete_version(&key, &etag).await }.boxed()
    }
}
