//! Small files to work on.

use std::collections::BTreeMap;

use ltx::{Encoder, Header, PageSize, Pgno, Timestamp, Txid, TxidRange};

/// Pages of a file by number.
pub(crate) type Pages = BTreeMap<u32, Vec<u8>>;

pub(crate) fn pgno(number: u32) -> Pgno {
    Pgno::new(number).expect("not zero")
}

pub(crate) fn header(page_size: u32, commit: u32, min: u64, max: u64) -> Header {
    let txid = |value| Txid::new(value).expect("not zero");
    let range = TxidRange::new(txid(min), txid(max)).expect("ordered");
    let page_size = PageSize::new(page_size).expect("valid");
    Header::new(
        page_size,
        commit,
        range,
        Timestamp::from_millis(1_795_322_668_378 + max as i64),
    )
}

/// A page that compresses to something, and differs by `seed`.
pub(crate) fn page(page_size: u32, seed: u32) -> Vec<u8> {
    let word = |i: u32| (i / 3).wrapping_mul(seed | 1).wrapping_mul(2_654_435_761) >> 27;
    (0..page_size)
        .map(|i| {
            if i < 4 {
                seed.to_be_bytes()[i as usize]
            } else {
                word(i) as u8
            }
        })
        .collect()
}

pub(crate) fn encode(header: Header, pages: &Pages) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), header).expect("a valid header");
    for (&number, page) in pages {
        encoder
            .encode_page(pgno(number), page)
            .expect("pages in order");
    }
    encoder.finish().expect("complete").0
}

/// A file with one page per given number.
pub(crate) fn file(header: Header, numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let size = header.page_size.get();
    let seed = header.max_txid.get() as u32 * 1000;
    encode(
        header,
        &numbers
            .into_iter()
            .map(|number| (number, page(size, seed + number)))
            .collect(),
    )
}
