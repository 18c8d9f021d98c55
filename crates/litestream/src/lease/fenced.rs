//! A store that writes only while the lease is held.
//!
//! Each call that changes something, and each listing, asks for the hold before it begins, is given
//! up when the hold ends, and is not believed when the hold has ended at its end. What was listed
//! under an earlier hold is no base for writing: others may have written in between.
//!
//! Reading objects needs no lease: they do not change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use litestream_storage::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, ObjectStore,
    Operation, PutOptions, Result,
};

use super::{Inner, LeaseState};

/// The label of its errors in metrics.
const CODE: &str = "LeaseNotHeld";

/// See the module.
#[derive(Debug)]
pub(crate) struct Fenced {
    store: Arc<dyn ObjectStore>,
    lease: Arc<Inner>,
    /// The hold under which the last listing began.
    listed: AtomicU64,
}

impl Fenced {
    pub(super) fn new(store: Arc<dyn ObjectStore>, lease: Arc<Inner>) -> Self {
        Self {
            store,
            lease,
            listed: AtomicU64::new(0),
        }
    }

    fn refused(&self, operation: Operation, state: &LeaseState) -> Error {
        Error::new(ErrorKind::PreconditionFailed, operation)
            .with_backend(self.store.kind())
            .with_code(CODE)
            .with_detail(state.to_string())
    }

    fn still(&self, operation: Operation, number: u64) -> Result<()> {
        let still = self.lease.still(number);
        still.map_err(|state| self.refused(operation, &state))
    }

    async fn hold(&self, operation: Operation) -> Result<u64> {
        let hold = self.lease.hold().await;
        hold.map(|hold| hold.number)
            .map_err(|state| self.refused(operation, &state))
    }

    async fn change<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let number = self.hold(operation).await?;
        if self.listed.load(Ordering::Acquire) != number {
            let state = LeaseState::Lost {
                cause: "acquired anew, the replica must be listed first".to_owned(),
            };
            return Err(self.refused(operation, &state));
        }
        tokio::select! {
            biased;
            () = self.lease.ended(number) => Err(self.refused(operation, &self.lease.state())),
            result = call => {
                let done = result?;
                self.still(operation, number)?;
                Ok(done)
            }
        }
    }
}

impl ObjectStore for Fenced {
    fn kind(&self) -> &'static str {
        self.store.kind()
    }

    fn reads_parts(&self) -> bool {
        self.store.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        let name = key.clone();
        let put = self.change(Operation::Put, self.store.put(key, body, options));
        put.map(move |result| result.map_err(|error| error.with_key(&name)))
            .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.store.get(key, range)
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.store.head(key)
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        let listing = async move {
            let number = self.hold(Operation::List).await?;
            self.listed.store(number, Ordering::Release);
            let items = self.store.list(prefix, options).map_ok(Some);
            let end = stream::once(async { Ok(None) });
            let checked = items
                .chain(end)
                .map(move |item| self.still(Operation::List, number).and(item));
            Ok(checked.try_filter_map(|item| async move { Ok(item) }))
        };
        stream::once(listing).try_flatten().boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        self.change(Operation::Delete, self.store.delete(keys))
            .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        self.change(Operation::Delete, self.store.delete_if(key, etag))
            .boxed()
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
