//! Throughput of the checksum, and of reading a batch out of memory and out of a file.

#![expect(clippy::unwrap_used, reason = "a failure is to end the run")]

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sqlite_wal::{ByteOrder, Cursor, PageMap, ReadAt, RunningChecksum, WalHeader, read_batch};

#[path = "../tests/support/wal_writer.rs"]
mod wal_writer;

const PAGE_SIZE: usize = 4096;
const FRAMES: u32 = 8192;

fn checksum(criterion: &mut Criterion) {
    let page = wal_writer::page(PAGE_SIZE, 1);
    let mut group = criterion.benchmark_group("checksum/4KiB");
    group.throughput(Throughput::Bytes(PAGE_SIZE as u64));
    group.bench_function("plain loop of the documentation", |bencher| {
        bencher.iter(|| wal_writer::plain_checksum([1, 2], black_box(&page), false));
    });
    for order in [ByteOrder::Little, ByteOrder::Big] {
        group.bench_function(format!("{order:?}"), |bencher| {
            let mut sum = RunningChecksum::default();
            bencher.iter(|| sum.update(order, black_box(&page)));
        });
    }
    group.finish();
}

/// 32 MiB, transactions of 8 pages, 2000 distinct pages, a leftover of an older generation behind.
fn wal() -> Vec<u8> {
    let pages: Vec<_> = (0..64).map(|n| wal_writer::page(PAGE_SIZE, n)).collect();
    let mut writer = wal_writer::WalWriter::new(PAGE_SIZE, false, [1, 2]);
    for (generation, frames) in [(1, FRAMES + 100), (2, FRAMES)] {
        writer.restart([generation, 2]);
        for frame in 0..frames {
            let commit = if frame % 8 == 7 { 2000 } else { 0 };
            writer.frame(frame * 7 % 2000 + 1, commit, &pages[frame as usize % 64]);
        }
    }
    writer.bytes
}

fn batch<S: ReadAt>(source: &S, limit: u32, map: &mut PageMap, buffer: &mut Vec<u8>) {
    let header = WalHeader::read(source).unwrap().unwrap();
    let batch = read_batch(source, Cursor::start(header), limit, 0, map, buffer).unwrap();
    assert_eq!((batch.to.frame, map.len()), (FRAMES, 2000));
}

fn batches(criterion: &mut Criterion) {
    let wal = wal();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&wal).unwrap();
    let (mut map, mut buffer) = (PageMap::new(), Vec::new());
    let mut group = criterion.benchmark_group("read_batch/32MiB");
    group.throughput(Throughput::Bytes(
        u64::from(FRAMES) * (24 + PAGE_SIZE as u64),
    ));
    for (limit, name) in [(FRAMES, "limit"), (u32::MAX, "open end")] {
        group.bench_function(format!("memory, {name}"), |bencher| {
            bencher.iter(|| batch(&wal, limit, &mut map, &mut buffer));
        });
        group.bench_function(format!("file, {name}"), |bencher| {
            bencher.iter(|| batch(&file, limit, &mut map, &mut buffer));
        });
    }
    group.finish();
}

criterion_group!(benches, checksum, batches);
criterion_main!(benches);
