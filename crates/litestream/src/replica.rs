//! One replica of one database: where it is, what it holds, how far it has got.
//!
//! Invariant: the acknowledged transaction is only raised after the store has returned success for
//! every file up to it.

mod base;
mod checked;
mod foreign;
mod index;
mod known;
mod layout;
mod upload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{FutureExt, TryFutureExt};
use litestream_storage::{ByteRange, ListOptions, ObjectStore};
use ltx::{Level, PageSize, Timestamp, Txid, TxidRange};
use tokio::sync::{Notify, watch};

use self::foreign::ForeignWatch;
pub use self::index::RemoteIndex;
use self::known::Known;
pub use self::layout::{Layout, RemoteFile};
pub(crate) use self::upload::{Need, Uploaded};
use crate::database::Uploads;
use crate::error::{Error, Result};
use crate::files::Ownership;
use crate::lease::{Lease, LeaseSettings};
use crate::settings::ReplicaSettings;

/// Since when, and why, a replica cannot be brought up to date with level-0 files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The newest transaction that it has, `None` when it has none.
    pub acknowledged: Option<Txid>,
    /// Bytes of level-0 files that were waiting for it.
    pub staged: u64,
    /// When they were given up.
    pub since: std::time::SystemTime,
}

/// Told of the database's mode and owner once they are known.
type Adopt = dyn Fn(&Ownership) + Send + Sync;

/// See the module.
pub struct Replica {
    store: Arc<dyn ObjectStore>,
    adopt: Option<Box<Adopt>>,
    lease: Option<Lease>,
    layout: Layout,
    settings: ReplicaSettings,
    index: Known,
    acknowledged: watch::Sender<Option<Txid>>,
    /// The replica was found to hold another history: only what is captured above this transaction
    /// may go there, behind a snapshot.
    diverged: Mutex<Option<Txid>>,
    /// The last level-0 file that was put, and its page size.
    last_put: Mutex<Option<(Txid, PageSize)>>,
    uploads: Mutex<Uploads>,
    /// The files that it lacks were given up: it needs a snapshot.
    behind: Mutex<Option<Behind>>,
    /// Whether we are the only writer.
    watch: ForeignWatch,
    /// Asks the upload loop to start at once, without regard to the sync interval.
    pub(crate) hurry: Notify,
    /// One upload, compaction or deletion pass at a time.
    pub(crate) work: tokio::sync::Mutex<()>,
    /// Another process has written here while the database was closed.
    stale: AtomicBool,
}

