//! Objects in a bucket of Alibaba Cloud OSS.
//!
//! Invariants: an object appears as a whole, by one upload or when an upload in parts is
//! completed; an upload in parts that fails is aborted. Conditional puts and deletions are refused
//! as unsupported: the service has none on the version of an object, and the one that there is
//! nothing yet (`x-oss-forbid-overwrite`) is ignored by buckets that keep versions.

mod delete;
mod list;
mod read;
mod service;
mod sign;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::retry::Retrying;
use crate::{
    Body, ByteRange, Error, HttpClient, HttpError, Key, ListOptions, Object, ObjectMeta,
    ObjectStore, Operation, PutOptions, Result,
};
use service::Service;

const KIND: &str = "oss";

/// Header that holds the timestamp.
const TIMESTAMP: &str = "x-oss-meta-litestream-timestamp";

/// Which bucket, and how it is reached.
#[derive(Clone)]
pub struct OssSettings {
    /// Bucket.
    pub bucket: String,
    /// What every object name begins with, verbatim: `path/`, or `/` for an empty path.
    pub prefix: String,
    /// Region, without `oss-`: it is part of signatures.
    pub region: String,
    /// Address of the service without the bucket, `https://oss-REGION.aliyuncs.com`. The bucket
    /// becomes part of the host name, or of the path when the host is an IP address.
    pub endpoint: String,
    /// Access key.
    pub access_key: String,
    /// Secret of the access key.
    pub secret_key: String,
    /// Token of temporary credentials.
    pub session_token: Option<String>,
    /// Bytes per part; a body that is not larger goes up in one request. A larger size that is
    /// known before makes larger parts, of which there can be 10,000.
    pub part_size: u64,
    /// Parts in flight per upload, each of which is held in memory.
    pub concurrency: usize,
}

impl std::fmt::Debug for OssSettings {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OssSettings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// The objects of a bucket below a prefix.
#[derive(Debug, Clone)]
pub struct OssStore(Arc<Service>);

impl OssStore {
    /// A store over `http`. Makes no request. The rest is about the parts of large uploads, which
    /// are tried again one by one. Fails when the endpoint is no address.
    pub fn new(
        settings: OssSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Service::new(settings, http, retrying)?)))
    }
}

impl ObjectStore for OssStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        true
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let put = upload::put(&self.0, &key, body, &options).await;
            put.map_err(|error| finish(error, Some(&key)))
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            let object = read::get(&self.0, &key, range).await;
            object.map_err(|error| finish(error, Some(&key)))
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let meta = read::head(&self.0, Operation::Head, &key).await;
            meta.map_err(|error| finish(error, Some(&key)))
        }
        .boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        list::list(&self.0, &prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            let deleted = delete::delete(&self.0, keys).await;
            deleted.map_err(|error| finish(error, None))
        }
        .boxed()
    }
}

/// Completes an error.
fn finish(error: Error, key: Option<&Key>) -> Error {
    let error = error.with_backend(KIND);
    match key {
        Some(key) => error.with_key(key),
        None => error,
    }
}
