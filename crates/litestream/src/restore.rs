//! Restores a database from a replica: plan, fetch, apply, verify.
//!
//! The files of the plan are applied newest first: a page is written once, by the newest file that
//! has it, and every file is read to its end and verified. Memory is bounded by the settings and one
//! bit per page. The output gets its name only after everything was verified and is durable; on any
//! error nothing is left behind.

mod apply;
pub(crate) mod fetch;
pub(crate) mod image;
mod integrity;
mod plan;
mod ranges;
mod times;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use litestream_storage::{Key, ObjectStore};
use ltx::{Level, Timestamp, Txid};
use tokio_util::sync::CancellationToken;

pub use self::integrity::IntegrityCheck;
pub use self::plan::{RestorePlan, Target, plan};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{AllSteps, FileSteps, Files, Ownership, parent_of};
use crate::replica::{Layout, RemoteFile, RemoteIndex};
use crate::settings::defaults;

/// Plans made anew after a file of the plan has vanished.
const MOST_PLANS: usize = 4;

/// How to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The file to create.
    pub output: PathBuf,
    /// Replace an output that is there, and remove what SQLite left beside it, once the new one is
    /// complete and verified. Without it an output that is there is an error.
    pub replace: bool,
    /// Which state.
    pub target: Target,
    /// Files fetched at the same time.
    pub parallelism: usize,
    /// SQLite's check of the result.
    pub integrity_check: IntegrityCheck,
    /// Mode and owner of parent folders that have to be created.
    pub ownership: Ownership,
    /// The durability points, for tests.
    pub steps: Arc<dyn FileSteps>,
}

impl RestoreOptions {
    /// The latest state into `output`.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            output: output.into(),
            replace: false,
            target: Target::Latest,
            parallelism: defaults::RESTORE_PARALLELISM,
            integrity_check: IntegrityCheck::None,
            ownership: Ownership::default(),
            steps: Arc::new(AllSteps),
        }
    }
}

/// A replica to read from.
#[derive(Debug, Clone)]
pub struct Source {
    store: Arc<dyn ObjectStore>,
    layout: Layout,
}

impl Source {
    /// The replica in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// The store's type word.
    pub fn kind(&self) -> &'static str {
        self.store.kind()
    }

    /// Lists the replica; with `timestamps` the creation times are exact.
    pub async fn list(&self, timestamps: bool) -> Result<RemoteIndex> {
        RemoteIndex::load(&*self.store, self.layout, timestamps).await
    }

    /// Files of one level in the order of their names.
    pub async fn list_level(&self, level: Level) -> Result<Vec<RemoteFile>> {
        self.list_from(level, None, false).await
    }

    /// As [`Source::list_level`]; with `timestamps` the creation times are exact.
    ///
    /// # Cost
    /// One listing; with `timestamps`, on stores that do not list them, one request per file more.
    pub async fn list_level_with(&self, level: Level, timestamps: bool) -> Result<Vec<RemoteFile>> {
        self.list_from(level, None, timestamps).await
    }

    /// As [`Source::list_level_with`], only the files that begin at `first` or behind.
    pub(crate) async fn list_from(
        &self,
        level: Level,
        first: Option<Txid>,
        timestamps: bool,
    ) -> Result<Vec<RemoteFile>> {
        use futures_util::TryStreamExt;
        let prefix = self.layout.level_prefix(level);
        // A bare number sorts before every name that begins with it.
        let options = litestream_storage::ListOptions {
            start_after: first.map(|txid| Key::new(format!("{prefix}{txid}"))),
            timestamps,
        };
        let mut listing = self.store.list(prefix, options);
        let mut files = Vec::new();
        while let Some(meta) = listing.try_next().await? {
            files.extend(self.layout.parse(&meta));
        }
        Ok(files)
    }

    /// The creation times of the oldest and the newest file, `None` when there is no file.
    pub async fn time_bounds(&self) -> Result<Option<(Timestamp, Timestamp)>> {
        let index = self.list(false).await?;
        let oldest = index.files().map(|file| file.created).min();
        let newest = index.files().map(|file| file.created).max();
        Ok(oldest.zip(newest))
    }

    /// Plans a restore with one listing.
    pub async fn plan(&self, target: Target) -> Result<RestorePlan> {
        let index = match target {
            Target::Before(time) => times::list_around(&*self.store, self.layout, time).await?,
            Target::Latest | Target::Txid(_) => self.list(false).await?,
        };
        plan(&index, target).map_err(|error| Error::Plan(Box::new(error)))
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The state that was restored.
    pub txid: Txid,
    /// Size of the database in bytes.
    pub size: u64,
    /// Files that were read.
    pub files: usize,
}

/// Restores a database; see the module.
///
/// # Errors
/// The output is there already; the target is not available; the replica has a hole; a file is
/// damaged; the store or the disk fails; the integrity check fails. No output is left then.
///
/// # Durability
/// When this returns, content and name of the output are durable.
pub async fn restore(source: &Source, options: RestoreOptions) -> Result<Restored> {
    let plan = source.plan(options.target).await?;
    restore_plan(source, &plan, options).await
}

/// As [`restore`], with a plan that was made before.
///
/// Retention may delete a file of the plan before it is fetched. Then the same state is planned
/// anew from the files that took its place; when that state is gone, and the newest was asked for,
/// the newest.
pub async fn restore_plan(
    source: &Source,
    plan: &RestorePlan,
    options: RestoreOptions,
) -> Result<Restored> {
    let mut plan = plan.clone();
    for _ in 0..MOST_PLANS {
        let error = match restore_finished(source, &plan, options.clone(), None).await {
            Err(error @ Error::Storage(_)) if error.kind() == ErrorKind::NotFound => error,
            result => return result,
        };
        let again = match source.plan(Target::Txid(plan.txid())).await {
            Err(_) if options.target == Target::Latest => source.plan(Target::Latest).await,
            again => again,
        };
        match again {
            // What is still listed and cannot be found is lost.
            Ok(again) if again != plan => plan = again,
            _ => return Err(error),
        }
        tracing::debug!(%error, txid = %plan.txid(), "a file of the restore plan has vanished, planning anew");
    }
    restore_finished(source, &plan, options, None).await
}

/// Restores with this plan; `finish` sees the complete image before it gets its name.
pub(crate) async fn restore_finished(
    source: &Source,
    plan: &RestorePlan,
    options: RestoreOptions,
    finish: Option<apply::Finish>,
) -> Result<Restored> {
    if !options.replace {
        let present = std::iter::once(options.output.clone()).chain(sidecars(&options.output));
        for path in present {
            if path
                .try_exists()
                .map_err(|error| Error::io("stat", &path, error))?
            {
                return Err(Error::OutputExists { path });
            }
        }
    }
    plan.check_sizes()?;
    let files = Files::new(Arc::clone(&options.steps));
    files.create_directory(parent_of(&options.output), &options.ownership)?;
    let fetched = fetch::start(
        source,
        plan.files(),
        options.parallelism,
        CancellationToken::new(),
    );
    let output = options.output.clone();
    let (txid, count) = (plan.txid(), plan.files().len());
    let size = blocking("restore", move || {
        apply::apply(fetched, &files, &options, finish)
    })
    .await?;
    tracing::debug!(output = %output.display(), %txid, size, "restored");
    Ok(Restored {
        txid,
        size,
        files: count,
    })
}

/// Runs work that blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static, E: From<Error> + Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Closing { what }.into()),
        },
    }
}

/// The files beside a database that SQLite may create.
pub fn sidecars(database: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| crate::capture::with_suffix(database, suffix))
}
