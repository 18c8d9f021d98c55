//! Two daemons on one replica: one holds the lease, the other waits, says so, and goes on after it.

use serde_json::{Value, json};
use testkit::process::wait_for;

use super::place::{Place, Settings, ours};
use super::{Application, LONG, restored_rows};

/// A daemon's place, with its replica at the place of the other.
fn configure(place: &Place, replica: &Place, owner: &str) {
    place.configure(&Settings {
        top: json!({"shutdown-sync-timeout": "0s", "lease": {"enabled": true, "ttl": "6s"}}),
        db: json!({"monitor-interval": "10ms"}),
        replica: json!({
            "path": replica.replica(),
            "sync-interval": "10ms",
            "lease": {"owner": owner},
        }),
    });
}

fn live(place: &Place) -> Value {
    let mut list = ours().live(place.socket()).expect("status");
    list[0]["replicas"][0].take()
}

#[test]
fn the_second_waits_and_goes_on_after_the_first() {
    let (one, two) = (Place::new(), Place::new());
    let (app_one, app_two) = (Application::open(&one.db()), Application::open(&two.db()));
    configure(&one, &one, "one");
    configure(&two, &one, "two");
    let mut first = one.start(&ours());
    app_one.insert(10);
    ours()
        .sync_wait(one.socket(), &one.db())
        .expect("the first replicates");
    let mut second = two.start(&ours());
    app_two.insert(20);
    let failure = ours()
        .sync_wait(two.socket(), &two.db())
        .expect_err("the second must wait");
    let failure = failure.to_string();
    assert!(
        failure.contains("waits for the lease held by one until "),
        "{failure}"
    );
    let status = live(&two);
    assert_eq!(status["lease"]["state"], "waiting", "{status}");
    assert_eq!(status["lease"]["owner"], "one", "{status}");
    let cause = status["cause"].as_str().expect("a cause");
    assert!(cause.contains("waits for the lease held by one"), "{cause}");
    let status = live(&one);
    assert_eq!(status["lease"]["generation"], 1, "{status}");
    app_one.insert(1);
    first.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&one, &one.replica()), 11);
    let held = wait_for(LONG, "the second holds the lease", || {
        (live(&two)["lease"]["state"] == "held").then_some(())
    });
    held.expect("a release is noticed");
    ours()
        .sync_wait(two.socket(), &two.db())
        .expect("the second replicates");
    assert_eq!(restored_rows(&one, &one.replica()), 20);
    second.stop(LONG).expect("a clean end");
    assert!(
        !one.replica().join("lock.json").exists(),
        "the lease was given back"
    );
}
