//! The file backend with each of its steps broken in turn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use litestream_storage::{
    Body, ByteRange, Condition, ErrorKind, FileModes, FileStep, FileSteps, FileStore, Key,
    ListOptions, ObjectStore, PutOptions,
};
use tempfile::TempDir;

/// Records the steps, and breaks the chosen one once.
#[derive(Debug, Default)]
struct Script {
    taken: Mutex<Vec<(FileStep, PathBuf)>>,
    broken: Mutex<Option<Broken>>,
}

#[derive(Debug, Clone, Copy)]
struct Broken {
    step: FileStep,
    /// Take the step and then fail.
    after: bool,
    /// How many such steps succeed before.
    skip: usize,
    error: i32,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
#[cfg(target_os = "linux")]
const EDQUOT: i32 = 122;

impl Script {
    fn fail(&self, step: FileStep, after: bool) -> io::Result<()> {
        let mut broken = self.broken.lock().expect("no panics while locked");
        match broken.as_mut() {
            Some(plan) if plan.step == step && plan.after == after => {
                if plan.skip > 0 {
                    plan.skip -= 1;
                    return Ok(());
                }
                let error = plan.error;
                *broken = None;
                Err(io::Error::from_raw_os_error(error))
            }
            _ => Ok(()),
        }
    }

    fn steps(&self) -> Vec<FileStep> {
        let taken = std::mem::take(&mut *self.taken.lock().expect("no panics while locked"));
        taken.into_iter().map(|(step, _)| step).collect()
    }

    fn plan(&self, broken: Broken) {
        *self.broken.lock().expect("no panics while locked") = Some(broken);
    }

    fn is_pending(&self) -> bool {
        self.broken
            .lock()
            .expect("no panics while locked")
            .is_some()
    }
}

impl FileSteps for Script {
    fn before(&self, step: FileStep, path: &Path) -> io::Result<()> {
        self.fail(step, false)?;
        self.taken
            .lock()
            .expect("no panics while locked")
            .push((step, path.to_owned()));
        Ok(())
    }

    fn after(&self, step: FileStep, _path: &Path) -> io::Result<()> {
        self.fail(step, true)
    }
}

struct Bench {
    _dir: TempDir,
    base: PathBuf,
    script: Arc<Script>,
    store: FileStore,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let base = dir.path().to_owned();
        let script = Arc::new(Script::default());
        let store = FileStore::with_steps(
            base.join("root"),
            FileModes::default(),
            Arc::clone(&script) as Arc<dyn FileSteps>,
        );
        Self {
            _dir: dir,
            base,
            script,
            store,
        }
    }

    async fn read(&self, key: &Key) -> Option<Bytes> {
        let object = self.store.get(key.clone(), ByteRange::ALL).await.ok()?;
        Some(object.into_bytes().await.expect("readable"))
    }

    /// Every file below the root, with its ending.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.base.join("root")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(
                        path.file_name()
                            .expect("named")
                            .to_string_lossy()
                            .into_owned(),
                    );
                }
            }
        }
        found.sort();
        found
    }
}

/// More than one chunk.
const SIZE: usize = 1_200_000;

/// The three kinds of body.
fn body(bench: &Bench, number: usize) -> Body {
    let content = vec![2; SIZE];
    match number {
        0 => Body::from(content),
        1 => {
            let path = bench.base.join("source");
            std::fs::write(&path, &content).expect("writable");
            Body::File {
                path,
                size: SIZE as u64,
            }
        }
        _ => {
            let chunks: Vec<_> = content
                .chunks(100_000)
                .map(Bytes::copy_from_slice)
                .map(Ok)
                .collect();
            Body::Stream(stream::iter(chunks).boxed())
        }
    }
}

fn options() -> PutOptions {
    PutOptions {
        timestamp: Some(1_763_785_727_801),
        ..PutOptions::default()
    }
}

