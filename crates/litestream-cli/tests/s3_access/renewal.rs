//! Credentials that end while the daemon runs.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::process::wait_for;

use super::bucket::{BUCKET, Bucket};
use super::place::{Place, Settings, ours};
use super::sources::Sources;

/// Limit for whatever should be soon.
const LONG: Duration = Duration::from_mins(2);

fn live(place: &Place) -> Value {
    let mut list = ours().live(place.socket()).expect("status");
    list[0]["replicas"][0].take()
}

#[test]
fn credentials_that_ended_are_found_anew() {
    let (bucket, sources, place) = (Bucket::start(), Sources::start(), Place::new());
    let home = tempfile::tempdir().expect("folder");
    place.configure(&Settings {
        top: json!({"shutdown-sync-timeout": "0s"}),
        db: json!({"monitor-interval": "10ms"}),
        replica: json!({
            "type": "s3", "bucket": BUCKET, "path": "app", "region": "us-east-1",
            "endpoint": bucket.endpoint(), "sync-interval": "10ms",
        }),
    });
    let app = Connection::open(place.db()).expect("a database");
    app.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
        .expect("a table");
    let commit = || app.execute("INSERT INTO t VALUES(randomblob(500))", []);
    let program = sources
        .on_machine(&ours())
        .with_variable("HOME", home.path().to_str().expect("UTF-8"));
    bucket.state().admits = Some("MACHINE1".to_owned());
    let mut daemon = place.start(&program);
    let sync = || ours().sync_wait(place.socket(), &place.db());
    sync().expect("replicated");

    // They end, and the machine has new ones.
    sources.rotate(2);
    bucket.state().admits = Some("MACHINE2".to_owned());
    commit().expect("a commit");
    sync().expect("renewed at once");

    // They end, and nobody gives out new ones for a while.
    sources.give_role(false);
    sources.rotate(3);
    bucket.state().admits = Some("MACHINE3".to_owned());
    commit().expect("a commit");
    let cause = wait_for(LONG, "the state to say so", || {
        let status = live(&place);
        let cause = status["cause"].as_str().unwrap_or_default().to_owned();
        // Before the first try has failed they just wait.
        cause.contains("access denied").then_some(cause)
    });
    let cause = cause.expect("said");
    assert!(cause.contains("no credentials found"), "{cause}");
    let objects = bucket.state().objects.len();
    sources.give_role(true);
    // By itself: nobody asks it to.
    wait_for(LONG, "the commit in the bucket", || {
        (bucket.state().objects.len() > objects).then_some(())
    })
    .expect("it goes on");
    wait_for(LONG, "the state to be good again", || {
        live(&place)["cause"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
            .then_some(())
    })
    .expect("good again");
    daemon.stop(LONG).expect("a clean end");
    let log = daemon.log().expect("a log");
    for secret in ["token of MACHINE", "\"secret\""] {
        assert!(!log.contains(secret), "{secret} shows in the log:\n{log}");
    }
}
