//! One look at a database, on a pool thread: open it if need be, capture, checkpoint.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ltx::Txid;

use super::Inner;
use crate::capture::{Capture, CaptureSettings, CheckpointMode, Effort, Extent, Report, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Ownership;
use crate::metrics::{add, nanoseconds, set};
use crate::watcher::Watcher;

/// Pages in the WAL, in multiples of the checkpoint threshold, from which on writers are kept
/// waiting for a moment so that the WAL can be started anew.
const CLOSE_FACTOR: u32 = 4;

/// What a cycle found.
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, not the states of one machine"
)]
pub(super) struct Cycle {
    /// There is no database file.
    pub(super) missing: bool,
    /// More commits wait already.
    pub(super) more: bool,
    /// More than one file may hold waits: others have their turn first.
    pub(super) limited: bool,
    /// Everything is captured, but the pinned reader does not stand where it should.
    pub(super) in_the_way: bool,
    /// Frames wait to be copied into the database file.
    pub(super) uncopied: bool,
    /// A level-0 file was written.
    pub(super) wrote: bool,
    /// Continuity is lost, and the page checksums of this state would spare a base image.
    pub(super) lacks_sums: Option<Txid>,
    /// The database should doze, but cannot yet.
    pub(super) restless: bool,
}

/// That the next capture has to begin anew, and why; kept until there is a capture to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    reason: &'static str,
    /// The next transaction is above this one.
    above: Txid,
    extent: Extent,
}

/// What a cycle is for, besides capturing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Commits were made, or may have been.
    Capture,
    /// Nothing happened for a while: copy the WAL, close what is not needed.
    Settle,
    /// The last one before the database is closed.
    Last,
}

impl Inner {
    /// Runs cycles on the pool until everything committed before the call is captured.
    pub(super) async fn capture_all(self: &Arc<Self>) -> Result<Cycle> {
        loop {
            let cycle = self.cycle(Purpose::Capture).await?;
            if !cycle.limited {
                return Ok(cycle);
            }
        }
    }

    /// Runs one cycle on the pool.
    pub(super) async fn cycle(self: &Arc<Self>, purpose: Purpose) -> Result<Cycle> {
        let mut result = self.one_cycle(purpose, true).await;
        if let Ok(Cycle {
            lacks_sums: Some(txid),
            ..
        }) = result
        {
            let learned = self.learn_pages(txid).await;
            tracing::debug!(system = "store", db = self.name, %txid, learned, "page checksums");
            result = self.one_cycle(purpose, false).await;
        }
        match &result {
            Ok(cycle) if cycle.wrote => self.bound_staging().await,
            Err(error) if error.kind() == ErrorKind::DiskFull => self.free_staging().await,
            _ => {}
        }
        result
    }

    async fn one_cycle(self: &Arc<Self>, purpose: Purpose, may_learn: bool) -> Result<Cycle> {
        self.await_place().await?;
        let inner = Arc::clone(self);
        self.shared
            .pool
            .run(move || inner.run_cycle(purpose, may_learn))
            .await
    }

    fn run_cycle(&self, purpose: Purpose, may_learn: bool) -> Result<Cycle> {
        let started = Instant::now();
        let result = self.try_cycle(purpose, may_learn);
        add(&self.metrics.sync_count, 1);
        add(
            &self.metrics.sync_nanoseconds,
            nanoseconds(started.elapsed()),
        );
        let full = matches!(&result, Err(error) if error.kind() == ErrorKind::DiskFull);
        set(&self.metrics.disk_full, u64::from(full));
        if result.is_err() {
            add(&self.metrics.sync_errors, 1);
        }
        self.capture_ended(result.as_ref().map(drop));
        result
    }

    fn try_cycle(&self, purpose: Purpose, may_learn: bool) -> Result<Cycle> {
        let mut slot = self.capture();
        if slot.is_none() {
            *slot = self.open_capture()?;
        }
        let Some(capture) = slot.as_mut() else {
            // Before the first capture a missing file is waited for; afterwards it is a fault that
            // must be seen.
            if self.position().is_some() {
                return Err(Error::Replaced {
                    what: "database",
                    path: self.settings.path.clone(),
                });
            }
            return Ok(Cycle {
                missing: true,
                ..Cycle::default()
            });
        };
        if let Some(demand) = self.demanded().take() {
            capture.demand_base(demand.reason, Some(demand.above), demand.extent);
        }
        if may_learn && let Some(txid) = capture.lacks_sums().filter(|txid| self.may_learn(*txid)) {
            return Ok(Cycle {
                lacks_sums: Some(txid),
                ..Cycle::default()
            });
        }
        let mut result = self.work(capture, purpose);
        match &mut result {
            // What is in memory may not be true any more; the next cycle proves it anew from disk.
            Err(error) if needs_reopening(error) => *slot = None,
            Ok(cycle) if purpose == Purpose::Settle => {
                cycle.restless = self.try_doze(&mut slot, *cycle);
            }
            _ => {}
        }
        result
    }

