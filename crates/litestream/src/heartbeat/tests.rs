//! Beats come when all is well, and only then.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use ltx::{Timestamp, Txid};

use super::*;
use crate::status::{Lag, ReplicaStatus};

#[derive(Debug, Default)]
struct Receiver {
    beats: AtomicU32,
    answers: Mutex<Vec<Option<Result<(), String>>>>,
}

impl Heartbeat for Receiver {
    fn address(&self) -> &'static str {
        "test"
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), String>> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.lock().unwrap().pop();
        match answer {
            None => async { Ok(()) }.boxed(),
            Some(Some(answer)) => async { answer }.boxed(),
            Some(None) => std::future::pending().boxed(),
        }
    }
}

fn healthy() -> DatabaseStatus {
    DatabaseStatus {
        path: PathBuf::from("a.db"),
        state: State::Replicating,
        txid: Some(Txid::FIRST),
        replicas: vec![ReplicaStatus {
            kind: "file",
            state: State::Replicating,
            since: Timestamp::from_millis(0),
            cause: None,
            acknowledged: Some(Txid::FIRST),
            lag: Lag::default(),
            last_success: None,
            lease: None,
            maintenance_error: None,
        }],
    }
}

struct Bed {
    receiver: Arc<Receiver>,
    databases: Arc<Mutex<Vec<DatabaseStatus>>>,
}

impl Bed {
    fn start(interval: Duration, databases: Vec<DatabaseStatus>) -> Self {
        let receiver = Arc::new(Receiver::default());
        let databases = Arc::new(Mutex::new(databases));
        let settings = HeartbeatSettings {
            receiver: Arc::clone(&receiver) as Arc<dyn Heartbeat>,
            interval,
        };
        let shown = Arc::clone(&databases);
        tokio::spawn(run(move || Some(shown.lock().unwrap().clone()), settings));
        Self {
            receiver,
            databases,
        }
    }

    /// Beats so far, `seconds` later.
    async fn beats_after(&self, seconds: u64) -> u32 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.receiver.beats.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn beats_at_the_first_check_and_then_once_an_interval() {
    let bed = Bed::start(Duration::from_mins(5), vec![healthy()]);
    assert_eq!(bed.beats_after(14).await, 0);
    assert_eq!(bed.beats_after(2).await, 1);
    assert_eq!(bed.beats_after(298).await, 1);
    assert_eq!(bed.beats_after(3).await, 2);
    assert_eq!(bed.beats_after(3000).await, 12);
}

#[tokio::test(start_paused = true)]
async fn an_interval_below_a_minute_is_a_minute() {
    let bed = Bed::start(Duration::from_secs(1), vec![healthy()]);
    assert_eq!(bed.beats_after(16).await, 1);
    assert_eq!(bed.beats_after(58).await, 1);
    assert_eq!(bed.beats_after(3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_or_hangs_is_not_asked_sooner() {
    let bed = Bed::start(Duration::from_mins(1), vec![healthy()]);
    *bed.receiver.answers.lock().unwrap() = vec![None, Some(Err("status 500".to_owned()))];
    assert_eq!(bed.beats_after(16).await, 1);
    assert_eq!(bed.beats_after(58).await, 1);
    // The second one hangs, and is given up.
    assert_eq!(bed.beats_after(3).await, 2);
    assert_eq!(bed.beats_after(62).await, 3);
}

#[tokio::test(start_paused = true)]
async fn no_beat_while_anything_is_wrong() {
    type Wrong = fn(&mut DatabaseStatus);
    let wrongs: [Wrong; 4] = [
        |database| database.replicas[0].acknowledged = None,
        |database| database.replicas[0].lag.time = Duration::from_mins(5),
        |database| database.replicas[0].state = State::Behind,
        |database| database.replicas[0].state = State::Failed,
    ];
    for wrong in wrongs {
        let mut bad = healthy();
        wrong(&mut bad);
        let bed = Bed::start(Duration::from_mins(5), vec![healthy(), bad]);
        assert_eq!(bed.beats_after(1000).await, 0);
        *bed.databases.lock().unwrap() = vec![healthy(), healthy()];
        assert_eq!(bed.beats_after(16).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn disabled_databases_do_not_count() {
    let mut disabled = healthy();
    disabled.state = State::Disabled;
    disabled.replicas[0].state = State::Disabled;
    disabled.replicas[0].acknowledged = None;
    let bed = Bed::start(Duration::from_mins(5), vec![disabled.clone()]);
    assert_eq!(bed.beats_after(1000).await, 0);
    let bed = Bed::start(Duration::from_mins(5), vec![healthy(), disabled]);
    assert_eq!(bed.beats_after(16).await, 1);
    let bed = Bed::start(Duration::from_mins(5), Vec::new());
    assert_eq!(bed.beats_after(1000).await, 0);
}
