use lz4_flex::block::{compress, compress_with_dict};

use super::*;

/// Builds a frame with any combination of features.
struct Builder {
    flags: u8,
    content_size: Option<u64>,
    blocks: Vec<(u32, Vec<u8>)>,
}

impl Builder {
    fn new(flags: u8) -> Self {
        Self {
            flags,
            content_size: None,
            blocks: Vec::new(),
        }
    }

    fn build(&self, page: &[u8]) -> Vec<u8> {
        let mut covered = vec![self.flags, 0x40];
        covered.extend(self.content_size.iter().flat_map(|size| size.to_le_bytes()));
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend(&covered);
        frame.push((xxh32(&covered, 0) >> 8) as u8);
        for (stored, block) in &self.blocks {
            frame.extend((block.len() as u32 | stored).to_le_bytes());
            frame.extend(block);
            if self.flags & 0x10 != 0 {
                frame.extend(xxh32(block, 0).to_le_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(xxh32(page, 0).to_le_bytes());
        frame
    }
}

fn page() -> Vec<u8> {
    (0..1024_u32).map(|i| (i / 5 * 7 % 90) as u8).collect()
}

/// Feeds the frame in the portions the walk asks for.
fn walk(bytes: &[u8]) -> Result<usize, Cause> {
    let (mut walk, mut have) = (Walk::default(), 0);
    loop {
        match walk.missing(&bytes[..have])? {
            0 => return Ok(have),
            more => have += more,
        }
        if have > bytes.len() {
            return Ok(have);
        }
    }
}

#[test]
fn the_written_form_has_a_known_header() {
    let page = page();
    let mut builder = Builder::new(0x64);
    builder.blocks.push((0, compress(&page)));
    let frame = builder.build(&page);
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7]);
    assert_eq!(
        walk(&[&frame[..], &[0xff; 40]].concat()).expect("sound"),
        frame.len()
    );
    let mut back = vec![0; page.len()];
    decompress(&frame, &mut back).expect("sound");
    assert_eq!(back, page);
}

#[test]
fn all_legal_variants_are_read() {
    let page = page();
    let half = page.len() / 2;
    let mut variants = Vec::new();
    for flags in [0x64, 0x74, 0x6c, 0x7c, 0x44, 0x54] {
        let linked = flags & 0x20 == 0;
        let second = if linked {
            compress_with_dict(&page[half..], &page[..half])
        } else {
            compress(&page[half..])
        };
        let blocks = [
            vec![(STORED, page.clone())],
            vec![(0, compress(&page))],
            vec![(0, compress(&page[..half])), (0, second)],
            vec![
                (STORED, page[..half].to_vec()),
                (0, compress(&page[half..])),
            ],
        ];
        for blocks in blocks {
            let content_size = (flags & 0x08 != 0).then_some(page.len() as u64);
            variants.push(Builder {
                flags,
                content_size,
                blocks,
            });
        }
    }
    for variant in variants {
        let frame = variant.build(&page);
        assert_eq!(walk(&frame).expect("sound"), frame.len());
        let mut back = vec![0; page.len()];
        decompress(&frame, &mut back).expect("sound");
        assert_eq!(back, page);
    }
}

#[test]
fn damage_is_named() {
    let page = page();
    let with = |flags, blocks| {
        Builder {
            flags,
            content_size: None,
            blocks,
        }
        .build(&page)
    };
    let sound = || vec![(0, compress(&page))];
    let words = |frame: &[u8]| {
        let mut back = vec![0; page.len()];
        decompress(frame, &mut back)
            .expect_err("damaged")
            .to_string()
    };
    let flip = |at: usize| {
        let mut frame = with(0x64, sound());
        frame[at] ^= 1;
        words(&frame)
    };
    assert!(flip(0).starts_with("lz4: bad magic number"));
    assert_eq!(flip(6), "lz4: invalid header checksum: got a7; expected a6");
    let last = with(0x64, sound()).len() - 1;
    assert!(flip(last).starts_with("read lz4 trailer: expected lz4 end frame"));
    assert!(words(&with(0x60, sound())).starts_with("read lz4 trailer: expected lz4 end frame"));
    assert!(words(&with(0x24, sound())).contains("version"));
    assert!(words(&with(0x65, sound())).contains("dictionary"));
    assert!(words(&with(0x64, vec![(STORED, page[1..].to_vec())])).contains("expected 1024 bytes"));
    let twice = vec![(STORED, page.clone()), (STORED, vec![0; 1])];
    assert!(words(&with(0x64, twice)).contains("found 1025"));
    assert!(words(&with(0x64, vec![(0, vec![0; 70_000])])).contains("compressed size"));
    let frame = with(0x64, sound());
    for len in 0..frame.len() {
        assert!(walk(&frame[..len]).expect("sound so far") > len);
        words(&frame[..len]);
    }
}
