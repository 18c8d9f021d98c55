//! The control socket and its commands.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use testkit::process::{Failure, Finished};
use testkit::program::{file_url, write_config};

use super::place::{Place, Settings, ours};
use super::{Application, LONG, restored_rows};

/// `COMMAND -socket S OPTIONS ARGS`
fn control(place: &Place, command: &[&str], db: Option<&Path>) -> Result<Finished, Failure> {
    let (name, options) = command.split_first().expect("a command");
    let mut words: Vec<OsString> = vec![name.into(), "-socket".into(), place.socket().into()];
    words.extend(options.iter().map(OsString::from));
    words.extend(db.map(Into::into));
    ours().run(words)
}

fn said(place: &Place, command: &[&str], db: Option<&Path>) -> Value {
    let done = control(place, command, db).unwrap_or_else(|failure| panic!("{failure}"));
    serde_json::from_str(&done.stdout).expect("JSON")
}

/// What the daemon answers to a request without a body.
fn get(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("a connection");
    stream.set_read_timeout(Some(LONG)).expect("a limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the request goes");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the answer comes");
    answer
}

#[test]
fn every_command_is_answered() {
    let place = Place::new();
    let application = Application::open(&place.db());
    place.configure(&Settings::default());
    let mut daemon = place.start(&ours());
    let mode = std::fs::metadata(place.socket())
        .expect("socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let db = place.db();
    let path = db.to_str().expect("UTF-8").to_owned();
    application.insert(3);

    let synced = said(&place, &["sync", "-wait", "-json"], Some(&db));
    assert_eq!(synced["db_path"], path.as_str());
    assert_eq!(synced["txid"], synced["replica_txid"]);
    let txid = synced["txid"].as_u64().expect("a number");
    assert!(txid > 0);
    let answer = get(place.socket(), &format!("/txid?path={path}"));
    assert!(
        answer.ends_with(&format!("{{\"txid\":{txid}}}\n")),
        "{answer}"
    );

    let info = said(&place, &["info", "-json"], None);
    assert_eq!(info["pid"], daemon.pid());
    assert_eq!(info["database_count"], 1);
    let list = said(&place, &["list", "-json"], None);
    assert_eq!(list["databases"][0]["path"], path.as_str());
    assert_eq!(list["databases"][0]["status"], "replicating");

    let stopped = said(&place, &["stop", "-json"], Some(&db));
    assert_eq!(stopped["status"], "stopped", "{stopped}");
    application.insert(2);
    let refused = control(&place, &["sync"], Some(&db)).expect_err("it is stopped");
    assert!(refused.stderr.contains("database not open"), "{refused}");
    assert_eq!(restored_rows(&place, &place.replica()), 3);
    let started = said(&place, &["start", "-json"], Some(&db));
    assert_eq!(started["status"], "started", "{started}");
    said(&place, &["sync", "-wait", "-json"], Some(&db));
    assert_eq!(restored_rows(&place, &place.replica()), 5);
    daemon.stop(LONG).expect("a clean end");
    assert!(!place.socket().exists(), "the socket is still there");
}

#[test]
fn databases_come_and_go() {
    let place = Place::new();
    Application::open(&place.db()).insert(1);
    let (db, replica) = (place.path("other"), place.path("other-replica"));
    let application = Application::open(&db);
    application.insert(4);
    place.configure(&Settings::default());
    let mut daemon = place.start(&ours());
    let url = file_url(&replica);
    let url = url.to_str().expect("UTF-8");
    let command = ["register", "-json", "-replica", url];
    let registered = said(&place, &command, Some(&db));
    assert_eq!(registered["status"], "registered", "{registered}");
    let again = said(&place, &command, Some(&db));
    assert_eq!(again["status"], "already_registered", "{again}");
    said(&place, &["sync", "-wait", "-json"], Some(&db));
    assert_eq!(restored_rows(&place, &replica), 4);
    application.insert(3);
    let gone = said(&place, &["unregister", "-json"], Some(&db));
    assert_eq!(gone["status"], "unregistered", "{gone}");
    // What was committed before is in the replica, what comes after is nobody's.
    assert_eq!(restored_rows(&place, &replica), 7);
    let refused = control(&place, &["sync"], Some(&db)).expect_err("it is unknown");
    assert!(refused.stderr.contains("database not found"), "{refused}");
    let again = said(&place, &["unregister", "-json"], Some(&db));
    assert_eq!(again["status"], "already_unregistered", "{again}");
    daemon.stop(LONG).expect("a clean end");
}

#[test]
fn a_socket_in_use_is_not_taken_away() {
    let place = Place::new();
    Application::open(&place.db()).insert(1);
    place.configure(&Settings::default());
    let mut first = place.start(&ours());
    let other = json!({
        "socket": {"enabled": true, "path": place.socket()},
        "dbs": [{"path": place.path("other"),
                 "replica": {"type": "file", "path": place.path("other-replica")}}],
    });
    let config = place.path("other.yml");
    write_config(&config, &other).expect("configuration");
    let start = testkit::program::Start::Config(config);
    let mut second = ours().daemon(&start).expect("starts");
    second.wait_ready().expect("ready without a socket");
    let log = second.log().expect("log");
    assert!(
        log.contains("level=WARN msg=\"failed to start control server\""),
        "{log}"
    );
    assert_eq!(said(&place, &["info", "-json"], None)["pid"], first.pid());
    second.stop(LONG).expect("a clean end");
    assert_eq!(said(&place, &["info", "-json"], None)["pid"], first.pid());
    // One that a dead daemon left is replaced.
    first.kill_9().expect("runs");
    let mut third = place.start(&ours());
    assert_eq!(said(&place, &["info", "-json"], None)["pid"], third.pid());
    third.stop(LONG).expect("a clean end");
}

/// Who can connect can ask for any database of the configuration: the socket comes after them.
#[test]
fn the_socket_opens_when_all_databases_are_known() {
    let place = Place::new();
    let dbs: Vec<_> = (0..300)
        .map(|number| {
            json!({"path": place.path(&format!("db-{number}")),
                   "replica": {"type": "file", "path": place.path(&format!("replica-{number}"))}})
        })
        .collect();
    let config = json!({"socket": {"enabled": true, "path": place.socket()}, "dbs": dbs});
    write_config(&place.path("litestream.yml"), &config).expect("configuration");
    let mut daemon = place.start(&ours());
    let last = place.path("db-299");
    let answer = get(place.socket(), &format!("/txid?path={}", last.display()));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    daemon.stop(LONG).expect("a clean end");
}
