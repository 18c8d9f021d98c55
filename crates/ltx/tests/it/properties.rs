//! Properties over generated files: round trip, merge against a model, damage.

use std::collections::BTreeMap;

use ltx::{Decoder, Result, merge};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::golden;
use crate::sample::{Pages, encode, header, pgno};

/// Content from all zeros to noise.
fn content(page_size: u32) -> impl Strategy<Value = Vec<u8>> {
    let noise = (any::<u32>(), 0..=8_u32, 1..=64_u32);
    noise.prop_map(move |(seed, bits, run)| {
        let mask = ((1_u32 << bits) - 1) as u8;
        let byte = |i: u32| ((i / run).wrapping_add(seed).wrapping_mul(2_654_435_761) >> 17) as u8;
        (0..page_size).map(|i| byte(i) & mask).collect()
    })
}

fn pages(page_size: u32, commit: u32) -> impl Strategy<Value = Pages> {
    btree_map(1..=commit, content(page_size), 0..=commit as usize)
}

fn read(bytes: &[u8]) -> Result<Pages> {
    let mut decoder = Decoder::new(bytes, "property")?;
    let mut page = vec![0; decoder.header().page_size.bytes()];
    let mut pages = Pages::new();
    while let Some(pgno) = decoder.next_page(&mut page)? {
        assert!(pages.insert(pgno.get(), page.clone()).is_none());
    }
    decoder.finish()?;
    Ok(pages)
}

fn merged(files: &[Vec<u8>]) -> Vec<u8> {
    let inputs = files
        .iter()
        .map(|bytes| Decoder::new(&bytes[..], "input").expect("sound"));
    let mut out = Vec::new();
    merge(inputs, &mut out).expect("mergeable");
    out
}

/// Increments of one database: what the merge must be equal to.
fn model(files: &[(u32, Pages)]) -> Pages {
    let mut model: BTreeMap<_, _> = files.iter().flat_map(|(_, pages)| pages.clone()).collect();
    let commit = files.last().map_or(0, |(commit, _)| *commit);
    model.retain(|&number, _| number <= commit);
    model
}

fn increments() -> impl Strategy<Value = Vec<(u32, Pages)>> {
    let increment = (1..40_u32).prop_flat_map(|commit| (Just(commit), pages(512, commit)));
    vec(increment, 1..8)
}

fn encode_increments(increments: &[(u32, Pages)]) -> Vec<Vec<u8>> {
    let numbered = increments.iter().zip(2..);
    numbered
        .map(|((commit, pages), txid)| encode(header(512, *commit, txid, txid), pages))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_encoded_is_decoded(
        (size, pages) in (9..=16_u32).prop_flat_map(|shift| (Just(1 << shift), pages(1 << shift, 12))),
    ) {
        let bytes = encode(header(size, 12, 5, 8), &pages);
        prop_assert_eq!(read(&bytes).expect("sound"), pages);
    }

    #[test]
    fn a_merge_equals_the_model_however_it_is_grouped(
        increments in increments(),
        split in any::<Index>(),
    ) {
        let files = encode_increments(&increments);
        let at_once = merged(&files);
        prop_assert_eq!(read(&at_once).expect("sound"), model(&increments));
        let (left, right) = files.split_at(split.index(files.len()));
        if !left.is_empty() {
            let grouped = merged(&[merged(left), merged(right)]);
            // Blocks are copied, so even the bytes are the same; only pages that an intermediate
            // shrink dropped may differ.
            let shrinks = increments.iter().take(left.len()).any(|(commit, _)| {
                *commit > increments[left.len() - 1].0
            });
            if !shrinks {
                prop_assert_eq!(grouped, at_once);
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_changes_nothing(
        increments in increments(),
        file in any::<Index>(),
        flips in vec((any::<Index>(), 1..=255_u8), 1..4),
        cut in any::<Option<Index>>(),
    ) {
        let files = encode_increments(&increments);
        let sound = &files[file.index(files.len())];
        let mut damaged = sound.clone();
        for (at, bits) in flips {
            let at = at.index(damaged.len());
            damaged[at] ^= bits;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        if let Ok(content) = golden::content(&damaged, "damaged") {
            prop_assert_eq!(content, golden::content(sound, "sound").expect("sound"));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), size in 9..=16_u32) {
        prop_assert!(read(&bytes).is_err());
        let mut page = vec![0; 1 << size];
        let page_size = ltx::PageSize::new(1 << size).expect("valid");
        let _ = ltx::decode_frame_at(&bytes, page_size, &mut page);
        let _ = ltx::PageIndex::parse(&bytes);
        let _ = ltx::index_location(&bytes, bytes.len() as u64);
    }

    #[test]
    fn lookup_agrees_with_a_map(pages in pages(512, 60)) {
        let bytes = encode(header(512, 60, 2, 2), &pages);
        let ltx::IndexLocation::InTail(range) =
            ltx::index_location(&bytes, bytes.len() as u64).expect("sound")
        else {
            panic!("the tail is the whole file");
        };
        let index = ltx::PageIndex::parse(&bytes[range]).expect("sound");
        prop_assert_eq!(index.len(), pages.len());
        for number in 1..=60 {
            prop_assert_eq!(index.lookup(pgno(number)).is_some(), pages.contains_key(&number));
        }
    }
}
