//! What a writer has done, told through a file that survives its death.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::wait_for;

/// The counters of a writer.
///
/// After a crash of the writer every transaction up to `committed` is in the database,
/// and none above `begun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last transaction whose commit may have happened.
    pub begun: u64,
    /// The last transaction whose commit has returned.
    pub committed: u64,
    /// How often a transaction of this run ended with `SQLITE_BUSY`.
    pub busy: u64,
}

/// Each counter is followed by its complement, which tells a half-written one.
const BYTES: usize = 48;

impl Progress {
    /// Creates the file, or opens and resets it.
    pub fn create(path: &Path, last: u64) -> Result<File> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Self {
            begun: last,
            committed: last,
            busy: 0,
        }
        .store(&file)?;
        Ok(file)
    }

    /// Writes the counters in place. Not synced: they are for readers on this machine.
    pub fn store(self, file: &File) -> Result<()> {
        let mut bytes = [0; BYTES];
        let words = [self.begun, self.committed, self.busy].map(|word| [word, !word]);
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words.as_flattened()) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Ok(file.write_all_at(&bytes, 0)?)
    }

    /// Reads the counters of a writer that may be writing them at the same time.
    pub fn read(path: &Path) -> Result<Self> {
        let what = format!("whole counters in {}", path.display());
        wait_for(Duration::from_secs(10), &what, || {
            std::fs::read(path)
                .ok()
                .and_then(|bytes| Self::parse(&bytes))
        })
    }

    /// The counters, unless the bytes are from the middle of a write.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.try_into().map(u64::from_le_bytes));
        let mut pair = || {
            let (word, check) = (words.next()?.ok()?, words.next()?.ok()?);
            (word == !check).then_some(word)
        };
        Some(Self {
            begun: pair()?,
            committed: pair()?,
            busy: pair()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_survive_the_file_and_half_written_ones_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        let file = Progress::create(&path, 4).unwrap();
        assert_eq!(
            Progress::read(&path).unwrap(),
            Progress {
                begun: 4,
                committed: 4,
                busy: 0
            }
        );
        Progress {
            begun: 6,
            committed: 5,
            busy: 2,
        }
        .store(&file)
        .unwrap();
        assert_eq!(
            Progress::read(&path).unwrap(),
            Progress {
                begun: 6,
                committed: 5,
                busy: 2
            }
        );
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16] ^= 1;
        assert_eq!(Progress::parse(&bytes), None);
        assert_eq!(Progress::parse(&bytes[..40]), None);
    }
}
