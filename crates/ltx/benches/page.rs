//! Throughput per core: encode, decode and merge against the bare LZ4 library on the same pages.
//!
//! The pages are half text, half noise, like the pages of a table with text and blobs. With
//! `LTX_BENCH_DB` set to a database with 4 KiB pages, its first 64 MiB are used instead.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use crc_fast::{CrcAlgorithm, Digest};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ltx::{Decoder, Encoder, Header, PageSize, Pgno, Timestamp, Txid, TxidRange, merge};
use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

const PAGE: usize = 4096;
const PAGES: usize = 4096;

const WORDS: [&str; 16] = [
    "order",
    "customer",
    "street",
    "invoice",
    "2026-08-30",
    "pending",
    "total",
    "the",
    "of",
    "shipped",
    "example.com",
    "and",
    "berlin",
    "quantity",
    "price",
    "note",
];

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The first half of each page is rows of words and numbers, the second half is noise.
fn generated() -> Vec<u8> {
    let mut state = 1;
    let mut bytes = Vec::with_capacity(PAGE * PAGES);
    while bytes.len() < PAGE * PAGES {
        let start = bytes.len();
        while bytes.len() < start + PAGE / 2 {
            let value = random(&mut state);
            bytes.extend(WORDS[value as usize % WORDS.len()].bytes());
            bytes.extend(format!(" {:x} ", value % 4096).bytes());
        }
        bytes.truncate(start + PAGE / 2);
        bytes.extend((0..PAGE / 2).map(|_| random(&mut state) as u8));
    }
    bytes
}

fn database() -> Vec<u8> {
    let Ok(path) = std::env::var("LTX_BENCH_DB") else {
        return generated();
    };
    let mut bytes = std::fs::read(path).expect("LTX_BENCH_DB names a readable file");
    bytes.truncate((bytes.len() / PAGE * PAGE).min(64 << 20));
    bytes
}

fn header(pages: usize, txid: u64) -> Header {
    let page_size = PageSize::new(PAGE as u32).expect("valid");
    let range = TxidRange::single(Txid::new(txid).expect("not zero"));
    Header::new(page_size, pages as u32, range, Timestamp::from_millis(0))
}

fn encode<'a>(
    commit: usize,
    txid: u64,
    pages: impl Iterator<Item = (usize, &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut encoder = Encoder::new(out, header(commit, txid)).expect("valid");
    for (at, page) in pages {
        encoder
            .encode_page(Pgno::new(at as u32 + 1).expect("not zero"), page)
            .expect("in order");
    }
    encoder.finish().expect("complete");
}

fn decode(bytes: &[u8], page: &mut [u8]) {
    let mut decoder = Decoder::new(bytes, "bench").expect("sound");
    while decoder.next_page(page).expect("sound").is_some() {
        black_box(&page);
    }
    decoder.finish().expect("sound");
}

fn bare(criterion: &mut Criterion, database: &[u8]) {
    let mut group = criterion.benchmark_group("bare");
    group
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Bytes(database.len() as u64));
    let room = get_maximum_output_size(PAGE);
    let mut table = CompressTable::small();
    let mut out = vec![0; database.len() / PAGE * room];
    group.bench_function("lz4 compress", |bencher| {
        bencher.iter(|| {
            let mut at = 0;
            for page in database.chunks(PAGE) {
                at += compress_into_with_table(page, &mut out[at..at + room], &mut table)
                    .expect("room");
            }
            at
        });
    });
    let mut blocks = Vec::new();
    for page in database.chunks(PAGE) {
        let len = compress_into_with_table(page, &mut out, &mut table).expect("room");
        blocks.push(out[..len].to_vec());
    }
    let (all, lens) = (
        blocks.concat(),
        blocks.iter().map(Vec::len).collect::<Vec<_>>(),
    );
    let mut page = vec![0; PAGE];
    group.bench_function("lz4 decompress", |bencher| {
        bencher.iter(|| {
            let mut at = 0;
            for &len in &lens {
                decompress_into(&all[at..at + len], &mut page).expect("sound");
                black_box(&page);
                at += len;
            }
        });
    });
    group.bench_function("crc", |bencher| {
        bencher.iter(|| {
            let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
            database.chunks(PAGE).for_each(|page| crc.update(page));
            crc.finalize()
        });
    });
    group.finish();
}

