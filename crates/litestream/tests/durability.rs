//! Every durable step of the engine fails once, at every place where it is taken.
//!
//! | what | its steps, in this order |
//! |---|---|
//! | level-0 file | folders created and made durable, temporary file created, written, synced, renamed, folder synced; then the position moves |
//! | checkpoint | only after the level-0 file above; frames behind the pinned reader are never copied |
//! | upload | local file durable, put, the store's success; then the transaction is acknowledged |
//! | file replica | folders, temporary file, written, times, synced, published, folder synced |
//! | snapshot | level-0 files up to it uploaded, put of the whole; then the index notes it |
//! | compaction | merged file put, the store's success; then the index notes it; inputs stay |
//! | local removal | page checksums moved on and synced; then the files that every replica has |
//! | catching up | as a level-0 file, of the pages that differ; their checksums are an aid |
//! | retention | only what other files cover: level 0 by level 1, all levels by a newer snapshot |
//! | restore | temporary file created, written, synced, renamed, folder synced; then success |
//!
//! After every failure: it was reported, what is acknowledged is restored from the replica alone,
//! and the next attempt brings everything there. The same with a crash: everything fails from that
//! step on, and the engine is started anew. Compaction and retention of level 0 run in the
//! background only; their faults are in the unit tests of `database/maintain`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bed.rs"]
mod bed;
#[path = "durability/killed.rs"]
mod killed;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use litestream::{Error, FileStep, FileSteps, Layout, RestoreOptions, Source, Target, restore};
use litestream_storage::{self as storage, ErrorKind, Fault, FileModes, FileStore, ObjectStore};
use testkit::hash::{self, Access};

use bed::{Bed, Engine, commit, temporary_files};

/// Lets one step fail, or all from one on.
#[derive(Debug, Default)]
struct Nth {
    taken: AtomicU64,
    /// The step that fails, from 1; 0 is none.
    number: AtomicU64,
    and_all_later: AtomicBool,
    after: bool,
    fired: AtomicBool,
    /// It was the step of an aid: what it fails is made good for later, and said in the log only.
    was_aid: AtomicBool,
    /// The step that failed.
    last: Mutex<String>,
}

impl Nth {
    fn new(number: u64, after: bool, and_all_later: bool) -> Arc<Self> {
        Arc::new(Self {
            number: number.into(),
            after,
            and_all_later: and_all_later.into(),
            ..Self::default()
        })
    }

    fn take(&self, what: &str, path: &Path) -> io::Result<()> {
        let taken = self.taken.fetch_add(1, Ordering::SeqCst) + 1;
        let number = self.number.load(Ordering::SeqCst);
        let later = self.and_all_later.load(Ordering::SeqCst) && taken > number;
        if number != 0 && (taken == number || later) {
            self.fired.store(true, Ordering::SeqCst);
            *self.last.lock().unwrap() = format!("{what} {}", path.display());
            return Err(io::Error::other(format!(
                "injected: {what} {}",
                path.display()
            )));
        }
        Ok(())
    }

    fn fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }

    fn heal(&self) {
        self.number.store(0, Ordering::SeqCst);
    }
}

impl FileSteps for Nth {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        let taken = self.take(&format!("{step:?}"), path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_aid = ["position", "pages", "pages.tmp", ".app.db-litestream"].contains(&&*name);
        // So is the removal of files that every replica has.
        if taken.is_err() && (is_aid || step == FileStep::Delete) {
            self.was_aid.store(true, Ordering::SeqCst);
        }
        taken
    }
}

impl storage::FileSteps for Nth {
    fn before(&self, step: storage::FileStep, path: &Path) -> io::Result<()> {
        if self.after {
            Ok(())
        } else {
            self.take(&format!("{step}"), path)
        }
    }

    fn after(&self, step: storage::FileStep, path: &Path) -> io::Result<()> {
        if self.after {
            self.take(&format!("{step}, done"), path)
        } else {
            Ok(())
        }
    }
}

/// What the engine is asked for, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// A commit, captured and uploaded; the first is a base image.
    Sync,
    /// So many commits that the WAL is copied and started anew.
    Checkpoint,
    Snapshot,
    Retention,
    /// Nobody looks while rows are committed and the WAL is cut: the pages are compared.
    Lost,
}

const TASKS: [Task; 11] = [
    Task::Sync,
    Task::Sync,
    Task::Checkpoint,
    Task::Snapshot,
    Task::Sync,
    Task::Lost,
    Task::Snapshot,
    Task::Retention,
    Task::Checkpoint,
    Task::Lost,
    Task::Sync,
];

/// A run of all tasks with one fault.
struct Run {
    bed: Bed,
    application: rusqlite::Connection,
    /// Where the engine writes, and the same place without faults.
    written: Arc<dyn ObjectStore>,
    read: Arc<dyn ObjectStore>,
    /// Content after each commit that was followed by a task.
    history: Vec<String>,
    /// The newest of them that is known to be in the replica.
    safe: Option<usize>,
    errors: Vec<String>,
}