#[tokio::test]
async fn steps_are_taken_in_the_durable_order() {
    use FileStep::{
        CreateDir, CreateTemp, Publish, SetTimes, SyncDir, SyncFile, SyncParent, Write,
    };
    let bench = Bench::new();
    let key = Key::from("ltx/object");
    bench
        .store
        .put(key.clone(), vec![1].into(), options())
        .await
        .expect("stored");
    let file = [CreateTemp, Write, SetTimes, SyncFile, Publish, SyncDir];
    let dirs = [CreateDir, CreateDir];
    let entries = [SyncParent, SyncParent];
    let first = [&dirs[..], &file[..], &entries[..]].concat();
    assert_eq!(bench.script.steps(), first);

    // Known directories are not synced again.
    bench
        .store
        .put(key.clone(), vec![2].into(), options())
        .await
        .expect("stored");
    assert_eq!(bench.script.steps(), file);

    // A new process cannot know whether the old one synced them.
    let steps = Arc::clone(&bench.script) as Arc<dyn FileSteps>;
    let store = FileStore::with_steps(bench.base.join("root"), FileModes::default(), steps);
    store
        .put(key.clone(), vec![3].into(), options())
        .await
        .expect("stored");
    assert_eq!(bench.script.steps(), [&file[..], &entries[..]].concat());

    // Directories that somebody removed are made again.
    std::fs::remove_dir_all(bench.base.join("root")).expect("removable");
    store
        .put(key.clone(), vec![4].into(), options())
        .await
        .expect("stored");
    let again = bench.script.steps();
    assert!(again.ends_with(&first), "{again:?}");
}

#[tokio::test]
async fn every_broken_step_of_a_put_is_an_error_and_leaves_whole_objects() {
    for step in FileStep::PUT {
        let mut reached = 0;
        for number in 0..24 {
            let [after, second, overwrite] = [1, 2, 4].map(|bit| number & bit != 0);
            let broken = Broken {
                step,
                after,
                skip: usize::from(second),
                error: EIO,
            };
            reached += u32::from(break_put(broken, overwrite, number / 8).await);
        }
        // With any body, before and after the step.
        assert!(reached >= 6, "{step:?} was broken only {reached} times");
    }
}

/// Breaks one put. Answers whether it had such a step.
async fn break_put(broken: Broken, overwrite: bool, kind: usize) -> bool {
    let context = format!("{broken:?}, overwrite {overwrite}, body {kind}");
    let (old, new) = (vec![1; 10], vec![2; SIZE]);
    let bench = Bench::new();
    let (store, key) = (&bench.store, Key::from("ltx/0/object"));
    if overwrite {
        let put = store.put(key.clone(), old.clone().into(), options());
        put.await.expect("stored");
    }
    bench.script.plan(broken);
    let put = store.put(key.clone(), body(&bench, kind), options()).await;
    if bench.script.is_pending() {
        put.expect(&context);
        return false;
    }
    let error = put.expect_err(&context);
    assert_eq!(error.kind(), ErrorKind::Io, "{context}: {error}");
    assert_eq!(error.key(), Some(&key), "{context}: {error}");

    let visible = bench.read(&key).await;
    let published = matches!(broken.step, FileStep::SyncDir | FileStep::SyncParent)
        || (broken.step == FileStep::Publish && broken.after);
    let expected = match (published, overwrite) {
        (true, _) => Some(&new),
        (false, true) => Some(&old),
        (false, false) => None,
    };
    assert!(
        visible.as_deref() == expected.map(Vec::as_slice),
        "{context}"
    );
    let names: &[&str] = if expected.is_some() { &["object"] } else { &[] };
    assert_eq!(bench.files(), names, "{context}: leftovers");

    let again = store.put(key.clone(), body(&bench, kind), options()).await;
    assert_eq!(again.expect(&context).size, SIZE as u64, "{context}");
    assert!(bench.read(&key).await.expect(&context) == new, "{context}");
    assert_eq!(bench.files(), ["object"], "{context}: leftovers");
    true
}

