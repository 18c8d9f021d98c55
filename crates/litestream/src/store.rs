//! Many databases in one process: start, look-up, watchdog, stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::database::{Database, Shared};
use crate::error::{Error, Result};
use crate::files::{AllSteps, FileSteps};
use crate::heartbeat::{self, HeartbeatSettings};
use crate::pool::Pool;
use crate::replica::Replica;
use crate::settings::{DatabaseSettings, RetentionSettings};
use crate::status::{DatabaseStatus, StatusSettings};
use crate::watcher::Watcher;

/// Captures that may run at the same time.
const CAPTURE_THREADS: usize = 4;
/// Compactions that may run at the same time.
const SLOW_THREADS: usize = 2;
/// Snapshots that may be read at the same time.
const SNAPSHOT_THREADS: usize = 2;
/// Databases closed at the same time.
const CLOSE_AT_ONCE: usize = 64;
/// The watchdog looks at every database so often: shared memory only, no system call.
const WATCHDOG: Duration = Duration::from_secs(1);

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Levels, snapshots and retention of all databases.
    pub retention: RetentionSettings,
    /// Whether databases are captured, uploaded and compacted in the background. Without it only
    /// what is asked for is done.
    pub background: bool,
    /// From when on a lag or an error changes a replica's state.
    pub status: StatusSettings,
    /// Who is told, at intervals, that all is well.
    pub heartbeat: Option<HeartbeatSettings>,
    /// The clock that is written into files.
    pub clock: Arc<dyn Clock>,
    /// The local durability points, for tests.
    pub steps: Arc<dyn FileSteps>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            retention: RetentionSettings::default(),
            background: true,
            status: StatusSettings::default(),
            heartbeat: None,
            clock: Arc::new(SystemClock),
            steps: Arc::new(AllSteps),
        }
    }
}

/// See the module. Must be used on a tokio runtime; dropping it without [`Store::close`] gives up
/// what is not uploaded.
#[derive(Debug)]
pub struct Store {
    databases: Mutex<BTreeMap<PathBuf, Database>>,
    shared: Shared,
    background: bool,
    /// The watchdog, and the heartbeat.
    monitors: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Store {
    /// A store without databases.
    pub fn open(settings: StoreSettings) -> Result<Arc<Self>> {
        check_levels(&settings.retention)?;
        let store = Arc::new(Self {
            databases: Mutex::default(),
            shared: Shared {
                clock: settings.clock,
                steps: settings.steps,
                pool: Pool::new(CAPTURE_THREADS),
                slow_pool: Pool::new(SLOW_THREADS),
                snapshot_pool: Pool::new(SNAPSHOT_THREADS),
                watcher: settings.background.then(Watcher::start).flatten(),
                looking: Arc::default(),
                retention: Arc::new(settings.retention),
                status: settings.status,
            },
            background: settings.background,
            monitors: Mutex::default(),
        });
        if store.background {
            let watchdog = tokio::spawn(watch(Arc::downgrade(&store)));
            store.monitors().push(watchdog);
            if let Some(heartbeat) = settings.heartbeat {
                tracing::info!(system = "store", interval = ?heartbeat.interval, "starting heartbeat monitor");
                let weak = Arc::downgrade(&store);
                let status = move || weak.upgrade().map(|store| store.status());
                store
                    .monitors()
                    .push(tokio::spawn(heartbeat::run(status, heartbeat)));
            }
        }
        Ok(store)
    }

    /// How all databases fare, by path. Costs no request and waits for nothing.
    pub fn status(&self) -> Vec<DatabaseStatus> {
        self.list().iter().map(Database::status).collect()
    }

    /// Adds a database and starts replicating it. One that is there already stays as it is, and
    /// `false` is returned.
    pub fn add(&self, settings: DatabaseSettings, replicas: Vec<Arc<Replica>>) -> Result<bool> {
        let path = settings.path.clone();
        let database = Database::new(settings, replicas, self.shared.clone())?;
        {
            let mut databases = self.databases();
            if databases.contains_key(&path) {
                return Ok(false);
            }
            databases.insert(path, database.clone());
        }
        database.enable(self.background);
        Ok(true)
    }

    /// Stops replicating a database and forgets it; its replicas stay as they are.
    pub async fn remove(&self, path: &Path) -> Result<Option<Database>> {
        let Some(database) = self.databases().remove(path) else {
            return Ok(None);
        };
        database.disable(&CancellationToken::new()).await?;
        Ok(Some(database))
    }

    /// Starts a database that was stopped; `false` when it runs already.
    pub fn enable(&self, path: &Path) -> Result<bool> {
        let database = self.find(path)?;
        let stopped = !database.is_enabled();
        database.enable(self.background);
        Ok(stopped)
    }

    /// Stops a database and keeps it in the list; `false` when it is stopped already.
    pub async fn disable(&self, path: &Path) -> Result<bool> {
        let database = self.find(path)?;
        let running = database.is_enabled();
        database.disable(&CancellationToken::new()).await?;
        Ok(running)
    }

    /// The database of this path.
    pub fn find(&self, path: &Path) -> Result<Database> {
        let found = self.databases().get(path).cloned();
        found.ok_or_else(|| Error::DatabaseNotFound {
            path: path.to_owned(),
        })
    }

    /// All databases, by path.
    pub fn list(&self) -> Vec<Database> {
        self.databases().values().cloned().collect()
    }

    /// Stops the background first, then all databases at the same time: a last capture and a last
    /// upload each, within its deadline. `hurry` gives up what is not uploaded yet.
    ///
    /// # Errors
    /// The first database whose tail is not in its replica; all others are closed all the same.
    pub async fn close(&self, hurry: &CancellationToken) -> Result<()> {
        for monitor in self.monitors().drain(..) {
            monitor.abort();
        }
        let databases = std::mem::take(&mut *self.databases());
        let mut closing = stream::iter(databases.into_values())
            .map(|database| async move {
                let closed = database.disable(hurry).await;
                closed.map_err(|error| {
                    let path = database.path().display();
                    tracing::error!(%error, %path, "failed to close database");
                    error.context(format!("close {path}"))
                })
            })
            .buffer_unordered(CLOSE_AT_ONCE);
        let mut result = Ok(());
        while let Some(closed) = closing.next().await {
            if let Err(error) = closed {
                result = result.and(Err(error));
            }
        }
        result
    }

    fn monitors(&self) -> MutexGuard<'_, Vec<tokio::task::JoinHandle<()>>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn databases(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Database>> {
        self.databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watchdog, until the store is dropped.
async fn watch(store: Weak<Store>) {
    let mut tick = tokio::time::interval(WATCHDOG);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(store) = store.upgrade() else { return };
        for database in store.databases().values() {
            database.check();
        }
    }
}

fn check_levels(retention: &RetentionSettings) -> Result<()> {
    if retention.levels.len() > 8 {
        return Err(Error::Setting(
            "compaction level cannot exceed 8".to_owned(),
        ));
    }
    if retention.levels.iter().any(Duration::is_zero) {
        return Err(Error::Setting(
            "compaction interval must be greater than 0".to_owned(),
        ));
    }
    Ok(())
}
