//! The index of a replica in memory, and what happens to the replica while it is being listed.
//!
//! Invariant: once a listing has ended, the index holds everything that was noted while it ran, in
//! the order in which it was noted; a listing during which the index was forgotten counts for
//! nothing, because what an error has left behind may have been passed already.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::RemoteIndex;
use super::layout::RemoteFile;
use crate::error::Result;

/// Listings begun anew because the index was forgotten meanwhile, before the caller is told so.
const MOST_LISTINGS: usize = 3;

/// Something that has become of a file.
#[derive(Debug, Clone, Copy)]
enum Change {
    Stored(RemoteFile),
    Deleted(RemoteFile),
}

#[derive(Debug, Default)]
struct State {
    index: Option<RemoteIndex>,
    listed: Option<Instant>,
    /// Noted while a listing runs.
    meanwhile: Vec<Change>,
    listing: bool,
    /// How often the index was forgotten.
    forgotten: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Known {
    state: Mutex<State>,
    /// One listing at a time: the others wait for its result.
    listing: tokio::sync::Mutex<()>,
    changed: watch::Sender<()>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            listing: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(()),
        }
    }

    /// Lists with `list`, unless the index is known. `false` when the index was forgotten again
    /// and again meanwhile.
    pub(super) async fn ensure<'a>(
        &self,
        list: impl Fn() -> BoxFuture<'a, Result<RemoteIndex>>,
    ) -> Result<bool> {
        let _one_at_a_time = self.listing.lock().await;
        for _ in 0..MOST_LISTINGS {
            let forgotten = {
                let mut state = self.state();
                if state.index.is_some() {
                    return Ok(true);
                }
                // What an earlier listing left behind that was given up counts no more.
                state.meanwhile.clear();
                state.listing = true;
                state.forgotten
            };
            let listed = list().await;
            let mut state = self.state();
            state.listing = false;
            let meanwhile = std::mem::take(&mut state.meanwhile);
            let mut index = listed?;
            if state.forgotten != forgotten {
                continue;
            }
            for change in meanwhile {
                apply(&mut index, change);
            }
            state.index = Some(index);
            state.listed = Some(Instant::now());
            return Ok(true);
        }
        Ok(false)
    }

    /// Asks the index, if it is known.
    pub(super) fn ask<R>(&self, ask: impl FnOnce(&RemoteIndex) -> R) -> Option<R> {
        self.state().index.as_ref().map(ask)
    }

    /// How long ago the replica was listed, if the index is known.
    pub(super) fn age(&self) -> Option<Duration> {
        let state = self.state();
        state
            .index
            .as_ref()
            .and(state.listed)
            .map(|at| at.elapsed())
    }

    /// Notes that the store has taken a file.
    pub(super) fn stored(&self, file: RemoteFile) {
        self.note(Change::Stored(file));
    }

    /// Notes that the store has deleted a file.
    pub(super) fn deleted(&self, file: RemoteFile) {
        self.note(Change::Deleted(file));
    }

    fn note(&self, change: Change) {
        {
            let mut state = self.state();
            if let Some(index) = &mut state.index {
                apply(index, change);
            } else if state.listing {
                state.meanwhile.push(change);
            }
        }
        self.changed.send_replace(());
    }

    /// Forgets the index, also one that is just being listed.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.index = None;
        state.listed = None;
        state.forgotten += 1;
    }

    /// Tells of everything that is noted.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(index: &mut RemoteIndex, change: Change) {
    match change {
        Change::Stored(file) => index.insert(file),
        Change::Deleted(file) => index.remove(&file),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use ltx::{Level, Timestamp, Txid, TxidRange};

    use super::*;

    fn file(txid: u64) -> RemoteFile {
        RemoteFile {
            level: Level::RAW,
            range: TxidRange::single(Txid::new(txid).unwrap()),
            size: 100,
            created: Timestamp::from_millis(0),
        }
    }

    fn listing(txids: &[u64]) -> RemoteIndex {
        let mut index = RemoteIndex::default();
        for txid in txids {
            index.insert(file(*txid));
        }
        index
    }

    fn files(known: &Known) -> Vec<u64> {
        let files = known.ask(|index| index.files().map(|file| file.range.max.get()).collect());
        files.unwrap_or_default()
    }

    #[tokio::test]
    async fn what_happens_during_a_listing_is_not_lost() {
        let known = Known::new();
        let listed = known.ensure(|| {
            let listing = listing(&[1, 2]);
            known.stored(file(3));
            known.deleted(file(1));
            known.stored(file(4));
            known.deleted(file(4));
            ready(Ok(listing)).boxed()
        });
        assert!(listed.await.unwrap());
        assert_eq!(files(&known), [2, 3]);
    }

    #[tokio::test]
    async fn a_listing_during_an_error_is_repeated() {
        let known = Known::new();
        let listings = Cell::new(0);
        let listed = known.ensure(|| {
            listings.set(listings.get() + 1);
            if listings.get() == 1 {
                known.stored(file(9));
                known.forget();
            }
            ready(Ok(listing(&[listings.get()]))).boxed()
        });
        assert!(listed.await.unwrap());
        assert_eq!(files(&known), [2]);

        known.forget();
        let listed = known.ensure(|| {
            known.forget();
            ready(Ok(listing(&[1]))).boxed()
        });
        assert!(!listed.await.unwrap());
        assert_eq!(known.age(), None);
    }

    #[tokio::test]
    async fn a_listing_that_was_given_up_leaves_nothing_behind() {
        let known = Known::new();
        {
            let mut given_up = std::pin::pin!(known.ensure(|| {
                known.stored(file(7));
                pending().boxed()
            }));
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        let listed = known.ensure(|| ready(Ok(listing(&[1]))).boxed());
        assert!(listed.await.unwrap());
        assert_eq!(files(&known), [1]);
    }
}
