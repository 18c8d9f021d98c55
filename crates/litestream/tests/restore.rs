//! Restores: what is planned, what is refused, and that a failure leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bed.rs"]
mod bed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use litestream::{
    Error, IntegrityCheck, Layout, RemoteFile, RemoteIndex, RestoreOptions, Restored, Source,
    Target, plan, restore,
};
use litestream_storage::{Body, FileModes, FileStore, Key, MemoryStore, ObjectStore, PutOptions};
use ltx::{Encoder, Header, Level, PageSize, Pgno, Timestamp, Txid, TxidRange};
use testkit::golden::{CorruptManifest, Request, RestoreOutcome, Tree};
use testkit::golden::{manifest_folders, read_manifest};
use testkit::hash::{self, Access};

use bed::{Bed, commit};

#[path = "restore/open_files.rs"]
mod open_files;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ltx/tests/golden")
}

fn txid(number: u64) -> Txid {
    Txid::new(number).unwrap()
}

/// Files as `(level, first, last)`; each was made a second after the one before.
fn index(files: &[(u8, u64, u64)]) -> RemoteIndex {
    let mut index = RemoteIndex::default();
    for (second, (level, min, max)) in (1..).zip(files) {
        index.insert(RemoteFile {
            level: Level::new(*level).unwrap(),
            range: TxidRange::new(txid(*min), txid(*max)).unwrap(),
            size: 200,
            created: Timestamp::from_millis(1000 * second),
        });
    }
    index
}

fn planned(files: &[(u8, u64, u64)], target: Target) -> Result<Vec<(u8, u64, u64)>, Error> {
    let plan = plan(&index(files), target)?;
    let planned = plan.files().iter();
    Ok(planned
        .map(|file| (file.level.get(), file.range.min.get(), file.range.max.get()))
        .collect())
}

/// The plans that the reference's tests fix.
#[test]
fn plans_are_those_of_the_reference() {
    let to = |number| Target::Txid(txid(number));
    let cases: [(&[_], _, &[_]); 8] = [
        (&[(9, 1, 5)], Target::Latest, &[(9, 1, 5)]),
        (
            &[
                (9, 1, 5),
                (9, 1, 15),
                (1, 6, 7),
                (1, 8, 9),
                (1, 10, 12),
                (0, 7, 7),
                (0, 8, 8),
                (0, 9, 9),
                (0, 10, 10),
                (0, 11, 11),
            ],
            to(10),
            &[(9, 1, 5), (1, 6, 7), (1, 8, 9), (0, 10, 10)],
        ),
        (
            &[(9, 1, 5), (2, 6, 12), (0, 6, 20)],
            to(20),
            &[(9, 1, 5), (0, 6, 20)],
        ),
        (
            &[
                (9, 1, 5),
                (1, 6, 7),
                (1, 9, 10),
                (0, 8, 8),
                (0, 9, 9),
                (0, 10, 10),
            ],
            to(10),
            &[(9, 1, 5), (1, 6, 7), (0, 8, 8), (1, 9, 10)],
        ),
        (
            &[(9, 1, 1), (1, 1, 1), (0, 1, 1)],
            Target::Latest,
            &[(9, 1, 1)],
        ),
        (
            &[(9, 1, 1), (2, 1, 100), (2, 50, 60)],
            to(100),
            &[(9, 1, 1), (2, 1, 100)],
        ),
        (
            &[(0, 1, 1), (0, 2, 2)],
            Target::Latest,
            &[(0, 1, 1), (0, 2, 2)],
        ),
        (&[(1, 1, 3), (0, 4, 4)], to(3), &[(1, 1, 3)]),
    ];
    for (files, target, expected) in cases {
        assert_eq!(
            planned(files, target).unwrap(),
            expected,
            "{files:?}, {target:?}"
        );
    }
    for (files, target) in [
        (&[(9, 1, 10)][..], to(5)),
        (&[], to(1)),
        (&[], Target::Latest),
        (&[(1, 1, 3)], to(2)),
    ] {
        let error = planned(files, target).unwrap_err();
        assert!(
            matches!(error, Error::TxNotAvailable),
            "{files:?}, {target:?}: {error}"
        );
    }
}

/// D18: the reference restored the state before a hole without a word when asked for a time.
#[test]
fn a_hole_is_reported_unless_it_is_behind_the_target() {
    let files = [(9, 1, 2), (0, 3, 3), (0, 5, 5), (0, 6, 6)];
    let before = |second: i64| Target::Before(Timestamp::from_millis(1000 * second));
    for target in [Target::Latest, before(4), before(5), before(99)] {
        match planned(&files, target).unwrap_err() {
            Error::NonContiguous { have, next } => assert_eq!((have, next), (txid(3), txid(5))),
            error => panic!("{target:?}: {error}"),
        }
    }
    // Transaction 5 has the third second, and a target is strictly before its time.
    for target in [before(2), before(3), Target::Txid(txid(3))] {
        assert!(planned(&files, target).is_ok(), "{target:?}");
    }
    assert!(matches!(
        planned(&files, Target::Txid(txid(6))),
        Err(Error::TxNotAvailable)
    ));
}

