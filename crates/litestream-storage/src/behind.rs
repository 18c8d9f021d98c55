//! Sends a large file to the disk while it grows, and takes what is there out of the page cache.
//!
//! Left to itself the kernel keeps what is written in memory, most of it unwritten until a last
//! step syncs it all at once: a cache of the size of the file, in which the pages of other programs
//! had their place, and a burst that their own syncs wait behind. Nothing here makes anything
//! durable, and nothing that fails matters.

use std::fs::File;
use std::ops::Range;

/// Smaller files stay in the cache, for whoever reads them next.
const LARGE: u64 = 64 << 20;
/// Bytes after which the kernel is told again.
const STEP: u64 = 8 << 20;
/// Bytes before the last step that are told again with it: they were on their way to the disk and
/// could not leave the cache.
const TAIL: u64 = 24 << 20;

/// How far the kernel was told of one file that is written from its beginning to its end.
///
/// Costs one system call per 8 MiB, from 64 MiB on; none on systems other than Linux.
#[derive(Debug, Default)]
pub struct WriteBehind {
    told: u64,
}

impl WriteBehind {
    /// The file was written up to the offset `end`; there may be holes before it.
    pub fn wrote(&mut self, file: &File, end: u64) {
        if let Some(range) = self.next(end) {
            release(file, range);
        }
    }

    fn next(&mut self, end: u64) -> Option<Range<u64>> {
        if end < LARGE || end < self.told + STEP {
            return None;
        }
        let start = self.told.saturating_sub(TAIL);
        self.told = end;
        Some(start..end)
    }
}

/// Linux begins to write the dirty pages of the range, and drops those that are clean
/// (`posix_fadvise(2)`, `POSIX_FADV_DONTNEED`).
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
    use super::{LARGE, STEP, TAIL, WriteBehind};

    #[test]
    fn each_byte_of_a_large_file_is_told_and_the_last_ones_again() {
        let mut behind = WriteBehind::default();
        for end in [1, STEP, LARGE - 1] {
            assert_eq!(behind.next(end), None, "small so far");
        }
        assert_eq!(behind.next(LARGE), Some(0..LARGE));
        assert_eq!(behind.next(LARGE + STEP - 1), None);
        let end = LARGE + STEP + 1;
        assert_eq!(behind.next(end), Some(LARGE - TAIL..end));
        // A hole.
        assert_eq!(behind.next(9 * LARGE), Some(end - TAIL..9 * LARGE));
    }
}
