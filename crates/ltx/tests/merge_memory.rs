//! A merge of a thousand files stays small. In a process of its own, as the peak is that of the process.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ltx::{Decoder, Encoder, Header, PageSize, Pgno, Timestamp, Txid, TxidRange, merge};

const FILES: u64 = 1_000;
const LIMIT_KIB: u64 = 32 * 1024;

/// A part of a larger file, so that one descriptor serves all inputs.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let len = room.len().min((self.end - self.at) as usize);
        let count = self.file.read_at(&mut room[..len], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Writes the files one behind the other; gives where each of them ends.
fn write(path: &Path, page_size: u32, commit: u32, per_file: u32) -> Vec<u64> {
    let mut out = BufWriter::new(File::create(path).expect("temporary file"));
    let page_size = PageSize::new(page_size).expect("valid");
    let mut page = vec![0; page_size.bytes()];
    let (mut ends, mut end) = (Vec::new(), 0);
    let mut random = 1_u64;
    for number in 1..=FILES {
        let range = TxidRange::single(Txid::new(number).expect("not zero"));
        let header = Header::new(page_size, commit, range, Timestamp::from_millis(0));
        let mut encoder = Encoder::new(&mut out, header).expect("valid");
        let step = if number == 1 { 1 } else { commit / per_file };
        let first = if number == 1 {
            1
        } else {
            1 + number as u32 % step
        };
        for pgno in (first..=commit).step_by(step as usize) {
            let (noise, _) = page.split_at_mut(page_size.bytes() / 2);
            for byte in noise {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (random >> 56) as u8;
            }
            encoder
                .encode_page(Pgno::new(pgno).expect("not zero"), &page)
                .expect("in order");
        }
        let (_, written) = encoder.finish().expect("complete");
        end += written.size;
        ends.push(end);
    }
    out.flush().expect("written");
    ends
}

fn merge_all(path: &Path, ends: &[u64]) -> u64 {
    let file = Arc::new(File::open(path).expect("just written"));
    let starts = [0].into_iter().chain(ends.iter().copied());
    let inputs = starts.zip(ends).enumerate().map(|(number, (at, &end))| {
        let part = Part {
            file: file.clone(),
            at,
            end,
        };
        Decoder::new(part, format!("file {number}")).expect("sound")
    });
    merge(inputs, io::sink()).expect("mergeable").pages
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("VmHWM");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number")
}

#[test]
fn a_thousand_files_merge_in_little_memory() {
    for (page_size, commit, per_file) in [(4096, 4000, 8), (65_536, 40, 1)] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("merge-{page_size}"));
        let ends = write(&path, page_size, commit, per_file);
        assert_eq!(merge_all(&path, &ends), u64::from(commit));
        fs::remove_file(&path).expect("own file");
        let peak = peak_kib();
        println!("{FILES} files, page size {page_size}: peak {peak} KiB");
        assert!(peak < LIMIT_KIB, "{peak} KiB");
    }
}
