//! A store that fails as told, for tests.
//!
//! Invariant: without a matching rule every call reaches the inner store unchanged.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};

use crate::{
    Body, ByteRange, Error, ErrorKind, Key, ListOptions, Object, ObjectMeta, ObjectStore,
    Operation, PutOptions, Result,
};

/// How one call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fails without having had an effect.
    Before(ErrorKind),
    /// Takes effect, and then fails as if the answer had been lost.
    After(ErrorKind),
    /// Breaks off in the middle: a get or put after so many bytes of the body, a listing after so
    /// many objects. A head or delete has no middle and goes as with [`Fault::After`].
    Break {
        /// Bytes, or objects, that still pass.
        after: u64,
        /// The error that follows.
        kind: ErrorKind,
    },
    /// Ends early without any error, as a broken proxy does: a get after so many bytes, a listing
    /// after so many objects; a put stores only so many bytes and reports success. A head or
    /// delete is not affected.
    CutOff {
        /// Bytes, or objects, that still pass.
        after: u64,
    },
    /// Never answers. The caller must give it up.
    Hang,
}

/// One call, as a rule sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which operation.
    pub operation: Operation,
    /// Its place among all calls, from 1.
    pub number: u64,
    /// Its place among the calls of this operation, from 1.
    pub of_operation: u64,
    /// The keys it is about: the prefix of a listing, all keys of a delete.
    pub keys: Vec<Key>,
}

type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// A store whose calls fail by rules; the first rule that answers a fault decides.
///
/// Calls are counted when they are first polled.
pub struct Faulty<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    calls: u64,
    by_operation: [u64; Operation::ALL.len()],
}

impl<S> Faulty<S> {
    /// A store without faults so far.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Adds a rule that is asked for every call.
    pub fn when(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.lock().rules.push(Box::new(rule));
    }

    /// Makes the `nth` call of `operation` from the beginning of the store (from 1) fail.
    pub fn fail_nth(&self, operation: Operation, nth: u64, fault: Fault) {
        self.when(move |call| {
            (call.operation == operation && call.of_operation == nth).then_some(fault)
        });
    }

    /// Makes the next call of `operation` fail.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        let next = self.calls(operation) + 1;
        self.fail_nth(operation, next, fault);
    }

    /// Makes every call fail from now on.
    pub fn fail_all(&self, fault: Fault) {
        self.when(move |_| Some(fault));
    }

    /// Removes all rules. The counters go on.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// How many calls of `operation` there have been, failed ones included.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().by_operation[operation as usize]
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A rule that panics is a failed test already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and answers what goes wrong with it.
    fn count(&self, operation: Operation, keys: Vec<Key>) -> Option<Fault> {
        let mut state = self.lock();
        state.calls += 1;
        state.by_operation[operation as usize] += 1;
        let number = state.calls;
        let of_operation = state.by_operation[operation as usize];
        let call = Call {
            operation,
            number,
            of_operation,
            keys,
        };
        state.rules.iter_mut().find_map(|rule| rule(&call))
    }
}

