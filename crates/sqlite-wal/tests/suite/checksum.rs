//! The checksum in lanes is the checksum of the documentation.

use proptest::prelude::*;
use sqlite_wal::{ByteOrder, RunningChecksum};

use crate::wal_writer::plain_checksum;

fn update(start: [u32; 2], order: ByteOrder, bytes: &[u8]) -> [u32; 2] {
    let mut sum = RunningChecksum {
        s0: start[0],
        s1: start[1],
    };
    sum.update(order, bytes);
    [sum.s0, sum.s1]
}

proptest! {
    #[test]
    fn equals_the_plain_loop(start: [u32; 2], pairs in prop::collection::vec(any::<[u8; 8]>(), 0..600)) {
        let bytes = pairs.concat();
        for (order, big) in [(ByteOrder::Little, false), (ByteOrder::Big, true)] {
            prop_assert_eq!(update(start, order, &bytes), plain_checksum(start, &bytes, big));
        }
    }

    #[test]
    fn goes_on_across_pieces(bytes in prop::collection::vec(any::<u8>(), 1024), cut in 0_usize..128) {
        let whole = update([3, 4], ByteOrder::Big, &bytes);
        let (head, tail) = bytes.split_at(cut * 8);
        let head = update([3, 4], ByteOrder::Big, head);
        prop_assert_eq!(update(head, ByteOrder::Big, tail), whole);
    }
}

#[test]
fn bytes_behind_the_last_pair_are_left_out() {
    let bytes = [7; 23];
    assert_eq!(
        update([1, 2], ByteOrder::Little, &bytes),
        update([1, 2], ByteOrder::Little, &bytes[..16])
    );
}

#[test]
fn known_values() {
    assert_eq!(
        update([0, 0], ByteOrder::Little, &[1, 0, 0, 0, 2, 0, 0, 0]),
        [1, 3]
    );
    assert_eq!(
        update([1, 3], ByteOrder::Big, &[0, 0, 0, 1, 0, 0, 0, 2]),
        [5, 10]
    );
}
