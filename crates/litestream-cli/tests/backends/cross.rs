//! The story: a program replicates several states, over more than one level; another program
//! restores the newest, one in the middle by its transaction, and one by its time.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::hash::{Access, View};
use testkit::process::wait_until;
use testkit::program::{Program, RestoreTarget, Source};

use super::place::{Place, Settings, ours};

/// Limit for whatever should be soon.
const LONG: Duration = Duration::from_mins(2);
/// States that are recorded.
const STATES: usize = 4;
/// Rows of each state.
const ROWS: u64 = 20;

/// A state that must be found again.
struct State {
    txid: u64,
    /// A moment after it and before the next.
    time: String,
    rows: u64,
}

/// Runs the story with a replica that is configured as `replica` says.
pub(crate) fn tell(replica: &Value, writer: &Program, reader: &Program) {
    tell_with(replica, &ours(), writer, reader);
}

/// The same with a program of ours to look at the replica, which may need an environment.
pub(crate) fn tell_with(replica: &Value, viewer: &Program, writer: &Program, reader: &Program) {
    let place = Place::new();
    let connection = Connection::open(place.db()).expect("a database");
    connection
        .execute_batch("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
        .expect("a table");
    // Whoever reads lists the configuration as well: nothing in it may be of one program only.
    let config = place.configure(&Settings {
        top: json!({
            "levels": [{"interval": "100ms"}, {"interval": "300ms"}],
            "snapshot": {"interval": "500ms"},
        }),
        db: json!({"monitor-interval": "10ms"}),
        replica: replica.clone(),
    });
    let mut daemon = place.start(writer);
    // The base alone is on no level of ours between 0 and that of the snapshots.
    ours()
        .sync_wait(place.socket(), &place.db())
        .expect("the base is replicated");
    let states: Vec<State> = (1..=STATES as u64)
        .map(|number| {
            let state = advance(&place, &connection, number);
            let what = format!("a compacted file that reaches {}", state.txid);
            wait_until(LONG, &what, || {
                reaches(viewer, &config, &place.db(), 1, state.txid)
            })
            .expect(&what);
            state
        })
        .collect();
    wait_until(LONG, "a file on level 2", || {
        reaches(viewer, &config, &place.db(), 2, 1)
    })
    .expect("level 2");
    daemon.stop(LONG).expect("a clean end");

    for (number, state) in states.iter().enumerate() {
        let txid = RestoreTarget::Txid(format!("{:016x}", state.txid));
        let time = RestoreTarget::Timestamp(state.time.clone());
        for target in [txid, time] {
            let found = restored(&place, reader, &format!("state-{number}"), &target);
            assert_eq!(found, state.rows, "{target:?}");
        }
    }
    let newest = restored(&place, reader, "newest", &RestoreTarget::Latest);
    assert_eq!(newest, ROWS * STATES as u64);
}

/// Commits some rows and has them replicated.
fn advance(place: &Place, connection: &Connection, number: u64) -> State {
    for _ in 0..ROWS {
        connection
            .execute("INSERT INTO t VALUES(randomblob(500))", [])
            .expect("a commit");
    }
    // The socket of either program understands this.
    let synced = ours()
        .sync_wait(place.socket(), &place.db())
        .expect("replicated");
    // SFTP and WebDAV servers keep whole seconds: the next state is to fall into another one.
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let next = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs() + 1);
    wait_until(LONG, "the next second", || SystemTime::now() >= next).expect("time goes on");
    State {
        txid: synced.replica_txid,
        time: rfc3339(next - Duration::from_millis(1)),
        rows: number * ROWS,
    }
}

/// Whether the replica has a file of a level with this transaction, or a later one.
fn reaches(viewer: &Program, config: &Path, db: &Path, level: u8, txid: u64) -> bool {
    let level = level.to_string();
    let config = config.to_str().expect("UTF-8");
    let db = db.to_str().expect("UTF-8");
    let listed = viewer.run(["ltx", "-json", "-level", &level, "-config", config, db]);
    let listed = listed.unwrap_or_else(|failure| panic!("{failure}")).stdout;
    let files: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    files.iter().any(|file| {
        let text = file["max_txid"].as_str().expect("text");
        u64::from_str_radix(text, 16).expect("a transaction") >= txid
    })
}

fn restored(place: &Place, reader: &Program, name: &str, target: &RestoreTarget) -> u64 {
    let out = place.path(name);
    let source = Source::Config {
        config: place.path("litestream.yml"),
        db: place.db(),
    };
    reader
        .restore(&source, &out, target)
        .unwrap_or_else(|failure| panic!("{target:?}: {failure}"));
    let view = View::open(&out, Access::Rest).expect("a database");
    let rows = view
        .connection()
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .expect("the table");
    drop(view);
    std::fs::remove_file(&out).expect("the restored file goes");
    rows
}

fn rfc3339(time: SystemTime) -> String {
    let connection = Connection::open_in_memory().expect("a database");
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let seconds = format!("{}.{:03}", since.as_secs(), since.subsec_millis());
    let text = connection.query_row(
        "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?1, 'unixepoch')",
        [seconds],
        |row| row.get(0),
    );
    text.expect("a time")
}