fn file_source(folder: &Path) -> Source {
    Source::new(
        Arc::new(FileStore::new(folder.to_owned(), FileModes::default())),
        Layout::Plain,
    )
}

/// Restores into a folder of its own; after an error it must be empty.
async fn attempt(
    source: &Source,
    target: Target,
    check: IntegrityCheck,
) -> Result<(Restored, tempfile::TempDir), Error> {
    let folder = tempfile::tempdir().unwrap();
    let mut options = RestoreOptions::new(folder.path().join("out.db"));
    options.target = target;
    options.integrity_check = check;
    let result = restore(source, options).await;
    if let Err(error) = &result {
        let left = testkit::program::replica_files(folder.path());
        assert_eq!(left, [] as [&Path; 0], "left behind after: {error}");
    }
    result.map(|restored| (restored, folder))
}

/// Every kind of damage that the collection has. Where the real v0.5.17 refuses, we do; where it
/// restores, we restore the same bytes or refuse too, which the list at the end names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_refused_and_leave_nothing() {
    let corrupt = golden().join("corrupt");
    let manifest: CorruptManifest = read_manifest(&corrupt.join("manifest.json")).unwrap();
    let (mut stricter, mut looser) = (Vec::new(), Vec::new());
    let mut refused = 0;
    for case in &manifest.cases {
        let folder = tempfile::tempdir().unwrap();
        case.copy_replica(&corrupt, folder.path()).unwrap();
        let mut arguments = case.restore_args.iter().map(String::as_str);
        let (mut target, mut check) = (Target::Latest, IntegrityCheck::None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap();
            match argument {
                "-txid" => target = Target::Txid(value().parse().unwrap()),
                "-integrity-check" => check = IntegrityCheck::parse(value()).unwrap(),
                other => panic!("{}: option {other}", case.case),
            }
        }
        let result = attempt(&file_source(folder.path()), target, check).await;
        match (&result, case.restore.exit) {
            (Ok((_, output)), 0) => {
                let hash = hash::file_hash(&output.path().join("out.db")).unwrap();
                let theirs =
                    case.restore.sha256.clone().unwrap_or_else(|| {
                        manifest.base_restores[&case.base].sha256.clone().unwrap()
                    });
                assert_eq!(hash, theirs, "{}", case.case);
            }
            (Err(_), 0) => stricter.push(case.case.as_str()),
            (Err(_), _) => refused += 1,
            (Ok(_), _) => looser.push(case.case.as_str()),
        }
    }
    assert!(refused > 20, "only {refused} refused");
    // The reference filled a short page with what was in its buffer from the page before.
    assert_eq!(stricter, ["short-page-stale-tail"]);
    // These files are whole: they carry checksums of the database, which the reference wants to be
    // absent from what it decodes. The checksums are verified or, where they cannot be, passed over.
    assert_eq!(looser, ["post-apply-last", "checksummed-all"]);
}