impl Run {
    fn new(written: Arc<dyn ObjectStore>, read: Arc<dyn ObjectStore>) -> Self {
        let (mut bed, application) = Bed::new();
        bed.settings.min_checkpoint_pages = 8;
        // Every file goes once the replica has it.
        bed.settings.max_staged_bytes = Some(0);
        Self {
            bed,
            application,
            written,
            read,
            history: Vec::new(),
            safe: None,
            errors: Vec::new(),
        }
    }

    fn start(&self) -> Engine {
        self.bed.start_on(vec![Arc::clone(&self.written)])
    }

    async fn attempt(&mut self, engine: &Engine, task: Task) -> Result<(), Error> {
        match task {
            Task::Sync | Task::Checkpoint | Task::Lost => engine.sync().await.map(drop),
            Task::Snapshot => engine.database.snapshot().await.map(drop),
            // Everything but the newest is old by then.
            Task::Retention => {
                self.bed.clock.by(48 * 3_600_000);
                engine.database.enforce_retention().await
            }
        }
    }

    fn commit(&mut self, task: Task) {
        match task {
            Task::Sync => commit(&self.application, 1),
            Task::Checkpoint => commit(&self.application, 12),
            Task::Lost => {
                commit(&self.application, 2);
                let cut = bed::checkpoint(&self.application, "TRUNCATE");
                assert_eq!(cut, (0, 0, 0));
                commit(&self.application, 1);
            }
            Task::Snapshot | Task::Retention => return,
        }
        self.history
            .push(hash::content_hash(&self.bed.path, Access::Live).unwrap());
    }

    fn prepare(&mut self, engine: Engine, task: Task) -> Engine {
        if task != Task::Lost {
            self.commit(task);
            return engine;
        }
        engine.crash();
        self.commit(task);
        self.start()
    }

    /// What is acknowledged must be in the replica, and what is there must be a committed state not
    /// older than that.
    async fn check(&self, engine: &Engine) {
        let acknowledged = engine.database.replicas()[0].acknowledged();
        if let Some(txid) = acknowledged {
            let restored = self
                .bed
                .restore_store(Arc::clone(&self.read), Target::Txid(txid))
                .await;
            restored.unwrap_or_else(|error| panic!("{txid} is acknowledged: {error}"));
        }
        let latest = self
            .bed
            .restore_store(Arc::clone(&self.read), Target::Latest)
            .await;
        match latest {
            Ok(latest) => {
                let content = hash::content_hash(&latest, Access::Rest).unwrap();
                let state = self.history.iter().rposition(|state| *state == content);
                assert!(
                    state.is_some(),
                    "restored what was never committed: {:?}",
                    self.errors
                );
                assert!(
                    state >= self.safe,
                    "{state:?} < {:?}: {:?}",
                    self.safe,
                    self.errors
                );
            }
            Err(error) => {
                assert_eq!(
                    (self.safe, acknowledged),
                    (None, None),
                    "{error}: {:?}",
                    self.errors
                );
            }
        }
    }

    /// Performs all tasks; one that fails is tried again, and must then succeed.
    async fn all(&mut self) {
        let mut engine = self.start();
        for task in TASKS {
            engine = self.prepare(engine, task);
            if let Err(error) = self.attempt(&engine, task).await {
                self.errors.push(format!("{task:?}: {error}"));
                self.check(&engine).await;
                let again = self.attempt(&engine, task).await;
                again.unwrap_or_else(|error| panic!("{error}, after {:?}", self.errors));
            }
            self.safe = self.history.len().checked_sub(1);
            self.check(&engine).await;
        }
        engine.stop().await;
        self.ends_well().await;
    }

    /// Performs tasks until one fails, which is when the process dies.
    async fn until_crash(&mut self) {
        let mut engine = self.start();
        for task in TASKS {
            engine = self.prepare(engine, task);
            if let Err(error) = self.attempt(&engine, task).await {
                self.errors.push(format!("{task:?}: {error}"));
                self.check(&engine).await;
                break;
            }
            self.safe = self.history.len().checked_sub(1);
        }
        engine.crash();
    }

    /// Starts anew; everything committed must get to the replica.
    async fn recover(&mut self) {
        self.commit(Task::Sync);
        let engine = self.start();
        let synced = engine.sync().await;
        synced.unwrap_or_else(|error| panic!("{error}, after {:?}", self.errors));
        assert_eq!(
            temporary_files(&self.bed.meta()),
            [] as [&Path; 0],
            "{:?}",
            self.errors
        );
        self.safe = self.history.len().checked_sub(1);
        self.check(&engine).await;
        engine.stop().await;
        self.ends_well().await;
    }

    async fn ends_well(&self) {
        assert_eq!(temporary_files(&self.bed.meta()), [] as [&Path; 0]);
        let latest = self
            .bed
            .restore_store(Arc::clone(&self.read), Target::Latest)
            .await
            .unwrap();
        assert_eq!(
            hash::content_hash(&latest, Access::Rest).unwrap(),
            hash::content_hash(&self.bed.path, Access::Live).unwrap(),
        );
    }
}

