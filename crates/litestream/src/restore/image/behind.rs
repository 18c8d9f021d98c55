//! Sends a large image to the disk while it grows, and takes what is there out of the page cache.
//!
//! Left to itself the kernel keeps a restored database in memory, most of it unwritten until the
//! last step syncs it all at once: a cache of the size of the database, in which the pages of other
//! programs had their place. Nothing here makes anything durable, and nothing that fails matters.

use std::fs::File;
use std::ops::Range;

/// Files of a plan from this compressed size on are written behind; what smaller ones hold may
/// well stay in memory for whoever opens the database next.
const LARGE: u64 = 64 << 20;
/// Bytes after which the kernel is told again.
const STEP: u64 = 8 << 20;
/// Bytes before the last step that are told again with it: they were on their way to the disk and
/// could not leave the cache.
const TAIL: u64 = 24 << 20;

/// How far the pages of one file of the plan are told.
#[derive(Debug, Default)]
pub(super) struct Behind {
    is_large: bool,
    told: u64,
}

impl Behind {
    /// The pages of a file of `size` compressed bytes begin, in ascending order.
    pub(super) fn begin(&mut self, size: u64) {
        *self = Self {
            is_large: size >= LARGE,
            told: 0,
        };
    }

    /// The image was written up to `end`.
    pub(super) fn wrote(&mut self, file: &File, end: u64) {
        if let Some(range) = self.next(end) {
            release(file, range);
        }
    }

    fn next(&mut self, end: u64) -> Option<Range<u64>> {
        if !self.is_large || end < self.told + STEP {
            return None;
        }
        let start = self.told.saturating_sub(TAIL);
        self.told = end;
        Some(start..end)
    }
}

/// Linux begins to write the dirty pages of the range, and drops those that are clean.
#[cfg(target_os = "linux")]
fn release(file: &File, range: Range<u64>) {
    use rustix::fs::{Advice, fadvise};

    let len = std::num::NonZeroU64::new(range.end.saturating_sub(range.start));
    // A file system that does not know the advice keeps the pages, as it would have without it.
    let _refused = fadvise(file, range.start, len, Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn release(_file: &File, _range: Range<u64>) {}

#[cfg(test)]
mod tests {
    use super::{Behind, LARGE, STEP, TAIL};

    #[test]
    fn each_byte_of_a_large_file_is_told_and_the_last_ones_again() {
        let mut behind = Behind::default();
        behind.begin(LARGE);
        assert_eq!(behind.next(STEP - 1), None);
        assert_eq!(behind.next(STEP), Some(0..STEP));
        assert_eq!(behind.next(2 * STEP - 1), None);
        // A gap: pages that a newer file had.
        assert_eq!(behind.next(9 * STEP), Some(0..9 * STEP));
        let tail = 9 * STEP - TAIL;
        assert_eq!(behind.next(10 * STEP + 1), Some(tail..10 * STEP + 1));
    }

    #[test]
    fn the_next_file_begins_anew_and_a_small_one_stays_in_the_cache() {
        let mut behind = Behind::default();
        behind.begin(LARGE);
        assert!(behind.next(100 * STEP).is_some());
        behind.begin(LARGE);
        assert_eq!(behind.next(STEP), Some(0..STEP));
        behind.begin(LARGE - 1);
        assert_eq!(behind.next(100 * STEP), None);
    }
}
