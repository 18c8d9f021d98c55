//! A bucket that refuses everything for a while, or forgets what it did, while the daemon runs.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::process::wait_for;

use super::bucket::{BUCKET, Bucket, Weather};
use super::place::{Place, Settings, ours};

/// Limit for whatever should be soon.
const LONG: Duration = Duration::from_mins(2);

fn live(place: &Place) -> Value {
    let mut list = ours().live(place.socket()).expect("status");
    list[0]["replicas"][0].take()
}

fn rows(db: &Path) -> u32 {
    let db = Connection::open(db).expect("a database");
    let count = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
    count.expect("a table")
}

#[test]
fn storms_are_seen_and_lose_nothing() {
    let (bucket, place) = (Bucket::start(), Place::new());
    let config = place.configure(&Settings {
        db: json!({"monitor-interval": "10ms"}),
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": bucket.endpoint(), "access-key-id": "K", "secret-access-key": "s",
            "sync-interval": "10ms",
        }),
        ..Settings::default()
    });
    let app = Connection::open(place.db()).expect("a database");
    app.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
        .expect("a table");
    let mut daemon = place.start(&ours());
    ours().sync_wait(place.socket(), &place.db()).expect("sync");

    let storms = [503, 429].map(Weather::Refusing);
    for (number, weather) in (1..).zip([storms[0], storms[1], Weather::Forgetful]) {
        let begin = bucket.state().struck;
        bucket.state().weather = Some(weather);
        app.execute("INSERT INTO t VALUES(randomblob(500))", [])
            .expect("a commit: the application is not held up");
        wait_for(LONG, "tries in the storm", || {
            (bucket.state().struck >= begin + 3).then_some(())
        })
        .expect("it is tried again");
        let status = live(&place);
        assert!(status["lag_transactions"].as_u64() > Some(0), "{status}");
        bucket.state().weather = None;
        // By itself: nobody asks it to.
        wait_for(LONG, "the end of the lag", || {
            (live(&place)["lag_transactions"] == 0).then_some(())
        })
        .unwrap_or_else(|error| panic!("{weather:?}: {error}"));
        let copy = place.path(&format!("copy-{number}"));
        let words = ["restore", "-config"].map(Path::new);
        let paths = [&*config, Path::new("-o"), &copy, &place.db()];
        ours()
            .run(words.into_iter().chain(paths))
            .unwrap_or_else(|failure| panic!("{weather:?}: {failure}"));
        assert_eq!(rows(&copy), number, "{weather:?}");
    }
    daemon.stop(LONG).expect("a clean end");
}
