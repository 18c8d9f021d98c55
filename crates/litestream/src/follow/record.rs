//! The files beside a copy that say which transaction it is at.
//!
//! `COPY-txid` is that of v0.5.17: 16 hexadecimal digits and a newline. It is written after an
//! apply, so after a crash it may be one apply behind. `COPY-follow` closes that gap: before each
//! apply it names the transaction and the change counter of the copy before and after it, and the
//! counter in the copy then tells which of the two holds, or that somebody else wrote.

use std::io::Write;
use std::path::{Path, PathBuf};

use ltx::Txid;

use super::error::FollowError;
use super::page_one::Original;
use crate::capture::with_suffix;
use crate::error::{Error, Result};
use crate::files::{Files, Ownership};

const TITLE: &str = "litestream follow 1";

/// A state of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) txid: Txid,
    pub(super) counter: u32,
    /// The fields that the copy's first page has instead of its own; `None` when they are unknown.
    pub(super) original: Option<Original>,
}

impl Point {
    fn line(&self, word: &str) -> String {
        use std::fmt::Write as _;
        let mut line = format!("{word} {} {:08x} ", self.txid, self.counter);
        match &self.original {
            Some(bytes) => {
                for byte in bytes {
                    let _infallible = write!(line, "{byte:02x}");
                }
            }
            None => line.push('-'),
        }
        line.push('\n');
        line
    }

    fn parse(word: &str, line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(word)?.split(' ');
        Some(Self {
            txid: fields.next()?.parse().ok()?,
            counter: u32::from_str_radix(fields.next()?, 16).ok()?,
            original: match fields.next()? {
                "-" => None,
                text => Some(original(text)?),
            },
        })
    }
}

fn original(text: &str) -> Option<Original> {
    let mut bytes = Original::default();
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// What is known about the states of a copy; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) now: Point,
    /// The state that an apply leads to.
    pub(super) next: Option<Point>,
}

impl Record {
    /// Which state a copy with this counter is in; `None` for one that is neither.
    pub(super) fn point(&self, counter: u32) -> Option<Point> {
        [Some(self.now), self.next]
            .into_iter()
            .flatten()
            .find(|point| point.counter == counter)
    }

    fn text(&self) -> String {
        let next = self.next.as_ref().map(|point| point.line("next"));
        let now = self.now.line("now");
        format!("{TITLE}\n{now}{}", next.unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != TITLE {
            return None;
        }
        Some(Self {
            now: Point::parse("now ", lines.next()?)?,
            next: match lines.next() {
                Some(line) => Some(Point::parse("next ", line)?),
                None => None,
            },
        })
    }
}

/// The files of one copy.
#[derive(Debug, Clone)]
pub(super) struct Records {
    position: PathBuf,
    record: PathBuf,
}

impl Records {
    pub(super) fn of(copy: &Path) -> Self {
        Self {
            position: with_suffix(copy, "-txid"),
            record: with_suffix(copy, "-follow"),
        }
    }

    /// The saved position; `None` when there is none.
    pub(super) fn position(&self) -> Result<Option<Txid>> {
        let text = match std::fs::read_to_string(&self.position) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| Error::io("read", &self.position, error))?,
        };
        let digits = text.trim_end_matches(['\n', '\r']);
        match digits.parse() {
            Ok(txid) => Ok(Some(txid)),
            // As in v0.5.17: zero is no position.
            Err(ltx::ParseTxidError::Zero) => Ok(None),
            Err(source) => Err(FollowError::Position {
                path: self.position.clone(),
                source,
            }
            .into()),
        }
    }

    /// The record; `None` when there is none, as beside a copy of v0.5.17, or it is damaged.
    pub(super) fn record(&self) -> Result<Option<Record>> {
        let text = match std::fs::read_to_string(&self.record) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
            other => other.map_err(|error| Error::io("read", &self.record, error))?,
        };
        let record = Record::parse(&text);
        if record.is_none() {
            tracing::warn!(path = %self.record.display(), "follow record is damaged, not used");
        }
        Ok(record)
    }

    pub(super) fn write_position(&self, files: &Files, txid: Txid) -> Result<()> {
        write(files, &self.position, &format!("{txid}\n"))
    }

    pub(super) fn write_record(&self, files: &Files, record: &Record) -> Result<()> {
        write(files, &self.record, &record.text())
    }
}

fn write(files: &Files, path: &Path, text: &str) -> Result<()> {
    let ownership = Ownership {
        file_mode: Some(0o666),
        ..Ownership::default()
    };
    let mut staged = files.stage(path, &ownership)?;
    staged
        .write_all(text.as_bytes())
        .map_err(|error| Error::io("write", path, error))?;
    staged.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn point(txid: u64, counter: u32) -> Point {
        Point {
            txid: Txid::new(txid).unwrap(),
            counter,
            original: (counter > 1).then_some([counter as u8; 14]),
        }
    }

    #[test]
    fn a_record_is_read_back() {
        let mut record = Record {
            now: point(7, 1),
            next: None,
        };
        assert_eq!(Record::parse(&record.text()), Some(record));
        record.next = Some(point(9, u32::MAX));
        assert_eq!(Record::parse(&record.text()), Some(record));
        assert_eq!(record.point(u32::MAX), Some(point(9, u32::MAX)));
        assert_eq!(record.point(2), None);
        for text in [
            "",
            "x\n",
            "litestream follow 1\n",
            "litestream follow 1\nnow 7 1\n",
        ] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn positions_are_those_of_the_reference() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::of(&folder.path().join("a.db"));
        let files = Files::new(Arc::new(crate::AllSteps));
        assert_eq!(records.position().unwrap(), None);
        records
            .write_position(&files, Txid::new(42).unwrap())
            .unwrap();
        let path = folder.path().join("a.db-txid");
        assert_eq!(std::fs::read(&path).unwrap(), b"000000000000002a\n");
        assert_eq!(records.position().unwrap(), Txid::new(42));
        std::fs::write(&path, "0000000000000000\n").unwrap();
        assert_eq!(records.position().unwrap(), None);
        for text in ["", "2a\n", "000000000000002g\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(records.position().is_err(), "{text:?}");
        }
    }
}