impl<S: ObjectStore> Faulty<S> {
    fn error(&self, kind: ErrorKind, operation: Operation, key: Option<&Key>) -> Error {
        let error = Error::new(kind, operation)
            .with_backend(self.inner.kind())
            .with_detail("injected fault");
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    /// A call without a body.
    async fn plain<T>(
        &self,
        operation: Operation,
        keys: Vec<Key>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let key = (operation != Operation::Delete)
            .then(|| keys.first().cloned())
            .flatten();
        match self.count(operation, keys) {
            None | Some(Fault::CutOff { .. }) => call.await,
            Some(Fault::Before(kind)) => Err(self.error(kind, operation, key.as_ref())),
            Some(Fault::After(kind) | Fault::Break { kind, .. }) => {
                call.await?;
                Err(self.error(kind, operation, key.as_ref()))
            }
            Some(Fault::Hang) => pending().await,
        }
    }

    async fn faulty_put(&self, key: Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let fault = self.count(Operation::Put, vec![key.clone()]);
        let error = |kind| self.error(kind, Operation::Put, Some(&key));
        let body = match fault {
            None | Some(Fault::After(_)) => body,
            Some(Fault::Before(kind)) => return Err(error(kind)),
            Some(Fault::Break { after, kind }) => {
                Body::Stream(cut(body.into_stream(), after, Some(error(kind))))
            }
            Some(Fault::CutOff { after }) => Body::Stream(cut(body.into_stream(), after, None)),
            Some(Fault::Hang) => return pending().await,
        };
        let stored = self.inner.put(key.clone(), body, options).await?;
        match fault {
            Some(Fault::After(kind)) => Err(error(kind)),
            _ => Ok(stored),
        }
    }

    async fn faulty_get(&self, key: Key, range: ByteRange) -> Result<Object> {
        let fault = self.count(Operation::Get, vec![key.clone()]);
        let error = |kind| self.error(kind, Operation::Get, Some(&key));
        match fault {
            Some(Fault::Before(kind)) => return Err(error(kind)),
            Some(Fault::Hang) => return pending().await,
            _ => {}
        }
        let mut object = self.inner.get(key.clone(), range).await?;
        match fault {
            Some(Fault::After(kind)) => return Err(error(kind)),
            Some(Fault::Break { after, kind }) => {
                object.body = cut(object.body, after, Some(error(kind)));
            }
            Some(Fault::CutOff { after }) => {
                object.body = cut(object.body, after, None);
            }
            _ => {}
        }
        Ok(object)
    }

    fn faulty_list(
        &self,
        prefix: String,
        options: ListOptions,
    ) -> BoxStream<'_, Result<ObjectMeta>> {
        let error = |kind| Some(self.error(kind, Operation::List, None));
        let fault = self.count(Operation::List, vec![Key::from(&*prefix)]);
        let (after, end) = match fault {
            None => return self.inner.list(prefix, options),
            Some(Fault::Hang) => return stream::pending().boxed(),
            Some(Fault::Before(kind)) => return stream::iter(error(kind).map(Err)).boxed(),
            Some(Fault::After(kind)) => (u64::MAX, error(kind)),
            Some(Fault::Break { after, kind }) => (after, error(kind)),
            Some(Fault::CutOff { after }) => (after, None),
        };
        let listing = self.inner.list(prefix, options);
        cut(listing, after, end)
    }
}

/// What a fault can break in the middle.
trait Part: Sized + Send {
    fn len(&self) -> u64;

    /// The first `len` units, fewer than all; `None` if it cannot be divided.
    fn first(self, len: u64) -> Option<Self>;
}

impl Part for Bytes {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn first(mut self, len: u64) -> Option<Self> {
        self.truncate(len as usize);
        (len > 0).then_some(self)
    }
}

impl Part for ObjectMeta {
    fn len(&self) -> u64 {
        1
    }

    fn first(self, _len: u64) -> Option<Self> {
        None
    }
}

/// Lets `limit` units of a stream pass, then ends it with `end`. A stream that ends before gets
/// the same end.
fn cut<'a, T: Part + 'a>(
    source: BoxStream<'a, Result<T>>,
    limit: u64,
    end: Option<Error>,
) -> BoxStream<'a, Result<T>> {
    stream::unfold(Some((source, limit, end)), move |state| async move {
        let (mut source, left, end) = state?;
        let item = match source.next().await {
            Some(Ok(item)) => item,
            Some(Err(error)) => return Some((Err(error), None)),
            None => return end.map(|error| (Err(error), None)),
        };
        let len = item.len();
        if len <= left && left > 0 {
            return Some((Ok(item), Some((source, left - len, end))));
        }
        match item.first(left) {
            Some(first) => Some((Ok(first), Some((stream::empty().boxed(), 0, end)))),
            None => end.map(|error| (Err(error), None)),
        }
    })
    .boxed()
}

impl<S: fmt::Debug> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.lock().rules.len();
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .field("rules", &rules)
            .finish_non_exhaustive()
    }
}

impl<S: ObjectStore> ObjectStore for Faulty<S> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn reads_parts(&self) -> bool {
        self.inner.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.faulty_put(key, body, options).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.faulty_get(key, range).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        let call = self.inner.head(key.clone());
        self.plain(Operation::Head, vec![key], call).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        // Counted at the first poll, like the other calls.
        stream::once(async move { self.faulty_list(prefix, options) })
            .flatten()
            .boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        let call = self.inner.delete(keys.clone());
        self.plain(Operation::Delete, keys, call).boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        let call = self.inner.delete_if(key.clone(), etag);
        self.plain(Operation::Delete, vec![key], call).boxed()
    }
}
