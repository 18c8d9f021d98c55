//! Chooses the files that lead to a state: the newest snapshot that fits, then the longest steps.
//!
//! A pure function of a listing. Invariant: the files of a plan cover every transaction from the
//! first to the target without a hole, or there is no plan.

use ltx::{Level, Timestamp, Txid};

use crate::error::{Error, Result};
use crate::replica::{RemoteFile, RemoteIndex};

/// Smallest listed size that can be an LTX file.
const LEAST_SIZE: u64 = ltx::HEADER_SIZE as u64;

/// Which state to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The newest.
    #[default]
    Latest,
    /// The state after this transaction.
    Txid(Txid),
    /// The newest state captured strictly before this time.
    Before(Timestamp),
}

impl Target {
    /// Whether a file may be used for this target.
    fn admits(self, file: &RemoteFile) -> bool {
        match self {
            Self::Latest => true,
            Self::Txid(txid) => file.range.max <= txid,
            Self::Before(time) => file.created < time,
        }
    }
}

/// The files of a restore, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlan {
    files: Vec<RemoteFile>,
    txid: Txid,
}

impl RestorePlan {
    /// The files, oldest first.
    pub fn files(&self) -> &[RemoteFile] {
        &self.files
    }

    /// The transaction whose state the plan leads to.
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// The first transaction that any of the files covers.
    pub fn min_txid(&self) -> Txid {
        self.files
            .iter()
            .map(|file| file.range.min)
            .min()
            .unwrap_or(Txid::FIRST)
    }

    pub(crate) fn check_sizes(&self) -> Result<()> {
        match self.files.iter().find(|file| file.size < LEAST_SIZE) {
            Some(file) => Err(Error::TooSmall {
                level: file.level,
                range: file.range,
                size: file.size,
            }),
            None => Ok(()),
        }
    }
}

/// Plans over all levels.
///
/// # Errors
/// [`Error::TxNotAvailable`] when no files lead to the target; [`Error::NonContiguous`] when files
/// behind a hole belong to it.
pub fn plan(index: &RemoteIndex, target: Target) -> Result<RestorePlan> {
    let mut files = Vec::new();
    // The last snapshot in the order of the listing.
    let snapshots = index.level(Level::SNAPSHOT).iter();
    files.extend(snapshots.rev().find(|file| target.admits(file)).copied());
    let mut reached = files.last().map(|file: &RemoteFile| file.range.max);
    let mut cursors: Vec<Cursor<'_>> = Level::ALL
        .iter()
        .rev()
        .filter(|level| !level.is_snapshot())
        .map(|level| Cursor {
            rest: index.level(*level),
            best: None,
        })
        .collect();
    while !matches!(target, Target::Txid(txid) if reached >= Some(txid)) {
        let candidates = cursors
            .iter_mut()
            .filter_map(|cursor| cursor.advance(reached, target));
        let Some(next) = candidates.reduce(better) else {
            break;
        };
        files.push(next);
        reached = Some(next.range.max);
    }
    let Some(txid) = reached else {
        return Err(Error::TxNotAvailable);
    };
    if let Target::Txid(wanted) = target {
        return if txid < wanted {
            Err(Error::TxNotAvailable)
        } else {
            Ok(RestorePlan { files, txid })
        };
    }
    // What follows a hole and belongs to the target must not be left out silently.
    let behind = cursors.iter().filter_map(|cursor| {
        cursor
            .rest
            .iter()
            .find(|file| target.admits(file) && file.range.max > txid)
    });
    match behind.map(|file| file.range.min).min() {
        Some(next) => Err(Error::NonContiguous { have: txid, next }),
        None => Ok(RestorePlan { files, txid }),
    }
}

/// The part of a level that is not passed yet, and the best file passed.
struct Cursor<'a> {
    rest: &'a [RemoteFile],
    best: Option<RemoteFile>,
}

impl Cursor<'_> {
    /// Passes all files that begin where the plan has got to, or before; gives the best of those
    /// that lead further.
    fn advance(&mut self, reached: Option<Txid>, target: Target) -> Option<RemoteFile> {
        let next = reached.map_or(Txid::FIRST, Txid::next);
        while let Some((file, rest)) = self.rest.split_first() {
            if file.range.min > next {
                break;
            }
            self.rest = rest;
            if target.admits(file) {
                self.best = Some(self.best.map_or(*file, |best| better(best, *file)));
            }
        }
        self.best = self.best.filter(|best| Some(best.range.max) > reached);
        self.best
    }
}

/// The file that leads further; of those the one that begins earlier, then the higher level, then
/// the older.
fn better(one: RemoteFile, other: RemoteFile) -> RemoteFile {
    let rank = |file: &RemoteFile| {
        (
            file.range.max,
            std::cmp::Reverse(file.range.min),
            file.level,
            std::cmp::Reverse(file.created),
        )
    };
    if rank(&other) > rank(&one) {
        other
    } else {
        one
    }
}
