//! Mutated golden files: whatever the bytes, reading and merging end with a result or an error.
//!
//! Many mutants get their file checksum recomputed, so that they pass the first gates. A panic
//! fails the test. The runs are short and the same each time; for a longer one set
//! `LTX_FUZZ_SECONDS` (per target) and, for other mutants, `LTX_FUZZ_SEED`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crc_fast::{CrcAlgorithm, Digest};
use ltx::{
    Decoder, Frame, FrameReader, IndexLocation, PageIndex, PageSize, Result, decode_frame_at,
    index_location, merge, verify,
};

/// Mutants per target of a run without `LTX_FUZZ_SECONDS`.
const SHORT_RUN: u64 = 3_000;

/// The generator known as splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn collect(folder: &Path, corpus: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("golden files") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            collect(&path, corpus);
        } else if path.extension().is_some_and(|extension| extension == "ltx") {
            corpus.push(path);
        }
    }
}

/// All golden files below 64 KiB, the damaged ones included, in a fixed order.
fn corpus() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    collect(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")),
        &mut paths,
    );
    paths.sort();
    let mut files: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("content"))
        .collect();
    files.retain(|bytes| (100..65_536).contains(&bytes.len()));
    assert!(files.len() > 400);
    files
}

/// Recomputes the file checksum, if the frames can be walked.
fn reseal(bytes: &mut [u8]) -> Result<()> {
    let mut reader = FrameReader::new(&bytes[..], "mutant")?;
    let mut page = vec![0; reader.header().page_size.bytes()];
    let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
    crc.update(&bytes[..100]);
    let mut frame = Frame::new();
    let mut at = 100;
    while reader.next_frame(&mut frame)? {
        frame.decompress(&mut page)?;
        let prefix = (frame.size() - frame.payload().len() as u64) as usize;
        crc.update(&bytes[at..at + prefix]);
        crc.update(&page);
        at += frame.size() as usize;
    }
    let end = bytes.len().saturating_sub(8).max(at);
    crc.update(&bytes[at..end]);
    let sum = (crc.finalize() | 1 << 63).to_be_bytes();
    let place = &mut bytes[end..];
    if place.len() == sum.len() {
        place.copy_from_slice(&sum);
    }
    Ok(())
}

/// Offsets of the frames, as far as they can be walked.
fn frame_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![0];
    if let Ok(mut reader) = FrameReader::new(bytes, "mutant") {
        let mut frame = Frame::new();
        while let Ok(true) = reader.next_frame(&mut frame) {
            offsets.push(frame.offset() as usize);
        }
    }
    offsets
}

fn overwrite(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// A number at the edges of what a length or id can be.
fn edge(random: &mut Random) -> u64 {
    let base = [
        0,
        1,
        2,
        255,
        512,
        4096,
        65_536,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX,
    ];
    base[random.below(base.len())]
        .wrapping_add(random.next() % 3)
        .wrapping_sub(1)
}

fn mutate_once(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(9) {
        0 | 1 => {
            let bit = 1 << random.below(8);
            bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= bit);
        }
        2 => overwrite(bytes, at, &[random.next() as u8]),
        3 => bytes.truncate(at),
        4 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len());
            let piece = &other[from..(from + random.below(400)).min(other.len())];
            let end = (at + random.below(400)).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        5 => {
            // A header field.
            let (offset, width) = [
                (4, 4),
                (8, 4),
                (12, 4),
                (16, 8),
                (24, 8),
                (40, 8),
                (48, 8),
                (56, 8),
            ][random.below(8)];
            let value = edge(random).to_be_bytes();
            overwrite(bytes, offset, &value[8 - width..]);
        }
        6 => {
            // Page number, flags or size of a frame.
            let offsets = frame_offsets(bytes);
            let offset = offsets[random.below(offsets.len())];
            let (field, width) = [(0, 4), (4, 2), (6, 4), (10, 4)][random.below(4)];
            let value = edge(random).to_be_bytes();
            overwrite(bytes, offset + field, &value[8 - width..]);
        }
        7 => {
            // Index size, trailer, or the index in front of them.
            let back = random.below(60);
            let at = bytes.len().saturating_sub(back);
            overwrite(bytes, at, &edge(random).to_be_bytes()[random.below(8)..]);
        }
        _ => {
            // Frames in another order, twice, or missing.
            let offsets = frame_offsets(bytes);
            let from = random.below(offsets.len());
            let start = offsets[from].max(100).min(bytes.len());
            let end = offsets
                .get(from + 1)
                .copied()
                .unwrap_or(bytes.len())
                .max(start);
            let piece = bytes[start..end].to_vec();
            let to = offsets[random.below(offsets.len())]
                .max(100)
                .min(bytes.len());
            let end = if random.below(2) == 0 {
                to
            } else {
                (to + piece.len()).min(bytes.len())
            };
            bytes.splice(to..end, piece);
        }
    }
}

