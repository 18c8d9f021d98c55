//! A bucket that fills at a constant rate, and that takers empty in the order they come.
//!
//! Invariant: its content never exceeds the burst, and goes below zero by one taker's amount at
//! most: who takes more than there is has it at once and waits the debt off, as do all behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Rate;
use crate::Clock;

/// Clones are the same bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rate: Rate,
    clock: Arc<dyn Clock>,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// What can be taken now; negative while it is owed.
    content: f64,
    /// When it was counted, in the clock's monotonic time.
    at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let level = Level {
            content: rate.burst,
            at: clock.monotonic(),
        };
        Self(Arc::new(Shared {
            rate,
            clock,
            level: Mutex::new(level),
        }))
    }

    /// Takes `amount`, and waits until it is there. Dropping the wait gives what was not yet there
    /// back to nobody: a call that was given up counts.
    pub(super) async fn take(&self, amount: f64) {
        let wait = self.owe(amount);
        if !wait.is_zero() {
            self.0.clock.sleep(wait).await;
        }
    }

    /// Takes `amount` and answers how long it takes until that is paid.
    fn owe(&self, amount: f64) -> Duration {
        let Shared { rate, clock, level } = &*self.0;
        let mut level = level.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.monotonic();
        let passed = now.saturating_sub(level.at).as_secs_f64();
        level.at = now;
        level.content = (level.content + passed * rate.per_second).min(rate.burst) - amount;
        if level.content >= 0.0 {
            return Duration::ZERO;
        }
        // A rate that is next to nothing waits for years, not for ever.
        Duration::try_from_secs_f64(-level.content / rate.per_second).unwrap_or(Duration::MAX / 4)
    }
}
