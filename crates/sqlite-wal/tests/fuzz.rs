//! Random and damaged bytes through every parser, with a seeded generator.
//!
//! `SQLITE_WAL_FUZZ_SECONDS` sets how long (default 2), `SQLITE_WAL_FUZZ_SEED` where to begin. What is
//! asserted: no panic; a batch is a committed prefix of the chain that the oracle accepts.

#![expect(clippy::unwrap_used, reason = "a failure is to end the run")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlite_wal::{
    Cursor, DatabaseHeader, FrameHeader, PageMap, WalHeader, WalReader, continues, frame_offset,
    parse_wal_index, read_batch, scan_salts,
};
use wal_writer::{WalWriter, page, plain_checksum};

#[path = "support/wal_writer.rs"]
mod wal_writer;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// One or two generations of random frames.
fn wal(random: &mut Random) -> Vec<u8> {
    let page_size = [512, 512, 1024, 4096][random.below(4)];
    let mut writer = WalWriter::new(page_size, random.below(2) == 0, [7, 8]);
    for generation in 0..=random.below(2) {
        if generation > 0 {
            writer.restart([8, random.next() as u32]);
        }
        for _ in 0..random.below(8) {
            let pgno = random.below(6) as u32;
            let commit = [0, 0, 3, 5][random.below(4)];
            writer.frame(pgno, commit, &page(page_size, random.next()));
        }
    }
    writer.bytes
}

/// Nothing, a cut, flips, a piece copied over another, a piece filled.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let length = random.below(bytes.len() - at).min(2000);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at..at + length].fill(random.next() as u8),
            3 => {
                let to = random.below(bytes.len() - length);
                bytes.copy_within(at..at + length, to);
            }
            _ => bytes[at] = random.next() as u8,
        }
    }
}

/// Last commit, its size and the pages, by the rules of the format and nothing else.
fn oracle(wal: &[u8], cursor: Cursor, limit: u32) -> (u32, u32, BTreeMap<u32, u32>) {
    let big = wal[3] & 1 == 1;
    let page_size = cursor.header.page_size as usize;
    let mut sum = [cursor.checksum.s0, cursor.checksum.s1];
    let (mut last, mut size) = (cursor.frame, 0);
    let (mut open, mut pages) = (BTreeMap::new(), BTreeMap::new());
    for frame in cursor.frame + 1..=limit.min(1000) {
        let start = frame_offset(page_size as u32, frame) as usize;
        let Some(bytes) = wal.get(start..start + 24 + page_size) else {
            break;
        };
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        sum = plain_checksum(plain_checksum(sum, &bytes[..8], big), &bytes[24..], big);
        let salts = cursor.header.salts;
        let fits = [word(8), word(12)] == [salts.salt1, salts.salt2];
        if !fits || word(0) == 0 || sum != [word(16), word(20)] {
            break;
        }
        open.insert(word(0), frame);
        if word(4) != 0 {
            (last, size) = (frame, word(4));
            pages.append(&mut open);
        }
    }
    pages.retain(|pgno, _| *pgno <= size);
    (last, size, pages)
}

fn check_wal(random: &mut Random, map: &mut PageMap, buffer: &mut Vec<u8>) -> bool {
    let mut bytes = wal(random);
    damage(random, &mut bytes);
    let Ok(Some(header)) = WalHeader::parse(&bytes) else {
        return false;
    };
    let limit = [u32::MAX, random.below(12) as u32][random.below(2)];
    let start = Cursor::start(header);
    let batch = read_batch(&bytes, start, limit, 0, map, buffer).unwrap();
    let pages: BTreeMap<_, _> = map.iter().collect();
    let found = (batch.to.frame, batch.commit, pages);
    assert_eq!(found, oracle(&bytes, start, limit));

    let limited = read_batch(&bytes, start, limit, 1 + random.next() % 4000, map, buffer).unwrap();
    let rest = read_batch(&bytes, limited.to, limit, 0, map, buffer).unwrap();
    assert_eq!(rest.to, batch.to);
    assert_eq!(rest.transactions + limited.transactions, batch.transactions);
    scan_salts(&bytes, header.page_size, None, buffer).unwrap();
    true
}

/// A cursor that fits nothing.
fn check_cursor(random: &mut Random, buffer: &mut Vec<u8>) {
    let mut bytes = wal(random);
    let mut cursor = Cursor::start(WalHeader::parse(&bytes).unwrap().unwrap());
    damage(random, &mut bytes);
    cursor.frame = [random.next() as u32, random.below(9) as u32, u32::MAX - 1][random.below(3)];
    if random.below(4) == 0 {
        cursor.header.page_size = random.next() as u32;
    }
    let expected = continues(&bytes, cursor).ok();
    let mut reader = WalReader::new(&bytes, cursor, u32::MAX, buffer);
    let next = reader.next_frame().ok().map(|frame| frame.is_some());
    assert_eq!(next, expected);
    let _ = Cursor::resume(&bytes, cursor.header, cursor.header.salts, cursor.frame).unwrap();
}

fn check_heads(random: &mut Random) {
    let mut index: [u8; 136] = random.bytes();
    if random.below(2) == 0 {
        index.copy_within(0..48, 48);
        let sum = plain_checksum([0, 0], &index[..40], cfg!(target_endian = "big"));
        for (at, word) in [(40, sum[0]), (44, sum[1]), (88, sum[0]), (92, sum[1])] {
            index[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        assert_eq!(parse_wal_index(&index).is_some(), index[12] != 0);
    } else {
        assert_eq!(parse_wal_index(&index), None);
    }
    let mut head: [u8; 100] = random.bytes();
    head[..16].copy_from_slice(b"SQLite format 3\0");
    head[21..24].copy_from_slice(&[64, 32, 32]);
    head[random.below(24)] = random.next() as u8;
    if let Ok(header) = DatabaseHeader::parse(&head) {
        assert!(header.page_size.is_power_of_two() && header.page_size >= 512);
    }
    let frame: [u8; 24] = random.bytes();
    assert_eq!(FrameHeader::parse(&frame).pgno.to_be_bytes(), frame[..4]);
    let _ = WalHeader::parse(&frame).unwrap();
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn nothing_panics_and_only_commits_are_taken() {
    let seconds = variable("SQLITE_WAL_FUZZ_SECONDS", 2);
    let seed = variable("SQLITE_WAL_FUZZ_SEED", 1).max(1);
    let mut random = Random(seed);
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let (mut executions, mut with_header) = (0_u64, 0_u64);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) || executions < 200 {
        with_header += u64::from(check_wal(&mut random, &mut map, &mut buffer));
        check_cursor(&mut random, &mut buffer);
        check_heads(&mut random);
        executions += 1;
    }
    println!("{executions} executions, {with_header} WALs with a valid header, seed {seed}");
    assert!(
        with_header > executions / 4,
        "most inputs must reach the frames"
    );
}
