//! A lease in a bucket: two daemons, of which one writes; a crash, a theft, and a service that
//! cannot hold one.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::hash::{Access, View};
use testkit::process::wait_for;
use testkit::program::{RestoreTarget, Source, Start};
use testkit::server::{Answer, Moto, RcloneS3, S3_ACCESS_KEY, S3_SECRET_KEY, ask};

use super::place::{Place, Settings, ours};

const BUCKET: &str = "bkt";
/// Limit for whatever should be soon.
const LONG: Duration = Duration::from_mins(2);

fn replica(endpoint: &str, key: &str, secret: &str, owner: &str) -> Value {
    json!({
        "type": "s3", "bucket": BUCKET, "path": "app", "endpoint": endpoint,
        "region": "us-east-1", "access-key-id": key, "secret-access-key": secret,
        "sync-interval": "10ms", "lease": {"owner": owner},
    })
}

/// A machine with a database of its own and the replica of all.
struct Machine {
    place: Place,
    app: Connection,
}

impl Machine {
    fn new(endpoint: &str, owner: &str) -> Self {
        let place = Place::new();
        place.configure(&Settings {
            top: json!({"shutdown-sync-timeout": "0s", "lease": {"enabled": true, "ttl": "6s"}}),
            db: json!({"monitor-interval": "10ms"}),
            replica: replica(endpoint, "x", "y", owner),
        });
        let app = Connection::open(place.db()).expect("a database");
        app.execute_batch(
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; CREATE TABLE t(owner)",
        )
        .expect("a table");
        let machine = Self { place, app };
        machine.commit(owner);
        machine
    }

    fn commit(&self, owner: &str) {
        let inserted = self.app.execute("INSERT INTO t VALUES(?1)", [owner]);
        inserted.expect("a commit");
    }

    fn sync(&self) -> anyhow::Result<()> {
        let synced = ours().sync_wait(self.place.socket(), &self.place.db());
        synced.map(drop)
    }

    fn lease(&self) -> Value {
        let socket = self.place.socket().to_str().expect("UTF-8");
        let done = ours().run(["status", "-live", "-json", "-socket", socket]);
        let done = done.unwrap_or_else(|failure| panic!("{failure}"));
        let mut list: Vec<Value> = serde_json::from_str(&done.stdout).expect("JSON");
        list.remove(0)["replicas"][0]["lease"].take()
    }

    fn wait_lease(&self, state: &str) -> Value {
        let what = format!("the lease to be {state}");
        let found = wait_for(LONG, &what, || {
            Some(self.lease()).filter(|lease| lease["state"] == state)
        });
        found.expect("in time")
    }

    /// Whose rows a restore gives, and how many.
    fn restored(&self) -> (Vec<String>, u64) {
        let out = self.place.path("restored");
        let source = Source::Config {
            config: self.place.path("litestream.yml"),
            db: self.place.db(),
        };
        let restored = ours().restore(&source, &out, &RestoreTarget::Latest);
        restored.unwrap_or_else(|failure| panic!("{failure}"));
        let view = View::open(&out, Access::Rest).expect("a database");
        let found = {
            let connection = view.connection();
            let mut owners = connection
                .prepare("SELECT DISTINCT owner FROM t ORDER BY 1")
                .expect("a table");
            let owners = owners.query_map([], |row| row.get(0)).expect("rows");
            let owners = owners.collect::<Result<_, _>>().expect("rows");
            let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
            (owners, count.expect("rows"))
        };
        drop(view);
        std::fs::remove_file(&out).expect("the restored file goes");
        found
    }
}

fn owners(owner: &str, rows: u64) -> (Vec<String>, u64) {
    (vec![owner.to_owned()], rows)
}

/// Where the lease is.
const LOCK: &str = "/bkt/app/lock.json";

/// Asks moto as somebody: it wants to see a signature, whatever it is.
fn ask_moto(address: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    let somebody = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, \
                    SignedHeaders=host, Signature=0";
    ask(address, method, path, &[somebody], body).expect("answers")
}

/// `lock.json`, if it is there.
fn lock(address: &str) -> Option<Value> {
    let answer = ask_moto(address, "GET", LOCK, b"");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).expect("JSON"))
}

fn objects(address: &str) -> usize {
    let path = format!("/{BUCKET}?list-type=2&prefix=app/0");
    let listed = ask_moto(address, "GET", &path, b"").success();
    listed.expect("listed").body.matches("<Key>").count()
}

