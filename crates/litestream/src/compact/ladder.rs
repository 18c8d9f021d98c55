//! Which files go up to the next level, and when.
//!
//! Invariant: the ladder carries increments only. A file that begins at transaction 1 is an image
//! of the whole database; it stays on the level that it was written to, and the snapshot level
//! covers it, so that the base is uploaded once and not once for each level.

use std::time::Duration;

use ltx::{Level, Timestamp, Txid};

use crate::replica::{RemoteFile, RemoteIndex};

/// Files merged in one go; what is left over is merged next. All of them are open at the same time.
const MOST_INPUTS: usize = 128;
/// Bytes merged in one go, but for a single larger file: a merge that breaks off repeats no more.
const MOST_BYTES: u64 = 1 << 30;
/// Milliseconds from 0001-01-01 to the Unix epoch: intervals are counted from there.
const YEAR_ONE: i64 = 62_135_596_800_000;

/// What goes up in one go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The files, oldest first, without a hole between them.
    pub(crate) files: Vec<RemoteFile>,
    /// More files wait behind the batch.
    pub(crate) more: bool,
}

/// Files of the level below that are not in `level` yet, oldest first.
fn waiting(index: &RemoteIndex, level: Level) -> impl Iterator<Item = &RemoteFile> {
    let done = index.level_max(level);
    let below = level.below().map_or(&[][..], |below| index.level(below));
    below
        .iter()
        .filter(move |file| file.range.min > Txid::FIRST && Some(file.range.min) > done)
}

/// Files of the level below that are not in `level` yet, up to the first hole, or to a batch.
pub(crate) fn inputs(index: &RemoteIndex, level: Level) -> Batch {
    let mut batch = Batch::default();
    let mut bytes = 0_u64;
    for file in waiting(index, level) {
        let last = batch.files.last();
        if last.is_some_and(|last: &RemoteFile| last.range.max >= file.range.max) {
            // Covered by the one before.
            continue;
        }
        let follows = last.is_none_or(|last| file.range.extends(&last.range));
        let size = bytes.saturating_add(file.size);
        let fits = batch.files.len() < MOST_INPUTS && size <= MOST_BYTES;
        if !(batch.files.is_empty() || follows && fits) {
            batch.more = true;
            break;
        }
        bytes = size;
        batch.files.push(*file);
    }
    batch
}

/// The oldest file that is not merged into `level` yet.
pub(crate) fn first_input(index: &RemoteIndex, level: Level) -> Option<RemoteFile> {
    waiting(index, level).next().copied()
}

/// The end of the interval that a time lies in. Intervals are aligned as the reference aligns them,
/// from the year 1 on.
pub(crate) fn interval_end(time: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    let since = time.as_millis().saturating_add(YEAR_ONE);
    let start = since - since.rem_euclid(interval);
    Timestamp::from_millis(start.saturating_add(interval).saturating_sub(YEAR_ONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::tests::{file, index};

    fn level(number: u8) -> Level {
        Level::new(number).unwrap()
    }

    fn ranges(batch: &Batch) -> Vec<(u64, u64)> {
        let files = batch.files.iter();
        files
            .map(|file| (file.range.min.get(), file.range.max.get()))
            .collect()
    }

    #[test]
    fn intervals_are_counted_from_the_year_one() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let end =
            |time, seconds| interval_end(at(time), Duration::from_secs(seconds)).as_millis() / 1000;
        assert_eq!(end(0, 30), 30);
        assert_eq!(end(29, 30), 30);
        assert_eq!(end(30, 30), 60);
        assert_eq!(end(86_399, 86_400), 86_400);
        // 1970-01-01 was a Thursday; weeks begin on Mondays.
        assert_eq!(end(0, 7 * 86_400), 4 * 86_400);
        // 7 s do not divide a day: (0 + 62135596800) mod 7 = 3.
        assert_eq!(end(0, 7), 7 - 62_135_596_800 % 7);
    }

    #[test]
    fn the_ladder_carries_what_is_new_and_no_image() {
        let mut held = index(&[(9, 1, 1), (0, 1, 1), (0, 2, 2), (0, 3, 3)]);
        assert_eq!(ranges(&inputs(&held, level(1))), [(2, 2), (3, 3)]);
        held.insert(file(1, 2, 3));
        held.insert(file(0, 4, 4));
        assert_eq!(ranges(&inputs(&held, level(1))), [(4, 4)]);
        assert_eq!(ranges(&inputs(&held, level(2))), [(2, 3)]);
        assert_eq!(first_input(&held, level(3)), None);
        assert_eq!(ranges(&inputs(&held, level(3))), []);
    }

    #[test]
    fn a_batch_ends_at_a_hole_and_the_next_begins_behind_it() {
        let mut held = index(&[(0, 2, 2), (0, 3, 3), (0, 7, 7), (0, 8, 8)]);
        let batch = inputs(&held, level(1));
        assert_eq!((ranges(&batch), batch.more), (vec![(2, 2), (3, 3)], true));
        held.insert(file(1, 2, 3));
        let batch = inputs(&held, level(1));
        assert_eq!((ranges(&batch), batch.more), (vec![(7, 7), (8, 8)], false));
    }

    #[test]
    fn a_file_that_another_covers_is_left_out() {
        let held = index(&[(1, 2, 9), (1, 4, 6), (1, 8, 12)]);
        assert_eq!(ranges(&inputs(&held, level(2))), [(2, 9), (8, 12)]);
    }

    #[test]
    fn batches_are_bounded_by_files_and_by_bytes() {
        let many: Vec<_> = (2..=300).map(|txid| (0, txid, txid)).collect();
        let batch = inputs(&index(&many), level(1));
        assert_eq!((batch.files.len(), batch.more), (MOST_INPUTS, true));

        let mut large = index(&[]);
        for txid in 2..=5 {
            large.insert(RemoteFile {
                size: MOST_BYTES - 1,
                ..file(0, txid, txid)
            });
        }
        let batch = inputs(&large, level(1));
        assert_eq!((batch.files.len(), batch.more), (1, true));
    }
}
