//! Many databases in one process: start, look-up, watchdog, stop.

mod registry;
mod watchdog;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use self::registry::Registry;

use crate::clock::{Clock, SystemClock};
use crate::database::{Database, Places, Shared, Synced};
use crate::error::{Error, Result};
use crate::files::{AllSteps, FileSteps};
use crate::gate::Gate;
use crate::heartbeat::{self, HeartbeatSettings};
use crate::pool::{Pool, Pools};
use crate::replica::Replica;
use crate::settings::{DatabaseSettings, RetentionSettings};
use crate::status::{DatabaseStatus, StatusSettings};
use crate::watcher::Watcher;

/// Captures that may run at the same time, on one mount.
const CAPTURE_THREADS: usize = 4;
/// Compactions that may run at the same time.
const SLOW_THREADS: usize = 2;
/// Snapshots that may be read at the same time.
const SNAPSHOT_THREADS: usize = 2;
/// Databases that list their replicas and are opened at the same time.
const START_AT_ONCE: usize = 32;
/// Databases that bring their last commits to their replicas at the same time.
const CLOSE_AT_ONCE: usize = 64;
/// Compactions, snapshots and deletions under way at the same time; of them, so many compute.
const CHORES_AT_ONCE: usize = 4;
/// Who takes longer waits for a slow store, and is not counted any more.
const CHORE_PATIENCE: Duration = Duration::from_secs(10);
/// Who starts or stops for longer does not keep others waiting any more.
const PATIENCE: Duration = Duration::from_millis(250);

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
    /// Descriptors that databases may take. When they get short, databases that rest are closed and
    /// woken by the next write; `None` means that there are always enough.
    pub descriptors: Option<usize>,
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
            descriptors: None,
            clock: Arc::new(SystemClock),
            steps: Arc::new(AllSteps),
        }
    }
}