impl Replica {
    /// A replica in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, layout: Layout, settings: ReplicaSettings) -> Self {
        Self {
            store,
            adopt: None,
            lease: None,
            layout,
            settings,
            index: Known::new(),
            acknowledged: watch::Sender::new(None),
            diverged: Mutex::new(None),
            last_put: Mutex::default(),
            uploads: Mutex::default(),
            behind: Mutex::new(None),
            watch: ForeignWatch::default(),
            hurry: Notify::new(),
            work: tokio::sync::Mutex::new(()),
            stale: AtomicBool::new(false),
        }
    }

    /// Calls `adopt` with the mode and owner of the database each time it is opened: files of a
    /// replica on the same machine belong to whom the database belongs to.
    #[must_use]
    pub fn adopting(mut self, adopt: impl Fn(&Ownership) + Send + Sync + 'static) -> Self {
        self.adopt = Some(Box::new(adopt));
        self
    }

    /// Writes only while it holds the lease of what `store` holds, taken when the database is
    /// started and given back when it is stopped.
    #[must_use]
    pub fn leased(
        mut self,
        settings: LeaseSettings,
        clock: Arc<dyn litestream_storage::Clock>,
    ) -> Self {
        let lease = Lease::new(Arc::clone(&self.store), settings, clock);
        self.store = Arc::new(lease.fence(Arc::clone(&self.store)));
        self.lease = Some(lease);
        self
    }

    /// The lease, if it writes under one.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub(crate) fn adopt(&self, ownership: &Ownership) {
        if let Some(adopt) = &self.adopt {
            adopt(ownership);
        }
    }

    /// The store's type word: `file`, `s3`, ...
    pub fn kind(&self) -> &'static str {
        self.store.kind()
    }

    /// The object store itself.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// How keys are built.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The settings.
    pub fn settings(&self) -> &ReplicaSettings {
        &self.settings
    }

    /// Newest transaction that is restorable from this replica, as far as this process knows.
    pub fn acknowledged(&self) -> Option<Txid> {
        *self.acknowledged.borrow()
    }

    /// Follows the acknowledged transaction.
    pub fn subscribe(&self) -> watch::Receiver<Option<Txid>> {
        self.acknowledged.subscribe()
    }

    pub(crate) fn acknowledge(&self, txid: Txid) {
        self.acknowledged.send_if_modified(|acknowledged| {
            let newer = *acknowledged < Some(txid);
            if newer {
                *acknowledged = Some(txid);
            }
            newer
        });
    }

    /// Whether the files that the replica lacks were given up because they took too much space. It
    /// catches up with a snapshot as soon as it can be reached.
    pub fn behind(&self) -> Option<Behind> {
        *self.behind_slot()
    }

    pub(crate) fn set_behind(&self, behind: Option<Behind>) -> Option<Behind> {
        std::mem::replace(&mut *self.behind_slot(), behind)
    }

    fn behind_slot(&self) -> MutexGuard<'_, Option<Behind>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn diverged(&self) -> MutexGuard<'_, Option<Txid>> {
        self.diverged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_put(&self) -> MutexGuard<'_, Option<(Txid, PageSize)>> {
        self.last_put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is noted of the uploads.
    pub(crate) fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything that was learned: while nobody replicates, others may change the replica.
    pub(crate) fn reset(&self) {
        self.forget_index();
        *self.diverged() = None;
        *self.last_put() = None;
        *self.uploads() = Uploads::default();
        self.watch.reset();
        self.set_behind(None);
        self.acknowledged.send_replace(None);
    }

    /// Lists the replica, unless what it holds is known.
    pub(crate) async fn ensure_index(&self) -> Result<()> {
        let list = || {
            let listed = RemoteIndex::load(&*self.store, self.layout, false);
            listed.inspect_ok(|_| self.watch.listed()).boxed()
        };
        if self.index.ensure(list).await? {
            return Ok(());
        }
        Err(self.unlisted())
    }

    /// Asks the index, which must have been listed; it may have been thrown away meanwhile.
    pub(crate) fn with_index<R>(&self, ask: impl FnOnce(&RemoteIndex) -> R) -> Result<R> {
        self.index.ask(ask).ok_or_else(|| self.unlisted())
    }

    fn unlisted(&self) -> Error {
        Error::Unlisted {
            kind: self.store.kind(),
        }
    }

    /// How long ago the replica was listed, `None` when it has to be listed anyway.
    pub(crate) fn index_age(&self) -> Option<std::time::Duration> {
        self.index.age()
    }

    /// Newest transaction on any level, `None` when not known or when there is none.
    pub(crate) fn known_max(&self) -> Option<Txid> {
        self.index.ask(RemoteIndex::max).flatten()
    }

    /// Notes that the store has taken a file.
    pub(crate) fn note_file(&self, level: Level, range: TxidRange, size: u64, created: Timestamp) {
        self.index.stored(RemoteFile {
            level,
            range,
            size,
            created,
        });
    }

    /// Notes that the store has deleted a file.
    pub(crate) fn note_deleted(&self, file: RemoteFile) {
        self.index.deleted(file);
    }

    /// Tells of every file that is noted.
    pub(crate) fn subscribe_files(&self) -> watch::Receiver<()> {
        self.index.subscribe()
    }

    /// Forgets what the replica holds: it is listed again before the next work.
    pub(crate) fn forget_index(&self) {
        self.index.forget();
    }

    /// Has the index forgotten before the next work.
    pub(crate) fn set_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Forgets the index if that was asked for; for whoever has [`Self::work`].
    pub(crate) fn forget_stale_index(&self) {
        if self.stale.swap(false, Ordering::Relaxed) {
            self.forget_index();
        }
    }

    /// Lists the files of one level.
    ///
    /// # Cost
    /// One listing of the level.
    pub(crate) async fn list_level(&self, level: Level) -> Result<Vec<RemoteFile>> {
        use futures_util::TryStreamExt;
        let prefix = self.layout.level_prefix(level);
        let mut listing = self.store.list(prefix, ListOptions::default());
        let mut files = Vec::new();
        while let Some(meta) = listing.try_next().await? {
            files.extend(self.layout.parse(&meta));
        }
        Ok(files)
    }

    /// Reads a part of one file.
    pub(crate) async fn read(
        &self,
        level: Level,
        range: TxidRange,
        bytes: ByteRange,
    ) -> Result<bytes::Bytes> {
        let object = self.store.get(self.layout.key(level, range), bytes).await?;
        Ok(object.into_bytes().await?)
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
