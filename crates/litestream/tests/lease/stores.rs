//! Stores that are slow, or not what a lease needs.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use litestream_storage::{
    Body, ByteRange, Condition, Error, ErrorKind, Key, ListOptions, MemoryStore, Object,
    ObjectMeta, ObjectStore, Operation, PutOptions, Result,
};

/// Numbers from a seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A store far away: each request takes its time on the way there and back, is lost sometimes on
/// either, and arrives even if the caller has given it up meanwhile.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) store: MemoryStore,
    pub(crate) random: Mutex<Random>,
    /// Longest way, in milliseconds.
    pub(crate) longest: u64,
    /// Of so many requests one is lost.
    pub(crate) loss: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy)]
struct Fate {
    there: Duration,
    back: Duration,
    lost_there: bool,
    lost_back: bool,
}

impl Far {
    fn fate(&self) -> Fate {
        let mut random = self.random.lock().unwrap();
        // Mostly quick.
        let longest = if random.below(4) == 0 {
            self.longest
        } else {
            self.longest / 20
        };
        let mut way = || Duration::from_millis(random.below(longest + 1));
        let (there, back) = (way(), way());
        Fate {
            there,
            back,
            lost_there: random.below(self.loss) == 0,
            lost_back: random.below(self.loss) == 0,
        }
    }

    async fn travel<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let fate = self.fate();
        // A task of its own: it goes on when the caller does not wait any more.
        let request = tokio::spawn(async move {
            tokio::time::sleep(fate.there).await;
            if fate.lost_there {
                return Err(Error::new(ErrorKind::Timeout, operation));
            }
            let result = call.await;
            tokio::time::sleep(fate.back).await;
            if fate.lost_back {
                return Err(Error::new(ErrorKind::Io, operation));
            }
            result
        });
        request.await.unwrap()
    }
}

impl ObjectStore for Far {
    fn kind(&self) -> &'static str {
        "far"
    }

    fn reads_parts(&self) -> bool {
        self.store.reads_parts()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        let store = self.store.clone();
        let call = async move { store.put(key, body, options).await };
        self.travel(Operation::Put, call).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        let store = self.store.clone();
        let call = async move { store.get(key, range).await };
        self.travel(Operation::Get, call).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.store.head(key)
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        self.store.list(prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        let store = self.store.clone();
        let call = async move { store.delete(keys).await };
        self.travel(Operation::Delete, call).boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        let store = self.store.clone();
        let call = async move { store.delete_if(key, etag).await };
        self.travel(Operation::Delete, call).boxed()
    }
}

/// What a store makes of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// It says that it has none.
    Unsupported,
    /// It takes a put that wants no object there, and replaces the one that is.
    IgnoresAbsent,
    /// It takes a put that wants one version, and replaces another.
    IgnoresMatch,
    /// It has conditional puts, but no conditional delete.
    PutsOnly,
}

/// A store that is weak in one way.
#[derive(Debug)]
pub(crate) struct Weak {
    pub(crate) store: MemoryStore,
    pub(crate) conditions: Conditions,
}

impl Weak {
    pub(crate) fn new(conditions: Conditions) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(),
            conditions,
        })
    }
}

impl ObjectStore for Weak {
    fn kind(&self) -> &'static str {
        "weak"
    }

    fn reads_parts(&self) -> bool {
        self.store.reads_parts()
    }

    fn put(
        &self,
        key: Key,
        body: Body,
        mut options: PutOptions,
    ) -> BoxFuture<'_, Result<ObjectMeta>> {
        match (self.conditions, &options.condition) {
            (Conditions::Unsupported, Condition::IfAbsent | Condition::IfMatch(_)) => {
                let error = Error::new(ErrorKind::Unsupported, Operation::Put);
                return async { Err(error) }.boxed();
            }
            (Conditions::IgnoresAbsent, Condition::IfAbsent)
            | (Conditions::IgnoresMatch, Condition::IfMatch(_)) => {
                options.condition = Condition::None;
            }
            _ => {}
        }
        self.store.put(key, body, options)
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        self.store.get(key, range)
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        self.store.head(key)
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        self.store.list(prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        self.store.delete(keys)
    }
}
