//! Objects as files on an SFTP server.
//!
//! Invariant: a file under its final name is complete, and was synced before it got that name
//! where the server can sync. What is being written has a name that ends in `.tmp`, which no
//! listing shows and no key may have.
//!
//! | Module | Owns |
//! |---|---|
//! | `trust` | whether the server is the right one |
//! | `login` | password, key file, agent |
//! | `connection` | one SSH connection with its SFTP session, and the errors of both |
//! | `pool` | connecting when needed, and hanging up when not |
//! | `temp` | the temporary file: create, write, sync, publish |
//! | `leftover` | what puts could not remove after themselves |
//! | `write` | put and delete |
//! | `read` | get and head |
//! | `walk` | list |

mod connection;
mod leftover;
mod login;
mod pool;
mod read;
mod temp;
mod trust;
mod walk;
mod write;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use russh_sftp::protocol::FileAttributes;

use crate::calls::named;
use crate::{
    Body, ByteRange, Clock, Error, Key, ListOptions, Object, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result,
};

use leftover::Leftovers;
use pool::{Lease, Pool};

const KIND: &str = "sftp";

/// Where an SFTP store is and how to get in.
#[derive(Clone)]
pub struct SftpSettings {
    /// Host name or address, with or without `:port`; 22 by default.
    pub host: String,
    /// User to log in as.
    pub user: String,
    /// Password, also given to servers that ask for it interactively.
    pub password: Option<String>,
    /// File with the private key. A key under a passphrase is refused: put it into an agent.
    pub key_path: Option<PathBuf>,
    /// Socket of an SSH agent, asked when there is neither password nor key file.
    pub agent: Option<PathBuf>,
    /// The key of the server, as a line of `authorized_keys`: any other is refused.
    pub host_key: Option<String>,
    /// Files in the `known_hosts` format, asked without a host key. A server that is known there
    /// under another key is refused; one that is unknown is accepted with a warning.
    pub known_hosts: Vec<PathBuf>,
    /// Folder of the store; relative to the login folder without a leading `/`.
    pub root: String,
    /// Several writes of one file in flight. Off for servers that cannot.
    pub concurrent_writes: bool,
    /// A connection that was not used for this long is closed.
    pub idle: Duration,
}

impl SftpSettings {
    /// How long an unused connection is kept, unless told otherwise.
    pub const IDLE: Duration = Duration::from_secs(30);

    /// Settings for `user` at `host`, with everything else absent or at its default.
    pub fn new(host: impl Into<String>, user: impl Into<String>, root: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            user: user.into(),
            password: None,
            key_path: None,
            agent: None,
            host_key: None,
            known_hosts: Vec::new(),
            root: root.into(),
            concurrent_writes: true,
            idle: Self::IDLE,
        }
    }
}

impl std::fmt::Debug for SftpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Everything but the secret.
        f.debug_struct("SftpSettings")
            .field("host", &self.host)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .field("key_path", &self.key_path)
            .field("agent", &self.agent)
            .field("host_key", &self.host_key)
            .field("known_hosts", &self.known_hosts)
            .field("root", &self.root)
            .field("concurrent_writes", &self.concurrent_writes)
            .field("idle", &self.idle)
            .finish()
    }
}

/// A store whose objects are files: the key `a/b` is the file `b` in the directory `a` below the
/// root. Clones are the same store.
///
/// Keys that are not plain relative paths (`..`, `.`, empty parts, a leading or trailing `/`, a
/// NUL), and keys that end in `.tmp`, are [`Invalid`](crate::ErrorKind::Invalid). Listings do not
/// follow symbolic links.
///
/// The timestamp of an object becomes the modification time of its file, which the protocol keeps
/// in whole seconds: it is answered as [`ObjectMeta::modified`] only. The etag is made of size and
/// modification time; it tells versions apart that differ in either.
///
/// # Durability
///
/// [`put`](ObjectStore::put) makes missing directories, writes a temporary file of a name of its
/// own, sets its times, syncs it, checks its length and renames it to its final name; then it
/// syncs the directory. A large file is synced every 32 MiB, so that the last sync is a short one. The syncs need `fsync@openssh.com`; on servers without it success
/// means that the server has taken everything, not that it survives the loss of its power.
///
/// The rename replaces an older file in one step where the server offers
/// `posix-rename@openssh.com`, or does so by itself. On others the older file is moved aside
/// first, moved back when the second step fails, and readers may find nothing in between.
///
/// What a put that failed could not remove or move back, because its connection was gone, the next
/// call of the store does. What is left when the process ends then stays: a file that no listing
/// shows, and on servers without `posix-rename@openssh.com` it may be the older file.
///
/// [`Condition::IfAbsent`](crate::Condition::IfAbsent) needs `hardlink@openssh.com`: a link is
/// made in one step and only where there is nothing. Everything else that depends on a version is
/// [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// # Cost
///
/// One connection, made by the first call and closed when it was idle for
/// [`SftpSettings::idle`]; more only for more than some 50 calls at the same time. A put has
/// about seven round trips, a get three and more for large objects, a listing one per directory
/// and some hundred files. Without calls there is no traffic.
#[derive(Clone)]
pub struct SftpStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    clock: Arc<dyn Clock>,
    leftovers: Leftovers,
    /// Held while a file is replaced in several steps, and while leftovers are cleared.
    replacing: tokio::sync::Mutex<()>,
    /// Folders whose name this store has made durable.
    durable: Mutex<HashSet<String>>,
    root: String,
    window: usize,
}

impl Shared {
    /// A connection for one call, which first cleans up what earlier ones left.
    async fn lease(&self, operation: Operation) -> Result<Lease> {
        let lease = self.pool.lease(operation).await?;
        leftover::clear(self, &lease).await;
        if lease.is_usable() {
            return Ok(lease);
        }
        self.pool.lease(operation).await
    }
}

impl SftpStore {
    /// A store that connects when it is first used.
    pub fn new(settings: SftpSettings, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            root: settings.root.clone(),
            window: if settings.concurrent_writes { 32 } else { 1 },
            leftovers: Leftovers::default(),
            durable: Mutex::default(),
            replacing: tokio::sync::Mutex::default(),
            pool: Pool::new(settings, Arc::clone(&clock)),
            clock,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// How many connections are open. For tests and status pages; makes no request.
    pub async fn connections(&self) -> usize {
        self.shared.pool.len().await
    }
}

impl std::fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SftpStore")
            .field("settings", self.shared.pool.settings())
            .finish_non_exhaustive()
    }
}

impl ObjectStore for SftpStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        true
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

/// The metadata of the object `key` from that of its file.
fn object_meta(key: Key, file: &FileAttributes) -> ObjectMeta {
    let size = file.size.unwrap_or_default();
    let seconds = file.mtime.unwrap_or_default();
    ObjectMeta {
        key,
        size,
        modified: i64::from(seconds) * 1000,
        timestamp: None,
        etag: Some(format!("{size:x}-{seconds:x}")),
    }
}

/// What a file is, by its mode. Servers that send none are asked for nothing but files.
fn is_kind(file: &FileAttributes, kind: u32) -> bool {
    const FORMAT: u32 = 0o170_000;
    match file.permissions.map(|mode| mode & FORMAT) {
        None | Some(0) => kind == FILE,
        Some(found) => found == kind,
    }
}

/// Mode of a regular file.
const FILE: u32 = 0o100_000;
/// Mode of a directory.
const DIRECTORY: u32 = 0o040_000;
