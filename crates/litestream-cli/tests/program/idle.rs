//! A daemon whose databases rest does nothing: no file, no line, hardly a wake-up.

use std::time::Duration;

use serde_json::json;
use testkit::process::wait_until;
use testkit::program::{Daemon, replica_files};

use super::place::{Place, Settings, ours};
use super::{Application, LONG, restored_rows};

/// How long is looked.
const WINDOW: Duration = Duration::from_secs(3);
/// Wake-ups of all threads together in one window that are taken for nothing.
const MOST_WAKE_UPS: u64 = 12;
/// Read and write calls in one window that are taken for nothing.
const MOST_CALLS: u64 = 12;

/// What the kernel counted of a process.
#[derive(Debug, Clone, Copy)]
struct Counts {
    calls: u64,
    wake_ups: u64,
}

impl Counts {
    fn of(daemon: &Daemon) -> Self {
        let folder = format!("/proc/{}", daemon.pid());
        let io = std::fs::read_to_string(format!("{folder}/io")).expect("counts of the kernel");
        let calls = number(&io, "syscr:") + number(&io, "syscw:");
        let tasks = std::fs::read_dir(format!("{folder}/task")).expect("threads");
        let wake_ups = tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
            .map(|status| number(&status, "voluntary_ctxt_switches:"))
            .sum();
        Self { calls, wake_ups }
    }

    /// What was added in one window.
    fn of_window(daemon: &Daemon) -> Self {
        let before = Self::of(daemon);
        // Not a wait for anything: the length of the observation.
        std::thread::sleep(WINDOW);
        let after = Self::of(daemon);
        Self {
            calls: after.calls - before.calls,
            // Threads that have ended took their counts with them.
            wake_ups: after.wake_ups.saturating_sub(before.wake_ups),
        }
    }

    fn is_rest(self) -> bool {
        self.calls <= MOST_CALLS && self.wake_ups <= MOST_WAKE_UPS
    }
}

fn number(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .expect(name)
}

#[test]
fn a_resting_database_costs_nothing() {
    let place = Place::new();
    let application = Application::open(&place.db());
    // Compactions and snapshots are due at once, not at some moment of the observation.
    place.configure(&Settings {
        top: json!({"levels": [{"interval": "1s"}], "snapshot": {"interval": "1s"}}),
        ..Settings::default()
    });
    let mut daemon = place.start(&ours());
    application.insert(20);
    ours()
        .sync_wait(place.socket(), &place.db())
        .expect("everything is replicated");
    // What is still due after the last commit comes to its end: two windows are longer than any
    // timer that is running then.
    let mut resting = 0;
    wait_until(LONG, "rest", || {
        let is_rest = Counts::of_window(&daemon).is_rest();
        resting = if is_rest { resting + 1 } else { 0 };
        resting == 2
    })
    .expect("rest");
    let (files, log) = (replica_files(&place.replica()), daemon.log().expect("log"));
    let meta = replica_files(&place.path(".db-litestream"));
    let counts = Counts::of_window(&daemon);
    assert!(counts.is_rest(), "{counts:?}");
    assert_eq!(replica_files(&place.replica()), files);
    assert_eq!(replica_files(&place.path(".db-litestream")), meta);
    assert_eq!(daemon.log().expect("log"), log);
    // It rests, but it does not sleep too well.
    application.insert(1);
    let replica = place.replica();
    daemon
        .wait_while_alive(LONG, "the file of a new commit", |_| {
            let now = replica_files(&replica);
            // Not one that is still being written.
            let whole = now
                .iter()
                .filter(|file| file.extension().is_some_and(|it| it == "ltx"));
            Ok(whole.count() > files.len())
        })
        .expect("the commit is seen");
    daemon.kill_9().expect("runs");
    assert_eq!(restored_rows(&place, &place.replica()), 21);
}
