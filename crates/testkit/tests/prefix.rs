//! The writer of provable histories: what it tells is true, also after a kill.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use testkit::hash::Access;
use testkit::prefix::{Load, Prefix};
use testkit::process::wait_until;
use testkit::writer::PrefixWriter;

const LONG: Duration = Duration::from_mins(1);

struct Place {
    folder: tempfile::TempDir,
    prefix: Prefix,
}

impl Place {
    fn new(seed: u64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            prefix: Prefix::new(seed),
        }
    }

    fn load(&self) -> Load {
        Load::new(
            self.prefix,
            self.folder.path().join("db"),
            self.folder.path().join("progress"),
        )
    }
}

#[test]
fn a_killed_writer_leaves_what_it_told() {
    let place = Place::new(1);
    let load = place.load();
    for kill in 1..=3 {
        let mut writer = PrefixWriter::start(&load).unwrap();
        let start = writer.progress().unwrap().committed;
        writer.wait_committed(start + 200 * kill, LONG).unwrap();
        writer.kill_9().unwrap();
        let told = writer.progress().unwrap();
        let proved = place.prefix.proves(&load.db, Access::Copy).unwrap();
        assert!(
            told.committed <= proved && proved <= told.begun,
            "{told:?}, proved {proved}"
        );
    }
}

#[test]
fn a_load_of_a_given_size_reports_what_it_saw() {
    let place = Place::new(2);
    let load = Load {
        transactions: Some(300),
        autocheckpoint: 0,
        ..place.load()
    };
    let report = PrefixWriter::start(&load).unwrap().finish().unwrap();
    assert_eq!((report.last, report.committed, report.busy), (300, 300, 0));
    assert!(
        report.p50_ms > 0.0 && report.p50_ms <= report.p99_ms,
        "{report:?}"
    );
    assert!(
        report.p99_ms <= report.p999_ms && report.p999_ms <= report.max_ms,
        "{report:?}"
    );
    assert_eq!(place.prefix.proves(&load.db, Access::Rest).unwrap(), 300);
    let more = Load {
        transactions: Some(5),
        ..load
    };
    let report = PrefixWriter::start(&more).unwrap().finish().unwrap();
    assert_eq!((report.last, report.committed), (305, 5));
}

#[test]
fn a_rate_is_kept_and_a_stop_is_obeyed() {
    let place = Place::new(3);
    let load = Load {
        rate: Some(100.0),
        transactions: Some(30),
        ..place.load()
    };
    let report = PrefixWriter::start(&load).unwrap().finish().unwrap();
    // 30 commits, the first at once, at 100 per second: it cannot be done sooner.
    assert!(report.seconds >= 0.29, "{report:?}");
    let load = Load {
        rate: Some(0.001),
        ..place.load()
    };
    let mut writer = PrefixWriter::start(&load).unwrap();
    writer.wait_committed(31, LONG).unwrap();
    let report = writer.stop().unwrap();
    assert_eq!((report.last, report.committed), (31, 1));
}

/// A writer that cannot commit because this process, which has no engine, holds the lock.
fn blocked(place: &Place) -> (PrefixWriter, rusqlite::Connection) {
    let load = Load {
        busy_timeout: Duration::ZERO,
        ..place.load()
    };
    let mut writer = PrefixWriter::start(&load).unwrap();
    writer.wait_committed(10, LONG).unwrap();
    let blocker = Prefix::open(&load.db, 0, LONG).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait_until(LONG, "a busy commit", || {
        writer.progress().unwrap().busy > 0
    })
    .unwrap();
    (writer, blocker)
}

#[test]
fn a_busy_database_is_counted_and_outlived() {
    let place = Place::new(4);
    let (mut writer, blocker) = blocked(&place);
    let held = writer.progress().unwrap();
    blocker.execute_batch("ROLLBACK").unwrap();
    drop(blocker);
    writer.wait_committed(held.begun + 50, LONG).unwrap();
    let report = writer.stop().unwrap();
    assert!(report.busy >= held.busy && held.busy > 0, "{report:?}");
    assert_eq!(
        place.prefix.proves(&place.load().db, Access::Rest).unwrap(),
        report.last
    );
}

#[test]
fn a_stop_is_obeyed_while_the_database_is_busy() {
    let place = Place::new(5);
    let (writer, blocker) = blocked(&place);
    let report = writer.stop().unwrap();
    assert!(report.busy > 0, "{report:?}");
    blocker.execute_batch("ROLLBACK").unwrap();
    assert_eq!(
        place.prefix.proves(&place.load().db, Access::Live).unwrap(),
        report.last
    );
}
