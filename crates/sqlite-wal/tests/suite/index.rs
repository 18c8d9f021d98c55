//! The head of the wal-index: consistent or nothing.

use proptest::prelude::*;
use sqlite_wal::{RunningChecksum, Salts, parse_wal_index};

use crate::wal_writer::plain_checksum;

/// A consistent head with the given words of the header copy replaced, in native byte order.
fn head(change: impl Fn(&mut [u8])) -> [u8; 136] {
    let mut copy = [0_u8; 48];
    copy[..4].copy_from_slice(&3_007_000_u32.to_ne_bytes());
    copy[8..12].copy_from_slice(&5_u32.to_ne_bytes());
    copy[12] = 1;
    copy[14..16].copy_from_slice(&4096_u16.to_ne_bytes());
    for (at, word) in [(16, 9_u32), (20, 4), (24, 0xaaaa), (28, 0xbbbb)] {
        copy[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    copy[32..40].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    change(&mut copy);
    let sum = plain_checksum([0, 0], &copy[..40], cfg!(target_endian = "big"));
    copy[40..44].copy_from_slice(&sum[0].to_ne_bytes());
    copy[44..].copy_from_slice(&sum[1].to_ne_bytes());
    let mut head = [0; 136];
    head[..48].copy_from_slice(&copy);
    head[48..96].copy_from_slice(&copy);
    for (at, word) in [(96, 3_u32), (104, 7), (108, u32::MAX), (128, 6)] {
        head[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    head
}

#[test]
fn fields_are_where_the_format_says() {
    let index = parse_wal_index(&head(|_| ())).unwrap();
    let header = index.header;
    assert_eq!((header.version, header.change_counter), (3_007_000, 5));
    assert!(header.is_init && !header.big_endian_checksum);
    assert_eq!(
        (header.page_size, header.max_frame, header.page_count),
        (4096, 9, 4)
    );
    let checksum = RunningChecksum {
        s0: 0xaaaa,
        s1: 0xbbbb,
    };
    assert_eq!(header.frame_checksum, checksum);
    let salts = Salts {
        salt1: 0x0102_0304,
        salt2: 0x0506_0708,
    };
    assert_eq!(header.salts, salts);
    let checkpoint = index.checkpoint;
    assert_eq!(
        (checkpoint.backfilled, checkpoint.backfill_attempted),
        (3, 6)
    );
    assert_eq!(checkpoint.read_marks, [0, 7, u32::MAX, 0, 0]);
    assert!(!index.is_backfilled());
}

#[test]
fn page_size_65536_is_stored_as_one() {
    for (stored, page_size) in [(1_u16, 65_536), (0, 0), (512, 512), (32_768, 32_768)] {
        let head = head(|copy| copy[14..16].copy_from_slice(&stored.to_ne_bytes()));
        assert_eq!(parse_wal_index(&head).unwrap().header.page_size, page_size);
    }
}

#[test]
fn big_endian_flag() {
    assert!(
        parse_wal_index(&head(|copy| copy[13] = 1))
            .unwrap()
            .header
            .big_endian_checksum
    );
}

#[test]
fn uninitialised_is_nothing() {
    assert_eq!(parse_wal_index(&[0; 136]), None);
    assert_eq!(parse_wal_index(&head(|copy| copy[12] = 0)), None);
}

#[test]
fn any_flip_in_a_copy_is_nothing() {
    let good = head(|_| ());
    for bit in 0..96 * 8 {
        let mut torn = good;
        torn[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse_wal_index(&torn), None, "bit {bit}");
    }
}

#[test]
fn both_copies_altered_alike_is_nothing() {
    let good = head(|_| ());
    for at in 0..48 {
        let mut wrong = good;
        wrong[at] ^= 0x10;
        wrong[at + 48] ^= 0x10;
        assert_eq!(parse_wal_index(&wrong), None, "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn half_written_header_is_nothing(cut in 0_usize..95, frames in 10_u32..1000) {
        let old = head(|_| ());
        let new = head(|copy| copy[16..20].copy_from_slice(&frames.to_ne_bytes()));
        // The second copy is written first, then the first.
        let mut order: Vec<usize> = (48..96).collect();
        order.extend(0..48);
        let mut torn = old;
        for &at in &order[..cut] {
            torn[at] = new[at];
        }
        let found = parse_wal_index(&torn);
        prop_assert!(found.is_none() || torn == old || torn == new);
    }
}
