//! What there is to do on a replica, and when: pure functions of the index.
//!
//! Invariant: a chore that is due changes the index when it is done, or counts as passed for this
//! interval; so nothing is due for ever.

use std::collections::BTreeMap;

use ltx::{Level, Timestamp, Txid};

use crate::compact::{self, interval_end};
use crate::replica::RemoteIndex;
use crate::settings::RetentionSettings;

/// A real transaction has so many milliseconds to come before level 0 is marked.
const MARK_AFTER: i64 = 2000;

/// A base in level 0 is restorable as it is: the snapshot level has so many milliseconds, in which
/// other databases can start.
const COPY_AFTER: i64 = 5000;

/// A piece of work on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::database) enum Chore {
    /// Merges what is new in the level below into this one.
    Compact(Level),
    /// Gives level 0 the newest transaction, which only a snapshot holds.
    Mark,
    Snapshot,
    /// Deletes level-0 files past their time.
    RetainRaw,
    /// Deletes snapshots past their time, and what only they made useful.
    RetainSnapshots,
}

impl Chore {
    /// The level it is about.
    pub(super) fn level(self) -> Level {
        match self {
            Self::Compact(level) => level,
            Self::RetainRaw | Self::Mark => Level::RAW,
            Self::Snapshot | Self::RetainSnapshots => Level::SNAPSHOT,
        }
    }
}

/// Chores that wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Compaction and retention.
    Ladder,
    Snapshots,
}

/// What the index does not tell of the chores that were done.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// When each level last took everything that waited for it, level 0 a mark.
    levels: BTreeMap<Level, Timestamp>,
    /// The files do not lead to everything that is acknowledged: only a snapshot helps.
    pub(super) hole: bool,
}

impl Passed {
    /// A level was compacted; `more` waits for it already.
    pub(super) fn compacted(&mut self, level: Level, more: bool, now: Timestamp) {
        if more {
            self.levels.remove(&level);
        } else {
            self.levels.insert(level, now);
        }
    }
}

/// The chore of a line that is due first, and when.
pub(super) fn first_due(
    settings: &RetentionSettings,
    index: &RemoteIndex,
    acknowledged: Option<Txid>,
    line: Line,
    passed: &Passed,
) -> Option<(Timestamp, Chore)> {
    let due = match line {
        Line::Ladder => ladder(settings, index, passed),
        Line::Snapshots => snapshot(settings, index, acknowledged, passed),
    };
    due.into_iter().min_by_key(|(at, _)| *at)
}

fn ladder(
    settings: &RetentionSettings,
    index: &RemoteIndex,
    passed: &Passed,
) -> Vec<(Timestamp, Chore)> {
    let mut due = Vec::new();
    for (interval, level) in settings.levels.iter().zip(Level::ALL.into_iter().skip(1)) {
        // At the end of the interval in which the oldest of the new files came, once an interval.
        // After a restart what waits from an earlier interval is due at once, and what came in the
        // interval of the last compaction is not.
        if let Some(first) = compact::first_input(index, level) {
            let at = interval_end(first.created, *interval);
            let last = passed.levels.get(&level);
            let next = last.map(|last| interval_end(*last, *interval));
            due.push((next.map_or(at, |next| at.max(next)), Chore::Compact(level)));
        }
    }
    if is_bare(index) {
        // Soon: until then v0.5 must not take over. But no more often than once an interval.
        let newest = index
            .level(Level::SNAPSHOT)
            .iter()
            .map(|file| file.created)
            .max();
        let interval = settings.levels.first().copied();
        let interval = interval.unwrap_or(settings.l0_retention_check_interval);
        let last = passed.levels.get(&Level::RAW);
        let next = last.map(|last| interval_end(*last, interval));
        let soon = newest.map(|at| later(at, MARK_AFTER));
        let at = soon.max(next);
        due.extend(at.map(|at| (at, Chore::Mark)));
    }
    if settings.delete_remote {
        let raw = compact::expired_raw(index, settings.l0_retention);
        // Several files at a time: what expires in one check interval goes at its end.
        due.extend(raw.map(|(_, at)| {
            let at = interval_end(at, settings.l0_retention_check_interval);
            (at, Chore::RetainRaw)
        }));
        let expired = compact::expired_snapshots(index, settings.snapshot_retention);
        due.extend(expired.map(|(_, at)| (at, Chore::RetainSnapshots)));
    }
    due
}

fn later(at: Timestamp, milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add(milliseconds))
}

/// Whether the newest transaction is in a snapshot only. See `mark`.
pub(crate) fn is_bare(index: &RemoteIndex) -> bool {
    index.level_max(Level::RAW) < index.max()
}

fn snapshot(
    settings: &RetentionSettings,
    index: &RemoteIndex,
    acknowledged: Option<Txid>,
    passed: &Passed,
) -> Vec<(Timestamp, Chore)> {
    let at_once = Timestamp::from_millis(0);
    let snapshots = index.level(Level::SNAPSHOT);
    if passed.hole {
        return vec![(at_once, Chore::Snapshot)];
    }
    if acknowledged.is_none() || index.level_max(Level::SNAPSHOT) >= acknowledged {
        return Vec::new();
    }
    let last = snapshots.iter().map(|file| file.created).max();
    let at = last.map(|last| interval_end(last, settings.snapshot_interval));
    let base = compact::base_without_snapshot(index);
    let at = at.or(base.map(|base| later(base.created, COPY_AFTER)));
    vec![(at.unwrap_or(at_once), Chore::Snapshot)]
}
