//! The way of a staged body to the server: its time, its pace, and what it leaves.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use litestream_storage::{Clock, RandomJitter, Retry, RetryPolicy, Retrying};
use testkit::server::stand_in::Misdeed;

use super::{Dav, is_unfinished};
use crate::place::{Place as _, content, patient, put, stream_of, tries};

/// A clock that stands until it is moved on.
#[derive(Debug, Default)]
struct Standing {
    state: Mutex<Hands>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Hands {
    now: Duration,
    sleepers: Vec<(Duration, tokio::sync::oneshot::Sender<()>)>,
}

impl Standing {
    /// Moves on once somebody sleeps, or when nobody does for long.
    fn advance(&self, by: Duration) {
        let hands = self.state.lock().expect("not poisoned");
        let long = Duration::from_secs(10);
        let is_idle = |hands: &mut Hands| {
            hands.sleepers.retain(|(_, sleeper)| !sleeper.is_closed());
            hands.sleepers.is_empty()
        };
        let waited = self.changed.wait_timeout_while(hands, long, is_idle);
        let (mut hands, _) = waited.expect("not poisoned");
        hands.now += by;
        let now = hands.now;
        for (_, sleeper) in hands.sleepers.extract_if(.., |(until, _)| *until <= now) {
            // Whoever slept may have been dropped.
            let _ = sleeper.send(());
        }
    }
}

impl Clock for Standing {
    fn now_ms(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().expect("not poisoned").now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut hands = self.state.lock().expect("not poisoned");
        let (sleeper, woken) = tokio::sync::oneshot::channel();
        let until = hands.now.saturating_add(duration);
        hands.sleepers.push((until, sleeper));
        self.changed.notify_all();
        woken.map(drop).boxed()
    }
}

#[tokio::test]
async fn a_stream_has_time_for_its_size_to_be_sent() {
    let dav = Dav::start();
    let policy = RetryPolicy {
        in_flight: u64::MAX,
        min_rate: 4000,
        ..tries(1)
    };
    let clock = Arc::new(Standing::default());
    let time: Arc<dyn Clock> = Arc::<Standing>::clone(&clock);
    let retrying = Retrying::with(policy.clone(), time, Arc::new(RandomJitter));
    let store = Retry::new(dav.open(patient(), policy), retrying);
    // Makes the folders.
    put(&store, "first", vec![7; 5]).await.expect("stored");
    dav.server().when(move |asked| {
        if asked.method == "PUT" && is_unfinished(&asked.path) {
            // Ten minutes.
            for _ in 0..10 {
                clock.advance(Duration::from_mins(1));
            }
        }
        None
    });
    // In memory, and in a file.
    for len in [3 << 20, 5 << 20] {
        let all = content(len);
        let stored = put(&store, "large", stream_of(&all)).await;
        assert_eq!(stored.expect("it has the time").size, len as u64);
    }
}

/// Waits until so many files are being written, or seem to be.
async fn unfinished(dav: &Dav, count: usize) {
    let seen = async {
        while dav.unfinished() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_mins(1), seen).await;
    seen.unwrap_or_else(|_| panic!("{} instead of {count}", dav.unfinished()));
}

#[tokio::test]
async fn a_put_that_is_dropped_leaves_nothing() {
    let dav = Dav::start();
    let store = dav.bare();
    // Makes the folders.
    put(&*store, "first", vec![7; 5]).await.expect("stored");
    dav.server()
        .when(|asked| (asked.method == "PUT").then_some(Misdeed::Silence { after_effect: true }));
    let sent = put(&*store, "large", stream_of(&content(1000)));
    tokio::select! {
        stored = sent => panic!("nobody answered: {stored:?}"),
        () = unfinished(&dav, 1) => {}
    }
    unfinished(&dav, 0).await;
    assert_eq!(dav.names(), ["first"]);
}

#[tokio::test]
async fn what_a_put_could_not_remove_is_removed_after_a_later_one() {
    let dav = Dav::start();
    let store = dav.bare();
    put(&*store, "first", vec![7; 5]).await.expect("stored");
    dav.server().when(|asked| match &*asked.method {
        "PUT" => Some(Misdeed::Hangup { after_effect: true }),
        "DELETE" => Some(Misdeed::Hangup {
            after_effect: false,
        }),
        _ => None,
    });
    for _ in 0..3 {
        put(&*store, "large", vec![7; 5]).await.expect_err("broken");
    }
    assert_eq!(dav.unfinished(), 3);
    dav.server().behave();
    put(&*store, "second", vec![7; 5]).await.expect("stored");
    unfinished(&dav, 0).await;
    assert_eq!(dav.names(), ["first", "second"]);
}
