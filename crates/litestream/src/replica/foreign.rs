//! Notices that somebody else writes to the replica, and stops writing then.
//!
//! Two writers on one path must not interleave one history. Each transaction has one key in level 0,
//! and a key that is taken is never written again ([`Replica::upload`]); so of two writers that go on
//! from the same transaction one gets the next key, and the other finds it taken by a file that is not
//! its own. What may be missed by that, because the other's file has been compacted and deleted
//! meanwhile, is looked for after a pause that is long enough for it.
//!
//! What we put ourselves is no sign of another writer, even if nobody waits for the answer any more and it
//! takes effect later: each put is noted before it begins.
//!
//! Invariant: once another writer was seen nothing is put, merged or deleted until replication is
//! started anew; a start takes over the replica, above everything that is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use litestream_storage::{Condition, ListOptions};
use ltx::{Level, Txid, TxidRange};
use tokio::time::Instant;

use super::Replica;
use super::index::RemoteIndex;
use super::layout::RemoteFile;
use crate::error::{Error, Result};

/// What is known of other writers.
#[derive(Debug, Default)]
pub(super) struct ForeignWatch {
    state: Mutex<State>,
    /// The replica was listed, and nobody has looked at the listing yet.
    listed: AtomicBool,
    without_conditions: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// First transaction of another writer.
    seen: Option<Txid>,
    /// The replica's newest transaction on which our history was built, without a local file of it.
    accepted: Option<Txid>,
    /// When we were last certain to be alone.
    alone: Option<Instant>,
    /// Files behind the newest known one that we have begun to put.
    begun: Vec<(Level, TxidRange)>,
}

impl ForeignWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reset(&self) {
        *self.state() = State::default();
    }

    /// The replica has been listed now.
    pub(super) fn listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
        self.state().alone = Some(Instant::now());
    }

    /// Whether there is a listing that was not looked at.
    pub(super) fn take_listed(&self) -> bool {
        self.listed.swap(false, Ordering::Relaxed)
    }

    /// Whether the store is believed to have conditional writes.
    pub(super) fn has_conditions(&self) -> bool {
        !self.without_conditions.load(Ordering::Relaxed)
    }

    /// The store has said that it has none.
    pub(super) fn no_conditions(&self) {
        self.without_conditions.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_accepted(&self, txid: Txid) -> bool {
        self.state().accepted == Some(txid)
    }
}

impl Replica {
    /// Notes that our history goes on from the replica's newest transaction, or that it does not.
    pub(crate) fn accept(&self, newest: Option<Txid>) {
        self.watch.state().accepted = newest;
    }
    /// The condition for a put that must not replace anything, as far as the store has one.
    pub(crate) fn if_absent(&self) -> Condition {
        if self.watch.has_conditions() {
            Condition::IfAbsent
        } else {
            Condition::None
        }
    }

    /// Fails if another writer was seen.
    pub(crate) fn check_alone(&self) -> Result<()> {
        let seen = self.watch.state().seen;
        seen.map_or(Ok(()), |txid| Err(self.foreign(txid)))
    }

    /// Another writer was seen, if one was: the first transaction that is not ours.
    pub fn foreign_writer(&self) -> Option<Txid> {
        self.watch.state().seen
    }

    /// Notes a put that is about to begin.
    pub(crate) fn begin_put(&self, level: Level, range: TxidRange) {
        let known = self.known_max();
        let begun = &mut self.watch.state().begun;
        // What is known is not looked for.
        begun.retain(|(_, range)| Some(range.max) > known);
        if !begun.contains(&(level, range)) {
            begun.push((level, range));
        }
    }

    /// Whether a file may be what we have begun to put.
    pub(super) fn has_begun(&self, level: Level, range: TxidRange) -> bool {
        self.watch.state().begun.contains(&(level, range))
    }

    /// Stops writing to the replica for good.
    pub(super) fn fence(&self, txid: Txid) -> Error {
        self.watch.state().seen.get_or_insert(txid);
        self.foreign(txid)
    }

    fn foreign(&self, txid: Txid) -> Error {
        Error::ForeignWriter {
            kind: self.kind(),
            txid,
            key: self
                .layout
                .key(Level::RAW, TxidRange::single(txid))
                .as_str()
                .to_owned(),
        }
    }

    /// Looks for files behind ours if there was no request for `quiet`; zero never looks.
    ///
    /// On level 0, where every writer keeps its newest transaction, and on the snapshot level, where
    /// one that has just begun or caught up may have nothing else yet.
    ///
    /// # Cost
    /// Two listing requests, at most once in `quiet`, and only when there is something to upload.
    pub(super) async fn look_for_others(&self, quiet: Duration) -> Result<()> {
        let alone = self.watch.state().alone;
        if quiet.is_zero() || alone.is_some_and(|alone| alone.elapsed() < quiet) {
            return Ok(());
        }
        let max = self.with_index(RemoteIndex::max)?;
        for level in [Level::RAW, Level::SNAPSHOT] {
            if let Some(found) = self.first_behind(level, max).await? {
                return Err(self.fence(found));
            }
        }
        self.watch.state().alone = Some(Instant::now());
        Ok(())
    }

    /// Lists what a level holds behind the newest file there that is known, and answers the first
    /// transaction that is beyond `max`.
    async fn first_behind(&self, level: Level, max: Option<Txid>) -> Result<Option<Txid>> {
        let known = self.with_index(|index| {
            index
                .level(level)
                .iter()
                .map(|file| file.range)
                .max_by_key(|range| (range.min, range.max))
        })?;
        let options = ListOptions {
            start_after: known.map(|range| self.layout.key(level, range)),
            ..ListOptions::default()
        };
        let mut listing = self.store.list(self.layout.level_prefix(level), options);
        while let Some(meta) = listing.try_next().await? {
            let file = self.layout.parse(&meta);
            let is_news = |file: &RemoteFile| {
                Some(file.range.max) > max && !self.has_begun(file.level, file.range)
            };
            if let Some(file) = file.filter(is_news) {
                return Ok(Some(file.range.max));
            }
        }
        Ok(None)
    }
}
