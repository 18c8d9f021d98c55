use std::sync::Arc;

use ltx::{Encoder, Header, Timestamp, TxidRange};

use super::*;
use crate::files::AllSteps;
use crate::local::LocalDir;
use crate::pool::Pool;

const SIZE: u32 = 512;

struct Bed {
    directory: tempfile::TempDir,
    files: Files,
}

impl Bed {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            files: Files::new(Arc::new(AllSteps)),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("pages")
    }

    fn open(&self) -> Option<PageSums> {
        PageSums::open(&self.files, &self.path()).unwrap()
    }

    /// The checksums of a database of so many pages, all of them `value`.
    fn create(&self, commit: u32, value: u8) {
        let ownership = Ownership::default();
        let turn = Turn::take(&Arc::default()).unwrap();
        let path = self.path();
        let mut writer = SumsWriter::create(&self.files, &path, &ownership, turn).unwrap();
        for number in 1..=commit {
            writer.set(pgno(number), &page(value)).unwrap();
        }
        writer.finish(&head(commit)).unwrap();
    }

    /// A level-0 file with these pages.
    fn ltx(&self, txid: u64, commit: u32, pages: &[(u32, u8)]) -> PathBuf {
        let txid = Txid::new(txid).unwrap();
        let header = Header::new(
            PageSize::new(SIZE).unwrap(),
            commit,
            TxidRange::single(txid),
            Timestamp::from_millis(1),
        );
        let mut encoder = Encoder::new(Vec::new(), header).unwrap();
        for (number, value) in pages {
            encoder.encode_page(pgno(*number), &page(*value)).unwrap();
        }
        let path = self.directory.path().join(txid.to_string());
        std::fs::write(&path, encoder.finish().unwrap().0).unwrap();
        path
    }
}

fn pgno(number: u32) -> Pgno {
    Pgno::new(number).unwrap()
}

fn page(value: u8) -> Vec<u8> {
    vec![value; SIZE as usize]
}

fn head(commit: u32) -> Head {
    Head {
        page_size: PageSize::new(SIZE).unwrap(),
        commit,
        txid: Txid::new(5).unwrap(),
        file_checksum: u64::MAX,
    }
}

#[test]
fn what_is_written_is_known() {
    let bed = Bed::new();
    assert!(bed.open().is_none());
    bed.create(1300, 7);
    let mut sums = bed.open().unwrap();
    assert_eq!(*sums.head(), head(1300));
    for number in [1, 512, 513, 1300, 2] {
        assert!(sums.holds(pgno(number), &page(7)).unwrap(), "{number}");
        assert!(!sums.holds(pgno(number), &page(8)).unwrap(), "{number}");
    }
    assert!(!sums.holds(pgno(1301), &page(7)).unwrap());
}

#[test]
fn files_are_folded_in() {
    let bed = Bed::new();
    bed.create(600, 1);
    let files = [
        bed.ltx(6, 600, &[(1, 2), (590, 2)]),
        // The database shrinks, and grows again.
        bed.ltx(7, 3, &[(1, 3)]),
        bed.ltx(8, 5, &[(1, 4), (4, 4), (5, 4)]),
    ];
    let mut sums = bed.open().unwrap();
    for (number, file) in (6..).zip(&files) {
        sums.apply(file, Txid::new(number).unwrap()).unwrap();
    }
    sums.publish().unwrap();
    let mut sums = bed.open().unwrap();
    assert_eq!((sums.head().txid.get(), sums.head().commit), (8, 5));
    for (number, value) in [(1, 4), (2, 1), (3, 1), (4, 4), (5, 4)] {
        assert!(sums.holds(pgno(number), &page(value)).unwrap(), "{number}");
    }
    assert!(!sums.holds(pgno(590), &page(2)).unwrap());
}

/// A crash between the entries and the header: the next fold goes over the same files.
#[test]
fn a_fold_that_was_interrupted_is_done_again() {
    let bed = Bed::new();
    bed.create(1000, 1);
    let files = [
        bed.ltx(6, 1000, &[(1, 2), (700, 2)]),
        bed.ltx(7, 1000, &[(1, 3), (900, 3)]),
    ];
    let mut sums = bed.open().unwrap();
    for (number, file) in (6..).zip(&files) {
        sums.apply(file, Txid::new(number).unwrap()).unwrap();
    }
    sums.entries.flush().unwrap();
    drop(sums);
    let mut sums = bed.open().unwrap();
    assert_eq!(sums.head().txid.get(), 5);
    sums.apply(&files[0], Txid::new(6).unwrap()).unwrap();
    sums.publish().unwrap();
    sums.apply(&files[1], Txid::new(7).unwrap()).unwrap();
    sums.publish().unwrap();
    let mut sums = bed.open().unwrap();
    for (number, value) in [(1, 3), (700, 2), (900, 3), (2, 1)] {
        assert!(sums.holds(pgno(number), &page(value)).unwrap(), "{number}");
    }
}

#[test]
fn what_does_not_follow_is_refused() {
    let bed = Bed::new();
    bed.create(10, 1);
    let mut sums = bed.open().unwrap();
    let later = bed.ltx(7, 10, &[(1, 2)]);
    assert!(sums.apply(&later, Txid::new(7).unwrap()).is_err());
    let damaged = bed.ltx(6, 10, &[(1, 2)]);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    assert!(sums.apply(&damaged, Txid::new(6).unwrap()).is_err());
}

#[test]
fn a_damaged_or_short_file_knows_nothing_wrong() {
    let bed = Bed::new();
    bed.create(600, 1);
    let whole = std::fs::read(bed.path()).unwrap();
    for index in 0..HEAD_SIZE as usize {
        let mut bytes = whole.clone();
        bytes[index] ^= 4;
        std::fs::write(bed.path(), &bytes).unwrap();
        assert!(bed.open().is_none(), "byte {index}");
    }
    for length in [0, 39] {
        std::fs::write(bed.path(), &whole[..length]).unwrap();
        assert!(bed.open().is_none());
    }
    std::fs::write(bed.path(), &whole[..40 + 8 * 599 + 3]).unwrap();
    let mut sums = bed.open().unwrap();
    assert!(sums.holds(pgno(599), &page(1)).unwrap());
    assert!(!sums.holds(pgno(600), &page(1)).unwrap());
}

/// A base image that comes while a state is being read from a replica is not mixed with it.
#[test]
fn only_one_writes_them_from_scratch() {
    let bed = Bed::new();
    let root = bed.directory.path().to_owned();
    let local = LocalDir::new(root, bed.files.clone(), Pool::new(1));
    let write = || local.clone().write_sums(&Ownership::default()).unwrap();
    let mut first = write().unwrap();
    first.set(pgno(1), &page(7)).unwrap();
    assert!(write().is_none());
    first.finish(&head(1)).unwrap();
    assert!(bed.open().unwrap().holds(pgno(1), &page(7)).unwrap());
    // Given up, it is in nobody's way either, and what was there stays.
    drop(write().unwrap());
    assert!(bed.open().is_some());
    assert!(write().is_some());
}
