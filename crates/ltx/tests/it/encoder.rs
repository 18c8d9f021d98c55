//! What an encoder refuses, and how it writes.

use std::io::{self, Write};

use ltx::{Checksum, Encoder, ErrorKind, Header, HeaderFlags, verify};

use crate::sample::{file, header, page, pgno};

/// Feeds the pages and finishes; gives the error's text.
fn refusal(header: Header, numbers: &[u32]) -> String {
    let mut encoder = Encoder::new(Vec::new(), header).expect("a valid header");
    let size = header.page_size.get();
    let result = numbers
        .iter()
        .try_for_each(|&number| encoder.encode_page(pgno(number), &page(size, number)))
        .and_then(|()| encoder.finish().map(drop));
    let error = result.expect_err("to be refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[test]
fn pages_out_of_order_are_refused() {
    for (header, numbers, words) in [
        (
            header(512, 3, 2, 2),
            &[4][..],
            "page number 4 out-of-bounds for commit size 3",
        ),
        (
            header(512, 3, 2, 2),
            &[2, 2],
            "out-of-order page numbers: 2,2",
        ),
        (
            header(512, 3, 1, 1),
            &[2],
            "snapshot transaction file must start with page number 1",
        ),
        (
            header(512, 3, 1, 1),
            &[1, 3],
            "nonsequential page numbers in snapshot transaction: 1,3",
        ),
        (header(512, 3, 1, 1), &[1, 2], "decode page 3: EOF"),
        (
            header(65_536, 20_000, 2, 2),
            &[16_385],
            "cannot encode lock page: pgno=16385",
        ),
        (
            header(512, 0, 2, 2),
            &[],
            "post-apply checksum must be empty for zero-length database",
        ),
    ] {
        let message = refusal(header, numbers);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_refused_page_closes_the_encoder() {
    let mut encoder = Encoder::new(Vec::new(), header(512, 3, 2, 2)).expect("valid");
    let error = encoder
        .encode_page(pgno(1), &[0; 511])
        .expect_err("too short");
    assert_eq!(
        error.to_string(),
        "invalid page buffer size: 511, expecting 512"
    );
    let error = encoder.encode_page(pgno(1), &[0; 512]).expect_err("closed");
    assert_eq!(error.to_string(), "ltx encoder closed");
    assert_eq!(
        encoder.finish().expect_err("closed").to_string(),
        "ltx encoder closed"
    );
}

#[test]
fn tracked_checksums_need_the_sum_of_the_database() {
    let tracked = Header {
        flags: HeaderFlags::NONE,
        ..header(512, 2, 1, 1)
    };
    let pages = [page(512, 1), page(512, 2)];
    let encode = |post_apply| {
        let mut encoder = Encoder::new(Vec::new(), tracked)?;
        encoder.encode_page(pgno(1), &pages[0])?;
        encoder.encode_page(pgno(2), &pages[1])?;
        encoder.finish_with(post_apply).map(|(bytes, _)| bytes)
    };
    let words = |post_apply| encode(post_apply).expect_err("refused").to_string();
    assert_eq!(words(0), "post-apply checksum required");
    assert!(words(5).contains("invalid post-apply checksum format"));

    let sum = Checksum::EMPTY
        .toggle(Checksum::of_page(pgno(1), &pages[0]))
        .toggle(Checksum::of_page(pgno(2), &pages[1]));
    let bytes = encode(sum.get()).expect("the right sum");
    assert_eq!(
        verify(&bytes[..], "tracked")
            .expect("sound")
            .trailer
            .post_apply,
        sum.get()
    );
    let wrong = encode(sum.get() ^ 1).expect("a well-formed sum");
    let message = verify(&wrong[..], "tracked")
        .expect_err("wrong sum")
        .to_string();
    assert!(
        message.contains("post-apply checksum in trailer ("),
        "{message}"
    );
}

/// Counts calls, and fails after some of them.
struct Calls {
    sizes: Vec<usize>,
    fail_at: usize,
}

impl Write for &mut Calls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sizes.len() == self.fail_at {
            return Err(io::Error::other("disk full"));
        }
        self.sizes.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn one_write_per_full_buffer() {
    let commit = 2_000;
    let encode = |calls: &mut Calls| {
        let mut encoder = Encoder::new(calls, header(4096, commit, 1, 1))?;
        let noise: Vec<u8> = (0..4096_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for number in 1..=commit {
            encoder.encode_page(pgno(number), &noise)?;
        }
        encoder.finish().map(|(_, written)| written)
    };
    let mut calls = Calls {
        sizes: Vec::new(),
        fail_at: usize::MAX,
    };
    let written = encode(&mut calls).expect("no fault");
    let total: usize = calls.sizes.iter().sum();
    assert_eq!(written.size, total as u64);
    assert_eq!(written.pages, u64::from(commit));
    assert!(total > 100 * 1024);
    assert!(
        calls.sizes.len() <= total / (200 * 1024) + 2,
        "{:?}",
        calls.sizes
    );

    for fail_at in 0..calls.sizes.len() {
        let error = encode(&mut Calls {
            sizes: Vec::new(),
            fail_at,
        })
        .expect_err("a fault");
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("write: disk full"), "{error}");
    }
}

#[test]
fn equal_input_gives_equal_output() {
    let build = || file(header(1024, 40, 7, 9), (1..40).step_by(3));
    assert_eq!(build(), build());
    let verified = verify(&build()[..], "twice").expect("sound");
    assert_eq!(verified.header, header(1024, 40, 7, 9));
    assert!(verified.index_is_exact);
}