/// See the module. Must be used on a tokio runtime; dropping it without [`Store::close`] gives up
/// what is not uploaded.
///
/// All calls may be made by any number of tasks at the same time, and behave as if made one after
/// the other. A future of theirs that is dropped has been waiting for something that goes on all
/// the same.
#[derive(Debug)]
pub struct Store {
    registry: Arc<Registry>,
    shared: Shared,
    pools: Pools,
    background: bool,
    /// The watchdog, and the heartbeat.
    monitors: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Store {
    /// A store without databases.
    pub fn open(settings: StoreSettings) -> Result<Arc<Self>> {
        check_levels(&settings.retention)?;
        let store = Arc::new(Self {
            registry: Arc::default(),
            shared: Shared {
                clock: settings.clock,
                steps: settings.steps,
                pool: Pool::new(CAPTURE_THREADS),
                slow_pool: Pool::new(SLOW_THREADS),
                snapshot_pool: Pool::new(SNAPSHOT_THREADS),
                chores: Gate::new(CHORES_AT_ONCE, CHORE_PATIENCE),
                catching_up: Gate::new(CHORES_AT_ONCE, CHORE_PATIENCE),
                places: Places::for_descriptors(settings.descriptors),
                starting: Gate::new(START_AT_ONCE, PATIENCE),
                closing: Gate::new(CLOSE_AT_ONCE, PATIENCE),
                watcher: settings.background.then(Watcher::start).flatten(),
                looking: Arc::default(),
                retention: Arc::new(settings.retention),
                status: settings.status,
            },
            pools: Pools::new(CAPTURE_THREADS),
            background: settings.background,
            monitors: Mutex::default(),
        });
        if store.background {
            let watchdog = watchdog::start(&store);
            store.monitors().push(watchdog);
            if let Some(heartbeat) = settings.heartbeat {
                tracing::info!(system = "store", interval = ?heartbeat::CHECK, "starting heartbeat monitor");
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
    ///
    /// # Errors
    /// The settings cannot be, or the store is being closed.
    pub fn add(&self, settings: DatabaseSettings, replicas: Vec<Arc<Replica>>) -> Result<bool> {
        let mut shared = self.shared.clone();
        shared.pool = self.pools.of(&settings.path);
        let database = Database::new(settings, replicas, shared)?;
        self.registry.add(database, |database, leaving| {
            database.enable(self.background, leaving);
        })
    }

    /// Stops replicating a database and forgets it; its replicas stay as they are. `None` when there
    /// is none (any more): one that is on its way out is waited for.
    ///
    /// # Errors
    /// The last commits are not in the replicas. The database is closed and forgotten all the same.
    pub async fn remove(&self, path: &Path) -> Result<Option<Database>> {
        let Some(database) = self.registry.remove(path) else {
            if let Some(leaving) = self.registry.leaving(path) {
                leaving.ended().await;
            }
            return Ok(None);
        };
        let end = database.request_end();
        let (registry, leaving) = (Arc::clone(&self.registry), database.clone());
        tokio::spawn(async move {
            leaving.ended().await;
            registry.left(&leaving);
        });
        end.wait(&CancellationToken::new()).await?;
        Ok(Some(database))
    }

    /// Starts a database that was stopped; `false` when it runs already.
    ///
    /// # Errors
    /// There is none of this path, or the store is being closed.
    pub fn enable(&self, path: &Path) -> Result<bool> {
        self.registry
            .with(path, |database| database.enable(self.background, None))
    }

    /// Stops a database and keeps it in the list; `false` when it was stopped already. Returns when
    /// everything of it is closed.
    ///
    /// # Errors
    /// There is none of this path, or the last commits are not in the replicas. The database is
    /// stopped in the latter case too.
    pub async fn disable(&self, path: &Path) -> Result<bool> {
        let end = self.registry.with(path, Database::request_end)?;
        end.wait(&CancellationToken::new()).await
    }

    /// Captures what is committed in a database now; with `wait` until every replica has it.
    ///
    /// # Errors
    /// There is none of this path, it is stopped, or it was before this was done.
    pub async fn sync(&self, path: &Path, wait: bool) -> Result<Synced> {
        loop {
            let database = self.find(path)?;
            let synced = if wait {
                database.sync_and_wait().await
            } else {
                database.sync().await
            };
            match synced {
                // Another one of this path has taken its place meanwhile.
                Err(Error::DatabaseNotOpen { .. }) if !self.find(path)?.is_same(&database) => {}
                synced => return synced,
            }
        }
    }

    /// The database of this path.
    pub fn find(&self, path: &Path) -> Result<Database> {
        self.registry.find(path)
    }

    /// All databases, in the order in which they were added.
    pub fn list(&self) -> Vec<Database> {
        self.registry.list()
    }

    /// Stops the background first, then all databases at the same time: a last capture and a last
    /// upload each, within its deadline. `hurry` gives up what is not uploaded yet. Nothing can be
    /// added any more.
    ///
    /// # Errors
    /// The first database whose tail is not in its replica; all others are closed all the same.
    pub async fn close(&self, hurry: &CancellationToken) -> Result<()> {
        for monitor in self.monitors().drain(..) {
            monitor.abort();
        }
        let (databases, leaving) = self.registry.close();
        // All are asked before any is waited for: one that takes long holds up no other.
        let ends: Vec<_> = databases
            .iter()
            .map(|database| (database, database.request_end_in(hurry)))
            .collect();
        let closing = ends.into_iter().map(|(database, end)| async move {
            let closed = end.wait(hurry).await;
            closed.map_err(|error| {
                let path = database.path().display();
                tracing::error!(%error, %path, "failed to close database");
                error.context(format!("close {path}"))
            })
        });
        // Those that were stopped before report to whom stopped them.
        let left = join_all(leaving.iter().map(|database| async move {
            let _reported = database.request_end().wait(hurry).await;
        }));
        let (closed, _) = tokio::join!(join_all(closing), left);
        closed
            .into_iter()
            .find(Result::is_err)
            .map_or(Ok(()), |error| error.map(drop))
    }

    fn monitors(&self) -> MutexGuard<'_, Vec<tokio::task::JoinHandle<()>>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
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
