//! The fields of the first page that make a database readable in place, and tell readers that it
//! changed.
//!
//! | offset | field | in a copy |
//! |---|---|---|
//! | 18, 19 | file format versions | 1: rollback journal, so no -wal and -shm beside the copy |
//! | 24 | change counter | another value after each apply: readers drop their caches |
//! | 28 | size in pages | that of the database |
//! | 92 | counter for which the size is valid | the change counter |

use std::path::Path;

use crate::error::{Error, Result};

/// Bytes of the database header.
pub(super) const SIZE: usize = 100;

/// Added to the counter by each apply. A program that writes to the copy adds 1 per commit, so it
/// cannot be mistaken for us.
const STRIDE: u32 = 0x9e37_79b1;

/// The fields of a database header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) page_size: ltx::PageSize,
    /// Both file format versions say rollback journal.
    pub(super) is_rollback: bool,
    pub(super) counter: u32,
}

/// Reads the fields.
pub(super) fn parse(path: &Path, header: &[u8; SIZE]) -> Result<Fields> {
    let size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size => u32::from(size),
    };
    let fail = || {
        let source = std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("offset 0: expected a SQLite database header, page size found is {size}"),
        );
        Error::io("read copy", path, source)
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(fail());
    }
    Ok(Fields {
        page_size: ltx::PageSize::new(size).ok_or_else(fail)?,
        is_rollback: header[18] == 1 && header[19] == 1,
        counter: u32::from_be_bytes([header[24], header[25], header[26], header[27]]),
    })
}

/// The counter after the next apply.
pub(super) fn next_counter(counter: u32) -> u32 {
    counter.wrapping_add(STRIDE)
}

/// Makes `page`, the first of a database of `commit` pages, the first page of a copy.
pub(super) fn stamp(page: &mut [u8], counter: u32, commit: u32) {
    let (counter, commit) = (counter.to_be_bytes(), commit.to_be_bytes());
    let fields = [1, 1]
        .into_iter()
        .chain(counter)
        .chain(commit)
        .chain(counter);
    for (at, byte) in places().zip(fields) {
        if let Some(field) = page.get_mut(at) {
            *field = byte;
        }
    }
}

/// The bytes of a first page that [`stamp`] replaces.
pub(super) type Original = [u8; 14];

fn places() -> impl Iterator<Item = usize> {
    (18..20).chain(24..32).chain(92..96)
}

/// Keeps what [`stamp`] replaces.
pub(super) fn original(page: &[u8]) -> Original {
    let mut kept = Original::default();
    for (to, at) in kept.iter_mut().zip(places()) {
        *to = page.get(at).copied().unwrap_or(0);
    }
    kept
}

/// Undoes [`stamp`].
pub(super) fn unstamp(page: &mut [u8], original: &Original) {
    for (at, byte) in places().zip(original) {
        if let Some(field) = page.get_mut(at) {
            *field = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_undone() {
        let mut page: Vec<u8> = (0..=255).collect();
        page[..16].copy_from_slice(b"SQLite format 3\0");
        page[16..18].copy_from_slice(&[0x10, 0]);
        let before = page.clone();
        let kept = original(&page);
        stamp(&mut page, 0x0102_0304, 7);
        let header = page[..SIZE].try_into().unwrap();
        let fields = parse(Path::new("a.db"), header).unwrap();
        assert!(fields.is_rollback);
        assert_eq!(
            (fields.counter, fields.page_size.get()),
            (0x0102_0304, 4096)
        );
        assert_eq!(page[28..32], [0, 0, 0, 7]);
        assert_eq!(page[92..96], page[24..28]);
        unstamp(&mut page, &kept);
        assert_eq!(page, before);
        assert!(parse(Path::new("a.db"), &[0; SIZE]).is_err());
    }
}
