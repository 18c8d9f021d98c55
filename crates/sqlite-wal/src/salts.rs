//! The pair of salts that names one generation of a WAL.

use std::fmt;

/// Name of a WAL generation: frames belong to it when they carry the same pair.
///
/// SQLite adds one to `salt1` and draws a new random `salt2` each time it restarts the WAL; a WAL that
/// was deleted and made anew has two random values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Salts {
    /// First salt, one higher with each restart.
    pub salt1: u32,
    /// Second salt, random.
    pub salt2: u32,
}

impl Salts {
    /// Whether this is the generation that a single restart makes of `older`.
    pub fn is_successor_of(self, older: Self) -> bool {
        self.salt1 == older.salt1.wrapping_add(1)
    }
}

impl fmt::Display for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x} {:08x}", self.salt1, self.salt2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_is_one_higher_and_wraps() {
        let salts = |salt1| Salts { salt1, salt2: 7 };
        assert!(salts(6).is_successor_of(salts(5)));
        assert!(salts(0).is_successor_of(salts(u32::MAX)));
        assert!(!salts(5).is_successor_of(salts(5)));
        assert!(!salts(7).is_successor_of(salts(5)));
        assert!(!salts(4).is_successor_of(salts(5)));
    }

    #[test]
    fn display_is_two_hexadecimal_words() {
        let salts = Salts {
            salt1: 0x8e6a_6fc2,
            salt2: 1,
        };
        assert_eq!(salts.to_string(), "8e6a6fc2 00000001");
    }
}
