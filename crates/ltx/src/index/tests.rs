use super::*;

fn pgno(number: u32) -> Pgno {
    Pgno::new(number).expect("not zero")
}

/// The index of the three-page worked example: pages 1, 2 and 5.
const WORKED: &[u8] = &[1, 0x64, 0xf1, 1, 2, 0xd5, 2, 0x3a, 5, 0x8f, 3, 0x22, 0];

#[test]
fn worked_example() {
    let index = PageIndex::parse(WORKED).expect("sound");
    let entry = |offset, size| IndexEntry { offset, size };
    let expected = [
        (1, entry(100, 241)),
        (2, entry(341, 58)),
        (5, entry(399, 34)),
    ];
    assert!(
        index
            .iter()
            .eq(expected.map(|(number, entry)| (pgno(number), entry)))
    );
    assert_eq!(index.lookup(pgno(2)), Some(entry(341, 58)));
    assert_eq!(index.lookup(pgno(3)), None);
    assert_eq!(size_of::<Slot>(), 16);
    index.check_bounds(476).expect("the size of that file");
    assert!(index.check_bounds(462).is_err());
}

#[test]
fn every_cut_is_an_error() {
    for len in 0..WORKED.len() {
        let error = PageIndex::parse(&WORKED[..len]).expect_err("cut");
        assert_eq!(error.kind(), crate::ErrorKind::Truncated);
    }
}

#[test]
fn unsorted_and_repeated_entries_resolve_to_the_last() {
    let index = PageIndex::parse(&[5, 110, 9, 1, 100, 10, 5, 120, 8, 0]).expect("readable");
    assert_eq!(index.len(), 2);
    assert_eq!(
        index.lookup(pgno(5)),
        Some(IndexEntry {
            offset: 120,
            size: 8
        })
    );
}

#[test]
fn numbers_out_of_range_are_errors() {
    let words = |bytes: &[u8]| {
        PageIndex::parse(bytes)
            .expect_err("out of range")
            .to_string()
    };
    assert!(words(&[0x80, 0x80, 0x80, 0x80, 0x10, 100, 1, 0]).contains("page number out of range"));
    assert!(words(&[1, 100, 0x80, 0x80, 0x80, 0x80, 0x10, 0]).contains("size out of range"));
    assert!(words(&[0xff; 11]).contains("varint overflows a 64-bit integer"));
}

#[test]
fn the_tail_leads_to_the_index() {
    let mut file = vec![0xaa; 439];
    file.extend(WORKED);
    file.extend((WORKED.len() as u64).to_be_bytes());
    file.extend([0; 16]);
    let size = file.len() as u64;
    assert_eq!(size, 476);
    assert_eq!(
        index_location(&file, size).expect("sound"),
        IndexLocation::InTail(439..452)
    );
    assert_eq!(
        index_location(&file[439..], size).expect("sound"),
        IndexLocation::InTail(0..13)
    );
    let fetch = IndexLocation::Fetch {
        offset: 439,
        len: 13,
    };
    for cut in [440, 452] {
        assert_eq!(index_location(&file[cut..], size).expect("sound"), fetch);
    }
    let error = index_location(&file[453..], size)
        .expect_err("too short")
        .to_string();
    assert_eq!(
        error,
        "ltx file too short to contain a page index: 23 bytes"
    );
    for wrong in [0, 347, u64::MAX] {
        file[452..460].copy_from_slice(&u64::to_be_bytes(wrong));
        let error = index_location(&file[400..], size).expect_err("out of range");
        assert!(
            error.to_string().contains("index size out of range"),
            "{error}"
        );
    }
    assert!(index_location(&file, 129).is_err());
}
