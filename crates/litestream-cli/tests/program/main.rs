//! The program from the outside, by command line: what it does, what it says, how it ends.

mod doctor;
mod following;
mod idle;
mod leases;
mod life;
mod lines;
mod modes;
#[path = "../shared/place.rs"]
mod place;
mod replicas;
mod restoring;
mod socket;
mod watching;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use testkit::hash::{Access, View};
use testkit::program::{RestoreTarget, Source};

use self::place::{Place, ours};

/// Limit for whatever should be soon.
const LONG: Duration = Duration::from_mins(1);

/// The application. It may live in this process because the daemon does not.
struct Application(Connection);

impl Application {
    /// A new database in WAL mode with an empty table, or one that is there.
    fn open(db: &Path) -> Self {
        let connection = Connection::open(db).expect("a database");
        let made = connection.execute_batch(
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t(x)",
        );
        made.expect("a table");
        Self(connection)
    }

    /// Commits `count` rows, one by one.
    fn insert(&self, count: u64) {
        for _ in 0..count {
            let done = self.0.execute("INSERT INTO t VALUES(randomblob(100))", []);
            done.expect("a commit");
        }
    }
}

/// Rows of the application in a database that nobody uses.
fn rows(db: &Path) -> u64 {
    let view = View::open(db, Access::Rest).expect("a database");
    let count = view
        .connection()
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0));
    count.expect("the table")
}

/// Rows of the newest state in the replica at `replica`.
fn restored_rows(place: &Place, replica: &Path) -> u64 {
    let out = place.path("restored-rows");
    let source = Source::Replica(replica.to_owned());
    let restored = ours().restore(&source, &out, &RestoreTarget::Latest);
    restored.unwrap_or_else(|failure| panic!("{failure}"));
    let count = rows(&out);
    std::fs::remove_file(&out).expect("the restored file goes");
    count
}
