//! Objects in a container of Azure Blob Storage.
//!
//! Invariants: an object appears as a whole, by one upload or when the list of its blocks is
//! committed; blocks of an upload that failed are not part of any object and the service forgets
//! them after a week. Concurrent uploads of one object use different block names.
//!
//! The service has no lower bound for listings, so one from a bound on reads the whole prefix.

mod credentials;
mod list;
mod read;
mod service;
mod sign;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{Method, header};

use crate::calls::delete_each;
use crate::retry::Retrying;
use crate::{
    Body, ByteRange, Error, ErrorKind, HttpClient, HttpError, Key, ListOptions, Object, ObjectMeta,
    ObjectStore, Operation, PutOptions, Result,
};
use service::Service;

pub use credentials::{AbsCredentials, AbsIdentity};

const KIND: &str = "abs";

/// Name of the metadata that holds the timestamp. Names are identifiers there: no hyphen.
const TIMESTAMP: &str = "litestreamtimestamp";

/// Deletions in flight: one request each.
const DELETES: usize = 16;

/// Which container, and how it is reached.
#[derive(Clone)]
pub struct AbsSettings {
    /// Container.
    pub container: String,
    /// What every object name begins with, verbatim: `path/`, or nothing.
    pub prefix: String,
    /// `https://ACCOUNT.blob.core.windows.net`, or the address of another service with whatever
    /// comes before the container.
    pub endpoint: String,
    /// Who we are.
    pub credentials: AbsCredentials,
    /// Bytes per block; a body that is not larger goes up in one request. Default 8 MiB, so that
    /// the 50,000 blocks of an object are 390 GiB. A larger size that is known before makes larger
    /// blocks.
    pub block_size: usize,
    /// Blocks in flight per upload, each of which is held in memory. Default 3.
    pub concurrency: usize,
}

impl AbsSettings {
    /// Default of [`block_size`](Self::block_size).
    pub const BLOCK_SIZE: usize = 8 << 20;
    /// Default of [`concurrency`](Self::concurrency).
    pub const CONCURRENCY: usize = 3;
}

impl std::fmt::Debug for AbsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AbsSettings")
            .field("container", &self.container)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The objects of a container below a prefix.
#[derive(Debug, Clone)]
pub struct AbsStore(Arc<Service>);

impl AbsStore {
    /// A store over `http`. Makes no request. The rest is about the blocks of large uploads, which
    /// are tried again one by one. Fails when the key of the account is no key.
    pub fn new(
        settings: AbsSettings,
        http: HttpClient,
        retrying: Retrying,
    ) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Service::new(settings, http, retrying)?)))
    }

    async fn delete_one(&self, key: &Key, etag: Option<&str>) -> Result<()> {
        let mut request = self.0.blob(Method::DELETE, key, "");
        if let Some(etag) = etag {
            // All etags of the service are quoted.
            if !etag.starts_with('"') {
                let error = Error::new(ErrorKind::PreconditionFailed, Operation::Delete)
                    .with_detail(format!("expected etag {etag:?}, which no object has"));
                return Err(self.0.finish(error, Some(key)));
            }
            request = request.header(header::IF_MATCH, etag);
        }
        let sent = self.0.send(Operation::Delete, request).await;
        sent.map(drop)
            .map_err(|error| self.0.finish(error, Some(key)))
    }
}

impl ObjectStore for AbsStore {
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
        async move {
            let meta = read::head(&self.0, Operation::Head, &key).await;
            meta.map_err(|error| self.0.finish(error, Some(&key)))
        }
        .boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        list::list(&self.0, &prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            let delete = |key: Key| async move { self.delete_one(&key, None).await };
            Ok(delete_each(KIND, keys, DELETES, delete).await)
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        async move {
            match self.delete_one(&key, Some(&etag)).await {
                // A condition may be looked at before the blob is.
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                    let found = read::head(&self.0, Operation::Delete, &key).await;
                    match found {
                        Err(missing) if missing.is_not_found() => {
                            Err(self.0.finish(missing, Some(&key)))
                        }
                        _ => Err(error),
                    }
                }
                other => other,
            }
        }
        .boxed()
    }
}