/// One local step fails, whichever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_step_that_fails_loses_nothing() {
    for number in 1.. {
        let steps = Nth::new(number, false, false);
        let remote = bed::remote();
        let mut run = Run::new(remote.clone(), remote);
        run.bed.steps = steps.clone();
        run.all().await;
        if !steps.fired() {
            assert!(number > 30, "only {number} steps: they are not seen");
            break;
        }
        let was_aid = steps.was_aid.load(Ordering::SeqCst);
        assert!(
            run.errors.len() == 1 || was_aid && run.errors.is_empty(),
            "step {number} failed in silence: {}",
            steps.last.lock().unwrap()
        );
    }
}

/// The process dies at a local step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_a_local_step_loses_nothing() {
    for number in 1.. {
        let steps = Nth::new(number, false, true);
        let remote = bed::remote();
        let mut run = Run::new(remote.clone(), remote);
        run.bed.steps = steps.clone();
        run.until_crash().await;
        let fired = steps.fired();
        steps.heal();
        run.recover().await;
        if !fired {
            break;
        }
    }
}

/// One request fails: before it has an effect, after it has it, or in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_loses_nothing() {
    let faults = [
        Fault::Before(ErrorKind::Io),
        Fault::After(ErrorKind::Io),
        Fault::Break {
            after: 50,
            kind: ErrorKind::Io,
        },
    ];
    for fault in faults {
        for number in 1.. {
            let fired = Arc::new(AtomicBool::new(false));
            let remote = bed::remote();
            let mut run = Run::new(remote.clone(), Arc::new(remote.inner().clone()));
            let seen = Arc::clone(&fired);
            remote.when(move |call| {
                let now = call.number == number;
                seen.fetch_or(now, Ordering::SeqCst);
                now.then_some(fault)
            });
            run.all().await;
            if !fired.load(Ordering::SeqCst) {
                assert!(number > 9, "only {number} requests: they are not seen");
                break;
            }
        }
    }
}

/// The process dies at a request, which had its effect or had not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_a_request_loses_nothing() {
    for fault in [Fault::Before(ErrorKind::Io), Fault::After(ErrorKind::Io)] {
        for number in 1.. {
            let fired = Arc::new(AtomicBool::new(false));
            let remote = bed::remote();
            let mut run = Run::new(remote.clone(), Arc::new(remote.inner().clone()));
            let seen = Arc::clone(&fired);
            remote.when(move |call| {
                seen.fetch_or(call.number == number, Ordering::SeqCst);
                match call.number {
                    now if now == number => Some(fault),
                    now if now > number => Some(Fault::Before(ErrorKind::Io)),
                    _ => None,
                }
            });
            run.until_crash().await;
            remote.heal();
            run.recover().await;
            if !fired.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// One step of the file replica fails, before or after it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_file_replica_that_fails_loses_nothing() {
    for after in [false, true] {
        for number in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("replica");
            let steps = Nth::new(number, after, false);
            let written = FileStore::with_steps(root.clone(), FileModes::default(), steps.clone());
            let read = FileStore::new(root, FileModes::default());
            let mut run = Run::new(Arc::new(written), Arc::new(read));
            run.all().await;
            if !steps.fired() {
                assert!(number > 30, "only {number} steps: they are not seen");
                break;
            }
        }
    }
}

/// The process dies at a step of the file replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_a_step_of_the_file_replica_loses_nothing() {
    for number in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("replica");
        let steps = Nth::new(number, false, true);
        let written = FileStore::with_steps(root.clone(), FileModes::default(), steps.clone());
        let read = FileStore::new(root, FileModes::default());
        let mut run = Run::new(Arc::new(written), Arc::new(read));
        run.until_crash().await;
        let fired = steps.fired();
        steps.heal();
        run.recover().await;
        if !fired {
            break;
        }
    }
}

/// One local step of a restore fails: no output, no temporary file, and the next restore succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_a_restore_that_fails_leaves_nothing() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    for _ in 0..3 {
        commit(&application, 3);
        bed.sync(&engine).await;
    }
    let folder = bed.directory.path().join("restores/deep");
    let output = folder.join("out.db");
    let source = Source::new(bed.remote.clone(), Layout::Plain);
    for number in 1.. {
        let steps = Nth::new(number, false, false);
        let mut options = RestoreOptions::new(&output);
        options.steps = steps.clone();
        let result = restore(&source, options).await;
        assert_eq!(result.is_err(), steps.fired(), "{result:?}");
        if result.is_ok() {
            assert!(number > 4, "only {number} steps: they are not seen");
            break;
        }
        let left = testkit::program::replica_files(&folder);
        assert_eq!(left, [] as [&Path; 0], "step {number}: {result:?}");
    }
    assert_eq!(
        hash::content_hash(&output, Access::Rest).unwrap(),
        hash::content_hash(&bed.path, Access::Live).unwrap(),
    );
}
