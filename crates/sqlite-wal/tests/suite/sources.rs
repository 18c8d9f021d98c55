//! Sources that hand out little at a time, are interrupted, or fail.

use std::cell::Cell;
use std::io;

use sqlite_wal::{
    Cursor, Error, ErrorKind, PageMap, ReadAt, WalHeader, continues, probe_frame, read_batch,
    scan_salts,
};

use crate::wal_writer::{WalWriter, page};

fn wal(page_size: usize, frames: u32) -> Vec<u8> {
    let mut writer = WalWriter::new(page_size, true, [1, 2]);
    for frame in 1..=frames {
        writer.frame(
            frame % 5 + 1,
            (frame % 3 == 0).into(),
            &page(page_size, frame.into()),
        );
    }
    writer.bytes
}

/// At most seven bytes a call, every third call interrupted.
struct Trickle<'a>(&'a [u8], Cell<u64>);

impl ReadAt for Trickle<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.set(self.1.get() + 1);
        if self.1.get().is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = buf.len().min(7);
        self.0.read_at(&mut buf[..length], offset)
    }
}

/// Fails from an offset on.
struct Broken<'a>(&'a [u8], u64);

impl ReadAt for Broken<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let room = self.1.saturating_sub(offset).min(buf.len() as u64) as usize;
        if room == 0 && !buf.is_empty() {
            return Err(io::Error::other("pulled out"));
        }
        self.0.read_at(&mut buf[..room], offset)
    }
}

/// Counts calls.
struct Counted<'a>(&'a [u8], Cell<usize>, Cell<usize>);

impl ReadAt for Counted<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.set(self.1.get() + 1);
        let length = self.0.read_at(buf, offset)?;
        self.2.set(self.2.get() + length);
        Ok(length)
    }
}

fn start(wal: &[u8]) -> Cursor {
    Cursor::start(WalHeader::parse(wal).unwrap().unwrap())
}

#[test]
fn short_and_interrupted_reads_are_no_end() {
    let wal = wal(512, 31);
    let trickle = Trickle(&wal, Cell::new(0));
    let (mut map, mut other, mut buffer) = (PageMap::new(), PageMap::new(), Vec::new());
    let cursor = Cursor::start(WalHeader::read(&trickle).unwrap().unwrap());
    assert_eq!(cursor, start(&wal));
    let slow = read_batch(&trickle, cursor, u32::MAX, 0, &mut map, &mut buffer).unwrap();
    let fast = read_batch(&wal, cursor, u32::MAX, 0, &mut other, &mut buffer).unwrap();
    assert_eq!((slow, &map), (fast, &other));
    assert_eq!(slow.to.frame, 30);
}

#[test]
fn failure_names_the_offset_and_takes_nothing() {
    let wal = wal(512, 31);
    let broken = Broken(&wal, 5000);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    read_batch(&wal, start(&wal), u32::MAX, 0, &mut map, &mut buffer).unwrap();
    let error = read_batch(&broken, start(&wal), u32::MAX, 0, &mut map, &mut buffer).unwrap_err();
    assert!(matches!(error, Error::Read { offset: 5000, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("at offset 5000"));
    assert!(map.is_empty());
    // With a limit nothing behind it is touched, so the same source will do.
    let batch = read_batch(&broken, start(&wal), 6, 0, &mut map, &mut buffer).unwrap();
    assert_eq!(batch.to.frame, 6);

    assert!(WalHeader::read(&Broken(&wal, 10)).is_err());
    assert!(probe_frame(&broken, 512, 30).is_err());
    assert!(continues(&Broken(&wal, 40), start(&wal)).is_err());
    assert!(scan_salts(&broken, 512, None, &mut buffer).is_err());
}

#[test]
fn reads_are_large_and_no_byte_is_read_twice() {
    let wal = wal(4096, 1000);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    for limit in [1000, u32::MAX] {
        let source = Counted(&wal, Cell::new(0), Cell::new(0));
        let batch = read_batch(&source, start(&wal), limit, 0, &mut map, &mut buffer).unwrap();
        assert_eq!(batch.to.frame, 999);
        assert!(source.1.get() <= 12, "{} calls", source.1.get());
        // A frame that is cut at the end of the file may be looked at again, nothing else.
        assert!(source.2.get() <= wal.len() + 4120);
    }
}

#[test]
fn steady_state_is_one_read_of_the_new_bytes() {
    let wal = wal(4096, 1000);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let batch = read_batch(&wal, start(&wal), 996, 0, &mut map, &mut buffer).unwrap();
    let source = Counted(&wal, Cell::new(0), Cell::new(0));
    let rest = read_batch(&source, batch.to, 999, 0, &mut map, &mut buffer).unwrap();
    assert_eq!(rest.to.frame, 999);
    assert_eq!((source.1.get(), source.2.get()), (1, 3 * 4120));
}

#[test]
fn offsets_beyond_the_source_are_its_end() {
    let bytes = vec![1_u8, 2, 3];
    let mut buf = [0; 8];
    assert_eq!(bytes.read_at(&mut buf, 1).unwrap(), 2);
    assert_eq!(bytes.read_at(&mut buf, 3).unwrap(), 0);
    assert_eq!(bytes.as_slice().read_at(&mut buf, u64::MAX).unwrap(), 0);
}
