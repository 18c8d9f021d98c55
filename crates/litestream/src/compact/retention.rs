//! What may be deleted from a replica, as pure functions of its index.
//!
//! Invariant: a file is deleted only if another file that stays covers its transactions, or if the
//! policy has given up every state that it is needed for; the newest file of a level stays.

use std::collections::BTreeSet;
use std::time::Duration;

use ltx::{Level, Timestamp, Txid};

use crate::replica::{RemoteFile, RemoteIndex};

/// Up to where level 1 covers level 0.
fn compacted(index: &RemoteIndex) -> Option<Txid> {
    Level::new(1).and_then(|level| index.level_max(level))
}

/// The base in level 0 of a replica without snapshots.
pub(crate) fn base_without_snapshot(index: &RemoteIndex) -> Option<&RemoteFile> {
    let first = index.level(Level::RAW).first();
    let has_none = index.level(Level::SNAPSHOT).is_empty();
    first.filter(|file| has_none && is_image(file) && file.range.is_single())
}

fn is_image(file: &RemoteFile) -> bool {
    file.range.min == Txid::FIRST
}

/// Whether a snapshot is the same image, or the ladder has taken it up.
fn is_held_elsewhere(index: &RemoteIndex, image: &RemoteFile) -> bool {
    let mut snapshots = index.level(Level::SNAPSHOT).iter();
    let ladder = Level::new(1).map_or(&[][..], |level| index.level(level));
    let mut carried = ladder.iter().filter(|file| is_image(file));
    snapshots.any(|file| file.range.max == image.range.max)
        || carried.any(|file| file.range.max >= image.range.max)
}

/// The level-0 files, without an image that nothing else holds: the ladder stands on it. It goes with the
/// snapshots that are as old.
fn raw(index: &RemoteIndex) -> &[RemoteFile] {
    let files = index.level(Level::RAW);
    match files.split_first() {
        Some((first, rest)) if is_image(first) && !is_held_elsewhere(index, first) => rest,
        _ => files,
    }
}

/// How many of the oldest level-0 files may go together, fewest first. What is left behind must
/// still lead somewhere: it begins where a file of another level ends, or its first file ends there.
/// To delete the half of what one file of level 1 covers would leave states that nothing leads to.
fn cuts(index: &RemoteIndex) -> impl Iterator<Item = usize> {
    let files = raw(index);
    let compacted = compacted(index);
    let covered = files
        .iter()
        .take(files.len().saturating_sub(1))
        .take_while(|file| Some(file.range.max) <= compacted)
        .count();
    let first = files.first().map(|file| file.range.max);
    let ends: BTreeSet<Txid> = Level::ALL
        .into_iter()
        .skip(1)
        .flat_map(|level| index.level(level).iter().rev())
        .map(|file| file.range.max)
        .filter(|end| Some(*end) >= first)
        .collect();
    let neighbours = files.iter().zip(files.iter().skip(1)).take(covered);
    let cuts = neighbours.enumerate().filter(move |(_, (last, left))| {
        ends.contains(&last.range.max) || ends.contains(&left.range.max)
    });
    cuts.map(|(before, _)| before + 1)
}

/// The time at which the last of the oldest level-0 files passes its time.
fn all_passed(files: &[RemoteFile], count: usize, retention: Duration) -> Option<Timestamp> {
    let passed = files.iter().take(count);
    passed.map(|file| later(file.created, retention)).max()
}

/// The oldest level-0 file, if it may go, and when.
pub(crate) fn expired_raw(
    index: &RemoteIndex,
    retention: Duration,
) -> Option<(RemoteFile, Timestamp)> {
    if retention.is_zero() {
        return None;
    }
    let files = raw(index);
    let at = all_passed(files, cuts(index).next()?, retention)?;
    Some((*files.first()?, at))
}

