//! Objects in a NATS object store.
//!
//! Invariant: what is written can be read by every client of NATS object stores, and no object is
//! visible before all its chunks were acknowledged by the server.
//!
//! An object store is a stream with two kinds of subjects (ADR-20 of NATS):
//!
//! | Subject | Holds |
//! |---|---|
//! | `$O.BUCKET.C.NUID` | the chunks of one version of an object, in order |
//! | `$O.BUCKET.M.NAME` | its description; NAME in base64, the newest replaces all older ones |
//!
//! | Module | Owns |
//! |---|---|
//! | `connect` | the connection, and what its errors mean |
//! | `options` | the settings as the client takes them, and what of them cannot work |
//! | `news` | why nobody answers |
//! | `info` | the description of an object, as JSON |
//! | `messages` | reading the messages of a subject |
//! | `read` | get, head and list |
//! | `write` | put and delete |

mod connect;
mod info;
mod messages;
mod news;
mod options;
mod read;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::calls::named;
use crate::{
    Body, ByteRange, Error, Key, ListOptions, Object, ObjectMeta, ObjectStore, PutOptions, Result,
};

use connect::Connection;

const KIND: &str = "nats";

/// How to log in to NATS.
#[derive(Clone, Default)]
pub enum NatsLogin {
    /// Not at all.
    #[default]
    None,
    /// A user JWT and the seed of its key.
    Jwt {
        /// The token.
        jwt: String,
        /// The seed, `SU...`.
        seed: String,
    },
    /// A credentials file with both.
    Credentials(PathBuf),
    /// The seed of an nkey, `SU...`.
    Nkey(String),
    /// User and password.
    User {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl std::fmt::Debug for NatsLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets have no place in logs.
        match self {
            Self::None => f.write_str("None"),
            Self::Jwt { .. } => f.write_str("Jwt(..)"),
            Self::Credentials(path) => f.debug_tuple("Credentials").field(path).finish(),
            Self::Nkey(_) => f.write_str("Nkey(..)"),
            Self::User { name, .. } => write!(f, "User({name:?}, ..)"),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// Where a NATS object store is and how to get in.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// Address of the server, `nats://host:port`, or several with commas between.
    pub url: String,
    /// Name of the object store, which must exist.
    pub bucket: String,
    /// Put before each key, with a `/` between; empty for none.
    pub path: String,
    /// How to log in.
    pub login: NatsLogin,
    /// Refuse connections without TLS. So do the two settings that follow.
    pub tls: bool,
    /// Files with certificates to trust, instead of those of the system.
    pub root_cas: Vec<PathBuf>,
    /// Files with a client certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Tries to connect again after a loss until the connection counts as gone, and the next call
    /// makes a new one; `None`: without end. At least as many as there are servers.
    pub max_reconnects: Option<usize>,
    /// Pause between these tries.
    pub reconnect_wait: Duration,
    /// Longest wait for a connection or for an answer.
    pub timeout: Duration,
}

impl NatsSettings {
    /// Settings for `bucket` at `url`, with everything else absent or as the clients of NATS have
    /// it by default.
    pub fn new(url: impl Into<String>, bucket: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            bucket: bucket.into(),
            path: String::new(),
            login: NatsLogin::None,
            tls: false,
            root_cas: Vec::new(),
            client_certificate: None,
            max_reconnects: None,
            reconnect_wait: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
        }
    }

    /// Whether a connection without TLS is to be refused: what is said about certificates would
    /// otherwise be worth nothing as soon as somebody on the way claims that there is no TLS.
    fn wants_tls(&self) -> bool {
        self.tls || !self.root_cas.is_empty() || self.client_certificate.is_some()
    }
}

/// A store whose objects are those of a NATS object store. Clones are the same store.
///
/// Timestamps are kept in the header `Litestream-Timestamp` of the object. The etag is the unique
/// number that each version has. Links of the object store are no objects here.
///
/// # Durability
///
/// [`put`](ObjectStore::put) succeeds when the server, or most servers of a cluster, have stored
/// all chunks and the description. The server syncs its files as its `sync_interval` says, two
/// minutes by default: what survives a loss of power of a single server is up to that setting.
///
/// # Cost
///
/// One connection, made by the first call, on which the protocol exchanges a ping every two
/// minutes. A put has one message for each 128 KiB and three requests more. A range is read from
/// the beginning of the object, as the server knows no offsets. A listing reads the description
/// of every object in the bucket, and of every one that was ever deleted.
#[derive(Debug, Clone)]
pub struct NatsStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    path: String,
}

impl NatsStore {
    /// A store that connects when it is first used.
    pub fn new(settings: NatsSettings) -> Self {
        let path = settings.path.trim_matches('/').to_owned();
        let connection = Connection::new(settings);
        Self {
            shared: Arc::new(Shared { connection, path }),
        }
    }
}

impl Shared {
    /// The name of the object `key` in the object store.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.path)
        }
    }

    /// A call about one object, whose errors are to name it and to say what is known about the
    /// connection.
    async fn call<T>(&self, key: Key, call: impl Future<Output = Result<T>>) -> Result<T> {
        let explained = async { call.await.map_err(|error| self.connection.explain(error)) };
        named(KIND, key, explained).await
    }

    /// The key of the object `name`, unless it is outside of the path.
    fn key<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.path.is_empty() {
            return Some(name);
        }
        name.strip_prefix(&self.path)?.strip_prefix('/')
    }
}

impl ObjectStore for NatsStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        false
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        let put = write::put(&self.shared, key.clone(), body, options);
        self.shared.call(key, put).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        let get = read::get(&self.shared, key.clone(), range);
        self.shared.call(key, get).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        let head = read::head(&self.shared, key.clone());
        self.shared.call(key, head).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        read::list(&self.shared, prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        let deletion = write::delete(&self.shared, keys);
        async move {
            let explain = |error| self.shared.connection.explain(error);
            let failed = deletion.await.map_err(explain)?;
            let explained = failed.into_iter().map(|(key, error)| {
                let error = explain(error).with_backend(KIND).with_key(&key);
                (key, error)
            });
            Ok(explained.collect())
        }
        .boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        let deletion = write::delete_if(&self.shared, key.clone(), etag);
        self.shared.call(key, deletion).boxed()
    }
}
