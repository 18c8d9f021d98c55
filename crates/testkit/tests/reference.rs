//! The driver, proved with the real binaries: replicate, sync, restore.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use testkit::hash::{Access, content_hash, integrity_check};
use testkit::history::{History, Options};
use testkit::prefix::{Load, Prefix};
use testkit::process::SocketPath;
use testkit::program::{RestoreTarget, Source, Start, replica_files, wait_replica, write_config};
use testkit::reference::{Version, reference_or_skip};
use testkit::writer::PrefixWriter;

const LONG: Duration = Duration::from_mins(1);

/// A small database at rest, and its hash.
fn small_database(folder: &Path) -> (PathBuf, String) {
    let path = folder.join("db");
    let mut history = History::create(&path, 1, Options::default()).unwrap();
    history.run(40).unwrap();
    let hash = history.content_hash().unwrap();
    (path, hash)
}

fn replicates_and_restores(version: Version) {
    let Some(reference) = reference_or_skip(version) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (db, hash) = small_database(folder.path());
    let replica = folder.path().join("replica");
    reference.replicate_once(&db, &replica).unwrap();
    assert!(!replica_files(&replica).is_empty());
    let out = folder.path().join("restored");
    let source = Source::Replica(replica);
    reference
        .restore(&source, &out, &RestoreTarget::Latest)
        .unwrap();
    integrity_check(&out, Access::Rest).unwrap();
    assert_eq!(content_hash(&out, Access::Rest).unwrap(), hash);
    let failure = reference
        .restore(&source, &out, &RestoreTarget::Latest)
        .unwrap_err();
    assert_eq!(failure.status, Some(1));
    assert!(failure.stderr.contains("already exists"), "{failure}");
}

#[test]
fn v0_5_17_restores_what_it_replicated() {
    replicates_and_restores(Version::V0_5_17);
}

#[test]
fn v0_5_15_restores_what_it_replicated() {
    replicates_and_restores(Version::V0_5_15);
}

#[test]
fn v0_3_13_restores_what_it_replicated() {
    replicates_and_restores(Version::V0_3_13);
}

#[test]
fn a_daemon_follows_a_writer_and_is_restored_to_a_transaction() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (db, replica) = (folder.path().join("db"), folder.path().join("replica"));
    let (prefix, socket) = (Prefix::new(9), SocketPath::new().unwrap());
    let load = Load::new(prefix, &db, folder.path().join("progress"));
    let load = Load {
        rate: Some(500.0),
        ..load
    };
    let mut writer = PrefixWriter::start(&load).unwrap();
    writer.wait_committed(20, LONG).unwrap();
    let config = folder.path().join("litestream.yml");
    let settings = json!({
        "socket": {"enabled": true, "path": socket.path()},
        "dbs": [{
            "path": db,
            "monitor-interval": "50ms",
            "replica": {"type": "file", "path": replica, "sync-interval": "50ms"},
        }],
    });
    write_config(&config, &settings).unwrap();
    let mut daemon = reference.daemon(&Start::Config(config.clone())).unwrap();
    daemon.wait_ready().unwrap();
    daemon.wait_socket(socket.path()).unwrap();
    let before = writer.progress().unwrap().committed;
    let synced = reference.sync_wait(socket.path(), &db).unwrap();
    assert!(synced.txid > 0 && synced.replica_txid > 0, "{synced:?}");
    let after = writer.progress().unwrap().begun;
    let out = folder.path().join("at-txid");
    // The reference may have captured another one by the time it answers.
    let txid = RestoreTarget::Txid(format!("{:016x}", synced.replica_txid));
    reference
        .restore(
            &Source::Config {
                config,
                db: db.clone(),
            },
            &out,
            &txid,
        )
        .unwrap();
    let proved = prefix.proves(&out, Access::Rest).unwrap();
    assert!(
        before <= proved && proved <= after,
        "{before} <= {proved} <= {after}"
    );
    // The application goes on when the replicator dies.
    daemon.kill_9().unwrap();
    let now = writer.progress().unwrap().committed;
    writer.wait_committed(now + 50, LONG).unwrap();
    assert_eq!(writer.stop().unwrap().busy, 0);
}

#[test]
fn an_orderly_stop_of_the_daemon_replicates_the_rest() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (db, replica) = (folder.path().join("db"), folder.path().join("replica"));
    let prefix = Prefix::new(10);
    let load = Load::new(prefix, &db, folder.path().join("progress"));
    PrefixWriter::start(&Load {
        transactions: Some(5),
        ..load.clone()
    })
    .unwrap()
    .finish()
    .unwrap();
    let start = Start::Database {
        db,
        replica: replica.clone(),
    };
    let mut daemon = reference.daemon(&start).unwrap();
    wait_replica(&replica, LONG, "first file", |files| !files.is_empty()).unwrap();
    PrefixWriter::start(&Load {
        transactions: Some(5),
        ..load
    })
    .unwrap()
    .finish()
    .unwrap();
    daemon.stop(LONG).unwrap();
    let out = folder.path().join("restored");
    reference
        .restore(&Source::Replica(replica), &out, &RestoreTarget::Latest)
        .unwrap();
    assert_eq!(prefix.proves(&out, Access::Rest).unwrap(), 10);
}
