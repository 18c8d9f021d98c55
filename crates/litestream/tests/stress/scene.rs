//! One run: an engine in this process, applications in others, and the proof of what is restored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    Database, DatabaseSettings, Layout, Replica, ReplicaSettings, RestoreOptions,
    RetentionSettings, Source, Store, StoreSettings, restore,
};
use litestream_storage::{FileModes, FileStore, ObjectStore};
use testkit::hash::{Access, View, content_hash, integrity_check, with_suffix};
use testkit::prefix::Prefix;
use testkit::process::wait_until;
use tokio_util::sync::CancellationToken;

use super::apps::{App, Library, WalSeen};
use super::role::{Outcome, Work};
use super::side;

const LONG: Duration = Duration::from_mins(2);
const SEED: u64 = 11;

/// What is run.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) page_size: u32,
    /// `None`: without the engine, as a control.
    pub(crate) engine: Option<DatabaseSettings>,
    pub(crate) apps: Vec<(Library, Work)>,
    /// So often the replica is restored and proved while all goes on.
    pub(crate) moments: u64,
    /// Between two moments every writer commits so many transactions, and
    pub(crate) commits: u64,
    /// the WAL is started anew so often.
    pub(crate) restarts: u64,
}

/// What came out.
pub(crate) struct Ran {
    pub(crate) outcomes: Vec<(String, Work, Outcome)>,
    pub(crate) wal: WalSeen,
    pub(crate) metrics: Option<litestream::MetricsSnapshot>,
    /// What is wrong with the database of the application itself.
    pub(crate) damage: Option<String>,
}

/// The database and all that belongs to a run.
struct Scene {
    folder: tempfile::TempDir,
    db: PathBuf,
    copy: PathBuf,
    prefix: Prefix,
    apps: Vec<App>,
    wal: WalSeen,
}

/// Engine settings with this pace and these thresholds in pages.
pub(crate) fn engine(monitor_ms: u64, checkpoint: u32, truncate: Option<u32>) -> DatabaseSettings {
    DatabaseSettings {
        monitor_interval: Duration::from_millis(monitor_ms),
        min_checkpoint_pages: checkpoint,
        truncate_pages: truncate,
        ..DatabaseSettings::new("")
    }
}

/// Runs a plan; panics when something that the engine owes is not so.
pub(crate) async fn run(plan: Plan) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("app.db");
    let prefix = Prefix {
        page_size: plan.page_size,
        ..Prefix::new(SEED)
    };
    let setup = prefix.create(&db).unwrap();
    setup.execute_batch(side::SCHEMA).unwrap();
    drop(setup);
    let copy = folder.path().join("replica");
    let started = plan
        .engine
        .clone()
        .map(|settings| start(settings, &db, &copy));
    let apps = plan.apps.iter().cloned().enumerate();
    let apps = apps
        .map(|(number, (library, work))| App::start(folder.path(), &db, number, library, work))
        .collect();
    let mut scene = Scene {
        folder,
        db,
        copy,
        prefix,
        apps,
        wal: WalSeen::default(),
    };
    for moment in 0..plan.moments {
        scene.wait_for_load(&plan);
        if let Some((_, database)) = &started {
            scene.prove_moment(database, moment).await;
        }
    }
    let outcomes: Vec<_> = scene.apps.drain(..).map(App::stop).collect();
    let damage = scene.source_damage(&outcomes);
    let mut metrics = None;
    if let Some((store, database)) = started {
        scene
            .prove_end(&database, &outcomes, damage.as_deref())
            .await;
        metrics = Some(database.metrics());
        assert_eq!(database.capture_error(), None, "{}", plan.name);
        store.close(&CancellationToken::new()).await.unwrap();
    }
    let ran = Ran {
        outcomes,
        wal: scene.wal,
        metrics,
        damage,
    };
    ran.print(plan.name);
    ran
}

fn start(settings: DatabaseSettings, db: &Path, copy: &Path) -> (Arc<Store>, Database) {
    let retention = RetentionSettings {
        levels: vec![Duration::from_millis(500), Duration::from_secs(3)],
        snapshot_interval: Duration::from_secs(4),
        snapshot_retention: Duration::from_secs(8),
        l0_retention: Duration::from_secs(2),
        ..RetentionSettings::default()
    };
    let store = Store::open(StoreSettings {
        retention,
        ..StoreSettings::default()
    })
    .unwrap();
    let pace = ReplicaSettings {
        sync_interval: Duration::from_millis(20),
        ..ReplicaSettings::default()
    };
    let replica = Replica::new(file_store(copy), Layout::Plain, pace);
    let settings = DatabaseSettings {
        path: db.to_owned(),
        ..settings
    };
    store.add(settings, vec![Arc::new(replica)]).unwrap();
    let database = store.find(db).unwrap();
    (store, database)
}

fn file_store(path: &Path) -> Arc<dyn ObjectStore> {
    Arc::new(FileStore::new(path.to_owned(), FileModes::default()))
}

impl Scene {
    fn committed(&self) -> Vec<Option<u64>> {
        let apps = self.apps.iter();
        apps.map(|app| Some(app.progress()?.committed)).collect()
    }

