//! `replicate`: until a signal, once, beside a child; and its exit codes.

use rustix::process::Signal;
use serde_json::json;
use testkit::program::{Start, file_url, replica_files};

use super::place::{Place, Settings, ours};
use super::{Application, LONG, restored_rows};

fn by_command_line(place: &Place) -> Start {
    Start::Database {
        db: place.db(),
        replica: place.replica(),
    }
}

#[test]
fn a_signal_ends_it_with_everything_replicated() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let application = Application::open(&place.db());
        application.insert(3);
        let mut daemon = ours().daemon(&by_command_line(&place)).expect("starts");
        daemon.wait_ready().expect("ready");
        application.insert(40);
        daemon.signal(signal).expect("runs");
        let status = daemon.wait_exit(LONG).expect("ends");
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(restored_rows(&place, &place.replica()), 43);
    }
}

#[test]
fn a_database_that_is_not_there_yet_is_waited_for() {
    let place = Place::new();
    let mut daemon = ours().daemon(&by_command_line(&place)).expect("starts");
    daemon.wait_ready().expect("ready");
    assert_eq!(replica_files(&place.replica()).len(), 0);
    let application = Application::open(&place.db());
    application.insert(5);
    let replica = place.replica();
    daemon
        .wait_while_alive(LONG, "a first file", |_| {
            Ok(!replica_files(&replica).is_empty())
        })
        .expect("the database is found");
    application.insert(5);
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.replica()), 10);
}

#[test]
fn once_more_adds_no_file() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(7);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("the first");
    let first = replica_files(&place.replica());
    assert_eq!(restored_rows(&place, &place.replica()), 7);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("the second");
    assert_eq!(replica_files(&place.replica()), first);
    application.insert(1);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("the third");
    assert_ne!(replica_files(&place.replica()), first);
    assert_eq!(restored_rows(&place, &place.replica()), 8);
}

#[test]
fn once_makes_snapshots_and_fails_without_a_database() {
    let place = Place::new();
    let failure = ours().replicate_once(&place.db(), &place.replica());
    let failure = format!("{:#}", failure.expect_err("there is nothing to sync"));
    assert!(
        failure.contains("no position, waiting for data"),
        "{failure}"
    );
    Application::open(&place.db()).insert(7);
    let options = ["-once", "-force-snapshot", "-enforce-retention"];
    let done = ours().replicate_once_with(&options, &by_command_line(&place));
    let said = done.expect("ends").stdout;
    for line in [
        "taking snapshot",
        "enforcing retention",
        "one-shot replication complete",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let files = replica_files(&place.replica());
    assert!(
        files.iter().any(|file| file.starts_with("ltx/9")),
        "{files:?}"
    );
}

/// `replicate -exec COMMAND DB URL`
fn with_child(place: &Place, command: &str) -> Start {
    Start::Args(vec![
        "-exec".into(),
        command.into(),
        place.db().into(),
        file_url(&place.replica()),
    ])
}

#[test]
fn the_end_of_the_child_is_the_end() {
    let place = Place::new();
    let application = Application::open(&place.db());
    let done = place.path("done");
    let command = format!(
        "sh -c 'while [ ! -e {} ]; do sleep 0.01; done'",
        done.display()
    );
    let mut daemon = ours()
        .daemon(&with_child(&place, &command))
        .expect("starts");
    daemon.wait_ready().expect("ready");
    application.insert(9);
    std::fs::write(&done, "").expect("the child is told");
    let status = daemon.wait_exit(LONG).expect("ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(restored_rows(&place, &place.replica()), 9);

    let mut daemon = ours()
        .daemon(&with_child(&place, "sh -c 'exit 3'"))
        .expect("starts");
    let status = daemon.wait_exit(LONG).expect("ends");
    let log = daemon.log().expect("log");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Error: exit status 3"), "{log}");
}

#[test]
fn a_signal_reaches_the_child_first() {
    let place = Place::new();
    let application = Application::open(&place.db());
    let mut daemon = ours()
        .daemon(&with_child(&place, "sleep 1000"))
        .expect("starts");
    daemon.wait_ready().expect("ready");
    application.insert(4);
    let status = daemon.terminate(LONG).expect("ends");
    let log = daemon.log().expect("log");
    assert_eq!(status.code(), Some(0), "{log}");
    let lines = [
        "signal received, litestream shutting down",
        "sending signal to exec process",
        "waiting for exec process to close",
        "litestream shut down",
    ];
    super::lines::expect_in_order(&log, &lines);
    assert_eq!(restored_rows(&place, &place.replica()), 4);
}

#[test]
fn what_could_not_be_replicated_is_an_exit_code() {
    let place = Place::new();
    let application = Application::open(&place.db());
    // A file in the way of the replica's folder.
    std::fs::write(place.replica(), "in the way").expect("a file");
    place.configure(&Settings {
        top: json!({"shutdown-sync-timeout": "200ms", "shutdown-sync-interval": "50ms"}),
        ..Settings::default()
    });
    let mut daemon = place.start(&ours());
    application.insert(4);
    let status = daemon.terminate(LONG).expect("ends");
    let log = daemon.log().expect("log");
    assert_eq!(status.code(), Some(3), "{log}");
    let lines = [
        "level=WARN msg=\"shutdown sync failed, retrying",
        "level=ERROR msg=\"failed to close database\" error=\"shutdown sync timeout after",
        "level=INFO msg=\"litestream shut down\"",
        "Error: not everything is replicated: ",
    ];
    super::lines::expect_in_order(&log, &lines);
    // The data is still there for the next run.
    std::fs::remove_file(place.replica()).expect("the way is free");
    let mut daemon = place.start(&ours());
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.replica()), 4);
}

