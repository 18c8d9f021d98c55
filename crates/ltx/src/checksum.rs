//! CRC-64/GO-ISO and the checksums made of it.
//!
//! Every stored checksum has bit 63 set, so that zero can mean "not tracked".

use std::fmt;
use std::str::FromStr;

use crc_fast::{CrcAlgorithm, Digest};

use crate::page::Pgno;
use crate::txid::parse_hex;

/// The bit that marks a stored checksum as present.
pub(crate) const FLAG: u64 = 1 << 63;

/// A running CRC-64/GO-ISO.
#[derive(Clone)]
pub(crate) struct Crc64(Digest);

impl Crc64 {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64GoIso))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The CRC of all bytes so far with the flag bit, the form in which it is stored.
    pub(crate) fn flagged(&self) -> u64 {
        FLAG | self.0.finalize()
    }
}

/// Checksum of one page or of a whole database; the flag bit is always set.
///
/// The sum of a database is the XOR of its page sums (the lock page left out), so a changed page is
/// replaced by [`Checksum::toggle`] of the old and of the new page sum, in any order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(u64);

impl Checksum {
    /// The sum of a database without pages.
    pub const EMPTY: Self = Self(FLAG);

    /// Takes a stored value; `None` if the flag bit is missing (zero means "not tracked").
    pub const fn new(value: u64) -> Option<Self> {
        if value & FLAG == 0 {
            None
        } else {
            Some(Self(value))
        }
    }

    /// The stored value, with the flag bit.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum of one page. Cost: one pass over the page.
    pub fn of_page(pgno: Pgno, page: &[u8]) -> Self {
        let mut crc = Crc64::new();
        crc.update(&pgno.get().to_be_bytes());
        crc.update(page);
        Self(crc.flagged())
    }

    /// Adds the sum of a page to that of a database, or takes it out again.
    #[must_use]
    pub const fn toggle(self, page: Self) -> Self {
        Self(FLAG | (self.0 ^ page.0))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:016x})", self.0)
    }
}

/// Why a text is not a checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseChecksumError {
    /// Not exactly 16 characters.
    #[error("invalid formatted checksum length: {0:?}")]
    Length(String),
    /// A character that is no hexadecimal digit, or the flag bit missing.
    #[error("invalid checksum format: {0:?}")]
    Format(String),
}

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    /// Accepts exactly 16 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, ParseChecksumError> {
        if text.len() != 16 {
            return Err(ParseChecksumError::Length(text.to_owned()));
        }
        let value = parse_hex(text).and_then(Self::new);
        value.ok_or_else(|| ParseChecksumError::Format(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        crc.0.finalize()
    }

    #[test]
    fn published_vectors() {
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(b"123456789"), 0xb909_56c7_75a4_1001);
        assert_eq!(crc(b"LTX1"), 0x4335_0e58_d000_0000);
        assert_eq!(crc(&[0; 100]), 0xaca9_9cff_9690_6906);
    }

    #[test]
    fn wide_and_narrow_updates_agree_with_the_bitwise_definition() {
        let bytes: Vec<u8> = (0..5000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let mut expected = !0_u64;
        for (count, &byte) in bytes.iter().enumerate() {
            if count % 97 == 0 {
                assert_eq!(crc(&bytes[..count]), !expected, "{count} bytes");
            }
            expected ^= u64::from(byte);
            for _ in 0..8 {
                expected = (expected >> 1)
                    ^ if expected & 1 == 1 {
                        0xd800_0000_0000_0000
                    } else {
                        0
                    };
            }
        }
        let mut split = Crc64::new();
        for chunk in bytes.chunks(7) {
            split.update(chunk);
        }
        assert_eq!(split.0.finalize(), !expected);
    }

    #[test]
    fn page_and_database_sums() {
        let page = |number| Pgno::new(number).expect("not zero");
        assert_eq!(
            Checksum::of_page(page(1), &[0; 512]).get(),
            0xefb1_f44f_ecd9_9000
        );
        let first = Checksum::of_page(page(1), &[b'2'; 1024]);
        let second = Checksum::of_page(page(2), &[b'3'; 1024]);
        assert_eq!(first.to_string(), "e0d53ff6f3d08215");
        assert_eq!(second.to_string(), "815ca49babaa28bf");
        let database = Checksum::EMPTY.toggle(first).toggle(second);
        assert_eq!(database.to_string(), "e1899b6d587aaaaa");
        assert_eq!(database.toggle(first), second);
    }

    #[test]
    fn text_needs_the_flag_bit() {
        assert_eq!("8000000000000000".parse(), Ok(Checksum::EMPTY));
        assert!("0000000000000001".parse::<Checksum>().is_err());
        assert!("80".parse::<Checksum>().is_err());
    }
}
