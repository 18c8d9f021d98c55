//! Any WAL, read in any pieces, gives what a plain model gives.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sqlite_wal::{Cursor, PageMap, WalHeader, frames_end, read_batch};

use crate::wal_writer::{WalWriter, page};

/// Page numbers of each transaction, and the size of the database after it.
type History = Vec<(Vec<u32>, u32)>;

fn histories() -> impl Strategy<Value = History> {
    prop::collection::vec((prop::collection::vec(1_u32..40, 1..6), 1_u32..40), 0..25)
}

fn sizes() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![512_usize, 1024, 4096, 65_536])
}

/// The WAL, and the frame number of each commit with the size after it.
fn write(history: &History, page_size: usize, big: bool) -> (Vec<u8>, Vec<(u32, u32)>) {
    let mut writer = WalWriter::new(page_size, big, [5, 6]);
    // A leftover, as long as any history, lies behind what follows.
    for frame in 0..40 {
        writer.frame(frame + 1, 40, &page(page_size, 1000));
    }
    writer.restart([6, 99]);
    let (mut frame, mut commits) = (0, Vec::new());
    for (pages, size) in history {
        for (index, pgno) in pages.iter().enumerate() {
            frame += 1;
            let commit = if index + 1 == pages.len() { *size } else { 0 };
            writer.frame(*pgno, commit, &page(page_size, frame.into()));
        }
        commits.push((frame, *size));
    }
    (writer.bytes, commits)
}

/// Newest frame of each page in the frames from `from` (exclusive) to `to`, up to `size`.
fn model(history: &History, from: u32, to: u32, size: u32) -> BTreeMap<u32, u32> {
    let pages = history.iter().flat_map(|(pages, _)| pages);
    (1_u32..)
        .zip(pages)
        .filter(|(frame, pgno)| (from + 1..=to).contains(frame) && **pgno <= size)
        .map(|(frame, pgno)| (*pgno, frame))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_are_the_whole(
        history in histories(),
        page_size in sizes(),
        big: bool,
        steps in prop::collection::vec((0_u32..8, 0_u64..20, any::<bool>()), 0..40),
    ) {
        let (wal, commits) = write(&history, page_size, big);
        let last = commits.last().map_or(0, |commit| commit.0);
        let frame_size = 24 + page_size as u64;
        let (mut map, mut buffer) = (PageMap::new(), Vec::new());
        let mut cursor = Cursor::start(WalHeader::parse(&wal).unwrap().unwrap());
        let mut seen = 0;
        let steps = steps.into_iter().chain([(u32::MAX, 0, true)]);
        for (step, budget, by_limit) in steps {
            // The writer gets on; the reader sees it by its limit, or by the length of the file.
            seen = last.min(cursor.frame.max(seen).saturating_add(step));
            let visible = &wal[..frames_end(page_size as u32, seen) as usize];
            let batch = if by_limit {
                read_batch(&wal, cursor, seen, budget * frame_size, &mut map, &mut buffer)
            } else {
                read_batch(visible, cursor, u32::MAX, budget * frame_size, &mut map, &mut buffer)
            }
            .unwrap();

            let end = |&&(frame, _): &&(u32, u32)| {
                let enough = budget != 0 && u64::from(frame.saturating_sub(cursor.frame)) >= budget;
                frame > cursor.frame && enough
            };
            let reachable: Vec<_> = commits.iter().filter(|(frame, _)| *frame <= seen).collect();
            let expected = reachable.iter().copied().find(|commit| end(commit))
                .or(reachable.last().copied())
                .filter(|commit| commit.0 > cursor.frame);
            let (frame, size) = expected.copied().unwrap_or((cursor.frame, 0));
            prop_assert_eq!((batch.to.frame, batch.commit), (frame, size));
            prop_assert_eq!(batch.missing, 0);
            let pages: BTreeMap<_, _> = map.iter().collect();
            prop_assert_eq!(pages, model(&history, cursor.frame, frame, size));
            let transactions = commits.iter()
                .filter(|commit| commit.0 > cursor.frame && commit.0 <= frame).count();
            prop_assert_eq!(batch.transactions, transactions as u64);
            cursor = batch.to;
        }
        prop_assert_eq!(cursor.frame, last);
    }

    #[test]
    fn header_comes_back(page_size in sizes(), big: bool, salts: [u32; 2]) {
        let wal = WalWriter::new(page_size, big, salts).bytes;
        let header = WalHeader::parse(&wal).unwrap().unwrap();
        prop_assert_eq!(header.page_size as usize, page_size);
        prop_assert_eq!([header.salts.salt1, header.salts.salt2], salts);
    }
}
