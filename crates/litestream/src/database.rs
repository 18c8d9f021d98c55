//! One managed database: capture on one side, its replicas on the other.
//!
//! A database owns one task that captures and one per replica that uploads. All of them wait
//! without a timer while nothing happens; an idle database costs no wake-up and no request.

mod behind;
mod cycle;
mod driver;
mod learn;
mod lookout;
mod maintain;
mod mark;
mod observe;
mod snapshot;
mod staging;
mod uploader;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ltx::Txid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::capture::Capture;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files::{FileSteps, Files};
use crate::local::{LocalDir, default_meta_path};
use crate::metrics::{DatabaseMetrics, MetricsSnapshot};
use crate::pool::Pool;
use crate::replica::Replica;
use crate::settings::{DatabaseSettings, RetentionSettings};
use crate::status::StatusSettings;
use crate::watcher::{LOOK_NOW, OVERDUE, Signals, Watcher};

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
    running: Mutex<Option<Running>>,
}

/// What an enabled database has going.
struct Running {
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
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
                local: LocalDir::new(meta, files),
                replicas,
                shared,
                signals: Arc::default(),
                capture: Mutex::new(None),
                position: watch::Sender::new(None),
                demanded: Mutex::default(),
                learned: Mutex::default(),
                staged: AtomicU64::new(0),
                metrics: DatabaseMetrics::default(),
                health: Mutex::default(),
                progress: Mutex::default(),
                running: Mutex::new(None),
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
        self.inner.running().is_some()
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
        let (_, error, lasts) = self.inner.capture_errors()?;
        Some((error, lasts))
    }

    /// Newest captured transaction.
    pub fn txid(&self) -> Option<Txid> {
        *self.inner.position.borrow()
    }

    /// Starts replication. `background` off means that nothing happens until [`Self::sync`].
    pub(crate) fn enable(&self, background: bool) {
        let mut running = self.inner.running();
        if running.is_some() {
            return;
        }
        for replica in &self.inner.replicas {
            replica.reset();
        }
        *self.inner.progress() = Progress::default();
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        if background {
            tasks.push(tokio::spawn(driver::drive(
                Arc::clone(&self.inner),
                stop.clone(),
            )));
            for replica in &self.inner.replicas {
                let (inner, replica) = (Arc::clone(&self.inner), Arc::clone(replica));
                tasks.push(tokio::spawn(uploader::upload_loop(
                    inner,
                    replica,
                    stop.clone(),
                )));
            }
        }
        *running = Some(Running { stop, tasks });
        self.inner.signals.raise(LOOK_NOW);
    }

    /// Captures what is committed now.
    pub async fn sync(&self) -> Result<Synced> {
        self.ensure_enabled()?;
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
        let mut synced = self.sync().await?;
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
        self.ensure_enabled()?;
        let mut txid = None;
        for replica in &self.inner.replicas {
            txid = Some(snapshot::write(&self.inner, replica).await?);
        }
        Ok(txid)
    }

    /// Deletes what the retention settings do not keep.
    pub async fn enforce_retention(&self) -> Result<()> {
        for replica in &self.inner.replicas {
            maintain::enforce_snapshot_retention(&self.inner, replica).await?;
        }
        Ok(())
    }

    /// Stops replication: a last capture, a last upload within the deadline of the settings, then
    /// everything is closed. The error tells what did not get to the replica.
    pub async fn disable(&self, hurry: &CancellationToken) -> Result<()> {
        let Some(running) = self.inner.running().take() else {
            return Ok(());
        };
        running.stop.cancel();
        for task in running.tasks {
            // A task that panicked has said so; the last upload is tried all the same.
            let _ended = task.await;
        }
        let last = uploader::last_sync(&self.inner, hurry).await;
        let inner = Arc::clone(&self.inner);
        let closed = self.inner.shared.pool.run(move || {
            if let Some(capture) = inner.capture().take() {
                capture.write_record();
            }
            Ok(())
        });
        closed.await?;
        self.inner.disabled();
        last
    }

    /// Looks whether commits wait that nobody was told of. Cheap: reads shared memory.
    pub(crate) fn check(&self) {
        if !self.is_enabled() {
            return;
        }
        self.inner.observe();
        if !self.is_monitored() {
            return;
        }
        let Ok(capture) = self.inner.capture.try_lock() else {
            return;
        };
        let overdue = match capture.as_ref() {
            Some(capture) => {
                capture.has_news().unwrap_or(true) || capture.is_in_the_way().unwrap_or(true)
            }
            None => self.inner.settings.path.exists() && self.inner.capture_errors().is_none(),
        };
        drop(capture);
        if overdue {
            self.inner.signals.raise(OVERDUE);
        }
    }

    fn ensure_enabled(&self) -> Result<()> {
        if self.is_enabled() {
            return Ok(());
        }
        Err(Error::DatabaseNotOpen {
            path: self.inner.settings.path.clone(),
        })
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

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
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
