//! Clocks of several machines.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use litestream_storage::Clock;
use tokio::sync::watch;
use tokio::time::Instant;

/// What all clocks show at the beginning of a test, but for their skew.
pub(crate) const BEGIN: i64 = 1_772_361_045_123;

/// Tokio's paused time, with a wall clock that is wrong by so many milliseconds.
#[derive(Debug)]
pub(crate) struct Skewed {
    start: Instant,
    skew: AtomicI64,
}

impl Skewed {
    pub(crate) fn by(skew: i64) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            skew: AtomicI64::new(skew),
        })
    }

    /// Moves the wall clock alone, as a machine that slept finds it.
    pub(crate) fn jump(&self, milliseconds: i64) {
        self.skew.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for Skewed {
    fn now_ms(&self) -> i64 {
        let elapsed = self.start.elapsed().as_millis() as i64;
        BEGIN + elapsed + self.skew.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// A clock that the test alone moves, for tests that also work with threads and files.
#[derive(Debug)]
pub(crate) struct Manual(watch::Sender<Duration>);

impl Manual {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Duration::ZERO)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for Manual {
    fn now_ms(&self) -> i64 {
        BEGIN + self.0.borrow().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        *self.0.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        let end = *now.borrow() + duration;
        async move {
            if now.wait_for(|now| *now >= end).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}
