//! Compaction levels.

use std::fmt;
use std::str::FromStr;

/// A level of the replica: 0 raw, 1 to 8 compacted, 9 snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// One file per captured transaction.
    pub const RAW: Self = Self(0);
    /// Full images of the database.
    pub const SNAPSHOT: Self = Self(9);
    /// All levels in listing order.
    pub const ALL: [Self; 10] = [
        Self(0),
        Self(1),
        Self(2),
        Self(3),
        Self(4),
        Self(5),
        Self(6),
        Self(7),
        Self(8),
        Self(9),
    ];

    /// `None` above 9.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= Self::SNAPSHOT.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The number itself.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The level that compaction reads to write this one; `None` for raw files and for snapshots,
    /// which are not made by compaction.
    pub const fn below(self) -> Option<Self> {
        match self.0 {
            1..=8 => Some(Self(self.0 - 1)),
            _ => None,
        }
    }

    /// The level that compaction writes from this one; `None` for level 8 and for snapshots.
    pub const fn above(self) -> Option<Self> {
        match self.0 {
            0..=7 => Some(Self(self.0 + 1)),
            _ => None,
        }
    }

    /// Whether this is the level of full images.
    pub const fn is_snapshot(self) -> bool {
        self.0 == Self::SNAPSHOT.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a single digit from 0 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is a digit from 0 to 9")]
pub struct ParseLevelError;

impl FromStr for Level {
    type Err = ParseLevelError;

    /// Accepts the one digit that [`fmt::Display`] prints.
    fn from_str(text: &str) -> Result<Self, ParseLevelError> {
        match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(Self(digit - b'0')),
            _ => Err(ParseLevelError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_below_snapshots() {
        assert_eq!(Level::RAW.below(), None);
        assert_eq!(Level::new(8).and_then(Level::above), None);
        assert_eq!(Level::SNAPSHOT.below(), None);
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            if let Some(above) = level.above() {
                assert_eq!(above.below(), Some(level));
            }
        }
        assert_eq!(Level::new(10), None);
        assert_eq!("09".parse::<Level>(), Err(ParseLevelError));
    }
}
