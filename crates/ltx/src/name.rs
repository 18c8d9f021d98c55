//! The name of a file: the transactions it holds.

use std::fmt;
use std::str::FromStr;

use crate::txid::{Txid, TxidRange, parse_hex};

/// A file name, `<min>-<max>.ltx` with two ids of 16 lower-case digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// The transactions that the file says to hold.
    pub range: TxidRange,
}

impl FileName {
    /// Strict: lower case, full width, nothing before or behind, ids not zero and in order.
    /// Other names in a folder belong to someone else and are to be ignored.
    pub fn parse(name: &str) -> Option<Self> {
        let (min, max) = name.strip_suffix(".ltx")?.split_once('-')?;
        let id = |text: &str| {
            let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
            lower.then(|| parse_hex(text)).flatten().and_then(Txid::new)
        };
        Some(Self {
            range: TxidRange::new(id(min)?, id(max)?)?,
        })
    }
}

impl From<TxidRange> for FileName {
    fn from(range: TxidRange) -> Self {
        Self { range }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.ltx", self.range)
    }
}

/// The text is not a file name of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an LTX file name: {0:?}")]
pub struct ParseFileNameError(String);

impl FromStr for FileName {
    type Err = ParseFileNameError;

    fn from_str(name: &str) -> Result<Self, ParseFileNameError> {
        Self::parse(name).ok_or_else(|| ParseFileNameError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_name() {
        let name = "0000000000000002-00000000000000ff.ltx";
        assert_eq!(
            FileName::parse(name)
                .map(|name| name.to_string())
                .as_deref(),
            Some(name)
        );
        for other in [
            "0000000000000002-00000000000000FF.ltx",
            "0000000000000002-00000000000000ff.LTX",
            "0000000000000002-00000000000000ff.ltx.tmp",
            " 0000000000000002-00000000000000ff.ltx",
            "0000000000000003-0000000000000002.ltx",
            "0000000000000000-0000000000000002.ltx",
            "0000000000000002_00000000000000ff.ltx",
            "+000000000000002-00000000000000ff.ltx",
            "2-2.ltx",
            "",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