#[tokio::test]
async fn a_parent_whose_sync_failed_is_synced_by_the_next_put() {
    let bench = Bench::new();
    let key = Key::from("ltx/object");
    // The second one: the root's entry is durable, that of ltx is not.
    let broken = Broken {
        step: FileStep::SyncParent,
        after: false,
        skip: 1,
        error: EIO,
    };
    bench.script.plan(broken);
    bench
        .store
        .put(key.clone(), vec![1].into(), options())
        .await
        .expect_err("broken");
    bench.script.steps();
    bench
        .store
        .put(key, vec![1].into(), options())
        .await
        .expect("stored");
    let steps = bench.script.steps();
    // The root was there before, and is durable by now.
    assert!(
        steps.ends_with(&[FileStep::SyncDir, FileStep::SyncParent]),
        "{steps:?}"
    );
    assert!(!steps.contains(&FileStep::CreateDir), "{steps:?}");
}

#[tokio::test]
async fn so_is_one_above_the_root() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = Arc::new(Script::default());
    let steps = Arc::clone(&script) as Arc<dyn FileSteps>;
    let root = dir.path().join("new/root");
    let store = FileStore::with_steps(root, FileModes::default(), steps);
    script.plan(Broken {
        step: FileStep::SyncParent,
        after: false,
        skip: 0,
        error: EIO,
    });
    let put = store
        .put(Key::from("object"), vec![1].into(), options())
        .await;
    put.expect_err("broken");
    script.steps();
    let put = store
        .put(Key::from("object"), vec![1].into(), options())
        .await;
    put.expect("stored");
    let steps = script.steps();
    // Both were there by then, and neither was durable.
    assert!(steps.ends_with(&[FileStep::SyncParent; 2]), "{steps:?}");
    assert!(!steps.contains(&FileStep::CreateDir), "{steps:?}");
}

#[tokio::test]
async fn a_full_disk_is_known_as_such() {
    #[cfg(target_os = "linux")]
    let errors = [ENOSPC, EDQUOT];
    #[cfg(not(target_os = "linux"))]
    let errors = [ENOSPC];
    for error in errors {
        for step in [
            FileStep::CreateDir,
            FileStep::CreateTemp,
            FileStep::Write,
            FileStep::SyncFile,
        ] {
            let bench = Bench::new();
            bench.script.plan(Broken {
                step,
                after: false,
                skip: 0,
                error,
            });
            let put = bench
                .store
                .put(Key::from("a/b"), vec![1].into(), options())
                .await;
            let error = put.expect_err("broken");
            assert_eq!(error.kind(), ErrorKind::DiskFull, "{step:?}: {error}");
            assert!(!error.is_retryable());
            assert!(bench.files().is_empty());
        }
    }
}

#[tokio::test]
async fn conditional_puts_leave_nothing_behind_when_a_step_breaks() {
    for step in [FileStep::SetTimes, FileStep::SyncFile, FileStep::Publish] {
        let bench = Bench::new();
        let key = Key::from("lock.json");
        bench.script.plan(Broken {
            step,
            after: false,
            skip: 0,
            error: EIO,
        });
        let condition = Condition::IfAbsent;
        let absent = PutOptions {
            condition,
            ..PutOptions::default()
        };
        let put = bench
            .store
            .put(key.clone(), vec![1].into(), absent.clone())
            .await;
        put.expect_err("broken");
        assert!(bench.files().is_empty(), "{step:?}");
        let meta = bench
            .store
            .put(key.clone(), vec![1].into(), absent)
            .await
            .expect("stored");

        bench.script.plan(Broken {
            step,
            after: false,
            skip: 0,
            error: EIO,
        });
        let condition = Condition::IfMatch(meta.etag.expect("file etags exist"));
        let matching = PutOptions {
            condition,
            ..PutOptions::default()
        };
        let put = bench
            .store
            .put(key.clone(), vec![2].into(), matching.clone())
            .await;
        put.expect_err("broken");
        assert_eq!(bench.read(&key).await.expect("still there"), vec![1]);
        assert_eq!(bench.files(), ["lock.json"], "{step:?}");
        bench
            .store
            .put(key.clone(), vec![2].into(), matching)
            .await
            .expect("stored");
        assert_eq!(bench.read(&key).await.expect("there"), vec![2]);
    }
}

