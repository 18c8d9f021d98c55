//! A backend with its stand-in, as all tests see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::contract::Abilities;
use litestream_storage::{
    Body, ByteRange, Error, ErrorKind, HttpClient, HttpSettings, Key, ListOptions, ObjectMeta,
    ObjectStore, PutOptions, Retry, RetryPolicy, Retrying,
};
use testkit::server::stand_in::{Asked, StandIn};

/// Bytes of a part in all tests: also the least step of Google's.
pub(crate) const PART: usize = 256 << 10;

/// A part of a connection's life, in the tests of connections that are cut.
pub(crate) const STRETCH: usize = 64 << 10;

/// Puts an object there behind the back of a store, as somebody else.
pub(crate) type Other = Box<dyn Fn(&str, Vec<u8>) + Send>;

/// A backend with its stand-in.
pub(crate) trait Place: Send + Sync + Sized + 'static {
    const ABILITIES: Abilities;

    /// The service has words of its own for 408: it is tried again all the same.
    const TIMEOUT: ErrorKind = ErrorKind::Timeout;

    /// Of so many requests one fails in a storm: of two, unless a call has several.
    const STORM: usize = 2;

    /// Whether a download that breaks can go on without another object of that length, stored in the
    /// same second, in its place.
    const TELLS_VERSIONS: bool = true;

    /// Of so many requests for a listing one works, where listings break.
    const LISTED: usize = 4;

    /// Pages of listings that name themselves as the next, or make no sense.
    const CIRCLE: &[&str];

    fn start() -> Self;

    fn server(&self) -> &StandIn;

    /// The store; `policy` is for what is tried again inside it.
    fn open(&self, http: HttpClient, policy: RetryPolicy) -> Arc<dyn ObjectStore>;

    /// The store that keeps the contract by itself.
    fn contract_store(&self) -> Arc<dyn ObjectStore> {
        self.bare()
    }

    /// The names of all objects that a reader would see, without the prefix.
    fn names(&self) -> Vec<String>;

    /// How many uploads in parts wait for their end, where anybody has to clean up.
    fn unfinished(&self) -> usize;

    /// Somebody else.
    fn other(&self) -> Other;

    /// Which part of an upload this request brings, if any: a number, or what else tells.
    fn part(asked: &Asked) -> Option<String>;

    /// Whether this request makes an object out of parts.
    fn completes(asked: &Asked) -> bool;

    /// What is the same of a request when it is sent again.
    fn alike(asked: &Asked) -> String {
        let range = asked.header("content-range").unwrap_or_default();
        format!("{} {} {} {range}", asked.method, asked.path, asked.query)
    }

    /// A store that tries nothing again.
    fn bare(&self) -> Arc<dyn ObjectStore> {
        self.open(patient(), tries(1))
    }

    /// A store in the layer that tries again, with hardly a wait in between.
    fn layered(&self) -> Retry<Arc<dyn ObjectStore>> {
        self.layered_with(patient(), tries(10))
    }

    fn layered_with(&self, http: HttpClient, policy: RetryPolicy) -> Retry<Arc<dyn ObjectStore>> {
        let store = self.open(http, policy.clone());
        Retry::new(store, Retrying::new(policy))
    }
}

/// A client that waits as long as a busy machine may take.
pub(crate) fn patient() -> HttpClient {
    HttpClient::new(HttpSettings::default()).expect("sound settings")
}

/// A client that does not wait long for an answer.
pub(crate) fn impatient() -> HttpClient {
    let settings = HttpSettings {
        response_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        ..HttpSettings::default()
    };
    HttpClient::new(settings).expect("sound settings")
}

pub(crate) fn tries(tries: u32) -> RetryPolicy {
    RetryPolicy {
        tries,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        max_retry_after: Duration::from_millis(2),
        ..RetryPolicy::default()
    }
}

/// Content in which a shifted or repeated piece shows.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

/// A body that can be read once.
pub(crate) fn stream_of(content: &[u8]) -> Body {
    let chunks: Vec<_> = content
        .chunks(100_000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    Body::Stream(stream::iter(chunks).boxed())
}

pub(crate) async fn put(
    store: &dyn ObjectStore,
    name: &str,
    body: impl Into<Body>,
) -> Result<ObjectMeta, Error> {
    let body = body.into();
    store
        .put(Key::from(name), body, PutOptions::default())
        .await
}

pub(crate) async fn read(store: &dyn ObjectStore, name: &str) -> Result<Bytes, Error> {
    let object = store.get(Key::from(name), ByteRange::ALL).await?;
    object.into_bytes().await
}

pub(crate) async fn list(store: &dyn ObjectStore) -> Result<Vec<String>, Error> {
    let listing = store.list(String::new(), ListOptions::default());
    let names = listing.map_ok(|meta| meta.key.to_string());
    names.try_collect().await
}

/// An error with all its causes.
pub(crate) fn chain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