/// Every restore of the golden replicas of the real binary gives the same bytes; one of them has a
/// lock page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_replicas_are_restored_to_the_byte() {
    let folders = manifest_folders(&golden().join("trees")).unwrap();
    assert!(folders.len() > 10);
    for folder in folders {
        let tree = Tree::open(&folder).unwrap();
        let replica = tempfile::tempdir().unwrap();
        tree.copy_replica(replica.path()).unwrap();
        let source = file_source(replica.path());
        // A database of a gigabyte is restored once.
        let large = tree.manifest.name == "lock-page-64k";
        let wishes = tree.manifest.restores.iter().rev();
        for wanted in wishes.take(if large { 1 } else { usize::MAX }) {
            let target = match &wanted.request {
                Request::Latest => Target::Latest,
                Request::Txid(number) => Target::Txid(number.parse().unwrap()),
                Request::Timestamp(time) => Target::Before(time.parse().unwrap()),
            };
            let what = format!("{}: {:?}", folder.display(), wanted.request);
            if let (Target::Before(time), RestoreOutcome::Failed(error)) = (target, &wanted.outcome)
                && error.contains("timestamp does not exist")
            {
                // The command line refuses such a time; the library is asked for the bounds.
                let (oldest, newest) = source.time_bounds().await.unwrap().unwrap();
                assert!(
                    time < oldest || time > newest,
                    "{what}: {oldest} to {newest}"
                );
                continue;
            }
            let result = attempt(&source, target, IntegrityCheck::None).await;
            match (&wanted.outcome, result) {
                (RestoreOutcome::Restored { database, .. }, Ok((done, output))) => {
                    assert_eq!(done.size, database.size, "{what}");
                    let hash = hash::file_hash(&output.path().join("out.db")).unwrap();
                    assert_eq!(hash, database.sha256, "{what}");
                }
                (RestoreOutcome::Failed(_), Err(_)) => {}
                (outcome, result) => panic!("{what}: {outcome:?}, ours {result:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_there_is_not_touched() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 1);
    bed.sync(&engine).await;
    let output = bed.directory.path().join("mine.db");
    std::fs::write(&output, b"mine").unwrap();
    let source = Source::new(bed.remote.clone(), Layout::Plain);
    let error = restore(&source, RestoreOptions::new(&output))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutputExists { .. }), "{error}");
    assert_eq!(std::fs::read(&output).unwrap(), b"mine");
}

/// A listed file that is gone when it is fetched, and one that is not what its name says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_vanished_or_was_mixed_up_fails_and_leaves_nothing() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    for _ in 0..4 {
        commit(&application, 1);
        bed.sync(&engine).await;
    }
    let whole = bed.remote.inner().snapshot();
    let key = |number| Key::new(format!("ltx/0/{0}-{0}.ltx", txid(number)));
    let source = Source::new(bed.remote.clone(), Layout::Plain);
    for (from, to) in [(3, 2), (2, 3), (1, 2), (4, 3)] {
        let mut mixed = whole.clone();
        mixed.insert(key(to), whole[&key(from)].clone());
        bed.remote.inner().restore(mixed);
        attempt(&source, Target::Latest, IntegrityCheck::None)
            .await
            .unwrap_err();
    }
    let plan = source.plan(Target::Latest).await.unwrap();
    let mut holed = whole.clone();
    holed.remove(&key(2));
    bed.remote.inner().restore(holed);
    let output = bed.directory.path().join("holed/out.db");
    let options = RestoreOptions::new(&output);
    litestream::restore_plan(&source, &plan, options)
        .await
        .unwrap_err();
    let left = testkit::program::replica_files(output.parent().unwrap());
    assert_eq!(left, [] as [&Path; 0]);
    bed.remote.inner().restore(whole);
    attempt(&source, Target::Latest, IntegrityCheck::Full)
        .await
        .unwrap();
}

/// A replica whose files are whole, of a database that is not: its second page is no page.
async fn broken_database() -> Source {
    let bed = Bed::empty();
    let application = bed::application(&bed.path);
    bed::create(&application);
    let mut image = hash::image(&bed.path, Access::Live).unwrap();
    image[4096..8192].fill(0xee);
    let pages = image.chunks(4096);
    let range = TxidRange::single(Txid::FIRST);
    let size = PageSize::new(4096).unwrap();
    let header = Header::new(size, pages.len() as u32, range, Timestamp::from_millis(1));
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    for (number, page) in (1..).zip(pages) {
        encoder
            .encode_page(Pgno::new(number).unwrap(), page)
            .unwrap();
    }
    let (bytes, _) = encoder.finish().unwrap();
    let store = MemoryStore::new();
    let key = Key::new(format!("ltx/0/{0}-{0}.ltx", Txid::FIRST));
    store
        .put(key, Body::from(bytes), PutOptions::default())
        .await
        .unwrap();
    Source::new(Arc::new(store), Layout::Plain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integrity_check_that_fails_leaves_nothing() {
    let source = broken_database().await;
    attempt(&source, Target::Latest, IntegrityCheck::None)
        .await
        .unwrap();
    for check in [IntegrityCheck::Quick, IntegrityCheck::Full] {
        let error = attempt(&source, Target::Latest, check).await.unwrap_err();
        assert!(
            matches!(error, Error::Integrity { .. }),
            "{check:?}: {error}"
        );
    }
}

/// The check opens the database, and must leave nothing beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integrity_check_that_holds_leaves_the_database_alone() {
    let (bed, application) = Bed::new();
    let engine = bed.start();
    commit(&application, 3);
    bed.sync(&engine).await;
    let source = Source::new(bed.remote.clone(), Layout::Plain);
    let (_, plain) = attempt(&source, Target::Latest, IntegrityCheck::None)
        .await
        .unwrap();
    let plain = std::fs::read(plain.path().join("out.db")).unwrap();
    for check in [IntegrityCheck::Quick, IntegrityCheck::Full] {
        let (_, folder) = attempt(&source, Target::Latest, check).await.unwrap();
        let files = testkit::program::replica_files(folder.path());
        assert_eq!(files, [Path::new("out.db")], "{check:?}");
        assert_eq!(
            std::fs::read(folder.path().join("out.db")).unwrap(),
            plain,
            "{check:?}"
        );
    }
}
