//! Closes databases that rest, where there are more of them than descriptors.
//!
//! An open database takes four descriptors, and six while commits come in. When most of what the
//! process may open is taken, databases without commits for some seconds are closed: they doze. The
//! next write to the WAL or the database file wakes them, and what was written is captured.
//!
//! Invariant: dozing is the same as stopping and starting as far as the data is concerned: nobody pins
//! the WAL, so what comes after is believed only on proof (see [`crate::capture`]), and where there
//! is none, a base image follows. So nobody dozes unless the process is short of descriptors, nor
//! before the record of the position proves what a quiet start needs. The meta directory is not locked
//! meanwhile: another process may take the database over. So work that goes on takes the lock for
//! itself, and whoever wakes up and finds it taken says so and waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ltx::Txid;
use tokio::sync::Notify;

use super::Inner;
use super::cycle::Cycle;
use crate::capture::{Capture, FileStamp, with_suffix};
use crate::error::{Error, Result};
use crate::files::Ownership;
use crate::local::DirectoryLock;

/// Descriptors of a database while commits come in.
pub(super) const DESCRIPTORS: usize = 6;

/// A database that was asked for, and cannot be opened for so long, says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many databases may be open at the same time.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    taken: AtomicUsize,
    /// Told of each place that is free again.
    freed: Notify,
    /// Told of those only that need not be kept for databases that wake up.
    spare: Notify,
}

/// The right to have one database open.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    /// As many as so many descriptors are enough for.
    pub(crate) fn for_descriptors(descriptors: Option<usize>) -> Arc<Self> {
        let limit = descriptors.map_or(usize::MAX, |count| (count / DESCRIPTORS).max(1));
        Arc::new(Self {
            limit,
            taken: AtomicUsize::new(0),
            freed: Notify::new(),
            spare: Notify::new(),
        })
    }

    /// A quarter is kept for those that wake up.
    fn kept(&self) -> usize {
        self.limit - self.limit / 4
    }

    /// Whether those that rest should give up theirs.
    pub(crate) fn are_short(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.kept()
    }

    fn take(self: &Arc<Self>, bound: usize) -> Option<Place> {
        let more = |taken| (taken < bound).then(|| taken + 1);
        let order = Ordering::AcqRel;
        let taken = self.taken.fetch_update(order, Ordering::Acquire, more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place that is not kept for databases that wake up.
    async fn spare(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.take(self.kept()) {
                return place;
            }
            self.spare.notified().await;
        }
    }

    async fn any(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.take(self.limit) {
                return place;
            }
            self.freed.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
        if before <= self.0.kept() {
            self.0.spare.notify_one();
        }
    }
}

/// What a dozing database's files looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asleep {
    database: Option<FileStamp>,
    wal: Option<FileStamp>,
}

impl Inner {
    /// The place that was waited for, or one that is free.
    pub(super) fn take_place(&self) -> Result<Place> {
        let places = &self.shared.places;
        let reserved = self.reserved().take();
        let place = reserved.or_else(|| places.take(places.limit));
        place.ok_or_else(|| self.no_place())
    }

    fn no_place(&self) -> Error {
        Error::Descriptors {
            path: self.settings.path.clone(),
            limit: self.shared.places.limit,
        }
    }

    /// Waits for a place, before the database is opened for the first time. Those that can wait wait
    /// without a word: others are being opened meanwhile, and each makes room for the next.
    pub(super) async fn await_first_place(&self) {
        let place = self.shared.places.spare().await;
        *self.reserved() = Some(place);
    }

    /// Waits for a place if the database is closed.
    pub(super) async fn await_place(&self) -> Result<()> {
        // Somebody who holds the lock has it open, or is opening it.
        let open = self.capture.try_lock().map_or(true, |slot| slot.is_some());
        if open || self.reserved().is_some() {
            return Ok(());
        }
        let waited = tokio::time::timeout(PATIENCE, self.shared.places.any()).await;
        let place = waited.map_err(|_| self.no_place())?;
        *self.reserved() = Some(place);
        Ok(())
    }

    /// Closes the database if others need its descriptors and it rests. To be called on a pool thread
    /// with what the last look found; says whether it should be tried again soon.
    pub(super) fn try_doze(&self, slot: &mut Option<Capture>, cycle: Cycle) -> bool {
        let Some(watcher) = &self.shared.watcher else {
            return false;
        };
        let rests = !cycle.more && !cycle.uncopied && !cycle.in_the_way;
        if !self.shared.places.are_short() || !rests {
            return false;
        }
        let Some(capture) = slot.as_ref() else {
            return false;
        };
        if !capture.is_provable().unwrap_or(false) {
            return true;
        }
        let path = &self.settings.path;
        let is_armed = watcher.arm_wal(capture.wal_path(), &self.signals)
            && watcher.arm_database(path, &self.signals);
        let asleep = self.stamps();
        // What is written from here on is signalled; what was written before is seen now.
        let quiet = capture.has_news().is_ok_and(|news| !news);
        let (true, true, Ok(asleep)) = (is_armed, quiet, asleep) else {
            return true;
        };
        capture.write_record();
        *self.asleep() = Some(asleep);
        *slot = None;
        tracing::debug!(system = "store", db = self.name, "closed while it rests");
        false
    }

    /// Takes the database for work on its files and replicas, which goes on while it is closed: another process
    /// may have it then. If one has had it, what was known of the replicas is not believed any more.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub(super) async fn hold(self: &Arc<Self>) -> Result<DirectoryLock> {
        if let Some(lock) = self.local.share_lock() {
            return Ok(lock);
        }
        let inner = Arc::clone(self);
        let take = move || {
            let ownership = Ownership::of_database(&inner.settings.path).unwrap_or_default();
            let lock = inner.local.lock(&ownership)?;
            inner.compare_position(inner.local.list()?.last().copied());
            Ok(lock)
        };
        self.shared.pool.run(take).await
    }

    /// Notes if the local files have gone on without us.
    pub(super) fn compare_position(&self, found: Option<Txid>) {
        if self.position().is_some() && self.position() != found {
            tracing::info!(
                system = "store",
                db = self.name,
                txid = found.map_or_else(String::new, |txid| txid.to_string()),
                "another process has replicated the database meanwhile"
            );
            for replica in &self.replicas {
                replica.set_stale();
            }
        }
    }

    /// Whether the files of a dozing database have changed; `None` when it is not dozing.
    pub(super) fn is_stirring(&self) -> Option<bool> {
        let asleep = (*self.asleep())?;
        Some(self.stamps().map_or(true, |now| now != asleep))
    }

    fn stamps(&self) -> Result<Asleep> {
        Ok(Asleep {
            database: FileStamp::of(&self.settings.path)?,
            wal: FileStamp::of(&with_suffix(&self.settings.path, "-wal"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quarter_of_the_places_is_kept_for_those_that_wake_up() {
        let places = Places::for_descriptors(Some(8 * DESCRIPTORS));
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(places.spare().await);
        }
        assert!(places.are_short());
        let mut starting = Box::pin(places.spare());
        assert!(futures_util::poll!(&mut starting).is_pending());
        held.push(places.any().await);
        held.push(places.any().await);
        assert!(places.take(places.limit).is_none());
        let mut waking = Box::pin(places.any());
        assert!(futures_util::poll!(&mut waking).is_pending());
        held.pop();
        held.push(waking.await);
        assert!(futures_util::poll!(&mut starting).is_pending());
        held.truncate(5);
        held.push(starting.await);
        assert_eq!(places.taken.load(Ordering::Relaxed), held.len());
        drop(held);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }
}
