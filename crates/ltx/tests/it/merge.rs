//! Rules of a merge.

use std::io::Read;

use ltx::{Decoder, Encoding, ErrorKind, Frame, FrameReader, Merge, Result, merge, verify};

use crate::sample::{file, header};

fn merged(files: &[&[u8]]) -> Result<Vec<u8>> {
    let inputs = files
        .iter()
        .enumerate()
        .map(|(at, &bytes)| Decoder::new(bytes, format!("input {at}")));
    let mut out = Vec::new();
    merge(inputs.collect::<Result<Vec<_>>>()?, &mut out)?;
    Ok(out)
}

fn refusal(files: &[&[u8]]) -> ltx::Error {
    merged(files).expect_err("to be refused")
}

#[test]
fn inputs_must_fit_together() {
    let first = file(header(512, 3, 1, 2), 1..=3);
    let error = refusal(&[]);
    assert_eq!(error.to_string(), "at least one input reader required");
    let error = refusal(&[&first, &file(header(1024, 3, 3, 3), [1])]);
    assert_eq!(
        error.to_string(),
        "input 1: input files have mismatched page sizes: 512 != 1024"
    );
    let error = refusal(&[&first, &file(header(512, 3, 4, 4), [1])]);
    let words = "non-contiguous transaction ids in input files: \
        (0000000000000001,0000000000000002) -> (0000000000000004,0000000000000004)";
    assert_eq!(error.to_string(), format!("input 1: {words}"));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    refusal(&[&first, &file(header(512, 3, 2, 2), [1])]);
    merged(&[&first, &file(header(512, 3, 2, 3), [1])]).expect("overlap is legal");
}

#[test]
fn the_header_comes_from_first_and_last() {
    let mut second = header(512, 4, 3, 5);
    (second.wal_offset, second.wal_size, second.wal_salt1) = (32, 536, 7);
    second.node_id = 9;
    let out = merged(&[&file(header(512, 9, 2, 2), [3, 9]), &file(second, [1, 4])]);
    let verified = verify(&out.expect("mergeable")[..], "merged").expect("sound");
    assert_eq!(verified.header, header(512, 4, 2, 5));
    // Page 9 lies beyond the last commit.
    assert_eq!(verified.pages, 3);
}

#[test]
fn a_hole_in_the_snapshot_is_an_error_both_ways() {
    let snapshot = file(header(512, 3, 1, 1), 1..=3);
    let grown = file(header(512, 6, 2, 2), [5]);
    let words = "nonsequential page numbers in snapshot transaction: 3,5";
    assert!(refusal(&[&snapshot, &grown]).to_string().contains(words));
    let inputs = [&snapshot, &grown].map(|bytes| Decoder::new(&bytes[..], "input").expect("sound"));
    let mut pages = Merge::new(inputs).expect("mergeable").pages();
    let error = loop {
        match pages.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a hole passed"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains(words), "{error}");
    // It stays failed.
    assert_eq!(
        pages.next().expect_err("failed before").kind(),
        ErrorKind::Invalid
    );

    let short = file(header(512, 5, 2, 2), [1]);
    assert!(
        refusal(&[&snapshot, &short])
            .to_string()
            .contains("decode page 4: EOF")
    );
}

#[test]
fn losing_pages_are_verified_as_well() {
    let mut old = file(header(512, 3, 2, 2), [1, 2]);
    let new = file(header(512, 3, 3, 3), [1, 2]);
    let last = old.len() - 1;
    old[last] ^= 1;
    let error = refusal(&[&old, &new]);
    assert_eq!(
        (error.kind(), error.file()),
        (ErrorKind::Corrupt, Some("input 0"))
    );
    assert!(
        error.to_string().contains("file checksum mismatch"),
        "{error}"
    );
}

#[test]
fn blocks_are_copied() {
    let old = file(header(4096, 8, 2, 2), 1..=8);
    let new = file(header(4096, 8, 3, 3), [4]);
    let frames = |bytes: &[u8]| {
        let mut reader = FrameReader::new(bytes, "frames").expect("sound");
        let (mut frame, mut all) = (Frame::new(), Vec::new());
        while reader.next_frame(&mut frame).expect("sound") {
            assert_eq!(frame.encoding(), Encoding::Block);
            all.push((frame.pgno(), frame.payload().to_vec()));
        }
        all
    };
    let mut expected = frames(&old);
    expected[3] = frames(&new).remove(0);
    assert_eq!(frames(&merged(&[&old, &new]).expect("mergeable")), expected);
}

/// Gives its bytes, then fails instead of ending.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(room)? {
            0 => Err(std::io::Error::other("connection reset")),
            count => Ok(count),
        }
    }
}

#[test]
fn a_failing_reader_is_not_the_end_of_file() {
    let bytes = file(header(512, 3, 2, 2), [1, 2]);
    for len in [100, 150, bytes.len()] {
        let input = Decoder::new(Failing(&bytes[..len]), "remote").expect("sound header");
        let error = merge([input], Vec::new()).expect_err("the reader failed");
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(
            error.to_string().contains("read: connection reset"),
            "{error}"
        );
        assert_eq!(error.file(), Some("remote"));
    }
}