    pub(super) fn open_capture(&self) -> Result<Option<Capture>> {
        // Nobody opens what is being closed.
        if !*self.accepts() {
            return Err(self.not_open());
        }
        let place = self.take_place()?;
        let settings = CaptureSettings {
            path: self.settings.path.clone(),
            busy_timeout: self.settings.busy_timeout,
            max_wal_bytes: self.settings.max_sync_wal_bytes,
        };
        let clock = Arc::clone(&self.shared.clock);
        if let Ok(ownership) = Ownership::of_database(&self.settings.path) {
            self.replicas
                .iter()
                .for_each(|replica| replica.adopt(&ownership));
        }
        let Some(mut capture) = Capture::open(settings, self.local.clone(), clock)? else {
            tracing::debug!(system = "store", db = self.name, "sync: no database found");
            return Ok(None);
        };
        self.set_staged(self.local.size()?);
        let floor = self
            .replicas
            .iter()
            .filter_map(|replica| replica.known_max())
            .max();
        if floor > capture.position() {
            // The new history goes on from what is there.
            for replica in &self.replicas {
                replica.accept(floor.filter(|_| replica.known_max() == floor));
            }
            capture.demand_base("database behind replica", floor, Extent::Difference);
        }
        capture.place = Some(place);
        *self.asleep() = None;
        self.compare_position(capture.position());
        self.publish(capture.position());
        self.opened(capture.position());
        Ok(Some(capture))
    }

    fn work(&self, capture: &mut Capture, purpose: Purpose) -> Result<Cycle> {
        let mut cycle = Cycle::default();
        // A base image that is asked for in the middle comes with the step after.
        loop {
            let step = capture.step()?;
            self.note_step(capture, step);
            cycle.wrote |= step.wrote;
            cycle.limited = step.limited && purpose != Purpose::Last;
            if cycle.limited || (!step.limited && !capture.needs_base()) {
                break;
            }
        }
        if cycle.limited {
            let caught_up = self.brake(capture)?;
            self.note_staged(capture.take_written());
            self.update_gauges(capture)?;
            if !caught_up {
                cycle.more = true;
                return Ok(cycle);
            }
            cycle.limited = false;
        }
        if purpose != Purpose::Last {
            self.checkpoint(capture, purpose)?;
        }
        if purpose == Purpose::Settle {
            capture.settle();
            capture.write_record();
        }
        self.note_staged(capture.take_written());
        self.update_gauges(capture)?;
        match &self.shared.watcher {
            Some(watcher) => self.arm(watcher, capture)?,
            None => self.is_watched.store(false, Ordering::Relaxed),
        }
        cycle.more = capture.has_news()?;
        cycle.in_the_way = capture.is_in_the_way()?;
        cycle.uncopied = capture.has_uncopied()?;
        Ok(cycle)
    }

    fn note_step(&self, capture: &Capture, step: Step) {
        if step.wrote {
            add(&self.metrics.total_wal_bytes, step.wal_bytes);
            tracing::debug!(system = "store", db = self.name, status = "ok", "db sync");
            self.publish(capture.position());
            self.captured(capture.position(), step.wal_bytes, !step.limited);
        }
    }

    pub(super) fn publish(&self, position: Option<Txid>) {
        set(&self.metrics.txid, position.map_or(0, Txid::get));
        self.position.send_if_modified(|known| {
            let changed = *known != position;
            *known = position;
            changed
        });
    }

    /// The rules of when a checkpoint is worth it, by the logical size of the WAL.
    fn checkpoint(&self, capture: &mut Capture, purpose: Purpose) -> Result<()> {
        let frames = capture.frames()?;
        let least = self.settings.min_checkpoint_pages;
        let truncate = self
            .settings
            .truncate_pages
            .is_some_and(|pages| frames >= pages);
        let effort = if truncate {
            tracing::info!(
                system = "store",
                db = self.name,
                wal_size = capture.wal_offset(),
                threshold = self.settings.truncate_pages,
                "forcing truncate checkpoint"
            );
            Effort::Truncate
        } else if frames >= least.saturating_mul(CLOSE_FACTOR) {
            Effort::Close
        } else if frames >= least || (purpose == Purpose::Settle && capture.has_uncopied()?) {
            Effort::Open
        } else {
            // Somebody else may have copied everything: then the pin must not be in the way.
            capture.rest()?;
            return Ok(());
        };
        if frames == 0 || (effort == Effort::Open && !capture.has_uncopied()?) {
            capture.rest()?;
            return Ok(());
        }
        let report = match capture.checkpoint(effort) {
            Ok(report) => report,
            Err(error) => {
                let mode = match effort {
                    Effort::Truncate => CheckpointMode::Truncate,
                    Effort::Open | Effort::Close => CheckpointMode::Passive,
                };
                self.metrics.checkpoint_failed(mode);
                return Err(error);
            }
        };
        self.note_checkpoint(capture, &report);
        Ok(())
    }

