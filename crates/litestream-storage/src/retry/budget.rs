//! How often to try, and how long to wait in between.

use std::fmt::Debug;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::{Error, ErrorKind};

/// How a [`Retry`](crate::Retry) goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in a row without progress until a call gives up, the first one included.
    pub tries: u32,
    /// Wait after the first failure; doubled after each further one.
    pub first_delay: Duration,
    /// Longest wait that the doubling leads to.
    pub max_delay: Duration,
    /// Longest wait that a store may ask for by
    /// [`retry_after`](ErrorKind::Unavailable::retry_after).
    pub max_retry_after: Duration,
    /// How long a call may bring nothing: no answer, no chunk, no item of a listing. Then it is
    /// given up with [`ErrorKind::Timeout`] and tried again.
    pub stall: Duration,
    /// Bytes per second below which a put of known size counts as stalled.
    pub min_rate: u64,
    /// Bytes that a transfer must bring, in one try or several, to have all its tries back. A
    /// transfer that advances by more does not run out of them; one that brings a byte with each
    /// connection ends. Of `size` bytes this makes at most [`tries`](Self::tries) requests for
    /// each step.
    pub least_step: u64,
    /// How many bytes of a stream are kept in memory to be sent again.
    pub replay_limit: usize,
    /// How many bytes of a stream a store may have on the way before it takes more: that long, at
    /// [`min_rate`](Self::min_rate), a stream may stand still. `u64::MAX` for a store that takes
    /// the whole stream before it sends any of it: then the time is that of all that was taken,
    /// as for a body of that size.
    pub in_flight: u64,
}

impl Default for RetryPolicy {
    /// 10 tries over about a minute; a minute without progress counts as a failure.
    fn default() -> Self {
        Self {
            tries: 10,
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(20),
            max_retry_after: Duration::from_mins(1),
            stall: Duration::from_mins(1),
            min_rate: 16 * 1024,
            least_step: 4096,
            replay_limit: 1024 * 1024,
            in_flight: 0,
        }
    }
}

impl RetryPolicy {
    /// The longest time a put of `size` bytes may take.
    pub(super) fn put_limit(&self, size: u64) -> Duration {
        self.stall
            .saturating_add(Duration::from_secs(size / self.min_rate.max(1)))
    }
}

/// Where the random part of a wait comes from.
pub trait Jitter: Send + Sync + Debug + 'static {
    /// A number from 0 up to, but not including, 1.
    fn fraction(&self) -> f64;
}

/// Jitter from the randomness of the process. Good for spreading load, not for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomJitter;

impl Jitter for RandomJitter {
    fn fraction(&self) -> f64 {
        // Each state has keys of its own; 53 bits are what a double holds.
        let bits = RandomState::new().hash_one(0_u8) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

/// Failures in a row of one call.
#[derive(Debug, Default)]
pub(super) struct Budget {
    failures: u32,
    /// Bytes since all tries were there.
    brought: u64,
}

impl Budget {
    /// There was progress.
    pub(super) fn refill(&mut self) {
        *self = Self::default();
    }

    /// So many bytes came through, which counts once they are a step.
    pub(super) fn advance(&mut self, policy: &RetryPolicy, bytes: u64) {
        self.brought += bytes;
        if self.brought >= policy.least_step {
            self.refill();
        }
    }

    /// How long to wait before the next try after `error`; without one, how many tries there were.
    pub(super) fn spend(
        &mut self,
        policy: &RetryPolicy,
        jitter: &dyn Jitter,
        error: &Error,
    ) -> Result<Duration, u32> {
        self.failures += 1;
        if let Some(tries) = error.tries() {
            return Err(tries);
        }
        if !error.is_retryable() || self.failures >= policy.tries {
            return Err(self.failures);
        }
        let doublings = (self.failures - 1).min(31);
        let full = policy
            .first_delay
            .saturating_mul(1 << doublings)
            .min(policy.max_delay);
        // Half of it for certain, so that the tries together outlast a short outage.
        let delay = full.mul_f64(0.5 + jitter.fraction().clamp(0.0, 1.0) / 2.0);
        Ok(match error.kind() {
            ErrorKind::Unavailable {
                retry_after: Some(asked),
            } => delay.max(asked.min(policy.max_retry_after)),
            _ => delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Jitter, RandomJitter};

    #[test]
    fn random_jitter_is_a_fraction_and_varies() {
        let mut all: Vec<f64> = (0..100).map(|_| RandomJitter.fraction()).collect();
        assert!(all.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        all.sort_by(f64::total_cmp);
        all.dedup();
        assert!(all.len() > 90, "{all:?}");
    }
}
