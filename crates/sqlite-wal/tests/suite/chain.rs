//! Frame by frame: what is part of the chain, and why it ends.

use sqlite_wal::{
    ChainEnd, Cursor, Error, ErrorKind, SaltRun, Salts, WalHeader, WalReader, continues,
    frame_offset, frames_end, probe_frame, scan_salts,
};

use crate::wal_writer::{WalWriter, page, plain_checksum};

fn header(wal: &[u8]) -> WalHeader {
    WalHeader::parse(wal).unwrap().unwrap()
}

/// Page number, commit and offset of each valid frame, and why there are no more.
fn frames(wal: &[u8]) -> (Vec<(u32, u32, u64)>, ChainEnd) {
    let header = header(wal);
    let mut buffer = Vec::new();
    let mut reader = WalReader::new(wal, Cursor::start(header), u32::MAX, &mut buffer);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let offset = frame_offset(header.page_size, frame.number);
        assert_eq!(frame.page, &wal[offset as usize + 24..][..frame.page.len()]);
        frames.push((frame.header.pgno, frame.header.commit, offset));
    }
    assert!(reader.next_frame().unwrap().is_none());
    assert_eq!(reader.cursor().frame as usize, frames.len());
    (frames, reader.end().unwrap())
}

fn three_frames() -> Vec<u8> {
    let mut writer = WalWriter::new(4096, true, [10, 20]);
    for (pgno, commit) in [(1, 0), (2, 2), (2, 2)] {
        writer.frame(pgno, commit, &page(4096, pgno.into()));
    }
    writer.bytes
}

#[test]
fn three_good_frames() {
    let expected = vec![(1, 0, 32), (2, 2, 4152), (2, 2, 8272)];
    assert_eq!(frames(&three_frames()), (expected, ChainEnd::Short));
}

#[test]
fn altered_second_frame_ends_the_chain() {
    for (at, end) in [
        (8, ChainEnd::Salts),
        (15, ChainEnd::Salts),
        (16, ChainEnd::Checksum),
        (23, ChainEnd::Checksum),
        (0, ChainEnd::Checksum),
        (7, ChainEnd::Checksum),
        (24, ChainEnd::Checksum),
        (4119, ChainEnd::Checksum),
    ] {
        let mut wal = three_frames();
        wal[4152 + at] ^= 1;
        assert_eq!(frames(&wal), (vec![(1, 0, 32)], end), "byte {at}");
    }
}

#[test]
fn page_number_zero_is_no_frame() {
    let mut writer = WalWriter::new(512, false, [1, 2]);
    writer.frame(1, 1, &page(512, 1));
    writer.frame(0, 1, &page(512, 1));
    assert_eq!(
        frames(&writer.bytes),
        (vec![(1, 1, 32)], ChainEnd::PageNumber)
    );
}

#[test]
fn partial_frames_are_the_end() {
    let wal = three_frames();
    for cut in [32, 33, 32 + 24, 32 + 24 + 100, 4151] {
        assert_eq!(
            frames(&wal[..cut]),
            (vec![], ChainEnd::Short),
            "{cut} bytes"
        );
    }
}

