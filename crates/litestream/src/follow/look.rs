//! Looks at the replica for what leads on from a transaction: the cheapest chain of files.
//!
//! Level 0 is listed from the position on. That one request answers the usual cases: the newest file
//! is the one that was applied last, or it is reached file by file. All levels are listed when level
//! 0 does not tell: after the start, a hole, a file that vanished or was damaged, and while level 0 is
//! empty, but then no more than every half minute.

use std::collections::{BTreeMap, HashSet};

use ltx::{Level, Timestamp, Txid, TxidRange};

use super::error::FollowError;
use crate::error::{Error, Result};
use crate::replica::{RemoteFile, RemoteIndex};
use crate::restore::{Source, Target, plan};

/// Least time between two listings of all levels that an empty level 0 asks for, in milliseconds.
const FULL_INTERVAL: i64 = 30_000;
/// What a request costs beside its bytes, in bytes.
const REQUEST: u64 = 16 << 10;

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The replica ends where the copy is.
    Nothing,
    /// Level 0 is empty, and all levels were listed not long ago.
    Unknown,
    /// Files that lead on, oldest first, and where the replica ends.
    Chain {
        files: Vec<RemoteFile>,
        newest: Txid,
    },
}

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// When all levels were listed last.
    full_at: Option<Timestamp>,
    /// Level 0 alone is not trusted.
    must_be_full: bool,
    /// Start from a snapshot: files that follow one another do not fit the copy.
    from_snapshot: bool,
    /// Files that turned out to be damaged.
    damaged: HashSet<(Level, TxidRange)>,
}

impl Look {
    /// The next look lists all levels.
    pub(super) fn distrust(&mut self) {
        self.must_be_full = true;
    }

    /// The next look does without the file, if that is possible.
    pub(super) fn avoid(&mut self, file: &RemoteFile) {
        self.must_be_full = true;
        self.damaged.insert((file.level, file.range));
    }

    /// The next look starts from a snapshot.
    pub(super) fn start_over(&mut self) {
        self.must_be_full = true;
        self.from_snapshot = true;
    }

    /// What was found has been applied.
    pub(super) fn settled(&mut self) {
        self.must_be_full = false;
        self.from_snapshot = false;
        self.damaged.clear();
    }

    /// Looks for what leads on from `position`.
    ///
    /// # Cost
    /// One listing of level 0 from the position on; sometimes one of all levels, see the module.
    pub(super) async fn look(
        &mut self,
        source: &Source,
        position: Txid,
        now: Timestamp,
    ) -> Result<Found> {
        if !self.must_be_full && self.full_at.is_some() {
            let files = source.list_from(Level::RAW, Some(position), false).await?;
            let newest = files.iter().map(|file| file.range.max).max();
            match newest {
                Some(newest) if newest == position => return Ok(Found::Nothing),
                Some(newest) if newest > position => {
                    let files = chain(files.iter().copied(), position);
                    if files.last().is_some_and(|last| last.range.max == newest) {
                        return Ok(Found::Chain { files, newest });
                    }
                }
                _ if !self.is_due(now) => return Ok(Found::Unknown),
                _ => {}
            }
        }
        self.full(source, position, now).await
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.full_at.is_none_or(|at| {
            let since = now.as_millis().saturating_sub(at.as_millis());
            // A clock that was set back must not stop the looks.
            !(0..FULL_INTERVAL).contains(&since)
        })
    }

    async fn full(&mut self, source: &Source, position: Txid, now: Timestamp) -> Result<Found> {
        let mut index = source.list(false).await?;
        self.full_at = Some(now);
        let newest = index.max().ok_or(FollowError::Empty { position })?;
        if newest < position {
            return Err(FollowError::Ahead { position, newest }.into());
        }
        if newest == position {
            self.must_be_full = false;
            return Ok(Found::Nothing);
        }
        let damaged: Vec<RemoteFile> = index
            .files()
            .filter(|file| self.damaged.contains(&(file.level, file.range)))
            .copied()
            .collect();
        for file in &damaged {
            index.remove(file);
        }
        let files = if self.from_snapshot {
            self.snapshot(&index, position)?
        } else {
            chain(index.files().copied(), position)
        };
        if files.is_empty() {
            // The next look tries again what was avoided: it may have been the transfer.
            self.damaged.clear();
            self.must_be_full = true;
            let behind = index.files().filter(|file| file.range.max > position);
            let next = behind.map(|file| file.range.min).min();
            return Err(Error::NonContiguous {
                have: position,
                next: next.unwrap_or(newest),
            });
        }
        Ok(Found::Chain { files, newest })
    }

    /// The files of a restore, if they lead behind the position.
    fn snapshot(&mut self, index: &RemoteIndex, position: Txid) -> Result<Vec<RemoteFile>> {
        // Only once: what does not help is not tried over and over.
        self.from_snapshot = false;
        let plan = plan(index, Target::Latest).map_err(|error| Error::Plan(Box::new(error)))?;
        if plan.txid() > position {
            Ok(plan.files().to_vec())
        } else {
            Ok(Vec::new())
        }
    }
}

/// A way to a transaction.
#[derive(Clone, Copy)]
struct Way {
    cost: u64,
    file: RemoteFile,
    /// Where the file is put on.
    from: Txid,
}

/// The files that lead as far as possible from `position`, with the fewest bytes and requests.
/// Every file begins at the end of the one before, or earlier, without a hole.
pub(super) fn chain(files: impl Iterator<Item = RemoteFile>, position: Txid) -> Vec<RemoteFile> {
    let mut files: Vec<RemoteFile> = files.filter(|file| file.range.max > position).collect();
    files.sort_unstable_by_key(|file| (file.range.max, file.range.min, file.level));
    let mut ways: BTreeMap<Txid, Way> = BTreeMap::new();
    for file in files {
        let cost = file.size.saturating_add(REQUEST);
        // The transaction that the file can be put on at the earliest.
        let before = file.range.min.prev().filter(|before| *before > position);
        let from = match before {
            None => Some((0, position)),
            // All ways to smaller transactions are known: the files come in this order.
            Some(before) => {
                let known = ways.range(before..file.range.max);
                known
                    .map(|(txid, way)| (way.cost, *txid))
                    .min_by_key(|(cost, txid)| (*cost, std::cmp::Reverse(*txid)))
            }
        };
        let Some((cost_before, from)) = from else {
            continue;
        };
        let cost = cost.saturating_add(cost_before);
        let way = ways
            .entry(file.range.max)
            .or_insert(Way { cost, file, from });
        if cost < way.cost {
            *way = Way { cost, file, from };
        }
    }
    let mut chain = Vec::new();
    let mut at = ways.last_key_value().map(|(txid, _)| *txid);
    while let Some(way) = at.and_then(|txid| ways.get(&txid)) {
        chain.push(way.file);
        at = Some(way.from);
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests;