#[test]
fn a_missing_database_is_restored_first_when_asked_for() {
    let place = Place::new();
    Application::open(&place.db()).insert(6);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("a replica");
    for name in ["db", "db-wal", "db-shm"] {
        // The last connection may have taken the side files away.
        std::fs::remove_file(place.path(name))
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .expect("the file goes");
    }
    let start = Start::Args(vec![
        "-restore-if-db-not-exists".into(),
        place.db().into(),
        file_url(&place.replica()),
    ]);
    let mut daemon = ours().daemon(&start).expect("starts");
    daemon.wait_ready().expect("ready");
    let application = Application::open(&place.db());
    application.insert(2);
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.replica()), 8);
    let log = daemon.log().expect("log");
    super::lines::expect_in_order(
        &log,
        &[
            "attempting restore before replication",
            "restore completed",
            "initialized db",
        ],
    );
}

fn restoring_first(place: &Place) -> Start {
    Start::Args(vec![
        "-restore-if-db-not-exists".into(),
        place.db().into(),
        file_url(&place.replica()),
    ])
}

#[test]
fn without_a_backup_it_starts_fresh() {
    let place = Place::new();
    let mut daemon = ours().daemon(&restoring_first(&place)).expect("starts");
    daemon.wait_ready().expect("ready");
    Application::open(&place.db()).insert(3);
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.replica()), 3);
    let log = daemon.log().expect("log");
    let lines = [
        "attempting restore before replication",
        "no backup found, starting fresh",
        "initialized db",
    ];
    super::lines::expect_in_order(&log, &lines);
}

#[test]
fn a_database_that_is_there_is_not_restored_over() {
    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(2);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("a replica");
    application.insert(5);
    let mut daemon = ours().daemon(&restoring_first(&place)).expect("starts");
    daemon.wait_ready().expect("ready");
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.replica()), 7);
    let log = daemon.log().expect("log");
    assert!(log.contains("database exists, skipping restore"), "{log}");
    assert!(!log.contains("attempting restore"), "{log}");
}

/// Rights that are missing are for somebody to give: the file stays, and nothing is begun anew. The superuser may
/// read everything, so the program runs as nobody then.
#[test]
fn a_local_file_that_may_not_be_read_stays_where_it_is() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let place = Place::new();
    let application = Application::open(&place.db());
    application.insert(2);
    for _ in 0..2 {
        application.insert(1);
        let done = ours().replicate_once(&place.db(), &place.replica());
        done.expect("a replica");
    }
    let folder = place.path(".db-litestream/ltx/0");
    let files = std::fs::read_dir(&folder).expect("the local files");
    let newest = files
        .flatten()
        .map(|entry| entry.path())
        .max()
        .expect("a file");
    let rights = |path: &std::path::Path, mode| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, rights).expect("the rights change");
    };
    let program = place.path("program");
    std::fs::copy(env!("CARGO_BIN_EXE_litestream"), &program).expect("a copy");
    let everything = ["-R", "0777"].map(std::ffi::OsString::from);
    let opened = std::process::Command::new("chmod")
        .args(everything)
        .arg(place.path("."))
        .status();
    assert!(opened.expect("chmod runs").success());
    rights(&newest, 0);
    let before = replica_files(&place.replica());
    let mut command = std::process::Command::new(&program);
    command
        .args(["replicate", "-once"])
        .arg(place.db())
        .arg(file_url(&place.replica()));
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    application.insert(1);
    let said = command.output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(1), "{text}");
    let name = newest.file_name().expect("a name").to_str().expect("UTF-8");
    assert!(
        text.contains(name) && text.contains("Permission denied"),
        "{text}"
    );
    assert!(newest.exists());
    assert_eq!(replica_files(&place.replica()), before);
    rights(&newest, 0o600);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("with the rights it goes on");
    assert_eq!(restored_rows(&place, &place.replica()), 5);
}
