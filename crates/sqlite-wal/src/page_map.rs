//! Which frame holds the newest committed version of each page.
//!
//! Entries are packed into one word, page number above frame number, and appended in the order of the
//! WAL. Sorting then brings the versions of a page together with the newest last. It is done at the end,
//! and at a commit when the list has doubled: memory is bound by the number of distinct pages and the
//! frames of the largest transaction, not by the frames of the WAL.
//!
//! Invariant: `entries[..sorted]` is sorted with one entry for each page; `entries[..committed]` are of
//! whole transactions; outside of a batch being read, both are all there is.

/// Not worth sorting below this number of new entries.
const SORT_THRESHOLD: usize = 4096;

/// Newest committed frame of each page, by page number. 8 bytes for each page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageMap {
    entries: Vec<u64>,
    sorted: usize,
    committed: usize,
}

impl PageMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.sorted = 0;
        self.committed = 0;
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of entries that fit without a further allocation, 8 bytes each.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The frame that holds the newest version of `pgno`. Cost: a binary search.
    pub fn get(&self, pgno: u32) -> Option<u32> {
        let index = self.entries.partition_point(|&entry| page(entry) < pgno);
        let entry = *self.entries.get(index)?;
        (page(entry) == pgno).then_some(frame(entry))
    }

    /// Whether there is a version of `pgno`.
    pub fn contains(&self, pgno: u32) -> bool {
        self.get(pgno).is_some()
    }

    /// Page number and newest frame of each page, by ascending page number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> + ExactSizeIterator + '_ {
        self.entries
            .iter()
            .map(|&entry| (page(entry), frame(entry)))
    }

    /// Notes a frame of the open transaction; frames must come in ascending order.
    pub(crate) fn record(&mut self, pgno: u32, frame: u32) {
        self.entries.push(u64::from(pgno) << 32 | u64::from(frame));
    }

    /// Ends the open transaction: its frames count.
    pub(crate) fn commit(&mut self) {
        if self.entries.len() >= 2 * self.sorted + SORT_THRESHOLD {
            self.sort();
        }
        self.committed = self.entries.len();
    }

    /// Drops the open transaction and all pages above `commit`, the size of the database in pages.
    pub(crate) fn finish(&mut self, commit: u32) {
        self.entries.truncate(self.committed);
        self.sort();
        let kept = self.entries.partition_point(|&entry| page(entry) <= commit);
        self.entries.truncate(kept);
        self.sorted = kept;
        self.committed = kept;
    }

    fn sort(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup_by(|newer, kept| {
            let same = page(*newer) == page(*kept);
            if same {
                *kept = *newer;
            }
            same
        });
        self.sorted = self.entries.len();
    }
}

fn page(entry: u64) -> u32 {
    (entry >> 32) as u32
}

fn frame(entry: u64) -> u32 {
    entry as u32
}