fn full(criterion: &mut Criterion, database: &[u8]) {
    let count = database.len() / PAGE;
    let mut group = criterion.benchmark_group("full");
    group
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Bytes(database.len() as u64));
    let mut out = Vec::with_capacity(database.len() * 2);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode(count, 1, database.chunks(PAGE).enumerate(), &mut out));
    });
    encode(count, 1, database.chunks(PAGE).enumerate(), &mut out);
    let mut page = vec![0; PAGE];
    group.bench_function("decode", |bencher| bencher.iter(|| decode(&out, &mut page)));

    // A snapshot and fifteen increments that together change half of the pages.
    let mut files = vec![out];
    for txid in 2..=16 {
        let mut increment = Vec::new();
        let pages = database
            .chunks(PAGE)
            .enumerate()
            .filter(|(at, _)| at % 30 == txid);
        encode(count, txid as u64, pages, &mut increment);
        files.push(increment);
    }
    let inputs = || {
        files
            .iter()
            .map(|bytes| Decoder::new(&bytes[..], "bench").expect("sound"))
    };
    group.bench_function("merge", |bencher| {
        bencher.iter(|| merge(inputs(), io::sink()).expect("mergeable"));
    });
    group.bench_function("merged pages", |bencher| {
        bencher.iter(|| {
            let mut pages = ltx::Merge::new(inputs()).expect("mergeable").pages();
            while let Some(page) = pages.next().expect("sound") {
                black_box(page);
            }
        });
    });
    group.finish();
}

/// Best times of alternating runs, so that other load on the machine hits both sides: what the
/// format costs on top of the compression.
#[expect(clippy::print_stdout, reason = "the result of the bench")]
fn ratios(database: &[u8]) {
    let room = get_maximum_output_size(PAGE);
    let mut table = CompressTable::small();
    let (mut block, mut page) = (vec![0; room], vec![0; PAGE]);
    let (mut blocks, mut file) = (Vec::new(), Vec::new());
    for page in database.chunks(PAGE) {
        let len = compress_into_with_table(page, &mut block, &mut table).expect("room");
        blocks.push(block[..len].to_vec());
    }
    let count = blocks.len();
    let mut best = [Duration::MAX; 4];
    let mut time = |slot: usize, work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        best[slot] = best[slot].min(started.elapsed());
    };
    for _ in 0..100 {
        time(0, &mut || {
            for page in database.chunks(PAGE) {
                black_box(compress_into_with_table(page, &mut block, &mut table).expect("room"));
            }
        });
        time(1, &mut || {
            encode(count, 1, database.chunks(PAGE).enumerate(), &mut file);
        });
        time(2, &mut || {
            for block in &blocks {
                decompress_into(block, &mut page).expect("sound");
                black_box(&page);
            }
        });
        time(3, &mut || decode(&file, &mut page));
    }
    let rate = |time: Duration| database.len() as f64 / f64::from(1 << 20) / time.as_secs_f64();
    let [compress, encode, decompress, decode] = best.map(rate);
    for (name, bare, full) in [("encode", compress, encode), ("decode", decompress, decode)] {
        let percent = 100.0 * full / bare;
        println!("{name}: {full:.0} MiB/s, {percent:.0} % of bare LZ4 ({bare:.0} MiB/s)");
    }
}

fn throughput(criterion: &mut Criterion) {
    let database = database();
    ratios(&database);
    bare(criterion, &database);
    full(criterion, &database);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(15).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = throughput
}
criterion_main!(benches);
