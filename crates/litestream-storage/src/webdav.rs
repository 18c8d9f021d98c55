//! Objects as files on a `WebDAV` server.
//!
//! Invariant: a file under its final name is complete. What is being written has a name that ends
//! in `.tmp`, which no listing shows and no key may have.
//!
//! | Module | Owns |
//! |---|---|
//! | `login` | Basic and Digest |
//! | `digest` | the arithmetic of Digest |
//! | `request` | sending a request, logging in on the way, and what a status means |
//! | `multistatus` | the XML of answers about files |
//! | `upload` | a body of known length, staged when it has none |
//! | `write` | put and delete |
//! | `temp` | the file of a put that is not there yet, and removing it |
//! | `read` | get and head |
//! | `walk` | list |

mod digest;
mod login;
mod multistatus;
mod read;
mod request;
mod temp;
mod upload;
mod walk;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::calls::named;
use crate::ranges::Ranges;
use crate::retry::Retrying;
use crate::{
    Body, ByteRange, Error, HttpClient, Key, ListOptions, Object, ObjectMeta, ObjectStore,
    PutOptions, Result,
};

use multistatus::Properties;
use request::Server;

const KIND: &str = "webdav";

/// Where a `WebDAV` store is and how to get in.
#[derive(Clone)]
pub struct WebdavSettings {
    /// Address of the server, `http://` or `https://`, with or without a path.
    pub url: String,
    /// User, for Basic or Digest, whichever the server asks for. Over `http://` the password, or
    /// what it can be guessed from, can be read on the way.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Folder of the store below the path of the address.
    pub root: String,
}

impl std::fmt::Debug for WebdavSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Everything but the secret.
        f.debug_struct("WebdavSettings")
            .field("url", &self.url)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .field("root", &self.root)
            .finish()
    }
}

/// A store whose objects are files: the key `a/b` is the file `b` in the collection `a` below the
/// root. Clones are the same store.
///
/// Keys that are not plain relative paths (`..`, `.`, empty parts, a leading or trailing `/`, a
/// NUL), and keys that end in `.tmp`, are [`Invalid`](crate::ErrorKind::Invalid).
///
/// The protocol keeps no timestamps: [`ObjectMeta::modified`] is when the server stored the file,
/// in whole seconds. The etag is made of size and that time, as servers answer their own in some
/// places and not in others; it tells versions apart that differ in either. Conditions are
/// [`Unsupported`](crate::ErrorKind::Unsupported): few servers check them in one step.
///
/// # Durability
///
/// [`put`](ObjectStore::put) sends the whole body under a temporary name, moves it to the final
/// one, and checks the length of what is there. On servers that have no MOVE the body is sent
/// under its final name, said once in the log: then a broken transfer may be seen by readers.
/// Whether success survives a loss of power is up to the server. A put that fails or is dropped
/// removes its temporary file, or a later put does once the server can be reached again.
///
/// # Cost
///
/// A put has three requests, and one more per missing collection. A body without a known length
/// is staged first, up to 4 MiB in memory and beyond that in a temporary file, since many servers
/// refuse bodies without it. A get has one request, or two where the server leaves open whether
/// it sent a file; a listing one per collection, and one more per file whose length it lacks.
#[derive(Debug, Clone)]
pub struct WebdavStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    /// Path of the root below the address, without a trailing slash.
    root: String,
    /// Set when the server turned out to have no MOVE.
    without_move: AtomicBool,
    /// Set when the server turned out to take paths for destinations, and not its own address.
    moves_by_path: AtomicBool,
    ranges: Ranges,
    retrying: Retrying,
    leftovers: temp::Leftovers,
}

impl WebdavStore {
    /// A store that makes its requests with `client`. The rest is about bodies that can be read
    /// once: they are staged, and sent again from there.
    ///
    /// A [`Retry`](crate::Retry) around it sees nothing of a stream's way from the staging to the
    /// server: its [`in_flight`](crate::RetryPolicy::in_flight) is `u64::MAX`.
    ///
    /// Fails when the address is none.
    pub fn new(settings: WebdavSettings, client: HttpClient, retrying: Retrying) -> Result<Self> {
        let root = settings.root.trim_matches('/').to_owned();
        let server = Server::new(settings, client)?;
        Ok(Self {
            shared: Arc::new(Shared {
                server,
                root,
                without_move: AtomicBool::new(false),
                moves_by_path: AtomicBool::new(false),
                ranges: Ranges::default(),
                retrying,
                leftovers: temp::Leftovers::default(),
            }),
        })
    }
}

impl ObjectStore for WebdavStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        self.shared.ranges.are_kept()
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        named(
            KIND,
            key.clone(),
            write::put(&self.shared, key, body, options),
        )
        .boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        named(KIND, key.clone(), read::get(&self.shared, key, range)).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        named(KIND, key.clone(), read::head(&self.shared, key)).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        walk::list(&self.shared, prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        write::delete(&self.shared, keys).boxed()
    }
}

/// The metadata of the object `key` from what is known of its file.
fn object_meta(key: Key, size: u64, modified: Option<i64>) -> ObjectMeta {
    let modified = modified.unwrap_or_default();
    ObjectMeta {
        key,
        size,
        modified,
        timestamp: None,
        etag: Some(format!("{size:x}-{:x}", modified / 1000)),
    }
}

/// The same from the properties of a file; `None` when they lack its length.
fn file_meta(key: Key, properties: &Properties) -> Option<ObjectMeta> {
    Some(object_meta(key, properties.size?, properties.modified))
}
