//! Objects as files below a directory.
//!
//! Invariant: a file under its final name is complete and was synced before it got that name. What
//! is being written has a name that ends in `.tmp`, which no listing shows and no key may have.
//!
//! | Module | Owns |
//! |---|---|
//! | `path` | which keys are allowed, and what they are called on disk |
//! | `steps` | the seam at which tests break each step |
//! | `dirs` | making directories, and making them durable |
//! | `temp` | the name of a temporary file, for one writer alone |
//! | `stage` | the temporary file: create, write, sync, publish |
//! | `version` | etags, and changes that depend on them |
//! | `write` | put and delete |
//! | `read` | get and head |
//! | `walk` | list |

mod dirs;
mod path;
mod read;
mod stage;
mod steps;
mod temp;
mod version;
mod walk;
mod write;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::{
    Body, ByteRange, Error, Key, Lane, ListOptions, Object, ObjectMeta, ObjectStore, Operation,
    PutOptions, Result, blocking,
};

use dirs::Dirs;
pub use steps::{FileStep, FileSteps};
use version::etag;

const KIND: &str = "file";
/// Threads that one store has at work when it shares no lane with others.
const OWN_LANE: usize = 4;

/// Permissions and owner of the files and directories that a [`FileStore`] creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileModes {
    /// Mode of files, through the umask; 0600 when unknown.
    pub file: Option<u32>,
    /// Mode of directories, through the umask; 0700 when unknown.
    pub dir: Option<u32>,
    /// User and group of files, and of directories unless [`FileModes::dir_owner`] says otherwise.
    /// Not being allowed to give them away is not an error.
    pub owner: Option<(u32, u32)>,
    /// User and group of directories, when not those of the files.
    pub dir_owner: Option<(u32, u32)>,
}

/// A store whose objects are files: the key `a/b` is the file `b` in the directory `a` below the
/// root. Clones are the same store.
///
/// Keys that are not plain relative paths (`..`, `.`, empty parts, a leading or trailing `/`, a
/// NUL), and keys that end in `.tmp`, are [`Invalid`](crate::ErrorKind::Invalid), and so is every
/// key whose path goes through a symbolic link below the root. The root itself may be one.
///
/// The timestamp of an object is the modification time of its file. The etag is made of the
/// file's identity, size and times, so any change to the file, of its permissions too, changes it.
///
/// # Durability
///
/// [`put`](ObjectStore::put) goes through these steps, and returns success after the last one:
///
/// 1. Make missing directories from the top down.
/// 2. Create `<name>.tmp`, locked. What a dead process left under that name is removed first; when
///    a living writer has it, another name of the same ending is taken.
/// 3. Write the content, set the owner and the times, sync the file. The times come before the
///    sync, so that no crash can leave a file with the time of its copying.
/// 4. Rename it to its final name: from here on it is visible.
/// 5. Sync its directory, so that the new name is durable as well.
/// 6. The first put into a directory: sync the parents of all directories of step 1, and of those that were
///    there already: an earlier process may have died between making and syncing them.
///
/// A put on the condition that there is nothing takes the name back when 5 or 6 fails, and does both
/// before it answers that there is something: who put that may have died before them.
///
/// A failed sync is never tried again on the same file: the next try begins at 1 with a new one.
/// File systems that know no sync of directories are taken at their word.
///
/// Writers that use a condition exclude each other, in other processes too, by locks on the
/// files (`flock`); where the file system has none,
/// [`Condition::IfMatch`](crate::Condition::IfMatch) and
/// [`delete_if`](ObjectStore::delete_if) are [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// # Cost
///
/// No requests. A put syncs twice, a get up to 1 MiB is one hop to the blocking pool.
#[derive(Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

/// What the blocking work of a store needs.
struct Shared {
    root: PathBuf,
    modes: RwLock<FileModes>,
    steps: Option<Arc<dyn FileSteps>>,
    dirs: Dirs,
    lane: Lane,
}

impl FileStore {
    /// A store below `root`, which need not exist: the first put creates it.
    pub fn new(root: PathBuf, modes: FileModes) -> Self {
        Self::build(root, modes, None, Lane::new(OWN_LANE))
    }

    /// A store that shares a bound on its blocking work with others: give those on one mount one
    /// lane, and one that hangs takes no more threads than that.
    pub fn in_lane(root: PathBuf, modes: FileModes, lane: Lane) -> Self {
        Self::build(root, modes, None, lane)
    }

    /// A store whose every file system step first asks `steps`, for tests.
    pub fn with_steps(root: PathBuf, modes: FileModes, steps: Arc<dyn FileSteps>) -> Self {
        Self::build(root, modes, Some(steps), Lane::new(OWN_LANE))
    }

    fn build(
        root: PathBuf,
        modes: FileModes,
        steps: Option<Arc<dyn FileSteps>>,
        lane: Lane,
    ) -> Self {
        // An empty path is no directory to the system.
        let root = if root.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            root
        };
        let modes = RwLock::new(modes);
        Self {
            shared: Arc::new(Shared {
                root,
                modes,
                steps,
                dirs: Dirs::default(),
                lane,
            }),
        }
    }

    /// The directory that holds the objects.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Changes the permissions of what is created from now on. They come from the database, which
    /// may be opened long after the store.
    pub fn set_modes(&self, modes: FileModes) {
        *self
            .shared
            .modes
            .write()
            .unwrap_or_else(PoisonError::into_inner) = modes;
    }

    /// The permissions in force.
    pub fn modes(&self) -> FileModes {
        self.shared.modes()
    }

    /// One hop to the blocking pool; names the object in its error.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &Key,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let lane = &self.shared.lane;
        let result = blocking::run_in(lane, operation, move || work(&shared)).await;
        result.map_err(|error| error.with_backend(KIND).with_key(key))
    }
}

impl Shared {
    fn modes(&self) -> FileModes {
        *self.modes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared {
            root, modes, steps, ..
        } = &*self.shared;
        f.debug_struct("FileStore")
            .field("root", root)
            .field("modes", modes)
            .field("steps", steps)
            .finish_non_exhaustive()
    }
}

impl ObjectStore for FileStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn reads_parts(&self) -> bool {
        // There is no way to be long: it is read in one go.
        false
    }

    fn put(&self, key: Key, body: Body, options: PutOptions) -> BoxFuture<'_, Result<ObjectMeta>> {
        write::put(self, key, body, options).boxed()
    }

    fn get(&self, key: Key, range: ByteRange) -> BoxFuture<'_, Result<Object>> {
        read::get(self, key, range).boxed()
    }

    fn head(&self, key: Key) -> BoxFuture<'_, Result<ObjectMeta>> {
        read::head(self, key).boxed()
    }

    fn list(&self, prefix: String, options: ListOptions) -> BoxStream<'_, Result<ObjectMeta>> {
        walk::list(self, prefix, options)
    }

    fn delete(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<(Key, Error)>>> {
        write::delete(self, keys).boxed()
    }

    fn delete_if(&self, key: Key, etag: String) -> BoxFuture<'_, Result<()>> {
        write::delete_if(self, key, etag).boxed()
    }
}

/// The metadata of the object `key` from that of its file.
fn object_meta(key: &Key, file: &Metadata) -> ObjectMeta {
    let modified = file.mtime().saturating_mul(1000) + file.mtime_nsec() / 1_000_000;
    ObjectMeta {
        key: key.clone(),
        size: file.len(),
        modified,
        timestamp: Some(modified),
        etag: Some(etag(file)),
    }
}
