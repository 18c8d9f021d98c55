//! The capture loop of one database: waits for signs of commits, keeps the pace, backs off.
//!
//! The first commit after quiet is captured at once; while commits keep coming, captures are at
//! least the monitor interval apart. Nothing is due while nothing happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::cycle::{Cycle, Purpose, backoff};
use super::lookout::Lookout;
use crate::error::{Error, ErrorKind};
use crate::watcher::{DATABASE_WRITTEN, LOOK_NOW, OVERDUE, REST, WAL_WRITTEN};

/// A commit becomes visible some time after its bytes are written: the writer may wait for its
/// disk in between. The wal-index is looked at again after these times, each half as long again: so
/// a commit is seen late by a third of the time that it took at most.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(256);
/// The second connection is closed after so long without a commit.
const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// The same while others need its descriptors. Longer than the clock of a file system may be off.
const DOZE_AFTER: Duration = Duration::from_millis(2500);
/// The same error is logged at most so often.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// What is due when.
#[derive(Default)]
struct Pace {
    /// When the last capture that wrote something began.
    last: Option<Instant>,
    /// When a look for the sake of a checkpoint was last taken.
    last_rest: Option<Instant>,
    capture: Option<Instant>,
    poll: Option<(Instant, Duration)>,
    /// The looks at the application's checkpoints.
    lookout: Lookout,
    settle: Option<Instant>,
    errors: u32,
    logged: Option<Instant>,
}

impl Pace {
    fn due(&self) -> Option<Instant> {
        let polls = [
            self.capture,
            self.poll.map(|(at, _)| at),
            self.lookout.due(),
            self.settle,
        ];
        polls.into_iter().flatten().min()
    }

    /// Plans a capture for `at`, unless one is planned sooner.
    fn plan(&mut self, at: Instant) {
        self.capture = Some(self.capture.map_or(at, |planned| planned.min(at)));
    }
}

