//! One managed database: capture on one side, its replicas on the other.
//!
//! A database owns one task that captures and one per replica that uploads. All of them wait
//! without a timer while nothing happens; an idle database costs no wake-up and no request.

mod behind;
mod cycle;
mod doze;
mod driver;
mod learn;
mod leases;
mod life;
mod lookout;
mod maintain;
mod mark;
mod observe;
mod snapshot;
mod staging;
mod uploader;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ltx::Txid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::doze::Asleep;
pub(crate) use self::doze::{Place, Places};
use self::life::Life;
use crate::capture::Capture;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files::{FileSteps, Files};
use crate::gate::Gate;
use crate::local::{LocalDir, default_meta_path};
use crate::metrics::{DatabaseMetrics, MetricsSnapshot};
use crate::pool::Pool;
use crate::replica::Replica;
use crate::settings::{DatabaseSettings, RetentionSettings};
use crate::status::StatusSettings;
use crate::watcher::{OVERDUE, REST, Signals, Watcher};

use self::observe::Progress;
pub(crate) use self::observe::Uploads;

/// What a database shares with the others of its store.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) steps: Arc<dyn FileSteps>,
    pub(crate) pool: Pool,
    /// A second, smaller pool: compactions must not delay captures.
    pub(crate) slow_pool: Pool,
    /// A third one: a snapshot may take hours, and must not delay compactions.
    pub(crate) snapshot_pool: Pool,
    /// Compactions, snapshots and deletions go through these: what waits for its turn holds neither
    /// memory nor descriptors.
    pub(crate) chores: Gate,
    pub(crate) catching_up: Gate,
    /// How many databases may be open.
    pub(crate) places: Arc<Places>,
    /// Databases that start, and databases that stop, go through these.
    pub(crate) starting: Gate,
    pub(crate) closing: Gate,
    pub(crate) watcher: Option<Arc<Watcher>>,
    /// Databases that look for waiting checkpoints at this moment.
    pub(crate) looking: Arc<AtomicU32>,
    pub(crate) retention: Arc<RetentionSettings>,
    pub(crate) status: StatusSettings,
}

/// A managed database. Cheap to clone; all clones are the same database.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    settings: DatabaseSettings,
    /// Last component of the path, the `db` of log lines.
    name: String,
    local: LocalDir,
    replicas: Vec<Arc<Replica>>,
    shared: Shared,
    signals: Arc<Signals>,
    capture: Mutex<Option<Capture>>,
    /// One at a time learns how far the replicas are, before the database is opened.
    preparing: tokio::sync::Mutex<()>,
    position: watch::Sender<Option<Txid>>,
    /// What the next capture has to be told.
    demanded: Mutex<Option<cycle::Demand>>,
    /// The state of which page checksums were last looked for in the replicas.
    learned: Mutex<Option<Txid>>,
    /// Bytes of the local level-0 files, at most.
    staged: AtomicU64,
    metrics: DatabaseMetrics,
    health: Mutex<Health>,
    progress: Mutex<Progress>,
    /// The life there is, or the last one.
    life: Mutex<Option<Arc<Life>>>,
    /// Whether the system tells of writes; a database that is not open yet counts as watched.
    is_watched: AtomicBool,
    /// The place that was waited for, until the database is opened.
    reserved: Mutex<Option<Place>>,
    /// Set while the database is closed because it rests.
    asleep: Mutex<Option<Asleep>>,
    /// Whether the database may be opened.
    accepts: Mutex<bool>,
}

/// The end of a database's life, as somebody asked for it.
pub(crate) struct End {
    database: Database,
    /// The life, and whether this is the one call that ended it.
    life: Option<(Arc<Life>, bool)>,
}

impl End {
    /// Waits for it; `true` goes to the one call that brought it about, and so does the error.
    pub(crate) async fn wait(self, hurry: &CancellationToken) -> Result<bool> {
        let Some((life, first)) = self.life else {
            return Ok(false);
        };
        let ended = self.database.inner.await_end(&life, hurry, first).await;
        ended.map(|()| first)
    }
}

/// How the database fares.
#[derive(Debug, Default)]
struct Health {
    last_sync: Option<std::time::SystemTime>,
}

/// The outcome of [`Database::sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// Newest captured transaction, `None` when there is nothing yet.
    pub txid: Option<Txid>,
    /// Newest transaction that every replica has, `None` before the first.
    pub replicated: Option<Txid>,
    /// The call captured something.
    pub changed: bool,
}

