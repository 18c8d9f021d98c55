//! `restore -f`: a copy that readers in other processes can trust, whatever happens to the program.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use serde_json::json;
use testkit::prefix::{Load, Prefix};
use testkit::process::Child;
use testkit::writer::PrefixWriter;

use super::place::{Place, Settings, ours};
use super::{Application, LONG, rows};

#[path = "../shared/follower.rs"]
mod follower;
use follower::follow;

/// How often the follower is killed.
const KILLS: u64 = 10;

/// A place whose daemon captures all the time, and compacts and forgets soon.
fn brisk() -> Place {
    let place = Place::new();
    place.configure(&Settings {
        top: json!({
            "levels": [{"interval": "1s"}, {"interval": "2s"}],
            "snapshot": {"interval": "2s", "retention": "4s"},
            "l0-retention": "1s",
            "l0-retention-check-interval": "500ms",
        }),
        db: json!({"monitor-interval": "20ms", "min-checkpoint-page-count": 50}),
        replica: json!({"sync-interval": "20ms"}),
    });
    place
}

/// Reads the copy over and over through one connection, and proves each state that it sees.
fn read_along(prefix: &Prefix, copy: &Path, seen: &AtomicU64, end: &AtomicBool) {
    let reader = Connection::open(copy).expect("the copy");
    reader.busy_timeout(LONG).expect("busy timeout");
    let mut before = 0;
    while !end.load(Ordering::Relaxed) {
        let state = prefix.proves_of(&reader);
        let state = state.unwrap_or_else(|damage| panic!("behind {before}: {damage}"));
        assert!(state >= before, "from {before} back to {state}");
        before = state;
        seen.store(state, Ordering::Relaxed);
    }
}

fn wait_seen(seen: &AtomicU64, least: u64, follower: &mut Child) {
    let done = follower.wait_while_alive(LONG, &format!("state {least} of the copy"), |_| {
        Ok(seen.load(Ordering::Relaxed) >= least)
    });
    done.expect("the copy gets on");
}

/// `kill -9` at any moment; the reader never sees a torn state, and the copy never goes back.
#[test]
fn readers_see_committed_states_only_though_the_follower_is_killed() {
    let place = brisk();
    let prefix = Prefix::new(11);
    let load = Load {
        rate: Some(200.0),
        ..Load::new(prefix, place.db(), place.path("progress"))
    };
    let mut writer = PrefixWriter::start(&load).expect("the application starts");
    writer.wait_committed(20, LONG).expect("load");
    let mut daemon = place.start(&ours());
    let copy = place.path("copy");
    ours()
        .sync_wait(place.socket(), &place.db())
        .expect("the daemon replicates");
    let mut running = follow(&ours(), &place.replica(), &copy);
    running
        .wait_for_log(LONG, "entering follow mode")
        .expect("a copy");
    let (seen, end) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_along(&prefix, &copy, &seen, &end));
        for round in 0..KILLS {
            // Some kills come at once, others after a while of following.
            let least = seen.load(Ordering::Relaxed) + 1 + round * 7 % 40;
            wait_seen(&seen, least, &mut running);
            running.kill_9().expect("it runs until it is killed");
            assert!(!reader.is_finished(), "the reader failed");
            if round % 3 == 2 {
                // Away long enough for level 0 to be compacted and forgotten.
                let goal = writer.progress().expect("progress").committed + 400;
                writer.wait_committed(goal, LONG).expect("load");
            }
            running = follow(&ours(), &place.replica(), &copy);
        }
        let total = writer.stop().expect("the application ends").last;
        daemon.stop(LONG).expect("a clean end");
        wait_seen(&seen, total, &mut running);
        end.store(true, Ordering::Relaxed);
        reader.join().expect("no torn state");
    });
    let status = running.terminate(LONG).expect("it ends");
    assert_eq!(status.code(), Some(0), "{status}");
    let log = running.log().expect("log");
    for line in [
        "resuming follow mode from crash recovery",
        "entering follow mode",
        "follow: applied updates",
        "follow mode stopped",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

/// Both signals end it well; the flags that go with `-f` do what they say.
#[test]
fn flags_and_signals() {
    let place = Place::new();
    let copy = place.path("copy");
    let url = testkit::program::file_url(&place.replica());
    let with = |words: &[&str]| {
        let mut args: Vec<std::ffi::OsString> = vec!["restore".into(), "-f".into()];
        args.extend(words.iter().map(Into::into));
        args.extend(["-o".into(), copy.clone().into_os_string(), url.clone()]);
        args
    };
    let failure = ours().run(with(&[])).expect_err("an empty replica");
    assert!(
        failure
            .stderr
            .contains("no matching backup files available"),
        "{failure}"
    );
    ours()
        .run(with(&["-if-replica-exists"]))
        .expect("nothing to do");
    Application::open(&place.db()).insert(3);
    ours()
        .replicate_once(&place.db(), &place.replica())
        .expect("a replica");
    for (words, signal) in [
        (
            &["-json", "-integrity-check", "full"][..],
            rustix::process::Signal::INT,
        ),
        (
            &["-follow-interval", "0s", "-force"],
            rustix::process::Signal::TERM,
        ),
    ] {
        let mut command = ours().command();
        command.args(with(words));
        let silent = testkit::process::Conversation::Silent;
        let mut running = Child::spawn("restore -f", &mut command, silent).expect("it starts");
        running.wait_for_log(LONG, "interval=1s").expect("a copy");
        running.signal(signal).expect("a signal");
        let status = running.wait_exit(LONG).expect("an end");
        assert_eq!(status.code(), Some(0), "{status}");
        let log = running.log().expect("log");
        if words.contains(&"-json") {
            assert!(log.contains("post-restore integrity check passed"), "{log}");
            assert!(
                log.contains(r#""txid""#) && log.contains(r#""duration_ms""#),
                "{log}"
            );
        } else {
            assert!(log.contains("resuming follow mode"), "{log}");
        }
    }
    ours()
        .run(with(&["-if-db-not-exists"]))
        .expect("nothing to do");
    assert_eq!(rows(&copy), 3);
    let other = Connection::open(&copy).expect("the copy");
    other.execute_batch("DELETE FROM t").expect("a deed");
    drop(other);
    let failure = ours().run(with(&[])).expect_err("another writer");
    assert_eq!(failure.status, Some(1), "{failure}");
    assert!(
        failure.stderr.contains("written by another program")
            && failure.stderr.contains("delete it"),
        "{failure}"
    );
}
