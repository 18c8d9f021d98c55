//! Follow mode on replicas of the other program, and on a copy that it left.

use std::path::Path;

use serde_json::json;
use testkit::hash::{self, Access};
use testkit::program::{Program, Start};
use testkit::reference::{Version, reference_or_skip};

use super::place::{Place, Settings, ours};
use super::trail::LONG;

#[path = "../shared/follower.rs"]
mod follower;
use follower::follow;

/// Commits rows and answers the content then.
fn commit(db: &Path, count: u32) -> String {
    let application = rusqlite::Connection::open(db).expect("a database");
    application
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t(x)")
        .expect("a table");
    for _ in 0..count {
        application
            .execute("INSERT INTO t VALUES(randomblob(900))", [])
            .expect("a commit");
    }
    rows(db)
}

/// The application's rows, for whoever has the file open.
fn rows(db: &Path) -> String {
    let view = hash::View::open(db, Access::Live).expect("a database");
    let sql =
        "SELECT count(*) || ' ' || coalesce(max(rowid), 0) || ' ' || hex(sum(length(x))) FROM t";
    let row = view.connection().query_row(sql, [], |row| row.get(0));
    row.unwrap_or_default()
}

/// `daemon` replicates while `program` follows: every step is seen in the copy.
fn follows(place: &Place, daemon: &Program, program: &Program, copy: &Path) {
    place.configure(&Settings {
        db: json!({"monitor-interval": "50ms"}),
        replica: json!({"sync-interval": "50ms"}),
        ..Settings::default()
    });
    commit(&place.db(), 3);
    let config = Start::Config(place.path("litestream.yml"));
    daemon
        .replicate_once_with(&["-once", "-force-snapshot"], &config)
        .expect("a replica");
    let mut daemon = place.start(daemon);
    let mut running = follow(program, &place.replica(), copy);
    for round in 0..4 {
        let expected = commit(&place.db(), 2);
        running
            .wait_while_alive(LONG, &format!("round {round} in the copy"), |_| {
                Ok(copy.exists() && rows(copy) == expected)
            })
            .expect("the copy gets on");
    }
    running.terminate(LONG).expect("a clean end");
    daemon.stop(LONG).expect("a clean end");
    hash::integrity_check(copy, Access::Live).expect("a sound copy");
}

#[test]
fn either_program_follows_what_the_other_replicates() {
    let Some(reference) = reference_or_skip(Version::V0_5_17) else {
        return;
    };
    let place = Place::new();
    follows(&place, &reference, &ours(), &place.path("copy"));
    let place = Place::new();
    follows(&place, &ours(), &reference, &place.path("copy"));
    // We go on with the copy that the reference left.
    follows(&place, &ours(), &ours(), &place.path("copy"));
}