#[test]
fn headers_without_meaning() {
    let wal = three_frames();
    assert_eq!(WalHeader::parse(&[]).unwrap(), None);
    assert_eq!(WalHeader::parse(&wal[..10]).unwrap(), None);
    assert_eq!(WalHeader::parse(&wal[..31]).unwrap(), None);
    let mut torn = wal.clone();
    torn[24] ^= 1;
    assert_eq!(WalHeader::parse(&torn).unwrap(), None);
    assert_eq!(WalHeader::read(&torn).unwrap(), None);

    let error = WalHeader::parse(&[0; 32]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("invalid wal header magic: 0 ")
    );
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// The header with one word replaced and the checksum made to fit.
fn header_with(at: usize, word: u32) -> Vec<u8> {
    let mut head = three_frames()[..32].to_vec();
    head[at..at + 4].copy_from_slice(&word.to_be_bytes());
    let sum = plain_checksum([0, 0], &head[..24], true);
    head[24..28].copy_from_slice(&sum[0].to_be_bytes());
    head[28..].copy_from_slice(&sum[1].to_be_bytes());
    head
}

#[test]
fn version_and_page_size_are_judged_behind_the_checksum() {
    let error = WalHeader::parse(&header_with(4, 1)).unwrap_err();
    assert!(error.to_string().starts_with("unsupported wal version: 1 "));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for size in [0, 1, 256, 513, 4095, 131_072, u32::MAX] {
        let error = WalHeader::parse(&header_with(8, size)).unwrap_err();
        assert!(matches!(error, Error::PageSize { offset: 8, found } if found == size));
    }
    assert_eq!(header(&header_with(12, 77)).checkpoint_seq, 77);
    assert_eq!(header(&header_with(8, 65_536)).page_size, 65_536);
}

#[test]
fn made_up_page_size_is_an_error_not_a_panic() {
    let wal = three_frames();
    for page_size in [0, 100, u32::MAX] {
        let cursor = Cursor::start(WalHeader {
            page_size,
            ..header(&wal)
        });
        assert!(matches!(
            continues(&wal, cursor),
            Err(Error::PageSize { .. })
        ));
        assert!(scan_salts(&wal, page_size, None, &mut Vec::new()).is_err());
    }
}

#[test]
fn limit_is_never_passed() {
    let wal = three_frames();
    let mut buffer = Vec::new();
    let mut reader = WalReader::new(&wal, Cursor::start(header(&wal)), 2, &mut buffer);
    assert_eq!(reader.next_frame().unwrap().unwrap().number, 1);
    assert_eq!(reader.next_frame().unwrap().unwrap().number, 2);
    assert_eq!(reader.next_frame().unwrap(), None);
    assert_eq!(reader.end(), Some(ChainEnd::Limit));
    assert_eq!(reader.cursor().offset(), frames_end(4096, 2));
}

/// Three frames of generation 7, overwritten by two of 8 and then one of 9.
fn three_generations() -> WalWriter {
    let mut writer = WalWriter::new(1024, false, [7, 70]);
    for (salts, frames) in [([7, 70], 3), ([8, 80], 2), ([9, 90], 1)] {
        writer.restart(salts);
        for frame in 1..=frames {
            writer.frame(frame, frame, &page(1024, u64::from(salts[0])));
        }
    }
    writer
}

#[test]
fn scan_finds_exactly_the_three_generations() {
    let wal = three_generations().bytes;
    let run = |salt1, first_frame| SaltRun {
        salts: Salts {
            salt1,
            salt2: salt1 * 10,
        },
        first_frame,
        frames: 1,
    };
    let all = vec![run(9, 1), run(8, 2), run(7, 3)];
    let mut buffer = Vec::new();
    assert_eq!(scan_salts(&wal, 1024, None, &mut buffer).unwrap(), all);
    let until = scan_salts(&wal, 1024, Some(all[1].salts), &mut buffer).unwrap();
    assert_eq!(until, all[..2]);
    assert_eq!(scan_salts(&wal[..40], 1024, None, &mut buffer).unwrap(), []);
    assert_eq!(frames(&wal), (vec![(1, 1, 32)], ChainEnd::Salts));
}

#[test]
fn resume_needs_the_frame_of_its_generation() {
    let mut writer = WalWriter::new(1024, false, [7, 70]);
    for frame in 1..=4 {
        writer.frame(frame, frame, &page(1024, frame.into()));
    }
    let old = header(&writer.bytes);
    writer.restart([8, 80]);
    writer.frame(1, 4, &page(1024, 9));
    let (wal, new) = (&writer.bytes, header(&writer.bytes));

    // Frame 2 of the old generation is there, so reading may go on behind the new header.
    let cursor = Cursor::resume(wal, new, old.salts, 2).unwrap().unwrap();
    assert_eq!((cursor.frame, cursor.header.salts), (2, old.salts));
    assert!(continues(wal, cursor).unwrap());
    let cursor = Cursor::resume(wal, new, old.salts, 4).unwrap().unwrap();
    assert!(!continues(wal, cursor).unwrap());
    // Overwritten, of another generation, behind the end.
    assert_eq!(Cursor::resume(wal, new, old.salts, 1).unwrap(), None);
    assert_eq!(Cursor::resume(wal, new, new.salts, 2).unwrap(), None);
    assert_eq!(Cursor::resume(wal, new, old.salts, 5).unwrap(), None);
    assert_eq!(Cursor::resume(wal, new, old.salts, 0).unwrap(), None);
    let start = Cursor::resume(wal, new, new.salts, 0).unwrap();
    assert_eq!(start, Some(Cursor::start(new)));
}

#[test]
fn probe_reads_a_header_or_nothing() {
    let wal = three_frames();
    let found = probe_frame(&wal, 4096, 2).unwrap().unwrap();
    assert_eq!((found.pgno, found.commit, found.is_commit()), (2, 2, true));
    assert_eq!(probe_frame(&wal, 4096, 4).unwrap(), None);
    assert_eq!(probe_frame(&wal, 4096, 0).unwrap(), None);
    assert_eq!(probe_frame(&wal, 4096, u32::MAX).unwrap(), None);
    assert_eq!(probe_frame(&wal[..4152 + 23], 4096, 2).unwrap(), None);
    assert!(probe_frame(&wal[..4152 + 24], 4096, 2).unwrap().is_some());
}

#[test]
fn last_frame_number_has_no_successor() {
    let wal = three_frames();
    let cursor = Cursor {
        frame: u32::MAX,
        ..Cursor::start(header(&wal))
    };
    assert!(!continues(&wal, cursor).unwrap());
}
