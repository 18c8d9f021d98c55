//! Looks out for checkpoints of the application that wait for the pinned reader.
//!
//! FULL, RESTART and TRUNCATE wait for readers and keep all writers out meanwhile. The pin is in their
//! way in these places:
//!
//! * Its mark is behind because the next capture is put off for the sake of the pace, or it is on slot 0
//!   and commits came after it.
//! * It began before everything was copied, and RESTART waits for it.
//! * It is in the slot that another reader has left and that the checkpoint goes on to wait for, although
//!   its mark is harmless.
//! * It got a slot other than slot 0 in the instant in which the checkpoint held that.
//!
//! None of these makes an event: the checkpoint writes nothing while it waits, and what it wrote
//! before, it wrote before it was through. The cure of all is a step of the capture: as long as there is
//! something to copy it steps aside (`capture/aside.rs`), then the pin goes to slot 0.
//!
//! Invariant: nothing is looked at while nothing happens. Looks are taken while a capture is put off,
//! and after the pin was moved or the database file written, until no checkpoint is seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::capture::{Capture, Foreign};

/// After a write to the database file it is looked after these times, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(10);
/// While all writers stand still.
const URGENT_PAUSE: Duration = Duration::from_millis(2);
/// A checkpoint that has stood still for so long waits. Until then it may be about to copy or to end.
/// Doubles up to the longer time with each step that did not help: others are in its way then.
const STANDSTILL: Duration = Duration::from_millis(4);
const LONG_STANDSTILL: Duration = Duration::from_millis(100);
/// While a capture is put off and nobody writes the database file: a checkpoint that finds nothing
/// to copy up to the pin waits without a sign. Rare, and looking costs a wake-up each time.
const QUIET_PAUSE: Duration = Duration::from_millis(100);
/// An application that ran a checkpoint that keeps writers out will run more of them: for so long it is
/// not rare.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Added for each database that looks out, so that many of them cost no more than some thousand
/// looks a second.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(100);
/// A checkpoint that has not ended by then is seen by its next write, or by the watchdog.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Default)]
pub(super) struct Lookout {
    next: Option<Instant>,
    pause: Duration,
    /// A checkpoint may be running, at least until then.
    until: Option<Instant>,
    waiter: Option<Waiter>,
    /// When a checkpoint that keeps writers out was last seen.
    seen: Option<Instant>,
    counted: Option<Counted>,
}

/// A checkpoint that keeps writers out.
#[derive(Clone, Copy)]
struct Waiter {
    /// Where the WAL stands; it cannot move while the checkpoint waits.
    newest: (u32, u32),
    since: Instant,
    /// A step is due when it has waited so long.
    patience: Duration,
}

impl Lookout {
    /// The pin was moved, or somebody writes the database file: a checkpoint may be running.
    pub(super) fn begin(&mut self, now: Instant) {
        self.until = Some(now + PATIENCE);
        self.pause = FIRST_PAUSE;
        self.next = Some(now + FIRST_PAUSE);
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a look is due, which is the case only while a capture is put off or a checkpoint
    /// runs; plans the one after. `all` counts the databases that look out.
    pub(super) fn is_due(&mut self, put_off: bool, now: Instant, all: &Arc<AtomicU32>) -> bool {
        self.until = self.until.filter(|until| *until > now);
        if !put_off && self.until.is_none() {
            *self = Self {
                seen: self.seen,
                ..Self::default()
            };
            return false;
        }
        if self.next.is_some_and(|at| at > now) {
            return false;
        }
        let counted = self.counted.get_or_insert_with(|| Counted::new(all));
        let expected = |seen: Instant| now < seen + REMEMBERED;
        self.pause = match self.until {
            Some(_) => (self.pause * 2).clamp(FIRST_PAUSE, PAUSE),
            None if self.seen.is_some_and(expected) => PAUSE,
            None => QUIET_PAUSE,
        };
        self.next = Some(now + self.pause + PAUSE_FOR_EACH * counted.others());
        true
    }

    /// Looks; true when a step of the capture should be taken now.
    pub(super) fn look(&mut self, capture: &mut Capture, now: Instant) -> bool {
        // In this order: a checkpoint that ends in between has made its work visible.
        let Ok((foreign, newest)) = capture.foreign_checkpoint() else {
            return false;
        };
        let in_the_way = capture.is_in_the_way().unwrap_or(false);
        if foreign != Foreign::Exclusive {
            if foreign == Foreign::None {
                self.until = None;
            }
            self.waiter = None;
            return in_the_way;
        }
        // All writers stand still: now each look is worth it.
        self.seen = Some(now);
        self.until = Some(now + PATIENCE);
        self.next = Some(now + URGENT_PAUSE);
        let waits = self.has_waited(newest, now);
        if capture.has_uncopied().unwrap_or(true) {
            waits && !capture.is_aside()
        } else {
            // The pin goes to slot 0, for which nobody waits when all is copied.
            in_the_way || waits
        }
    }

    /// Writers are kept out, so a WAL that stands still says that the checkpoint waits; it could be
    /// a passive one beside a commit of the same process, but for the time that takes.
    fn has_waited(&mut self, newest: (u32, u32), now: Instant) -> bool {
        let known = self.waiter.filter(|waiter| waiter.newest == newest);
        let mut waiter = known.unwrap_or(Waiter {
            newest,
            since: now,
            patience: STANDSTILL,
        });
        let waits = now >= waiter.since + waiter.patience;
        if waits {
            waiter.since = now;
            waiter.patience = (waiter.patience * 2).min(LONG_STANDSTILL);
        }
        self.waiter = Some(waiter);
        waits
    }
}

/// One database that looks out, as long as it does.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(all: &Arc<AtomicU32>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }

    fn others(&self) -> u32 {
        self.0.load(Ordering::Relaxed).saturating_sub(1)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
