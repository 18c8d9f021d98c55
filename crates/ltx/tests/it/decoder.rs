//! Reading in all its forms, and misuse.

use crc_fast::{CrcAlgorithm, Digest};
use ltx::{Decoder, ErrorKind, Frame, FrameReader, verify};

use crate::sample::{file, header, page};

#[test]
fn frames_can_be_decompressed_elsewhere_and_accepted_in_order() {
    let bytes = file(
        header(1024, 50, 3, 3),
        (1..=50).filter(|number| number % 4 != 0),
    );
    let mut decoder = Decoder::new(&bytes[..], "split").expect("sound");
    decoder.keep_index();
    let mut frames = Vec::new();
    let mut frame = Frame::new();
    while decoder.next_frame(&mut frame).expect("sound") {
        frames.push(frame.clone());
    }
    let pages: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let halves = frames.chunks(frames.len().div_ceil(2)).map(|half| {
            scope.spawn(move || {
                let decompress = |frame: &Frame| {
                    let mut page = vec![0; 1024];
                    frame.decompress(&mut page).expect("sound");
                    page
                };
                half.iter().map(decompress).collect::<Vec<_>>()
            })
        });
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .flat_map(|half| half.join().expect("no panic"))
            .collect()
    });
    for (frame, page) in frames.iter().zip(&pages) {
        decoder.accept(frame, page).expect("in order");
    }
    let verified = decoder.finish().expect("sound");
    assert_eq!(verified.pages as usize, frames.len());
    let index = verified.index.expect("asked for");
    assert!(
        index
            .iter()
            .map(|(pgno, _)| pgno)
            .eq(frames.iter().map(Frame::pgno))
    );
}

#[test]
fn skipping_a_frame_is_noticed() {
    let bytes = file(header(512, 9, 3, 3), 1..9);
    let mut decoder = Decoder::new(&bytes[..], "skip").expect("sound");
    let (mut frame, mut page) = (Frame::new(), vec![0; 512]);
    assert!(decoder.next_frame(&mut frame).expect("sound"));
    let first = frame.clone();
    assert!(decoder.next_frame(&mut frame).expect("sound"));
    frame.decompress(&mut page).expect("sound");
    let error = decoder
        .accept(&frame, &page)
        .expect_err("the first frame is missing");
    assert!(
        error.to_string().contains("frame accepted out of turn"),
        "{error}"
    );
    first.decompress(&mut page).expect("sound");
    decoder.accept(&first, &page).expect("in order");
    assert_eq!(
        decoder
            .next_page(&mut page)
            .expect_err("one is open")
            .kind(),
        ErrorKind::Invalid
    );
    let error = decoder.finish().expect_err("pages are left");
    assert!(
        error.to_string().contains("cannot close, expected page"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_failed_page_cannot_be_skipped() {
    let sound = file(header(512, 9, 3, 3), 1..9);
    let mut reader = FrameReader::new(&sound[..], "sound").expect("sound");
    let mut frame = Frame::new();
    for _ in 0..3 {
        reader.next_frame(&mut frame).expect("sound");
    }
    // The token of the third page's block: asks for more literals than there are.
    let mut bytes = sound.clone();
    bytes[frame.offset() as usize + 10] = 0xff;
    let mut decoder = Decoder::new(&bytes[..], "damaged").expect("sound header");
    let mut page = vec![0; 512];
    let mut errors = Vec::new();
    for _ in 0..12 {
        errors.extend(decoder.next_page(&mut page).err());
    }
    assert!(
        errors[0].to_string().contains("decompress block"),
        "{}",
        errors[0]
    );
    assert_eq!(errors[0].offset(), Some(frame.offset()));
    assert_eq!(errors[0].file(), Some("damaged"));
    assert_eq!(errors.len(), 10);
    decoder.finish().expect_err("a page was lost");
}

#[test]
fn page_buffers_must_fit() {
    let bytes = file(header(512, 1, 3, 3), [1]);
    let mut decoder = Decoder::new(&bytes[..], "buffer").expect("sound");
    let error = decoder.next_page(&mut [0; 1024]).expect_err("too large");
    assert!(
        error
            .to_string()
            .contains("invalid page buffer size: 1024, expecting 512"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Whatever the cut, the file is called truncated, and the offset lies inside it.
#[test]
fn every_cut_is_an_error_of_its_kind() {
    let bytes = file(header(512, 9, 3, 3), [2, 3, 7]);
    for len in 0..bytes.len() {
        let error = verify(&bytes[..len], "cut").expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::Truncated, "{len}: {error}");
        assert!(
            error.offset().expect("an offset") <= len as u64,
            "{len}: {error}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    let error = verify(&longer[..], "garbage").expect_err("one byte too many");
    assert!(
        error
            .to_string()
            .contains("file checksum mismatch: data behind the trailer")
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = file(header(512, 9, 3, 3), [2, 3, 7]);
    let before = crate::golden::content(&bytes, "sound").expect("sound");
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Compressed bytes may change without changing the page; nothing else may.
        if let Ok(after) = crate::golden::content(&damaged, "flipped") {
            assert_eq!(after, before, "bit {bit}");
        }
    }
}

/// Two frames, the second one with an empty block, under checksums that take the second page for
/// a copy of the first: what a reader that keeps its buffer from page to page would accept.
#[test]
fn an_empty_block_is_no_page() {
    let one = file(header(512, 9, 3, 3), [2]);
    let frame_end = one.len() - 16 - 8 - 5 - 6;
    let content = page(512, 3002);
    let second = [0, 0, 0, 3, 0, 1, 0, 0, 0, 0];
    let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
    for part in [&one[..110], &content, &second, &content] {
        crc.update(part);
    }
    // No index entries: sequential reading ignores them.
    let tail = [&[0; 6][..], &[0], &1_u64.to_be_bytes(), &[0; 8]].concat();
    crc.update(&tail);
    let sum = crc.finalize() | 1 << 63;
    let bytes = [&one[..frame_end], &second, &tail, &sum.to_be_bytes()].concat();
    let error = verify(&bytes[..], "empty").expect_err("an empty block");
    assert!(
        error.to_string().contains("compressed size 0 out of range"),
        "{error}"
    );
    assert_eq!(error.offset(), Some(frame_end as u64));
}
