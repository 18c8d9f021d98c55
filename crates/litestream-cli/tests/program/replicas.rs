//! Several replicas of one database, each with its own fate.

use serde_json::json;
use testkit::program::{Program, RestoreTarget, Source, replica_files, write_config};

use super::place::{Place, ours};
use super::{Application, LONG, restored_rows, rows};

fn configure(place: &Place, names: &[&str]) {
    let replicas: Vec<_> = names
        .iter()
        .map(|name| json!({"type": "file", "path": place.path(name), "sync-interval": "10ms"}))
        .collect();
    let config = json!({
        "socket": {"enabled": true, "path": place.socket()},
        "dbs": [{"path": place.db(), "monitor-interval": "10ms", "replicas": replicas}],
    });
    write_config(&place.path("litestream.yml"), &config).expect("configuration");
}

fn restored_from_config(place: &Place, program: &Program) -> u64 {
    let (config, db) = (place.path("litestream.yml"), place.db());
    let out = place.path("restored-from-config");
    let restored = program.restore(&Source::Config { config, db }, &out, &RestoreTarget::Latest);
    restored.unwrap_or_else(|failure| panic!("{failure}"));
    let count = rows(&out);
    std::fs::remove_file(&out).expect("the restored file goes");
    count
}

#[test]
fn each_replica_gets_everything() {
    let place = Place::new();
    let application = Application::open(&place.db());
    configure(&place, &["one", "two", "three"]);
    let mut daemon = place.start(&ours());
    application.insert(10);
    ours()
        .sync_wait(place.socket(), &place.db())
        .expect("all replicas have it");
    for name in ["one", "two", "three"] {
        assert_eq!(restored_rows(&place, &place.path(name)), 10, "{name}");
    }
    application.insert(10);
    daemon.stop(LONG).expect("a clean end");
    for name in ["one", "two", "three"] {
        assert_eq!(restored_rows(&place, &place.path(name)), 20, "{name}");
    }
    assert_eq!(restored_from_config(&place, &ours()), 20);
}

#[test]
fn a_replica_that_comes_back_catches_up() {
    let place = Place::new();
    let application = Application::open(&place.db());
    configure(&place, &["well", "ill"]);
    std::fs::write(place.path("ill"), "in the way").expect("a file");
    let mut daemon = place.start(&ours());
    for _ in 0..5 {
        application.insert(10);
        let well = place.path("well");
        let before = replica_files(&well).len();
        application.insert(1);
        // The outage of one is none of the other.
        daemon
            .wait_while_alive(LONG, "a file more in the healthy replica", |_| {
                Ok(replica_files(&well).len() > before)
            })
            .expect("the healthy replica goes on");
    }
    daemon
        .wait_for_log(LONG, "monitor error")
        .expect("the outage is told");
    // A restore by configuration takes the replica that is there.
    assert!(restored_from_config(&place, &ours()) > 0);
    std::fs::remove_file(place.path("ill")).expect("the way is free");
    daemon
        .wait_for_log(LONG, "replica sync recovered")
        .expect("it comes back");
    ours()
        .sync_wait(place.socket(), &place.db())
        .expect("both have everything");
    assert_eq!(restored_rows(&place, &place.path("ill")), 55);
    daemon.stop(LONG).expect("a clean end");
    assert_eq!(restored_rows(&place, &place.path("well")), 55);
}

/// The order of the replicas in the configuration is that in which the end visits them: one that
/// is away must not keep the last commits from those behind it.
#[test]
fn an_outage_at_the_end_takes_nothing_from_the_others() {
    let place = Place::new();
    let application = Application::open(&place.db());
    configure(&place, &["ill", "well"]);
    let limit = json!({"shutdown-sync-timeout": "300ms", "shutdown-sync-interval": "50ms"});
    let config = place.path("litestream.yml");
    let text = std::fs::read_to_string(&config).expect("configuration");
    let mut settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    settings["dbs"][0]["monitor-interval"] = json!("1h");
    settings
        .as_object_mut()
        .zip(limit.as_object())
        .map(|(settings, limit)| settings.extend(limit.clone()))
        .expect("objects");
    write_config(&config, &settings).expect("configuration");
    std::fs::write(place.path("ill"), "in the way").expect("a file");
    let mut daemon = place.start(&ours());
    application.insert(1);
    let well = place.path("well");
    daemon
        .wait_while_alive(LONG, "the first commits", |_| {
            Ok(!replica_files(&well).is_empty())
        })
        .expect("the healthy replica begins");
    // Captured at the end only: the monitor interval is long.
    application.insert(30);
    let status = daemon.terminate(LONG).expect("ends");
    assert_eq!(status.code(), Some(3), "the other replica has nothing");
    assert_eq!(restored_rows(&place, &well), 31);
}