    /// Keeps writers that captures do not catch up with from making the WAL longer and longer. Answers
    /// whether everything is captured now.
    fn brake(&self, capture: &mut Capture) -> Result<bool> {
        let frames = capture.frames()?;
        let Some(most) = self.settings.truncate_pages.filter(|most| frames >= *most) else {
            return Ok(false);
        };
        let report = match capture.brake(frames >= most.saturating_mul(2)) {
            Ok(report) => report,
            Err(error) => {
                self.metrics.checkpoint_failed(CheckpointMode::Passive);
                return Err(error);
            }
        };
        let limited = report.steps.last().is_none_or(|step| step.limited);
        if !report.steps.is_empty() {
            tracing::info!(
                system = "store", db = self.name, frames,
                threshold = most, held = ?report.write_lock, caught_up = !limited,
                "captures are behind writers, keeping them waiting"
            );
        }
        self.note_checkpoint(capture, &report);
        Ok(!limited)
    }

    fn note_checkpoint(&self, capture: &Capture, report: &Report) {
        for (mode, result, duration) in &report.runs {
            self.metrics.checkpoint(*mode, *duration);
            tracing::debug!(
                system = "store",
                db = self.name,
                mode = mode.as_str(),
                result = format!(
                    "{},{},{}",
                    i32::from(result.busy),
                    result.log,
                    result.checkpointed
                ),
                "checkpoint"
            );
        }
        for step in &report.steps {
            self.note_step(capture, *step);
        }
        if let Some(held) = report.write_lock {
            self.metrics.write_lock(held);
            tracing::debug!(system = "store", db = self.name, ?held, "write lock held");
        }
    }

    fn update_gauges(&self, capture: &Capture) -> Result<()> {
        set(&self.metrics.database_size, capture.database_size()?);
        set(&self.metrics.wal_size, capture.wal_offset());
        Ok(())
    }

    /// Watches first, looks afterwards: what is written in between is seen by the look.
    fn arm(&self, watcher: &Watcher, capture: &Capture) -> Result<()> {
        let is_armed = watcher.arm_wal(capture.wal_path(), &self.signals);
        self.is_watched.store(is_armed, Ordering::Relaxed);
        // A checkpoint by the application matters only while there is something to copy.
        if capture.has_uncopied()? {
            watcher.arm_database(&self.settings.path, &self.signals);
        }
        Ok(())
    }

    /// Asks the next capture to begin anew with a transaction above `above`. Remembered until it
    /// does, also while the database is closed after an error.
    pub(super) fn demand_base(&self, above: Txid, reason: &'static str, extent: Extent) {
        *self.demanded() = Some(Demand {
            reason,
            above,
            extent,
        });
    }

    fn demanded(&self) -> MutexGuard<'_, Option<Demand>> {
        self.demanded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn needs_reopening(error: &Error) -> bool {
    match error {
        Error::Replaced { .. }
        | Error::Sqlite { .. }
        | Error::WalIndex { .. }
        | Error::Wal { .. }
        | Error::ShortPage { .. } => true,
        // What a failed fsync has left on the disk is not known: the position is proved anew from it.
        Error::Io { operation, .. } => operation.starts_with("fsync"),
        Error::Context { source, .. } => needs_reopening(source),
        _ => false,
    }
}

/// How long to pause after so many errors in a row.
pub(super) fn backoff(interval: Duration, errors: u32) -> Duration {
    let least = interval.max(Duration::from_millis(10));
    least
        .saturating_mul(1 << errors.saturating_sub(1).min(16))
        .min(crate::settings::defaults::MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let pauses: Vec<u64> = (1..=12).map(|n| backoff(second, n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(
            backoff(second, u32::MAX),
            crate::settings::defaults::MAX_BACKOFF
        );
        // No interval is so short that errors keep a core busy.
        assert_eq!(backoff(Duration::ZERO, 1), Duration::from_millis(10));
    }
}
