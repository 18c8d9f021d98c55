//! Cut off at every byte, flipped at every byte: what comes out is always a committed prefix.

use sqlite_wal::{Cursor, PageMap, WalHeader, frames_end, read_batch};

use crate::wal_writer::{WalWriter, page};

const FRAMES: [(u32, u32); 7] = [(1, 0), (2, 2), (2, 2), (3, 0), (1, 0), (4, 4), (4, 0)];

fn wal(big: bool) -> Vec<u8> {
    let mut writer = WalWriter::new(512, big, [1, 2]);
    for (number, (pgno, commit)) in FRAMES.into_iter().enumerate() {
        writer.frame(pgno, commit, &page(512, number as u64));
    }
    writer.bytes
}

/// Last committed frame when the first `frames` are valid.
fn committed(frames: u32) -> u32 {
    match frames {
        0 | 1 => 0,
        2 => 2,
        3..=5 => 3,
        _ => 6,
    }
}

/// Last committed frame and its map, by the crate; `None` without a header.
fn read(wal: &[u8]) -> Option<(u32, Vec<(u32, u32)>)> {
    let cursor = Cursor::start(WalHeader::parse(wal).ok().flatten()?);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let batch = read_batch(wal, cursor, u32::MAX, 0, &mut map, &mut buffer).unwrap();
    Some((batch.to.frame, map.iter().collect()))
}

fn expected_pages(frame: u32) -> Vec<(u32, u32)> {
    match frame {
        0 => vec![],
        2 => vec![(1, 1), (2, 2)],
        3 => vec![(1, 1), (2, 3)],
        _ => vec![(1, 5), (2, 3), (3, 4), (4, 6)],
    }
}

#[test]
fn cut_at_every_byte() {
    for big in [false, true] {
        let wal = wal(big);
        for length in 0..=wal.len() {
            let found = read(&wal[..length]);
            if length < 32 {
                assert_eq!(found, None);
                continue;
            }
            let whole = (0..=7)
                .rev()
                .find(|&frames| frames_end(512, frames) <= length as u64)
                .unwrap();
            let frame = committed(whole);
            assert_eq!(
                found,
                Some((frame, expected_pages(frame))),
                "{length} bytes"
            );
        }
    }
}

#[test]
fn flipped_at_every_byte() {
    for big in [false, true] {
        let good = wal(big);
        for at in 0..good.len() {
            let mut wal = good.clone();
            wal[at] ^= 1 << (at % 8);
            let found = read(&wal);
            if at < 32 {
                assert_eq!(found, None, "byte {at}");
                continue;
            }
            let intact = ((at - 32) / 536) as u32;
            let frame = committed(intact);
            assert_eq!(found, Some((frame, expected_pages(frame))), "byte {at}");
        }
    }
}
