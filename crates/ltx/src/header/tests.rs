use super::*;
use crate::ErrorKind;

fn header(min: u64, max: u64) -> Header {
    let range = TxidRange {
        min: Txid::new(min).expect("not zero"),
        max: Txid::new(max).expect("not zero"),
    };
    let page_size = PageSize::new(1024).expect("valid");
    Header::new(
        page_size,
        3,
        range,
        Timestamp::from_millis(1_795_322_668_378),
    )
}

#[test]
fn every_field_survives() {
    let header = Header {
        flags: HeaderFlags::NONE,
        pre_apply: FLAG | 5,
        wal_offset: 3248,
        wal_size: 536,
        wal_salt1: 0x2c34_7fc8,
        wal_salt2: 0xacfd_64fe,
        node_id: u64::MAX,
        ..header(2, 9)
    };
    let mut bytes = header.encode();
    assert_eq!(Header::decode(&bytes).expect("valid"), header);
    assert_eq!(bytes[80..], [0; 20]);
    bytes[80..].fill(0x5a);
    assert_eq!(
        Header::decode(&bytes).expect("reserved bytes are ignored"),
        header
    );
}

#[test]
fn each_rule_has_its_words() {
    let overwrite = |offset: usize, field: &[u8]| {
        let mut bytes = header(2, 2).encode();
        bytes[offset..offset + field.len()].copy_from_slice(field);
        let error = Header::decode(&bytes).expect_err("broken");
        (error.to_string(), error.kind())
    };
    let negative = (-1_i64).to_be_bytes();
    for (offset, field, words) in [
        (0, &b"LTX2"[..], "invalid LTX file"),
        (8, &513_u32.to_be_bytes(), "invalid page size: 513"),
        (8, &131_072_u32.to_be_bytes(), "invalid page size: 131072"),
        (16, &[0; 8], "minimum transaction id required"),
        (24, &[0; 8], "maximum transaction id required"),
        (
            16,
            &3_u64.to_be_bytes(),
            "transaction ids out of order: (3,2)",
        ),
        (48, &negative, "wal offset cannot be negative: -1"),
        (56, &negative, "wal size cannot be negative: -1"),
        (64, &[1], "wal offset required if salt exists"),
        (68, &[1], "wal offset required if salt exists"),
        (56, &[0, 1], "wal offset required if wal size exists"),
        (40, &[0x80], "pre-apply checksum not allowed"),
        (
            4,
            &[0; 4],
            "pre-apply checksum required on non-snapshot files",
        ),
    ] {
        let (message, kind) = overwrite(offset, field);
        assert!(message.contains(words), "{message}");
        assert_eq!(kind, ErrorKind::Corrupt);
    }
    for bits in [1_u32, 3, 4, 0x8000_0002] {
        let (message, kind) = overwrite(4, &bits.to_be_bytes());
        assert!(
            message.contains(&format!("invalid flags: 0x{bits:08x}")),
            "{message}"
        );
        assert_eq!(kind, ErrorKind::Unsupported);
    }
}

#[test]
fn rules_of_tracked_checksums() {
    let snapshot = Header {
        pre_apply: FLAG,
        ..header(1, 4)
    };
    let error = snapshot
        .validate()
        .expect_err("a snapshot has nothing before it");
    assert!(
        error
            .to_string()
            .contains("pre-apply checksum must be zero on snapshots")
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let tracked = Header {
        flags: HeaderFlags::NONE,
        pre_apply: 7,
        ..header(2, 2)
    };
    let error = tracked.validate().expect_err("bit 63 is missing");
    assert!(
        error
            .to_string()
            .contains("invalid pre-apply checksum format")
    );
    Header {
        flags: HeaderFlags::NONE,
        ..header(1, 1)
    }
    .validate()
    .expect("valid");
}

#[test]
fn worked_example() {
    let expected = Header {
        commit: 4,
        page_size: PageSize::MIN,
        wal_offset: 3248,
        wal_size: 536,
        wal_salt1: 0x2c34_7fc8,
        wal_salt2: 0xacfd_64fe,
        ..header(2, 2)
    };
    let text = "4c545831 00000002 00000200 00000004 0000000000000002 0000000000000002 \
        000001a20191e55a 0000000000000000 0000000000000cb0 0000000000000218 2c347fc8 acfd64fe \
        0000000000000000 0000000000000000000000000000000000000000";
    let digits: String = text.split_whitespace().collect();
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    assert_eq!(expected.encode()[..], bytes[..]);
}