/// See the module. Ends when `stop` is cancelled.
pub(super) async fn drive(inner: Arc<Inner>, stop: CancellationToken) {
    if inner.settings.monitor_interval.is_zero() {
        return;
    }
    let mut pace = Pace::default();
    let first = async {
        inner.await_first_place().await;
        let opening = async {
            inner.prepare().await;
            let now = Instant::now();
            (now, inner.cycle(Purpose::Capture).await)
        };
        inner.shared.starting.pass(opening).await
    };
    tokio::select! {
        () = stop.cancelled() => return,
        (now, result) = first => {
            inner.finished(&mut pace, now, Purpose::Capture, result);
        }
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = inner.signals.wait() => inner.heed(&mut pace),
            () = until(pace.due()) => {}
        }
        let now = Instant::now();
        inner.poll(&mut pace, now);
        if inner.is_awaited(&mut pace, now) {
            pace.plan(now);
        }
        let purpose = if pace.capture.is_some_and(|at| at <= now) {
            Purpose::Capture
        } else if pace.settle.is_some_and(|at| at <= now) {
            Purpose::Settle
        } else {
            continue;
        };
        pace.capture = None;
        pace.settle = None;
        let result = inner.cycle(purpose).await;
        inner.finished(&mut pace, now, purpose, result);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Turns signals into plans.
    fn heed(&self, pace: &mut Pace) {
        let bits = self.signals.take();
        let now = Instant::now();
        let interval = self.settings.monitor_interval;
        if bits & LOOK_NOW != 0 {
            pace.errors = 0;
            pace.plan(now);
        }
        if pace.errors > 0 {
            // The retry is planned; what is signalled meanwhile is seen by it.
            return;
        }
        let next = pace.last.map_or(now, |last| (last + interval).max(now));
        if bits & OVERDUE != 0 {
            pace.plan(next);
        }
        if bits & WAL_WRITTEN != 0 {
            if self.has_news() {
                pace.plan(next);
            } else {
                // Looks for an older write may have become rare by now.
                pace.poll = Some((now + FIRST_POLL, FIRST_POLL));
            }
        }
        if bits & REST != 0 && pace.capture.is_none() {
            pace.settle = Some(now);
        }
        if bits & DATABASE_WRITTEN != 0 {
            // Somebody runs a checkpoint, and may be waiting for our reader to move.
            let at = pace
                .last_rest
                .map_or(now, |last| (last + interval).max(now));
            pace.last_rest = Some(at);
            pace.plan(at);
            pace.lookout.begin(now);
        }
    }

    /// Whether a checkpoint of the application waits for our reader to move.
    fn is_awaited(&self, pace: &mut Pace, now: Instant) -> bool {
        let put_off = pace.errors == 0 && pace.capture.is_some_and(|at| at > now);
        if !pace.lookout.is_due(put_off, now, &self.shared.looking) {
            return false;
        }
        let Ok(mut slot) = self.capture.try_lock() else {
            return false;
        };
        slot.as_mut()
            .is_some_and(|capture| pace.lookout.look(capture, now))
    }

    /// Looks at the wal-index again if a written commit had not become visible yet.
    fn poll(&self, pace: &mut Pace, now: Instant) {
        let Some((at, step)) = pace.poll else { return };
        if at > now {
            return;
        }
        if self.has_news() {
            pace.poll = None;
            let next = pace
                .last
                .map_or(now, |last| (last + self.settings.monitor_interval).max(now));
            pace.plan(next);
        } else if step < LAST_POLL {
            let step = step * 2;
            pace.poll = Some((now + step, step));
        } else {
            // Rolled back, or a long transaction: the next write or the watchdog tells.
            pace.poll = None;
            if let Some(watcher) = &self.shared.watcher {
                watcher.arm_wal(&self.wal_path(), &self.signals);
            }
            if self.has_news() {
                pace.plan(now);
            }
        }
    }

    fn wal_path(&self) -> std::path::PathBuf {
        crate::capture::with_suffix(&self.settings.path, "-wal")
    }

    /// Whether commits wait; when that cannot be told at once, there may be some.
    fn has_news(&self) -> bool {
        match self.capture.try_lock() {
            Ok(slot) => match slot.as_ref() {
                Some(capture) => capture.has_news().unwrap_or(true),
                None => self.is_stirring().unwrap_or(true),
            },
            Err(_) => true,
        }
    }

    fn finished(
        &self,
        pace: &mut Pace,
        started: Instant,
        purpose: Purpose,
        result: Result<Cycle, Error>,
    ) {
        match result {
            Ok(cycle) => self.succeeded(pace, started, purpose, cycle),
            Err(error) => self.failed(pace, &error),
        }
    }

    fn succeeded(&self, pace: &mut Pace, started: Instant, purpose: Purpose, cycle: Cycle) {
        if pace.errors > 0 {
            tracing::info!(
                system = "store",
                db = self.name,
                previous_errors = pace.errors,
                "sync recovered"
            );
            pace.errors = 0;
        }
        if cycle.wrote {
            pace.last = Some(started);
        }
        // A transaction that was being written while the watch was armed again becomes visible without
        // another write.
        pace.poll = (!cycle.more).then(|| (Instant::now() + FIRST_POLL, FIRST_POLL));
        if cycle.limited {
            // Behind the others that wait for a thread, but not behind the clock.
            pace.plan(started);
        } else if cycle.more {
            pace.plan(
                pace.last
                    .map_or(started, |last| last + self.settings.monitor_interval),
            );
        }
        pace.lookout.begin(Instant::now());
        if cycle.in_the_way {
            pace.plan(started + self.settings.monitor_interval);
        }
        let checkpoint = self.settings.checkpoint_interval;
        pace.settle = match (cycle.missing, cycle.uncopied, purpose) {
            (true, _, _) => None,
            (_, true, _) if !checkpoint.is_zero() => Some(started + checkpoint),
            (_, _, Purpose::Settle) => cycle.restless.then(|| started + DOZE_AFTER),
            _ if self.shared.places.are_short() => Some(started + DOZE_AFTER),
            _ => Some(started + SETTLE_AFTER),
        };
    }

    fn failed(&self, pace: &mut Pace, error: &Error) {
        if error.kind() == ErrorKind::Cancelled {
            return;
        }
        pace.errors += 1;
        let pause = backoff(self.settings.monitor_interval, pace.errors);
        pace.poll = None;
        pace.capture = Some(Instant::now() + pause);
        if pace
            .logged
            .is_some_and(|logged| logged.elapsed() < LOG_EVERY)
        {
            return;
        }
        pace.logged = Some(Instant::now());
        let consecutive_errors = pace.errors;
        if error.kind() == ErrorKind::DiskFull {
            tracing::error!(
                system = "store", db = self.name, %error, consecutive_errors, backoff = ?pause,
                "disk full while staging ltx file, replication paused until space is freed"
            );
        } else {
            tracing::error!(
                system = "store", db = self.name, %error, hint = error.hint(),
                consecutive_errors, backoff = ?pause,
                "sync error"
            );
        }
    }
}
