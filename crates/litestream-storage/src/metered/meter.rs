//! Counters per operation.
//!
//! Invariant: counters only grow. They are read one by one, so a reading taken in the middle of a
//! call may have it half.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Operation};

/// Upper bounds of the duration histogram, in seconds.
pub const DURATION_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// Counters of a [`Metered`](crate::Metered) store. Reading them costs no request.
#[derive(Debug, Default)]
pub struct Meter {
    operations: [Counters; Operation::ALL.len()],
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    /// By label. Errors are rare enough for a lock.
    errors: Mutex<BTreeMap<String, u64>>,
    /// Not cumulative; the last one is for what is above all bounds.
    durations: [AtomicU64; DURATION_BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

/// A reading of the counters of one operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OperationCounts {
    /// Calls that have begun.
    pub calls: u64,
    /// Objects put, opened, looked at, listed or deleted with success.
    pub objects: u64,
    /// Bytes of content stored with success, or delivered.
    pub bytes: u64,
    /// Errors by [`Error::label`]: failed calls, broken bodies and listings, and keys that could
    /// not be deleted.
    pub errors: BTreeMap<String, u64>,
    /// How many ended calls took at most each of [`DURATION_BUCKETS`]; cumulative.
    pub durations: [u64; DURATION_BUCKETS.len()],
    /// Calls that have ended, those that were given up included. A get ends with its body, a
    /// listing with its last item.
    pub ended: u64,
    /// Time that the ended calls took together.
    pub total: Duration,
}

impl Meter {
    /// Reads the counters of `operation`.
    pub fn counts(&self, operation: Operation) -> OperationCounts {
        let counters = self.of(operation);
        let mut ended = 0;
        let mut durations = [0; DURATION_BUCKETS.len()];
        for (at, counter) in counters.durations.iter().enumerate() {
            ended += counter.load(Ordering::Relaxed);
            if let Some(bucket) = durations.get_mut(at) {
                *bucket = ended;
            }
        }
        OperationCounts {
            calls: counters.calls.load(Ordering::Relaxed),
            objects: counters.objects.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            errors: counters
                .errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            durations,
            ended,
            total: Duration::from_nanos(counters.nanoseconds.load(Ordering::Relaxed)),
        }
    }

    /// Reads the counters of all operations, in the order of [`Operation::ALL`].
    pub fn snapshot(&self) -> [(Operation, OperationCounts); Operation::ALL.len()] {
        Operation::ALL.map(|operation| (operation, self.counts(operation)))
    }

    /// Calls of all operations together.
    pub fn calls(&self) -> u64 {
        self.operations
            .iter()
            .map(|counters| counters.calls.load(Ordering::Relaxed))
            .sum()
    }

    fn of(&self, operation: Operation) -> &Counters {
        &self.operations[operation as usize]
    }

    pub(super) fn call(&self, operation: Operation) {
        self.of(operation).calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self, operation: Operation, objects: u64, bytes: u64) {
        let counters = self.of(operation);
        counters.objects.fetch_add(objects, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn error(&self, operation: Operation, error: &Error) {
        let mut errors = self
            .of(operation)
            .errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *errors.entry(error.label().to_owned()).or_default() += 1;
    }

    pub(super) fn took(&self, operation: Operation, time: Duration) {
        let counters = self.of(operation);
        let seconds = time.as_secs_f64();
        let bucket = DURATION_BUCKETS.iter().position(|bound| seconds <= *bound);
        counters.durations[bucket.unwrap_or(DURATION_BUCKETS.len())]
            .fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        counters
            .nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }
}
