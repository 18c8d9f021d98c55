//! Deterministic pseudo-random numbers (`SplitMix64`) and the words made of them.

/// A stream of numbers fixed by its seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

const WORDS: [&str; 16] = [
    "order",
    "page",
    "snapshot",
    "river",
    "invoice",
    "commit",
    "caf\u{e9}",
    "north",
    "table",
    "cursor",
    "winter",
    "\u{4e2d}\u{6587}",
    "ledger",
    "stream",
    "index",
    "\u{1f980}",
];

impl Random {
    /// The stream of one step of a history.
    pub(crate) fn for_step(seed: u64, step: u64) -> Self {
        let mut mixed = Self(seed);
        let start = mixed.next() ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(start)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias is far below what a test could notice.
        self.next() % bound
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Some words, so that the text compresses as real text does.
    pub(crate) fn text(&mut self, words: u64) -> String {
        let mut text = String::new();
        for _ in 0..words {
            let word = WORDS
                .get(self.below(WORDS.len() as u64) as usize)
                .expect("below its length");
            text.push_str(word);
            text.push(' ');
        }
        text
    }

    /// `length` bytes that do not compress, or every second time some that do.
    pub(crate) fn blob(&mut self, length: usize) -> Vec<u8> {
        if self.one_in(2) {
            let period = self.between(1, 50).to_be_bytes();
            return period.iter().copied().cycle().take(length).collect();
        }
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