#[test]
fn after_a_crash_the_other_goes_on_above_what_is_there() {
    let Some(mut moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let address = moto.server().address();
    let (one, two) = (
        Machine::new(&moto.endpoint(), "one"),
        Machine::new(&moto.endpoint(), "two"),
    );
    let mut first = one.place.start(&ours());
    one.sync().expect("the first replicates");
    let lock_one = lock(&address).expect("there");
    assert_eq!(
        (&lock_one["generation"], &lock_one["owner"]),
        (&json!(1), &json!("one"))
    );
    let expires = lock_one["expires_at"].as_str().expect("a time");
    assert!(expires.contains('T') && expires.len() >= 20, "{expires}");
    assert_eq!(lock_one.as_object().expect("an object").len(), 3);

    let mut second = two.place.start(&ours());
    let waiting = two.wait_lease("waiting");
    assert_eq!(waiting["owner"], "one", "{waiting}");
    assert!(two.sync().is_err(), "the second must wait");
    one.commit("one");
    one.sync().expect("the first goes on");
    assert_eq!(one.restored(), owners("one", 2));

    first.kill_9().expect("it ran");
    let held = two.wait_lease("held");
    assert_eq!(held["generation"], 2, "{held}");
    two.sync().expect("the second replicates");
    assert_eq!(two.restored(), owners("two", 1));
    assert_eq!(lock(&address).expect("there")["owner"], "two");

    // The first comes back to a replica that is not its own any more.
    let mut first = one.place.start(&ours());
    assert_eq!(one.wait_lease("waiting")["owner"], "two");
    one.commit("one");
    two.commit("two");
    two.sync().expect("the second goes on");
    assert_eq!(two.restored(), owners("two", 2));
    second.stop(LONG).expect("a clean end");
    one.wait_lease("held");
    one.sync().expect("the first replicates again");
    assert_eq!(one.restored(), owners("one", 3));
    first.stop(LONG).expect("a clean end");
    assert_eq!(lock(&address), None, "given back");
}

#[test]
fn who_lost_the_lease_writes_nothing() {
    let Some(mut moto) = Moto::start_or_skip(BUCKET) else {
        return;
    };
    let address = moto.server().address();
    let machine = Machine::new(&moto.endpoint(), "one");
    let mut daemon = machine.place.start(&ours());
    machine.sync().expect("replicated");

    // Somebody, the reference for one, writes another lease over ours.
    let theirs =
        br#"{"generation":9,"expires_at":"2100-01-01T00:00:00.123456789+01:00","owner":"them:1"}"#;
    let put = ask_moto(&address, "PUT", LOCK, theirs);
    put.success().expect("written");
    let waiting = machine.wait_lease("waiting");
    assert_eq!(waiting["owner"], "them:1", "{waiting}");
    let before = objects(&address);
    machine.commit("one");
    let failure = machine.sync().expect_err("it may not write");
    assert!(format!("{failure:#}").contains("them:1"), "{failure:#}");
    assert_eq!(objects(&address), before, "written without the lease");
    let lock = lock(&address).expect("there");
    assert_eq!(lock["generation"], 9, "not ours to replace: {lock}");

    let gone = ask_moto(&address, "DELETE", LOCK, b"");
    gone.success().expect("deleted");
    machine.wait_lease("held");
    machine.sync().expect("it goes on by itself");
    assert_eq!(machine.restored(), owners("one", 2));
    daemon.stop(LONG).expect("a clean end");
}

#[test]
fn a_service_that_ignores_conditions_is_refused() {
    let Some(rclone) = RcloneS3::start_or_skip(BUCKET) else {
        return;
    };
    let place = Place::new();
    let config = place.configure(&Settings {
        top: json!({"lease": {"enabled": true}}),
        replica: replica(&rclone.endpoint(), S3_ACCESS_KEY, S3_SECRET_KEY, "one"),
        ..Settings::default()
    });
    let app = Connection::open(place.db()).expect("a database");
    app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
        .expect("a table");
    let failure = ours()
        .replicate_once_with(&["-once"], &Start::Config(config))
        .expect_err("no lease there");
    let said = format!("{failure:#}");
    assert!(said.contains("no conditional writes"), "{said}");
    assert!(said.contains("If-None-Match is ignored"), "{said}");
}