/// A name that may not outlive the machine's power must not be found, and taken for durable, by a next try.
#[tokio::test]
async fn a_new_object_whose_name_cannot_be_made_durable_is_taken_back() {
    use FileStep::{CreateTemp, Publish, SetTimes, SyncDir, SyncFile, SyncParent, Write};
    let absent = PutOptions {
        condition: Condition::IfAbsent,
        ..PutOptions::default()
    };
    let key = Key::from("ltx/object");
    for step in [SyncDir, SyncParent] {
        let bench = Bench::new();
        bench.script.plan(Broken {
            step,
            after: false,
            skip: 0,
            error: EIO,
        });
        let put = bench.store.put(key.clone(), vec![1].into(), absent.clone());
        put.await.expect_err("broken");
        assert!(bench.files().is_empty(), "{step:?}");
        let put = bench.store.put(key.clone(), vec![1].into(), absent.clone());
        put.await.expect("stored");

        // One that was found was perhaps left by a process that died before it was durable.
        let steps = Arc::clone(&bench.script) as Arc<dyn FileSteps>;
        let next = FileStore::with_steps(bench.base.join("root"), FileModes::default(), steps);
        bench.script.steps();
        let put = next.put(key.clone(), vec![1].into(), absent.clone());
        let error = put.await.expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let file = [CreateTemp, Write, SetTimes, SyncFile, Publish];
        let names = [SyncDir, SyncParent, SyncParent];
        assert_eq!(bench.script.steps(), [&file[..], &names[..]].concat());
    }
}

#[tokio::test]
async fn broken_reads_listings_and_deletes_are_errors() {
    let bench = Bench::new();
    let key = Key::from("ltx/object");
    let content = vec![3; 3 << 20];
    bench
        .store
        .put(key.clone(), content.into(), options())
        .await
        .expect("stored");
    let broken = |step, skip| Broken {
        step,
        after: false,
        skip,
        error: EIO,
    };

    bench.script.plan(broken(FileStep::Open, 0));
    let got = bench.store.get(key.clone(), ByteRange::ALL).await;
    assert_eq!(got.expect_err("broken").kind(), ErrorKind::Io);

    bench.script.plan(broken(FileStep::Read, 2));
    let object = bench
        .store
        .get(key.clone(), ByteRange::ALL)
        .await
        .expect("opened");
    let mut body = object.body;
    assert_eq!(
        body.try_next()
            .await
            .expect("first chunk")
            .expect("data")
            .len(),
        1 << 20
    );
    assert_eq!(
        body.try_next()
            .await
            .expect("second chunk")
            .expect("data")
            .len(),
        1 << 20
    );
    let error = body.try_next().await.expect_err("broken");
    assert_eq!((error.kind(), error.key()), (ErrorKind::Io, Some(&key)));
    assert!(body.next().await.is_none());

    // The directory below the one that is listed: the error comes while iterating.
    bench.script.plan(broken(FileStep::ReadDir, 1));
    let listed = bench.store.list(String::new(), ListOptions::default());
    let error = listed.try_collect::<Vec<_>>().await.expect_err("broken");
    assert_eq!(
        (error.kind(), error.backend()),
        (ErrorKind::Io, Some("file"))
    );

    bench
        .store
        .put(Key::from("other"), vec![1].into(), options())
        .await
        .expect("stored");
    bench.script.plan(broken(FileStep::Remove, 0));
    let keys = vec![key.clone(), Key::from("other"), Key::from("../escape")];
    let failures = bench
        .store
        .delete(keys)
        .await
        .expect("answers for each key");
    let kinds: Vec<_> = failures
        .iter()
        .map(|(key, error)| (key.as_str(), error.kind()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("ltx/object", ErrorKind::Io),
            ("../escape", ErrorKind::Invalid)
        ]
    );
    assert_eq!(bench.files(), ["object"]);
}
