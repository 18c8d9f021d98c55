//! Whether a service answers a range with the range, or with the whole object.
//!
//! Invariant: it changes how objects are read and never what is read.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::ByteRange;

/// What the last answer to a range showed; until there was one, that ranges are kept.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    are_ignored: AtomicBool,
}

impl Ranges {
    pub(crate) fn are_kept(&self) -> bool {
        !self.are_ignored.load(Ordering::Relaxed)
    }

    /// Notes an answer about an object of `size` bytes, with a part of it or with all.
    pub(crate) fn answered(&self, asked: ByteRange, size: u64, is_part: bool) {
        // Some send the whole object as what it is when the range has all of it.
        if asked.len_in(size) < size {
            self.are_ignored.store(!is_part, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;
    use crate::ByteRange;

    #[test]
    fn the_last_answer_to_a_range_counts() {
        let ranges = Ranges::default();
        assert!(ranges.are_kept());
        for asked in [ByteRange::ALL, ByteRange::new(0, 10)] {
            ranges.answered(asked, 10, false);
            assert!(ranges.are_kept(), "{asked:?} is everything");
        }
        ranges.answered(ByteRange::new(0, 9), 10, false);
        assert!(!ranges.are_kept());
        ranges.answered(ByteRange::ALL, 10, false);
        assert!(!ranges.are_kept());
        ranges.answered(ByteRange::from(1), 10, true);
        assert!(ranges.are_kept());
    }
}
