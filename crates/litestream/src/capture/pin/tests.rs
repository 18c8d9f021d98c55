//! The pin beside an application that runs checkpoints which do not wait.

use rusqlite::Connection as Application;
use sqlite_wal::READ_MARK_UNUSED;

use super::*;

fn application(path: &Path) -> Application {
    let application = Application::open(path).unwrap();
    application.busy_timeout(Duration::ZERO).unwrap();
    application
        .execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0;")
        .unwrap();
    application
}

fn insert(application: &Application) {
    application
        .execute_batch("INSERT INTO t VALUES(1)")
        .unwrap();
}

/// Whether the checkpoint could do all that its mode asks for.
fn completes(application: &Application, mode: &str) -> bool {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let busy: i64 = application.query_row(&sql, [], |row| row.get(0)).unwrap();
    busy == 0
}

fn scene() -> (tempfile::TempDir, PathBuf, Application, Pin) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let writer = application(&path);
    writer.execute_batch("CREATE TABLE t(x)").unwrap();
    let pin = Pin::open(&path, Duration::ZERO).unwrap();
    (directory, path, writer, pin)
}

#[test]
fn aside_it_keeps_the_wal_and_nobody_who_copies_waits_for_it() {
    let (_directory, _path, writer, mut pin) = scene();
    insert(&writer);
    assert!(
        !completes(&writer, "FULL"),
        "the pin stands before the commit"
    );
    assert!(pin.lock_aside().unwrap());
    assert!(
        !completes(&writer, "FULL"),
        "the read transaction is still there"
    );
    pin.move_aside();
    assert!(pin.is_aside() && pin.is_held());
    assert!(completes(&writer, "FULL"));
    assert!(!completes(&writer, "RESTART"));
    let before = pin.peek().unwrap().header;
    insert(&writer);
    let after = pin.peek().unwrap().header;
    assert_eq!(after.salts, before.salts);
    assert_eq!(
        after.max_frame,
        before.max_frame + 1,
        "appended although all was copied"
    );

    pin.begin_next().unwrap();
    assert!(!completes(&writer, "RESTART"));
    pin.hand_over();
    assert!(!pin.is_aside() && pin.is_held());
    assert!(
        completes(&writer, "FULL"),
        "the new transaction is at the newest frame"
    );
    assert!(!completes(&writer, "RESTART"));
    pin.begin_next().unwrap();
    pin.hand_over();
    assert!(pin.is_at_rest());
    assert!(completes(&writer, "RESTART"), "no lock was left behind");
}

#[test]
fn a_pin_that_is_dropped_aside_leaves_no_lock() {
    let (_directory, _path, writer, mut pin) = scene();
    insert(&writer);
    assert!(pin.lock_aside().unwrap());
    pin.move_aside();
    assert!(!completes(&writer, "TRUNCATE"));
    drop(pin);
    assert!(completes(&writer, "TRUNCATE"));
}

/// Readers leave their marks in the slots. With a mark in each of them there was no way aside, and a pin
/// in the slot that a checkpoint waited for held it up for its whole busy timeout.
#[test]
fn a_mark_that_a_reader_left_is_taken_away_where_no_checkpoint_has_come() {
    let (_directory, path, writer, mut pin) = scene();
    let readers: Vec<Application> = (0..3)
        .map(|_| {
            insert(&writer);
            let reader = application(&path);
            reader
                .execute_batch("BEGIN; SELECT count(*) FROM t;")
                .unwrap();
            reader
        })
        .collect();
    insert(&writer);
    let marks = |pin: &Pin| pin.peek().unwrap().checkpoint.read_marks;
    let old = marks(&pin);
    assert!(!old.contains(&READ_MARK_UNUSED), "{old:?}");
    assert!(!pin.lock_aside().unwrap(), "all slots are in use");
    assert_eq!(marks(&pin), old);

    drop(readers);
    assert_eq!(marks(&pin), old);
    assert!(pin.lock_aside().unwrap());
    let [first @ .., last] = marks(&pin);
    assert_eq!(first, old[..4], "the others keep theirs");
    assert_eq!(last, READ_MARK_UNUSED);
    assert!(!completes(&writer, "FULL"), "the pin is there");
    pin.move_aside();
    assert!(completes(&writer, "FULL"));
}

#[test]
fn a_pin_at_the_newest_frame_needs_no_second_connection() {
    let (_directory, path, writer, pin) = scene();
    assert!(!pin.is_at_rest(), "the WAL has frames that are not copied");
    let index = pin.at_newest().unwrap().expect("nothing is newer");
    assert_eq!(
        pin.mark(),
        Some((index.header.salts, index.header.max_frame))
    );

    insert(&writer);
    assert!(pin.at_newest().unwrap().is_none(), "a commit");
    drop(pin);

    let mut pin = Pin::open(&path, Duration::ZERO).unwrap();
    assert!(pin.at_newest().unwrap().is_some());
    assert!(completes(&writer, "PASSIVE"));
    assert!(
        pin.at_newest().unwrap().is_none(),
        "at rest it would be in nobody's way"
    );
    pin.begin_next().unwrap();
    assert!(pin.at_newest().unwrap().is_none(), "about to move");
    pin.hand_over();
    assert!(pin.is_at_rest() && pin.at_newest().unwrap().is_some());

    // The next commit starts the WAL anew, with another generation.
    insert(&writer);
    assert!(pin.at_newest().unwrap().is_none());
    drop(pin);

    assert!(completes(&writer, "TRUNCATE"));
    let pin = Pin::open(&path, Duration::ZERO).unwrap();
    assert!(pin.is_at_rest() && pin.at_newest().unwrap().is_some());
}
