//! The running checksum of a WAL and of the wal-index header.
//!
//! "Database File Format", section "Checksum Algorithm": the input is taken as pairs of words `(a, b)`
//! and each pair does `s0 += a + s1; s1 += b + s0`, wrapping. Every step waits for the one before, so
//! a plain loop is bound by the latency of two additions for 8 bytes.
//!
//! The step is linear: with the state as a vector it is `v = M * v + (a, a + b)`, `M = [[1, 1], [1, 2]]`,
//! and the entries of `M^n` are Fibonacci numbers. So a block is cut into lanes that run side by side from
//! zero, and lane results are joined by multiplying with `M^n`. The result is the same word for word.

use std::fmt;

/// Byte order of the words that a checksum is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first (WAL magic `377f0682`).
    Little,
    /// Most significant byte first (WAL magic `377f0683`).
    Big,
}

impl ByteOrder {
    /// The byte order of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "big") {
        Self::Big
    } else {
        Self::Little
    };
}

/// The two words of a checksum that goes on from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RunningChecksum {
    /// First word.
    pub s0: u32,
    /// Second word.
    pub s1: u32,
}

/// Lanes that run side by side.
const LANES: usize = 4;
/// Bytes of one lane.
const LANE_SIZE: usize = 128;
/// Bytes of all lanes; divides every page size.
const BLOCK_SIZE: usize = LANES * LANE_SIZE;
/// What a lane's length does to the state in front of it.
const LANE_ADVANCE: Advance = Advance::by(LANE_SIZE / 8);

impl RunningChecksum {
    /// Takes `bytes` into the checksum, as words of the given byte order.
    ///
    /// The format only ever sums multiples of 8 bytes; up to 7 bytes behind the last multiple are left
    /// out.
    pub fn update(&mut self, order: ByteOrder, bytes: &[u8]) {
        *self = match order {
            ByteOrder::Little => self.after(bytes, u32::from_le_bytes),
            ByteOrder::Big => self.after(bytes, u32::from_be_bytes),
        };
    }

    #[inline]
    fn after(self, bytes: &[u8], word: impl Fn([u8; 4]) -> u32 + Copy) -> Self {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_SIZE>();
        let state = blocks
            .iter()
            .fold(self, |state, block| state.after_block(block, word));
        let (pairs, _) = rest.as_chunks::<8>();
        pairs
            .iter()
            .fold(state, |state, pair| state.step(*pair, word))
    }

    #[inline]
    fn after_block(self, block: &[u8; BLOCK_SIZE], word: impl Fn([u8; 4]) -> u32 + Copy) -> Self {
        let (pairs, _) = block.as_chunks::<8>();
        let mut lanes = [Self::default(); LANES];
        for step in 0..LANE_SIZE / 8 {
            for (lane, state) in lanes.iter_mut().enumerate() {
                *state = state.step(pairs[lane * (LANE_SIZE / 8) + step], word);
            }
        }
        lanes
            .iter()
            .fold(self, |state, lane| LANE_ADVANCE.apply(state, *lane))
    }

    #[inline]
    fn step(self, pair: [u8; 8], word: impl Fn([u8; 4]) -> u32) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = pair;
        let s0 = self
            .s0
            .wrapping_add(word([a0, a1, a2, a3]))
            .wrapping_add(self.s1);
        let s1 = self
            .s1
            .wrapping_add(word([b0, b1, b2, b3]))
            .wrapping_add(s0);
        Self { s0, s1 }
    }
}

impl fmt::Display for RunningChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x} {:08x}", self.s0, self.s1)
    }
}

/// `M^n`: the symmetric matrix `[[low, middle], [middle, high]]` of neighbouring Fibonacci numbers.
struct Advance {
    low: u32,
    middle: u32,
    high: u32,
}

impl Advance {
    const fn by(steps: usize) -> Self {
        let (mut low, mut middle, mut high) = (1_u32, 0_u32, 1_u32);
        let mut done = 0;
        while done < steps {
            // Each step of the checksum is two steps of the Fibonacci sequence.
            low = low.wrapping_add(middle);
            middle = middle.wrapping_add(high);
            high = high.wrapping_add(middle);
            done += 1;
        }
        Self { low, middle, high }
    }

    /// The state after `lane`, when the lane alone, from zero, gave `lane`.
    fn apply(&self, before: RunningChecksum, lane: RunningChecksum) -> RunningChecksum {
        let product = |x: u32, y: u32| {
            before
                .s0
                .wrapping_mul(x)
                .wrapping_add(before.s1.wrapping_mul(y))
        };
        RunningChecksum {
            s0: lane.s0.wrapping_add(product(self.low, self.middle)),
            s1: lane.s1.wrapping_add(product(self.middle, self.high)),
        }
    }
}
