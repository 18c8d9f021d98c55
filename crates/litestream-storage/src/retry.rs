//! Trying again, by the kind of the error and nothing else.
//!
//! Invariant: a call gives up at the first error that is not retryable, or when a number of tries
//! in a row brought nothing, or next to nothing. Whatever moves the work on by a step gives it all
//! its tries back.
//!
//! | Module | Owns |
//! |---|---|
//! | `budget` | how often, and how long to wait |
//! | `read` | a body or listing that goes on where it broke |
//! | `write` | put, and finding out whether a lost answer meant success |
//! | `replay` | a stream that can be sent again while it is short |
//! | `retrying` | all that with a clock, and the same for single requests inside a backend |

mod budget;
mod read;
mod replay;
mod retrying;
mod write;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::BoxStream;

use crate::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, ObjectStore,
    Operation, PutOptions, Result,
};

use budget::Budget;
pub use budget::{Jitter, RandomJitter, RetryPolicy};
pub use retrying::Retrying;

/// A store that tries again what failed with a [retryable](Error::is_retryable) error.
///
/// * A body that breaks, or ends early, is taken up at its offset by another ranged get; if the
///   object has changed meanwhile, that is [`ErrorKind::PreconditionFailed`]. Each
///   [`RetryPolicy::least_step`] bytes give it all its tries back.
/// * A listing that breaks goes on after its last key.
/// * Of a delete only the keys that failed are tried again.
/// * A put is tried again with the whole body. A [`Body::Stream`] is recorded up to
///   [`RetryPolicy::replay_limit`]; one of which more has been read is tried once.
/// * After a conditional put whose answer was lost, a failed condition may be our own doing: then
///   the object is read, and if it has our content the put has succeeded.
///
/// * After a conditional delete whose answer was lost, a missing object counts as deleted, by
///   whomever.
///
/// Clones are the same store.
///
/// # Cost
///
/// As many requests as there are tries; without errors none besides the call's own.
#[derive(Debug)]
pub struct Retry<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    inner: S,
    retrying: Retrying,
    retries: AtomicU64,
}

impl<S> Clone for Retry<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> Retry<S> {
    /// Tries calls of `inner` again.
    pub fn new(inner: S, retrying: Retrying) -> Self {
        let retries = AtomicU64::new(0);
        Self {
            shared: Arc::new(Shared {
                inner,
                retrying,
                retries,
            }),
        }
    }

    /// How many tries there were beyond the first of each call.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.shared.inner
    }
}

impl<S: ObjectStore> Shared<S> {
    /// Waits for another try after `error`, or answers it when there is none left.
    async fn again(&self, budget: &mut Budget, error: Error) -> Result<()> {
        match self.retrying.spend(budget, &error) {
            Ok(delay) => {
                self.wait(delay, &error).await;
                Ok(())
            }
            Err(tries) => Err(error.with_tries(tries)),
        }
    }

    async fn wait(&self, delay: Duration, error: &Error) {
        tracing::debug!(
            backend = self.inner.kind(),
            error = error as &dyn std::error::Error,
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "retry"
        );
        self.retrying.clock.sleep(delay).await;
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `call` for at most `limit`.
    async fn within<T>(
        &self,
        limit: Duration,
        operation: Operation,
        key: Option<&Key>,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let call = std::pin::pin!(call);
        match select(call, self.retrying.clock.sleep(limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(self.timeout(operation, key, limit)),
        }
    }

    fn timeout(&self, operation: Operation, key: Option<&Key>, limit: Duration) -> Error {
        let error = self.error(ErrorKind::Timeout, operation, key);
        error.with_detail(format!("no progress in {} ms", limit.as_millis()))
    }

    fn error(&self, kind: ErrorKind, operation: Operation, key: Option<&Key>) -> Error {
        let error = Error::new(kind, operation).with_backend(self.inner.kind());
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    async fn head(&self, key: Key) -> Result<ObjectMeta> {
        let mut budget = Budget::default();
        loop {
            let call = self.inner.head(key.clone());
            match self
                .within(
                    self.retrying.policy.stall,
                    Operation::Head,
                    Some(&key),
                    call,
                )
                .await
            {
                Ok(meta) => return Ok(meta),
                Err(error) => self.again(&mut budget, error).await?,
            }
        }
    }

    async fn delete(&self, mut keys: Vec<Key>) -> Result<Vec<(Key, Error)>> {
        let mut budget = Budget::default();
        let mut failures = Vec::new();
        loop {
            // Stores without bulk deletion make a request for each.
            let requests = u32::try_from(keys.len()).unwrap_or(u32::MAX).max(1);
            let limit = self.retrying.policy.stall.saturating_mul(requests);
            let call = self.inner.delete(keys.clone());
            let failed = match self.within(limit, Operation::Delete, None, call).await {
                Ok(failed) => failed,
                Err(error) => {
                    self.again(&mut budget, error).await?;
                    continue;
                }
            };
            let (retryable, permanent): (Vec<_>, Vec<_>) = failed
                .into_iter()
                .partition(|(_, error)| error.is_retryable());
            failures.extend(permanent);
            let Some((_, error)) = retryable.first() else {
                return Ok(failures);
            };
            if retryable.len() < keys.len() {
                budget.refill();
            }
            match self.retrying.spend(&mut budget, error) {
                Ok(delay) => self.wait(delay, error).await,
                Err(tries) => {
                    let given_up = retryable.into_iter();
                    failures.extend(given_up.map(|(key, error)| (key, error.with_tries(tries))));
                    return Ok(failures);
                }
            }
            keys = retryable.into_iter().map(|(key, _)| key).collect();
        }
    }

    async fn delete_if(&self, key: Key, etag: String) -> Result<()> {
        let mut budget = Budget::default();
        let mut unknown = false;
        loop {
            let call = self.inner.delete_if(key.clone(), etag.clone());
            match self
                .within(
                    self.retrying.policy.stall,
                    Operation::Delete,
                    Some(&key),
                    call,
                )
                .await
            {
                Ok(()) => return Ok(()),
                // The try whose answer was lost may have done it; gone is what was wanted.
                Err(error) if unknown && error.is_not_found() => return Ok(()),
                Err(error) => self.again(&mut budget, error).await?,
            }
            unknown = true;
        }
    }
}

impl<S: ObjectStore> ObjectStore for Retry<S> {
    fn kind(&self) -> &'static str {
        self.shared.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.shared.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        write::put(&self.shared, key, body, options).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        read::get(&self.shared, key, range).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.shared.head(key).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        read::list(&self.shared, prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        self.shared.delete(keys).boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        self.shared.delete_if(key, etag).boxed()
    }
}
