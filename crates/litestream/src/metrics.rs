//! Counters of one database, with the meaning of the reference's metrics of the same names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::capture::CheckpointMode;

/// Live counters; read them with [`DatabaseMetrics::snapshot`].
#[derive(Debug, Default)]
pub(crate) struct DatabaseMetrics {
    pub(crate) database_size: AtomicU64,
    pub(crate) wal_size: AtomicU64,
    pub(crate) total_wal_bytes: AtomicU64,
    pub(crate) txid: AtomicU64,
    pub(crate) sync_count: AtomicU64,
    pub(crate) sync_errors: AtomicU64,
    pub(crate) sync_nanoseconds: AtomicU64,
    pub(crate) disk_full: AtomicU64,
    passive: ModeMetrics,
    truncate: ModeMetrics,
    pub(crate) compaction_verify_errors: AtomicU64,
    pub(crate) damaged_files: AtomicU64,
    pub(crate) write_lock_nanoseconds: AtomicU64,
    pub(crate) write_lock_longest_nanoseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct ModeMetrics {
    count: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Counters of checkpoints of one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointCounts {
    /// Checkpoints run.
    pub count: u64,
    /// Of them, those that failed.
    pub errors: u64,
    /// Time they took.
    pub duration: Duration,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Bytes of the database file (`litestream_db_size`).
    pub database_size: u64,
    /// End of the captured part of the WAL in bytes (`litestream_wal_size`).
    pub wal_size: u64,
    /// Bytes of WAL captured so far (`litestream_total_wal_bytes`).
    pub total_wal_bytes: u64,
    /// Transaction of the newest level-0 file, 0 before the first (`litestream_txid`).
    pub txid: u64,
    /// Captures run (`litestream_sync_count`).
    pub sync_count: u64,
    /// Captures failed (`litestream_sync_error_count`).
    pub sync_errors: u64,
    /// Time spent in captures (`litestream_sync_seconds`).
    pub sync_duration: Duration,
    /// The last capture failed for lack of space (`litestream_disk_full`).
    pub disk_full: bool,
    /// Passive checkpoints (`litestream_checkpoint_*{mode="PASSIVE"}`).
    pub passive: CheckpointCounts,
    /// Truncating checkpoints (`litestream_checkpoint_*{mode="TRUNCATE"}`).
    pub truncate: CheckpointCounts,
    /// Compactions after which the level was found to have a gap or an overlap
    /// (`litestream_compaction_verify_error_count`).
    pub compaction_verify_errors: u64,
    /// Local level-0 files that were found damaged when a replica needed them
    /// (`litestream_ltx_damaged_count`).
    pub damaged_files: u64,
    /// Time for which the write lock was held, in all.
    pub write_lock: Duration,
    /// The longest time for which the write lock was held.
    pub write_lock_longest: Duration,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl DatabaseMetrics {
    fn mode(&self, mode: CheckpointMode) -> &ModeMetrics {
        match mode {
            CheckpointMode::Passive => &self.passive,
            CheckpointMode::Truncate => &self.truncate,
        }
    }

    pub(crate) fn checkpoint(&self, mode: CheckpointMode, duration: Duration) {
        add(&self.mode(mode).count, 1);
        add(&self.mode(mode).nanoseconds, nanoseconds(duration));
    }

    pub(crate) fn checkpoint_failed(&self, mode: CheckpointMode) {
        add(&self.mode(mode).count, 1);
        add(&self.mode(mode).errors, 1);
    }

    pub(crate) fn write_lock(&self, held: Duration) {
        add(&self.write_lock_nanoseconds, nanoseconds(held));
        self.write_lock_longest_nanoseconds
            .fetch_max(nanoseconds(held), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mode = |metrics: &ModeMetrics| CheckpointCounts {
            count: get(&metrics.count),
            errors: get(&metrics.errors),
            duration: Duration::from_nanos(get(&metrics.nanoseconds)),
        };
        MetricsSnapshot {
            database_size: get(&self.database_size),
            wal_size: get(&self.wal_size),
            total_wal_bytes: get(&self.total_wal_bytes),
            txid: get(&self.txid),
            sync_count: get(&self.sync_count),
            sync_errors: get(&self.sync_errors),
            sync_duration: Duration::from_nanos(get(&self.sync_nanoseconds)),
            disk_full: get(&self.disk_full) != 0,
            passive: mode(&self.passive),
            truncate: mode(&self.truncate),
            compaction_verify_errors: get(&self.compaction_verify_errors),
            damaged_files: get(&self.damaged_files),
            write_lock: Duration::from_nanos(get(&self.write_lock_nanoseconds)),
            write_lock_longest: Duration::from_nanos(get(&self.write_lock_longest_nanoseconds)),
        }
    }
}
