//! Histories are deterministic, varied, sound, and the same in a process of their own.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use testkit::hash::{Access, content_hash, integrity_check};
use testkit::history::{Action, AutoVacuum, CheckpointMode, Encoding, History, Options};
use testkit::writer::HistoryWriter;

fn options(page_size: u32, auto_vacuum: AutoVacuum, encoding: Encoding) -> Options {
    Options {
        page_size,
        auto_vacuum,
        encoding,
        ..Options::default()
    }
}

/// Action and hash of each step.
fn trace(seed: u64, steps: u64, options: &Options) -> Vec<(Action, Option<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::create(&folder.path().join("db"), seed, options.clone()).unwrap();
    let steps = history.run(steps).unwrap();
    integrity_check(history.path(), Access::Live).unwrap();
    steps
        .into_iter()
        .map(|step| (step.action, step.hash))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_hashes() {
    let variants = [
        options(512, AutoVacuum::Full, Encoding::Utf16Le),
        options(4096, AutoVacuum::None, Encoding::Utf8),
        options(65536, AutoVacuum::Incremental, Encoding::Utf16Be),
    ];
    for options in variants {
        let first = trace(1, 60, &options);
        assert_eq!(first, trace(1, 60, &options));
        assert_ne!(first, trace(2, 60, &options));
        let hashes: Vec<&String> = first.iter().filter_map(|(_, hash)| hash.as_ref()).collect();
        let distinct: BTreeSet<&String> = hashes.iter().copied().collect();
        assert_eq!(distinct.len(), hashes.len(), "two states with one hash");
    }
}

#[test]
fn foreign_checkpoints_and_readers_do_not_change_the_content() {
    let quiet = trace(
        3,
        80,
        &Options {
            autocheckpoint: 0,
            ..Options::default()
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let busy = Options {
        autocheckpoint: 1,
        ..Options::default()
    };
    let mut history = History::create(&folder.path().join("db"), 3, busy).unwrap();
    let mut found = Vec::new();
    for number in 0..80 {
        let mode = CheckpointMode::ALL[number % 4];
        history.checkpoint(mode).unwrap();
        let step = history.step().unwrap();
        found.push((step.action, step.hash));
    }
    assert_eq!(found, quiet);
}

#[test]
fn every_action_happens() {
    let names: BTreeSet<String> = trace(
        4,
        400,
        &Options {
            record: false,
            ..Options::default()
        },
    )
    .into_iter()
    .map(|(action, _)| action.to_string())
    .collect();
    let wanted = [
        "AlterTable",
        "Blob",
        "CheckpointFULL",
        "CheckpointPASSIVE",
        "CheckpointRESTART",
        "CheckpointTRUNCATE",
        "CreateTable",
        "Delete",
        "DropTable",
        "FreePages",
        "Grow",
        "Index",
        "Insert",
        "ReaderClose",
        "ReaderOpen",
        "Rollback",
        "Savepoints",
        "Shrink",
        "Update",
        "Vacuum",
    ];
    assert_eq!(names, wanted.into_iter().map(str::to_owned).collect());
}

#[test]
fn a_rollback_leaves_frames_in_the_wal_but_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        autocheckpoint: 0,
        ..Options::default()
    };
    let mut history = History::create(&folder.path().join("db"), 6, options).unwrap();
    let wal = testkit::hash::with_suffix(history.path(), "-wal");
    let mut rollbacks = 0;
    while rollbacks == 0 {
        let (hash, length) = (
            history.content_hash().unwrap(),
            std::fs::metadata(&wal).unwrap().len(),
        );
        if history.step().unwrap().action == Action::Rollback {
            rollbacks += 1;
            assert_eq!(history.content_hash().unwrap(), hash);
            assert!(
                std::fs::metadata(&wal).unwrap().len() > length,
                "nothing was spilled"
            );
        }
    }
}

#[test]
fn a_held_reader_keeps_checkpoints_from_finishing() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::create(&folder.path().join("db"), 7, Options::default()).unwrap();
    history.open_reader().unwrap();
    history
        .connection()
        .execute_batch("UPDATE history SET step = step")
        .unwrap();
    assert!(history.checkpoint(CheckpointMode::Truncate).unwrap().busy);
    history.close_reader();
    let done = history.checkpoint(CheckpointMode::Truncate).unwrap();
    assert!(!done.busy && done.log == 0, "{done:?}");
}

#[test]
fn a_writer_process_makes_the_same_history_and_goes_on_after_a_kill() {
    let options = options(1024, AutoVacuum::Full, Encoding::Utf8);
    let wanted: Vec<String> = trace(5, 70, &options)
        .into_iter()
        .filter_map(|(_, hash)| hash)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let mut writer = HistoryWriter::start(&db, 5, &options).unwrap();
    let mut steps = writer.step(30).unwrap();
    writer.open_reader().unwrap();
    assert!(writer.checkpoint(CheckpointMode::Passive).is_ok());
    assert!(writer.checkpoint("TRUNCATE".parse().unwrap()).is_ok());
    writer.close_reader().unwrap();
    writer.kill_9().unwrap();
    let last = steps.last().unwrap().clone();
    assert_eq!(
        content_hash(&db, Access::Copy).unwrap(),
        last.hash.clone().unwrap()
    );
    let mut writer = HistoryWriter::start(&db, 5, &options).unwrap();
    // It goes on after the last committed step, so steps without a commit are done again.
    steps.extend(writer.step(70 - last.number).unwrap());
    assert_eq!(writer.content_hash().unwrap(), *wanted.last().unwrap());
    writer.quit().unwrap();
    assert!(steps.iter().all(|step| step.before < step.after));
    assert!(steps.windows(2).all(|two| two[0].after <= two[1].before));
    let hashes: Vec<String> = steps.into_iter().filter_map(|step| step.hash).collect();
    assert_eq!(hashes, wanted);
    assert_eq!(
        content_hash(&db, Access::Rest).unwrap(),
        *wanted.last().unwrap()
    );
}

#[test]
fn a_failing_command_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    std::fs::write(
        &db,
        "this is no database, and long enough to be seen as none",
    )
    .unwrap();
    let error = HistoryWriter::start(&db, 1, &Options::default()).unwrap_err();
    assert!(format!("{error:#}").contains("not a database"), "{error:#}");
}
