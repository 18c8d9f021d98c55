//! Whole transactions: limits, what counts as committed, what stays in memory.

use sqlite_wal::{
    Batch, ChainEnd, Cursor, PageMap, WalHeader, frame_offset, page_offset, read_batch,
};

use crate::wal_writer::{WalWriter, page};

const PAGE: usize = 512;
const FRAME: u64 = 536;

/// A WAL of frames (page number, commit).
fn wal(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut writer = WalWriter::new(PAGE, false, [1, 2]);
    for (number, &(pgno, commit)) in frames.iter().enumerate() {
        writer.frame(pgno, commit, &page(PAGE, number as u64));
    }
    writer.bytes
}

fn start(wal: &[u8]) -> Cursor {
    Cursor::start(WalHeader::parse(wal).unwrap().unwrap())
}

fn read(wal: &[u8], cursor: Cursor, limit: u32, max_bytes: u64) -> (Batch, Vec<(u32, u32)>) {
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let batch = read_batch(wal, cursor, limit, max_bytes, &mut map, &mut buffer).unwrap();
    assert_eq!(batch.from, cursor);
    (batch, map.iter().collect())
}

#[test]
fn newest_frame_of_each_page_in_page_order() {
    let wal = wal(&[(3, 0), (1, 3), (3, 0), (2, 0), (3, 3)]);
    let (batch, pages) = read(&wal, start(&wal), u32::MAX, 0);
    assert_eq!(pages, [(1, 2), (2, 4), (3, 5)]);
    assert_eq!((batch.commit, batch.transactions), (3, 2));
    assert_eq!(
        (batch.start_offset(), batch.end_offset()),
        (32, wal.len() as u64)
    );
    assert_eq!(batch.end, Some(ChainEnd::Short));
    assert!(!batch.limited && !batch.is_empty());
}

#[test]
fn open_transaction_is_not_taken() {
    let wal = wal(&[(1, 1), (2, 0), (1, 0)]);
    let (batch, pages) = read(&wal, start(&wal), u32::MAX, 0);
    assert_eq!(pages, [(1, 1)]);
    assert_eq!((batch.to.frame, batch.uncommitted), (1, 2));

    let (rest, pages) = read(&wal, batch.to, u32::MAX, 0);
    assert_eq!((rest.to, rest.commit, rest.transactions), (batch.to, 0, 0));
    assert!(rest.is_empty() && pages.is_empty());
    assert_eq!(rest.uncommitted, 2);
}

#[test]
fn pages_above_the_final_size_are_dropped() {
    let wal = wal(&[(1, 0), (9, 9), (2, 0), (4, 4), (5, 5)]);
    assert_eq!(read(&wal, start(&wal), 4, 0).1, [(1, 1), (2, 3), (4, 4)]);
    assert_eq!(
        read(&wal, start(&wal), 5, 0).1,
        [(1, 1), (2, 3), (4, 4), (5, 5)]
    );
}

#[test]
fn byte_limit_counts_at_commits_only() {
    let wal = wal(&[(1, 0), (2, 0), (3, 3), (1, 3), (2, 3)]);
    for (max_bytes, frame, limited) in [
        (1, 3, true),
        (3 * FRAME, 3, true),
        (3 * FRAME + 1, 4, true),
        (5 * FRAME, 5, true),
        (5 * FRAME + 1, 5, false),
        (0, 5, false),
    ] {
        let (batch, _) = read(&wal, start(&wal), u32::MAX, max_bytes);
        assert_eq!(
            (batch.to.frame, batch.limited),
            (frame, limited),
            "{max_bytes}"
        );
        assert_eq!(batch.end.is_none(), limited);
        assert_eq!(batch.missing, 0);
    }
}

#[test]
fn frames_missing_below_the_limit_are_told() {
    let mut wal = wal(&[(1, 1), (1, 1), (1, 1), (1, 1)]);
    assert_eq!(read(&wal, start(&wal), 4, 0).0.missing, 0);
    assert_eq!(read(&wal, start(&wal), 6, 0).0.missing, 2);
    assert_eq!(
        read(&wal, start(&wal), 6, 1).0.missing,
        0,
        "stopped by the byte limit"
    );
    wal[frame_offset(512, 3) as usize + 100] ^= 1;
    let (batch, _) = read(&wal, start(&wal), 4, 0);
    assert_eq!((batch.to.frame, batch.missing), (2, 2));
    assert_eq!(batch.end, Some(ChainEnd::Checksum));
    assert_eq!(read(&wal, start(&wal), u32::MAX, 0).0.missing, 0);
}

#[test]
fn limit_before_the_cursor_reads_nothing() {
    let wal = wal(&[(1, 1), (1, 1), (1, 1)]);
    let (batch, _) = read(&wal, start(&wal), 2, 0);
    for limit in [0, 1, 2] {
        let (again, pages) = read(&wal, batch.to, limit, 0);
        assert_eq!((again.to, again.missing), (batch.to, 0));
        assert_eq!(again.end, Some(ChainEnd::Limit));
        assert!(pages.is_empty());
    }
}

#[test]
fn pages_stay_in_the_buffer_until_it_is_full() {
    let frames: Vec<_> = (1..=5000).map(|pgno| (pgno, pgno)).collect();
    let wal = wal(&frames);
    for (limit, all) in [(1000, true), (1900, true), (5000, false), (u32::MAX, false)] {
        let (mut map, mut buffer) = (PageMap::new(), Vec::new());
        let batch = read_batch(&wal, start(&wal), limit, 0, &mut map, &mut buffer).unwrap();
        assert!(buffer.len() <= 1 << 20);
        let mut held = 0;
        for (_, frame) in map.iter() {
            let Some(found) = batch.buffered_page(&buffer, frame) else {
                continue;
            };
            let offset = page_offset(512, frame) as usize;
            assert_eq!(found, &wal[offset..offset + PAGE]);
            held += 1;
        }
        assert_eq!(held == map.len(), all, "{held} of {}", map.len());
        assert!(held > 0);
        assert_eq!(batch.buffered_page(&buffer, 0), None);
        assert_eq!(batch.buffered_page(&buffer, batch.to.frame + 2000), None);
        assert_eq!(batch.buffered_page(&[], batch.to.frame), None);
    }
}

#[test]
fn map_memory_follows_pages_not_frames() {
    let frames: Vec<_> = (0..40_000).map(|n| (n % 10 + 1, 10)).collect();
    let wal = wal(&frames);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    read_batch(&wal, start(&wal), u32::MAX, 0, &mut map, &mut buffer).unwrap();
    let expected: Vec<_> = (1..=10).map(|pgno| (pgno, 39_990 + pgno)).collect();
    assert_eq!(map.iter().collect::<Vec<_>>(), expected);
    assert_eq!(
        (map.len(), map.get(3), map.get(11)),
        (10, Some(39_993), None)
    );
    assert!(map.contains(1) && !map.contains(0));
    assert!(map.capacity() < 20_000, "{}", map.capacity());
    map.clear();
    assert!(map.is_empty() && map.capacity() > 0);
}
