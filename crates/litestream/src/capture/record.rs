//! The capture record: what proves, at the next start, that nothing was missed in between.
//!
//! Level-0 files say which part of the WAL they cover, but neither the running checksum at its end
//! nor whether the database file has been touched since. The record adds both. It is written
//! without fsync and in place: it is only believed if its own checksum fits and it speaks of the
//! newest level-0 file; otherwise start-up falls back to comparing pages, or to a new base image.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use ltx::Txid;
use sqlite_wal::{RunningChecksum, Salts};

use crate::error::{Error, Result};
use crate::files::{Ownership, open_in_place};

/// A file's time of change must lie at least so far before the record was written: a change right
/// after could otherwise carry the same time.
const RACY_NANOSECONDS: i128 = 2_000_000_000;
/// Fixed length of the text, so that a record always replaces the one before completely.
const LENGTH: usize = 384;

/// Identity and state of a file as the file system tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
}

impl FileStamp {
    /// The stamp of the file at `path`, `None` when there is none.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from_metadata(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("stat", path, error)),
        }
    }

    #[cfg(unix)]
    fn from_metadata(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn from_metadata(metadata: &fs::Metadata) -> Self {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos() as i128);
        Self {
            device: 0,
            inode: 0,
            size: metadata.len(),
            modified,
            changed: modified,
        }
    }

    /// Whether both stand for the same file, whatever its content.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// Newest level-0 file and its checksum: the record is about this position only.
    pub(crate) txid: Txid,
    pub(crate) file_checksum: u64,
    /// Generation of the WAL, frames of it that are captured, running checksum behind them.
    pub(crate) salts: Salts,
    pub(crate) frame: u32,
    pub(crate) checksum: RunningChecksum,
    /// Everything captured was in the database file too.
    pub(crate) copied: bool,
    /// The database file when the record was written, and when that was.
    pub(crate) database: FileStamp,
    pub(crate) written: i128,
    /// Which start of the machine it was, 0 when not known.
    pub(crate) boot: u64,
}

/// Tells one start of the machine from another; 0 when the system does not say.
pub(crate) fn boot_id() -> u64 {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => crc(id.trim()).max(1),
        Err(_) => 0,
    }
}

impl Record {
    /// Whether the database file certainly held all that was captured, and has not been written
    /// since.
    ///
    /// A file that did not hold all of it proves nothing: if the WAL is another one now, then
    /// captured transactions were lost with the old one.
    pub(crate) fn proves_untouched(&self, now: &FileStamp) -> bool {
        self.copied
            && self.database == *now
            && self.written - self.database.changed.max(self.database.modified) > RACY_NANOSECONDS
    }

    /// Replaces the record in the file. Not durable, see the module.
    pub(crate) fn write(&self, path: &Path, ownership: &Ownership) -> Result<()> {
        let fail = |error| Error::io("write", path, error);
        let mut file = open_in_place(path, ownership).map_err(fail)?;
        file.write_all(self.encode().as_bytes()).map_err(fail)
    }

    /// The record in the file, if there is a whole one.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        fs::File::open(path)
            .ok()?
            .take(LENGTH as u64)
            .read_to_string(&mut text)
            .ok()?;
        Self::decode(&text)
    }

    fn encode(&self) -> String {
        let fields = format!(
            "1 {} {:016x} {:08x} {:08x} {} {:08x} {:08x} {} {} {} {} {} {} {} {:016x}",
            self.txid,
            self.file_checksum,
            self.salts.salt1,
            self.salts.salt2,
            self.frame,
            self.checksum.s0,
            self.checksum.s1,
            self.database.device,
            self.database.inode,
            self.database.size,
            self.database.modified,
            self.database.changed,
            self.written,
            u8::from(self.copied),
            self.boot,
        );
        let sum = crc(&fields);
        let text = format!("{fields} {sum:016x}");
        format!("{text:<width$}\n", width = LENGTH - 1)
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let (fields, sum) = text.trim_end().rsplit_once(' ')?;
        if u64::from_str_radix(sum, 16).ok()? != crc(fields) {
            return None;
        }
        let mut words = fields.split(' ');
        if words.next()? != "1" {
            return None;
        }
        let hex = |word: &str| u32::from_str_radix(word, 16).ok();
        let record = Self {
            txid: words.next()?.parse().ok()?,
            file_checksum: u64::from_str_radix(words.next()?, 16).ok()?,
            salts: Salts {
                salt1: hex(words.next()?)?,
                salt2: hex(words.next()?)?,
            },
            frame: words.next()?.parse().ok()?,
            checksum: RunningChecksum {
                s0: hex(words.next()?)?,
                s1: hex(words.next()?)?,
            },
            database: FileStamp {
                device: words.next()?.parse().ok()?,
                inode: words.next()?.parse().ok()?,
                size: words.next()?.parse().ok()?,
                modified: words.next()?.parse().ok()?,
                changed: words.next()?.parse().ok()?,
            },
            written: words.next()?.parse().ok()?,
            copied: words.next()? == "1",
            boot: u64::from_str_radix(words.next()?, 16).ok()?,
        };
        words.next().is_none().then_some(record)
    }
}

fn crc(text: &str) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64GoIso, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            txid: Txid::FIRST,
            file_checksum: u64::MAX,
            salts: Salts {
                salt1: 7,
                salt2: u32::MAX,
            },
            frame: 12,
            checksum: RunningChecksum { s0: 1, s1: 2 },
            database: FileStamp {
                device: u64::MAX,
                inode: u64::MAX,
                size: u64::MAX,
                modified: i128::from(i64::MAX) * 1_000_000_000,
                changed: 5_000_000_000,
            },
            written: i128::from(i64::MAX) * 1_000_000_000 + 3_000_000_000,
            copied: true,
            boot: u64::MAX,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("position");
        let first = record();
        first.write(&path, &Ownership::default()).unwrap();
        assert_eq!(Record::read(&path), Some(first));
        let second = Record {
            frame: 1,
            file_checksum: 0,
            ..first
        };
        second.write(&path, &Ownership::default()).unwrap();
        assert_eq!(Record::read(&path), Some(second));
    }

    #[test]
    fn a_damaged_or_short_record_is_none() {
        let text = record().encode();
        assert_eq!(text.len(), LENGTH);
        for index in 0..text.trim_end().len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'3' { b'4' } else { b'3' };
            assert_eq!(
                Record::decode(std::str::from_utf8(&bytes).unwrap()),
                None,
                "byte {index}"
            );
        }
        assert_eq!(Record::decode(&text[..LENGTH - 1]), None);
        assert_eq!(Record::decode(""), None);
    }

    #[test]
    fn a_change_close_to_the_record_proves_nothing() {
        let calm = record();
        assert!(calm.proves_untouched(&calm.database));
        let racy = Record {
            written: calm.database.modified + 1,
            ..calm
        };
        assert!(!racy.proves_untouched(&racy.database));
        let touched = FileStamp {
            size: 1,
            ..calm.database
        };
        assert!(!calm.proves_untouched(&touched));
        let behind = Record {
            copied: false,
            ..calm
        };
        assert!(!behind.proves_untouched(&behind.database));
    }
}