impl Database {
    pub(crate) fn new(
        settings: DatabaseSettings,
        replicas: Vec<Arc<Replica>>,
        shared: Shared,
    ) -> Result<Self> {
        if replicas.is_empty() {
            return Err(Error::Setting(
                "replica required before opening database".to_owned(),
            ));
        }
        if settings.min_checkpoint_pages == 0 {
            return Err(Error::Setting(
                "minimum checkpoint page count required".to_owned(),
            ));
        }
        let meta = settings
            .meta_path
            .clone()
            .unwrap_or_else(|| default_meta_path(&settings.path));
        let name = settings
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let files = Files::new(Arc::clone(&shared.steps));
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                name,
                local: LocalDir::new(meta, files, shared.pool.clone()),
                replicas,
                shared,
                signals: Arc::default(),
                capture: Mutex::new(None),
                preparing: tokio::sync::Mutex::new(()),
                position: watch::Sender::new(None),
                demanded: Mutex::default(),
                learned: Mutex::default(),
                staged: AtomicU64::new(0),
                metrics: DatabaseMetrics::default(),
                health: Mutex::default(),
                progress: Mutex::default(),
                life: Mutex::new(None),
                is_watched: AtomicBool::new(true),
                reserved: Mutex::new(None),
                asleep: Mutex::new(None),
                accepts: Mutex::new(false),
            }),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.settings.path
    }

    /// The folder of its local state.
    pub fn level_zero_path(&self) -> PathBuf {
        self.inner.local.level_zero()
    }

    /// The settings.
    pub fn settings(&self) -> &DatabaseSettings {
        &self.inner.settings
    }

    /// The replicas, in the order of the configuration.
    pub fn replicas(&self) -> &[Arc<Replica>] {
        &self.inner.replicas
    }

    /// The counters.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics.snapshot()
    }

    /// Whether it is being replicated, or stopped.
    pub fn is_enabled(&self) -> bool {
        self.inner
            .life()
            .as_ref()
            .is_some_and(|life| life.is_wanted())
    }

    /// Whether the background captures by themselves.
    pub fn is_monitored(&self) -> bool {
        !self.inner.settings.monitor_interval.is_zero()
    }

    /// When a replica last had everything there was.
    pub fn last_sync(&self) -> Option<std::time::SystemTime> {
        self.inner.health().last_sync
    }

    /// The error that captures have been ending with, and since when.
    pub fn capture_error(&self) -> Option<(String, Duration)> {
        self.inner.capture_errors()
    }

    /// Newest captured transaction.
    pub fn txid(&self) -> Option<Txid> {
        *self.inner.position.borrow()
    }

    /// Starts replication, once `before`, another database of this path, has ended; `false` when it
    /// runs already. `background` off means that nothing happens until [`Self::sync`].
    pub(crate) fn enable(&self, background: bool, before: Option<&Self>) -> bool {
        let before = before.and_then(|before| before.inner.life().clone());
        self.inner.begin(background, before)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Captures what is committed now.
    ///
    /// # Errors
    /// The database is stopped, or was before this was done.
    pub async fn sync(&self) -> Result<Synced> {
        self.while_enabled(self.try_sync()).await
    }

    async fn try_sync(&self) -> Result<Synced> {
        let before = self.inner.local_newest().await?;
        self.inner.prepare().await;
        self.inner.capture_all().await?;
        let txid = self.txid();
        Ok(Synced {
            txid,
            replicated: self.replicated(),
            changed: txid > before,
        })
    }

    /// Captures what is committed now, and waits until every replica has it.
    ///
    /// # Durability
    /// When this returns, everything committed before the call survives the loss of this machine.
    ///
    /// # Errors
    /// Those of all replicas that failed; the others have everything all the same.
    pub async fn sync_and_wait(&self) -> Result<Synced> {
        self.while_enabled(self.try_sync_and_wait()).await
    }

    async fn try_sync_and_wait(&self) -> Result<Synced> {
        let mut synced = self.try_sync().await?;
        let Some(txid) = synced.txid else {
            return Err(Error::NoPosition);
        };
        let mut target = txid;
        // A replica that is ahead, or holds another history, moves the database on: once each.
        for _ in 0..=self.inner.replicas.len() {
            // All at once, and all of them: one that fails must not keep the others from it.
            let uploads = self
                .inner
                .replicas
                .iter()
                .map(|replica| uploader::upload_up_to(&self.inner, replica, target));
            let results = futures_util::future::join_all(uploads).await;
            Error::all(results.into_iter().filter_map(Result::err).collect())?;
            match self.txid() {
                Some(newer) if newer > target => target = newer,
                _ => break,
            }
        }
        synced.txid = self.txid();
        synced.replicated = self.replicated();
        Ok(synced)
    }

    /// The transaction that every replica has.
    pub fn replicated(&self) -> Option<Txid> {
        self.inner
            .replicas
            .iter()
            .map(|replica| replica.acknowledged())
            .min()
            .flatten()
    }

    /// Writes a snapshot to every replica, also if there is one of this transaction.
    pub async fn snapshot(&self) -> Result<Option<Txid>> {
        let all = async {
            let mut txid = None;
            for replica in &self.inner.replicas {
                txid = Some(snapshot::write(&self.inner, replica).await?);
            }
            Ok(txid)
        };
        self.while_enabled(all).await
    }

    /// Deletes what the retention settings do not keep.
    pub async fn enforce_retention(&self) -> Result<()> {
        for replica in &self.inner.replicas {
            maintain::enforce_snapshot_retention(&self.inner, replica).await?;
        }
        Ok(())
    }

    /// Stops replication: a last capture, a last upload within the deadline of the settings, then
    /// everything is closed. The error tells what did not get to the replica. The stop goes on to its
    /// end when the future is dropped.
    pub async fn disable(&self, hurry: &CancellationToken) -> Result<()> {
        self.request_end_in(hurry).wait(hurry).await.map(drop)
    }

    /// As [`Self::request_end`], for a caller with this `hurry`.
    pub(crate) fn request_end_in(&self, hurry: &CancellationToken) -> End {
        self.inner.hurry_up(hurry);
        self.request_end()
    }

    /// Stops replication; from here on the database counts as stopped.
    pub(crate) fn request_end(&self) -> End {
        End {
            database: self.clone(),
            life: self.inner.request_end(),
        }
    }

    /// Waits until nothing is left of the life that was, without asking for its end.
    pub(crate) async fn ended(&self) {
        let life = self.inner.life().clone();
        if let Some(life) = life {
            life.ended().await;
        }
    }

    /// Looks whether commits wait that nobody was told of. Cheap: reads shared memory. Returns the
    /// monitor interval of a database for which this is the only way to learn of commits.
    pub(crate) fn check(&self) -> Option<Duration> {
        if !self.is_enabled() {
            return None;
        }
        let stirring = self.inner.is_stirring();
        self.inner.observe(stirring);
        if !self.is_monitored() {
            return None;
        }
        let polled = !self.inner.is_watched.load(Ordering::Relaxed);
        let polled = polled.then_some(self.inner.settings.monitor_interval);
        let Ok(capture) = self.inner.capture.try_lock() else {
            return polled;
        };
        let open = capture.is_some();
        let overdue = match (capture.as_ref(), stirring) {
            (Some(capture), _) => {
                capture.has_news().unwrap_or(true) || capture.is_in_the_way().unwrap_or(true)
            }
            (None, Some(stirring)) => stirring,
            (None, None) => {
                self.inner.settings.path.exists() && self.inner.capture_errors().is_none()
            }
        };
        drop(capture);
        if overdue {
            self.inner.signals.raise(OVERDUE);
        } else if open && self.inner.shared.places.are_short() {
            self.inner.signals.raise(REST);
        }
        polled
    }

    /// Does `work` as long as the database is replicated.
    async fn while_enabled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let life = self.inner.life().clone().filter(|life| life.is_wanted());
        let Some(life) = life else {
            return Err(self.inner.not_open());
        };
        life.opened().await;
        tokio::select! {
            biased;
            done = work => done,
            () = life.ended() => Err(self.inner.not_open()),
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.inner.settings.path)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn capture(&self) -> MutexGuard<'_, Option<Capture>> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Option<Arc<Life>>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepts(&self) -> MutexGuard<'_, bool> {
        self.accepts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, Option<Place>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asleep(&self) -> MutexGuard<'_, Option<Asleep>> {
        self.asleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_open(&self) -> Error {
        Error::DatabaseNotOpen {
            path: self.settings.path.clone(),
        }
    }

    /// The kind of a replica in records that scripts know without it: told when there are several.
    fn one_of_several(&self, replica: &Replica) -> Option<&'static str> {
        (self.replicas.len() > 1).then(|| replica.kind())
    }

    fn position(&self) -> Option<Txid> {
        *self.position.borrow()
    }

    /// Newest level-0 file by name, known before the database is opened.
    async fn local_newest(&self) -> Result<Option<Txid>> {
        if let Some(txid) = self.position() {
            return Ok(Some(txid));
        }
        let local = self.local.clone();
        self.shared
            .pool
            .run(move || Ok(local.list()?.last().copied()))
            .await
    }
}
