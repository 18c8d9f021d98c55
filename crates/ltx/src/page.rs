//! Page numbers and page sizes of a SQLite database.

use std::fmt;
use std::num::NonZeroU32;

/// Bytes of the header in front of each page: page number (4), flags (2).
pub const PAGE_HEADER_SIZE: usize = 6;

/// SQLite's pending byte: the page that holds it is used for file locks and never stores data.
const LOCK_BYTE: u32 = 0x4000_0000;

/// A page number; pages count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pgno(NonZeroU32);

impl Pgno {
    /// The first page, which starts with the database header.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for zero.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A database page size in bytes: a power of two from 512 to 65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

impl PageSize {
    /// The smallest page size of SQLite.
    pub const MIN: Self = Self(512);
    /// The largest page size of SQLite.
    pub const MAX: Self = Self(65_536);

    /// `None` unless a power of two from 512 to 65536.
    pub const fn new(value: u32) -> Option<Self> {
        if value.is_power_of_two() && value >= Self::MIN.0 && value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The size as stored in a header.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The size as the length of a buffer.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// The page that holds byte 0x40000000 of the database. It is counted, but never stored.
    pub const fn lock_page(self) -> Pgno {
        Pgno::FIRST.plus(LOCK_BYTE / self.0)
    }

    /// Offset of a page in the database file.
    pub const fn offset_of(self, pgno: Pgno) -> u64 {
        (pgno.get() as u64 - 1) * self.0 as u64
    }
}

impl Pgno {
    /// Only for small steps from a known page; saturates at the largest page number.
    const fn plus(self, pages: u32) -> Self {
        Self(self.0.saturating_add(pages))
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_in_range() {
        for size in [0, 1, 256, 513, 131_072, u32::MAX] {
            assert_eq!(PageSize::new(size), None, "{size}");
        }
        for shift in 9..=16 {
            assert!(PageSize::new(1 << shift).is_some());
        }
    }

    #[test]
    fn lock_page_holds_the_pending_byte() {
        for (size, lock) in [
            (512, 2_097_153),
            (1024, 1_048_577),
            (4096, 262_145),
            (65_536, 16_385),
        ] {
            let size = PageSize::new(size).expect("valid");
            assert_eq!(size.lock_page().get(), lock);
            assert_eq!(size.offset_of(size.lock_page()), 0x4000_0000);
        }
        let last = Pgno::new(u32::MAX).expect("not zero");
        assert_eq!(
            PageSize::MAX.offset_of(last),
            (u64::from(u32::MAX) - 1) << 16
        );
    }
}