fn mutant(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..random.below(4) {
        mutate_once(&mut bytes, corpus, random);
        if random.below(3) > 0 {
            // What cannot be walked stays unsealed, which is a case as well.
            let _ = reseal(&mut bytes);
        }
    }
    bytes
}

/// Reads one mutant in every way there is; whether it was accepted.
fn decode(bytes: &[u8], random: &mut Random) -> bool {
    let mut reader = FrameReader::new(bytes, "mutant").ok();
    let mut frame = Frame::new();
    let mut page = vec![0; 512 << random.below(8)];
    while let Some(reader) = &mut reader
        && let Ok(true) = reader.next_frame(&mut frame)
    {
        let _ = frame.decompress(&mut page);
    }
    let at = random.below(bytes.len());
    let page_size = PageSize::new(page.len() as u32).expect("a power of two");
    let _ = decode_frame_at(bytes.get(at..).unwrap_or_default(), page_size, &mut page);
    let tail = bytes.get(at..).unwrap_or_default();
    if let Ok(IndexLocation::InTail(range)) = index_location(tail, bytes.len() as u64)
        && let Ok(index) = PageIndex::parse(&tail[range])
    {
        let _ = index.check_bounds(bytes.len() as u64);
    }
    let _ = PageIndex::parse(tail);
    let Ok(verified) = verify(bytes, "mutant") else {
        return false;
    };
    assert_eq!(verified.size, bytes.len() as u64);
    true
}

/// Merges some mutants; whether a result came out. The result must be sound.
fn merge_mutants(corpus: &[Vec<u8>], random: &mut Random) -> bool {
    let mut files: Vec<_> = (0..=random.below(4))
        .map(|_| mutant(corpus, random))
        .collect();
    for (at, bytes) in files.iter_mut().enumerate() {
        // Most sets would fail at once for their ids and page sizes.
        let txid = (at as u64 + 2).to_be_bytes();
        if random.below(8) > 0 {
            overwrite(bytes, 16, &[txid, txid].concat());
            overwrite(bytes, 40, &[0; 8]);
            let _ = reseal(bytes);
        }
    }
    let inputs: Vec<_> = files
        .iter()
        .filter_map(|bytes| Decoder::new(&bytes[..], "mutant").ok())
        .collect();
    let mut out = Vec::new();
    let Ok(written) = merge(inputs, &mut out) else {
        return false;
    };
    let verified = verify(&out[..], "merged").expect("a merge writes a sound file");
    assert!(verified.index_is_exact);
    assert_eq!(
        (verified.size, verified.pages),
        (written.size, written.pages)
    );
    true
}

/// Runs a target; the seed, the executions and how many of them were accepted.
fn run(mut target: impl FnMut(&mut Random) -> bool) -> String {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seed: u64 = number("LTX_FUZZ_SEED").unwrap_or(1);
    let limit = number("LTX_FUZZ_SECONDS").map(Duration::from_secs);
    let started = Instant::now();
    let (mut executions, mut accepted) = (0, 0);
    while limit.map_or(executions < SHORT_RUN, |limit| started.elapsed() < limit) {
        // Every execution has a generator of its own, so that one can be repeated alone.
        accepted += u64::from(target(&mut Random(seed.wrapping_add(executions << 20))));
        executions += 1;
    }
    assert!(
        accepted > 0 && accepted < executions,
        "mutants must reach both ends"
    );
    format!("seed {seed}: {executions} executions, {accepted} accepted")
}

#[test]
fn decoding_mutants() {
    let corpus = corpus();
    let summary = run(|random| {
        let bytes = mutant(&corpus, random);
        decode(&bytes, random)
    });
    println!("decode: {summary}");
}

#[test]
fn merging_mutants() {
    let corpus = corpus();
    let summary = run(|random| merge_mutants(&corpus, random));
    println!("merge: {summary}");
}
