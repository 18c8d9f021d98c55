//! Objects in memory, for tests and simulations.
//!
//! Invariant: an object changes only as a whole, under one lock, so readers and listings see what
//! a single moment had.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::{
    Body, ByteRange, CHUNK_SIZE, Clock, Condition, Error, ErrorKind, Key, ListOptions, Object,
    ObjectMeta, ObjectStore, Operation, PutOptions, Result, SystemClock,
};

const KIND: &str = "memory";

/// Objects listed per locked look at the store.
const PAGE: usize = 1000;

/// One object of a [`MemoryStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The whole content.
    pub content: Bytes,
    /// When it was put, in Unix milliseconds.
    pub modified: i64,
    /// The timestamp given at the put, if any, in Unix milliseconds.
    pub timestamp: Option<i64>,
    version: u64,
}

impl StoredObject {
    fn etag(&self) -> String {
        format!("{:016x}", self.version)
    }

    fn meta(&self, key: &Key) -> ObjectMeta {
        ObjectMeta {
            key: key.clone(),
            size: self.content.len() as u64,
            modified: self.modified,
            timestamp: self.timestamp,
            etag: Some(self.etag()),
        }
    }
}

/// A store that keeps its objects in memory. Clones share their content.
///
/// # Durability
///
/// None beyond the process. Everything else of the contract holds.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
    clock: Arc<dyn Clock>,
    costly_timestamps: bool,
}

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<Key, StoredObject>,
    /// Counts puts; makes each etag unique for the life of the store.
    version: u64,
}

impl MemoryStore {
    /// An empty store on the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty store that takes its modification times from `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            content: Arc::default(),
            clock,
            costly_timestamps: false,
        }
    }

    /// Makes listings behave as on stores where timestamps cost a request per object: they are
    /// left out unless asked for.
    #[must_use]
    pub fn with_costly_timestamps(mut self) -> Self {
        self.costly_timestamps = true;
        self
    }

    /// All objects as they are at this moment.
    pub fn snapshot(&self) -> BTreeMap<Key, StoredObject> {
        self.lock().objects.clone()
    }

    /// A store with the same content and settings that shares nothing with this one from now on.
    #[must_use]
    pub fn fork(&self) -> Self {
        let content = self.lock();
        let copy = Content {
            objects: content.objects.clone(),
            version: content.version,
        };
        Self {
            content: Arc::new(Mutex::new(copy)),
            ..self.clone()
        }
    }

    /// Replaces the whole content, with that of an earlier [`MemoryStore::snapshot`] for example.
    /// Etags of objects put later are still new.
    pub fn restore(&self, objects: BTreeMap<Key, StoredObject>) {
        let mut content = self.lock();
        let newest = objects
            .values()
            .map(|object| object.version)
            .max()
            .unwrap_or(0);
        content.version = content.version.max(newest);
        content.objects = objects;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .expect("no code that holds this lock panics")
    }

    fn store(&self, key: &Key, content: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let modified = self.clock.now_ms();
        let mut guard = self.lock();
        let Content { objects, version } = &mut *guard;
        match (&options.condition, objects.get(key)) {
            (Condition::IfAbsent, Some(_)) => {
                return Err(error(ErrorKind::AlreadyExists, Operation::Put, key));
            }
            (Condition::IfMatch(wanted), found) => {
                check_etag(Operation::Put, key, wanted, found.map(StoredObject::etag))?;
            }
            (Condition::None, _) | (Condition::IfAbsent, None) => {}
        }
        *version += 1;
        let object = StoredObject {
            content,
            modified,
            timestamp: options.timestamp,
            version: *version,
        };
        let meta = object.meta(key);
        objects.insert(key.clone(), object);
        Ok(meta)
    }

    fn find(&self, operation: Operation, key: &Key) -> Result<StoredObject> {
        let found = self.lock().objects.get(key).cloned();
        found.ok_or_else(|| error(ErrorKind::NotFound, operation, key))
    }

    fn page(&self, prefix: &str, after: Option<&Key>, timestamps: bool) -> Vec<ObjectMeta> {
        // The prefix itself is the least key that begins with it.
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(Key::from(prefix)),
        };
        let guard = self.lock();
        let range = guard.objects.range((start, Bound::Unbounded));
        range
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .take(PAGE)
            .map(|(key, object)| {
                let mut meta = object.meta(key);
                if self.costly_timestamps && !timestamps {
                    meta.timestamp = None;
                }
                meta
            })
            .collect()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ObjectStore for MemoryStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        // It stands for a service far away.
        true
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move {
            let content = collect(body)
                .await
                .map_err(|error| error.with_backend(KIND).with_key(&key))?;
            self.store(&key, content, &options)
        }
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        async move {
            let object = self.find(Operation::Get, &key)?;
            let size = object.content.len() as u64;
            let start = range.offset.min(size) as usize;
            let end = start + range.len_in(size) as usize;
            let body = chunks(object.content.slice(start..end));
            Ok(Object {
                meta: object.meta(&key),
                body,
            })
        }
        .boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        async move { Ok(self.find(Operation::Head, &key)?.meta(&key)) }.boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        let ListOptions {
            start_after,
            timestamps,
        } = options;
        stream::unfold(Some((prefix, start_after)), move |state| async move {
            let (prefix, after) = state?;
            let page = self.page(&prefix, after.as_ref(), timestamps);
            let last = page.last()?.key.clone();
            let next = (page.len() == PAGE).then_some((prefix, Some(last)));
            Some((stream::iter(page.into_iter().map(Ok)), next))
        })
        .flatten()
        .boxed()
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        async move {
            let mut content = self.lock();
            for key in keys {
                content.objects.remove(&key);
            }
            Ok(Vec::new())
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        async move {
            let mut content = self.lock();
            let Some(found) = content.objects.get(&key) else {
                return Err(error(ErrorKind::NotFound, Operation::Delete, &key));
            };
            check_etag(Operation::Delete, &key, &etag, Some(found.etag()))?;
            content.objects.remove(&key);
            Ok(())
        }
        .boxed()
    }
}

fn error(kind: ErrorKind, operation: Operation, key: &Key) -> Error {
    Error::new(kind, operation).with_backend(KIND).with_key(key)
}

fn check_etag(operation: Operation, key: &Key, wanted: &str, found: Option<String>) -> Result<()> {
    match found {
        Some(found) if found == wanted => Ok(()),
        found => Err(error(ErrorKind::PreconditionFailed, operation, key)
            .with_detail(format!("expected etag {wanted:?}, found {found:?}"))),
    }
}

async fn collect(body: Body) -> Result<Bytes> {
    if let Body::Bytes(bytes) = body {
        return Ok(bytes);
    }
    let mut content = BytesMut::new();
    let mut stream = body.into_stream();
    while let Some(chunk) = stream.try_next().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

fn chunks(content: Bytes) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(content, |mut rest| async move {
        let chunk = rest.split_to(rest.len().min(CHUNK_SIZE));
        (!chunk.is_empty()).then_some((Ok(chunk), rest))
    })
    .boxed()
}
