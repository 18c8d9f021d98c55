//! Transaction ids and inclusive ranges of them.
//!
//! Invariant: a [`Txid`] is never zero and a [`TxidRange`] never runs backwards when built by
//! [`TxidRange::new`].

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Number of one transaction of a database's history; the first is 1.
///
/// The text form is 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txid(NonZeroU64);

impl Txid {
    /// The transaction every history starts with; its file is a full image of the database.
    pub const FIRST: Self = Self(NonZeroU64::MIN);
    /// The largest id the format can hold.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// `None` for zero.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The id that follows.
    ///
    /// # Panics
    ///
    /// For [`Txid::MAX`], which no history reaches by counting. An id that was read from a file
    /// can be [`Txid::MAX`]: use [`Txid::checked_next`] there.
    #[must_use]
    pub const fn next(self) -> Self {
        self.checked_next()
            .expect("a history does not reach 2^64 transactions")
    }

    /// The id that follows, `None` behind [`Txid::MAX`].
    pub const fn checked_next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The id before, `None` for [`Txid::FIRST`].
    pub const fn prev(self) -> Option<Self> {
        Self::new(self.get() - 1)
    }
}

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

impl fmt::Debug for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Txid({:#x})", self.get())
    }
}

/// Why a text is not a transaction id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTxidError {
    /// Not exactly 16 characters.
    #[error("invalid formatted transaction id length: {0:?}")]
    Length(String),
    /// A character that is no hexadecimal digit.
    #[error("invalid transaction id format: {0:?}")]
    Format(String),
    /// Sixteen zeros: ids start at 1.
    #[error("transaction id must not be zero")]
    Zero,
}

impl FromStr for Txid {
    type Err = ParseTxidError;

    /// Accepts exactly 16 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, ParseTxidError> {
        if text.len() != 16 {
            return Err(ParseTxidError::Length(text.to_owned()));
        }
        let value = parse_hex(text).ok_or_else(|| ParseTxidError::Format(text.to_owned()))?;
        Self::new(value).ok_or(ParseTxidError::Zero)
    }
}

/// Sixteen hexadecimal digits, without the sign that [`u64::from_str_radix`] would take.
pub(crate) fn parse_hex(text: &str) -> Option<u64> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// An inclusive range of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxidRange {
    /// First transaction.
    pub min: Txid,
    /// Last transaction.
    pub max: Txid,
}

impl TxidRange {
    /// `None` if `min` is above `max`.
    pub fn new(min: Txid, max: Txid) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }

    /// The range of one transaction.
    pub const fn single(txid: Txid) -> Self {
        Self {
            min: txid,
            max: txid,
        }
    }

    /// Whether `txid` lies in the range.
    pub fn contains(&self, txid: Txid) -> bool {
        self.min <= txid && txid <= self.max
    }

    /// Whether the range is one transaction.
    pub fn is_single(&self) -> bool {
        self.min == self.max
    }

    /// Whether a file of this range can follow one of `prior` in a merge: no hole between them,
    /// and it adds at least one transaction. Overlap is allowed.
    pub fn extends(&self, prior: &Self) -> bool {
        prior
            .max
            .checked_next()
            .is_some_and(|next| self.min <= next)
            && self.max > prior.max
    }
}

impl fmt::Display for TxidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txid(value: u64) -> Txid {
        Txid::new(value).expect("not zero")
    }

    #[test]
    fn text_form_is_sixteen_digits_of_either_case() {
        assert_eq!(txid(0xab).to_string(), "00000000000000ab");
        assert_eq!("00000000000000aB".parse(), Ok(txid(0xab)));
        for (text, error) in [
            ("7", ParseTxidError::Length("7".into())),
            (
                "+000000000000007",
                ParseTxidError::Format("+000000000000007".into()),
            ),
            (
                "000000000000000g",
                ParseTxidError::Format("000000000000000g".into()),
            ),
            ("0000000000000000", ParseTxidError::Zero),
        ] {
            assert_eq!(text.parse::<Txid>(), Err(error));
        }
    }

    #[test]
    fn counting_stops_at_both_ends() {
        assert_eq!(Txid::FIRST.prev(), None);
        assert_eq!(Txid::FIRST.next().prev(), Some(Txid::FIRST));
        assert_eq!(Txid::MAX.checked_next(), None);
    }

    #[test]
    fn a_range_extends_another_without_a_hole() {
        let range = |min, max| TxidRange::new(txid(min), txid(max)).expect("ordered");
        assert!(TxidRange::new(txid(2), txid(1)).is_none());
        assert!(range(4, 4).extends(&range(1, 3)));
        assert!(range(2, 4).extends(&range(1, 3)));
        assert!(!range(5, 6).extends(&range(1, 3)));
        assert!(!range(2, 3).extends(&range(1, 3)));
        assert!(range(2, 3).contains(txid(3)) && !range(2, 3).contains(txid(4)));
    }
}