/// The level-0 files to delete now: covered, old enough, a run from the oldest on, never the newest
/// of the level. The newest of the run comes first: deleted in this order, what is left of the run
/// still begins where another level ends, however far the deletion gets.
pub(crate) fn raw_to_delete(
    index: &RemoteIndex,
    retention: Duration,
    now: Timestamp,
) -> Vec<RemoteFile> {
    if retention.is_zero() {
        return Vec::new();
    }
    let files = raw(index);
    let passed = |count: &usize| all_passed(files, *count, retention) <= Some(now);
    let count = cuts(index).take_while(passed).last().unwrap_or(0);
    files.iter().take(count).rev().copied().collect()
}

/// The oldest snapshot, and when it may go: when a later one passes its time, because that one leads
/// to every state inside the window.
pub(crate) fn expired_snapshots(
    index: &RemoteIndex,
    retention: Duration,
) -> Option<(RemoteFile, Timestamp)> {
    let snapshots = index.level(Level::SNAPSHOT);
    let first = snapshots.first()?;
    let next = snapshots
        .iter()
        .skip(1)
        .map(|file| later(file.created, retention));
    Some((*first, next.min()?))
}

/// Snapshots before the newest one that has passed its time, an image in level 0 that is as old, and files of
/// the levels between that end before the newest snapshot that is deleted.
///
/// The newest snapshot older than the window stays: without it nothing between the beginning of the
/// window and the first snapshot inside could be restored. And a restore in flight that was planned
/// on a snapshot that is deleted still finds what follows it.
pub(crate) fn snapshots_to_delete(
    index: &RemoteIndex,
    retention: Duration,
    levels: usize,
    now: Timestamp,
) -> Vec<RemoteFile> {
    let snapshots = index.level(Level::SNAPSHOT);
    let passed = snapshots
        .iter()
        .rposition(|file| later(file.created, retention) <= now);
    let mut delete: Vec<RemoteFile> = snapshots
        .iter()
        .take(passed.unwrap_or(0))
        .copied()
        .collect();
    let Some(floor) = delete.iter().map(|file| file.range.max).max() else {
        return delete;
    };
    let images = index.level(Level::RAW).iter().take_while(|file| {
        is_image(file)
            && file.range.max <= floor
            && Some(file.range.max) < index.level_max(Level::RAW)
    });
    delete.extend(images.copied());
    for level in Level::ALL.into_iter().skip(1).take(levels) {
        let files = index.level(level);
        let keep = files.len().saturating_sub(1);
        let needless = files
            .iter()
            .take(keep)
            .filter(|file| file.range.max < floor);
        delete.extend(needless.copied());
    }
    delete
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_add(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::tests::{aged, index};

    const HOUR: Duration = Duration::from_hours(1);
    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn names(files: &[RemoteFile]) -> Vec<(u8, u64, u64)> {
        let name =
            |file: &RemoteFile| (file.level.get(), file.range.min.get(), file.range.max.get());
        files.iter().map(name).collect()
    }

    /// Snapshots of these ages in minutes, oldest first, at transactions 10, 20, ...
    fn snapshots(ages: &[i64]) -> RemoteIndex {
        let mut held = RemoteIndex::default();
        for (at, age) in (1..).zip(ages) {
            held.insert(aged(9, 1, at * 10, NOW, age * 60_000));
        }
        held
    }

    fn deleted(held: &RemoteIndex) -> Vec<(u8, u64, u64)> {
        names(&snapshots_to_delete(held, HOUR, 3, NOW))
    }

    #[test]
    fn one_snapshot_older_than_the_window_stays() {
        assert_eq!(deleted(&snapshots(&[120, 30, 5])), []);
        assert_eq!(deleted(&snapshots(&[180, 120, 30, 5])), [(9, 1, 10)]);
        assert_eq!(
            deleted(&snapshots(&[300, 200, 100])),
            [(9, 1, 10), (9, 1, 20)]
        );
        assert_eq!(deleted(&snapshots(&[300])), []);
        assert_eq!(deleted(&snapshots(&[])), []);
    }

    #[test]
    fn it_is_due_when_a_later_snapshot_passes_its_time() {
        let due = |ages: &[i64]| expired_snapshots(&snapshots(ages), HOUR).map(|(_, at)| at);
        assert_eq!(due(&[120, 30]), Some(later(NOW, Duration::from_mins(30))));
        assert_eq!(
            due(&[180, 120, 30]),
            Some(later(NOW, Duration::ZERO))
                .map(|_| { Timestamp::from_millis(NOW.as_millis() - 60 * 60_000) })
        );
        assert_eq!(due(&[120]), None);
        // What is due is deleted, else it would be due for ever.
        for ages in [&[120, 60][..], &[180, 120, 30], &[70, 65, 60]] {
            let at = due(ages).unwrap();
            assert!(
                !snapshots_to_delete(&snapshots(ages), HOUR, 3, at).is_empty(),
                "{ages:?}"
            );
        }
    }

    #[test]
    fn levels_are_cut_behind_the_last_snapshot_that_goes() {
        let mut held = snapshots(&[300, 200, 100]);
        for (level, min, max) in [
            (1, 2, 9),
            (1, 10, 19),
            (1, 20, 20),
            (1, 21, 40),
            (2, 2, 19),
            (2, 20, 35),
            (3, 2, 15),
        ] {
            held.insert(aged(level, min, max, NOW, 0));
        }
        // The floor is 20; the newest of a level stays in any case; level 0 is not touched.
        assert_eq!(
            deleted(&held),
            [(9, 1, 10), (9, 1, 20), (1, 2, 9), (1, 10, 19), (2, 2, 19)]
        );
    }

    /// A restore that was planned on a snapshot before a newer one came still finds the files
    /// behind it.
    #[test]
    fn a_restore_in_flight_finds_the_files_behind_a_deleted_snapshot() {
        let mut held = RemoteIndex::default();
        held.insert(aged(9, 1, 5, NOW, 3 * 3_600_000));
        held.insert(aged(9, 1, 11, NOW, 2 * 3_600_000));
        held.insert(aged(1, 6, 10, NOW, 0));
        held.insert(aged(1, 11, 11, NOW, 0));
        assert_eq!(deleted(&held), [(9, 1, 5)]);
    }

    #[test]
    fn level_zero_goes_once_it_is_covered_and_old() {
        let mut held = RemoteIndex::default();
        for txid in 1..=6 {
            held.insert(aged(0, txid, txid, NOW, (7 - txid.cast_signed()) * 60_000));
        }
        let go = |held: &RemoteIndex, minutes| {
            let files = raw_to_delete(held, Duration::from_mins(minutes), NOW);
            files
                .iter()
                .rev()
                .map(|file| file.range.max.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(go(&held, 1), [0; 0], "without level 1");
        held.insert(aged(1, 2, 5, NOW, 0));
        assert_eq!(go(&held, 1), [2, 3, 4, 5], "the image has no snapshot");
        let behind = aged(9, 1, 5, NOW, 0);
        held.insert(behind);
        assert_eq!(go(&held, 1), [2, 3, 4, 5], "a later one is not the same");
        held.remove(&behind);
        held.insert(aged(9, 1, 1, NOW, 0));
        // Up to the last that level 1 covers; before that only the image, which a snapshot holds.
        assert_eq!(go(&held, 1), [1, 2, 3, 4, 5]);
        assert_eq!(go(&held, 3), [1, 2, 3, 4]);
        assert_eq!(
            go(&held, 4),
            [1],
            "the half of a file of level 1 would leave states without a way"
        );
        assert_eq!(go(&held, 7), [0; 0]);
        assert_eq!(go(&held, 0), [0; 0], "zero keeps them for ever");
        held.insert(aged(1, 6, 6, NOW, 0));
        assert_eq!(go(&held, 1), [1, 2, 3, 4, 5], "the newest stays");
        let (first, at) = expired_raw(&held, HOUR).unwrap();
        assert_eq!(
            (first.range.max, at),
            (Txid::FIRST, later(NOW, Duration::from_mins(54)))
        );
        held.remove(&first);
        let (_, at) = expired_raw(&held, HOUR).unwrap();
        assert_eq!(
            at,
            later(NOW, Duration::from_mins(57)),
            "when 2, 3 and 4 have passed it"
        );
        let one = index(&[(0, 2, 2), (1, 2, 2)]);
        assert_eq!(expired_raw(&one, HOUR), None);
    }
}