    /// Until every writer has gone on by so much, and the WAL was started anew so often.
    fn wait_for_load(&mut self, plan: &Plan) {
        let (before, restarts) = (self.committed(), self.wal.restarts);
        let path = with_suffix(&self.db, "-wal");
        let what = format!("{}: commits and restarts of the wal", plan.name);
        let waited = wait_until(LONG, &what, || {
            self.wal.look(&path);
            self.apps.iter_mut().for_each(App::expect_alive);
            let gone_on = self.committed().iter().zip(&before).all(|(now, before)| {
                now.zip(*before)
                    .is_none_or(|(now, before)| now >= before + plan.commits)
            });
            gone_on && self.wal.restarts >= restarts + plan.restarts
        });
        if let Err(error) = waited {
            let now = self.committed();
            panic!("{error:#}; commits {before:?} to {now:?}, {:?}", self.wal);
        }
    }

    async fn restored(&self, name: &str) -> PathBuf {
        let output = self.folder.path().join(name);
        let source = Source::new(file_store(&self.copy), Layout::Plain);
        restore(&source, RestoreOptions::new(&output))
            .await
            .unwrap();
        integrity_check(&output, Access::Rest).unwrap();
        output
    }

    /// What is acknowledged now is restored, and nothing that was never begun.
    async fn prove_moment(&self, database: &Database, moment: u64) {
        let committed = self.committed();
        database.sync_and_wait().await.unwrap();
        let output = self.restored(&format!("moment-{moment}.db")).await;
        for (app, committed) in self.apps.iter().zip(committed) {
            let (Some(committed), Some(now)) = (committed, app.progress()) else {
                continue;
            };
            let found = self.state(&output, Access::Rest, &app.role.work).unwrap();
            assert!(
                (committed..=now.begun).contains(&found),
                "{}: {committed} acknowledged, {found} restored, {} begun",
                app.name,
                now.begun
            );
        }
        std::fs::remove_file(output).unwrap();
    }

    /// The transaction of a writer whose state a database is.
    fn state(&self, path: &Path, access: Access, work: &Work) -> Result<u64, String> {
        let text = |error: anyhow::Error| format!("{error:#}");
        match work {
            Work::Prefix { .. } => self.prefix.proves(path, access).map_err(text),
            Work::Side { worker, .. } => {
                let view = View::open(path, access).map_err(text)?;
                side::proves(view.connection(), *worker)
            }
            Work::Checkpoints { .. } | Work::Reads { .. } => Ok(0),
        }
    }

    /// What the application has lost in its own database, by its own library.
    fn source_damage(&self, outcomes: &[(String, Work, Outcome)]) -> Option<String> {
        if let Err(error) = integrity_check(&self.db, Access::Live) {
            return Some(format!("{error:#}"));
        }
        outcomes.iter().find_map(|(name, work, outcome)| {
            match self.state(&self.db, Access::Live, work) {
                Ok(state) if is_writer(work) && state != outcome.done => {
                    Some(format!("{name}: {} committed, {state} found", outcome.done))
                }
                Ok(_) => None,
                Err(text) => Some(text),
            }
        })
    }

    /// Everything that was committed is in the replica; and it equals the source, if the source
    /// has kept what the application committed.
    async fn prove_end(
        &self,
        database: &Database,
        outcomes: &[(String, Work, Outcome)],
        damage: Option<&str>,
    ) {
        database.sync_and_wait().await.unwrap();
        let output = self.restored("end.db").await;
        for (name, work, outcome) in outcomes.iter().filter(|(_, work, _)| is_writer(work)) {
            let found = self.state(&output, Access::Rest, work);
            assert_eq!(
                found,
                Ok(outcome.done),
                "{name}; damage of the source: {damage:?}"
            );
        }
        if damage.is_none() {
            assert_eq!(
                content_hash(&output, Access::Rest).unwrap(),
                content_hash(&self.db, Access::Live).unwrap()
            );
        }
    }
}

fn is_writer(work: &Work) -> bool {
    matches!(work, Work::Prefix { .. } | Work::Side { .. })
}

impl Ran {
    fn print(&self, name: &str) {
        println!(
            "{name}: {} restarts of the wal, largest {} bytes",
            self.wal.restarts, self.wal.largest
        );
        for (name, _, outcome) in &self.outcomes {
            let Outcome {
                done,
                busy,
                incomplete,
                times,
            } = outcome;
            println!("  {name}: {done} done, {busy} busy, {incomplete} incomplete, {times}");
        }
        if let Some(metrics) = &self.metrics {
            println!(
                "  engine: {} captures, {} errors, checkpoints {} passive {} truncate, write lock {:?} in all, {:?} longest, txid {}",
                metrics.sync_count,
                metrics.sync_errors,
                metrics.passive.count,
                metrics.truncate.count,
                metrics.write_lock,
                metrics.write_lock_longest,
                metrics.txid
            );
        }
        if let Some(damage) = &self.damage {
            println!("  the application's own database is damaged: {damage}");
        }
    }
}
