//! Damaged and unusual replicas: what the real restore accepts must yield the same database, what
//! it refuses must be refused here, in words that contain its own.

use std::collections::BTreeMap;
use std::fs;

use ltx::{Decoder, ErrorKind, FileName, Merge, Result, Txid};
use serde_json::Value;

use crate::golden;

/// Cases that are decided differently on purpose: the name, and the reason.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "short-page-stale-tail",
        "a page must fill the page size; accepted by the reference by accident",
    ),
    (
        "checksummed-all",
        "tracked checksums that hold are no reason to refuse a restore",
    ),
];

/// Words of the reference's error that ours contains, by the class of the case.
fn words(class: &str) -> &'static [&'static str] {
    match class {
        "too-short" => &["unexpected EOF"],
        // A size that no page can have is refused before anything is read.
        "truncated" => &["unexpected EOF", "compressed size 69356824 out of range"],
        // The reference takes the end of file inside a legacy frame for the end of pages.
        "no-end-of-pages" => &["cannot close, expected page", "unexpected EOF"],
        "bad-magic" => &["invalid LTX file"],
        "bad-header-flags" => &["invalid flags: 0x"],
        "bad-page-size" => &["invalid page size: "],
        "page-size-mismatch" => &["input files have mismatched page sizes: 1024 != 2048"],
        "bad-txid-range" => &["transaction id"],
        "non-contiguous" => &["non-contiguous transaction ids in input files: ("],
        "bad-wal-fields" => &["wal offset"],
        "bad-pre-apply" => &["pre-apply checksum"],
        "page-missing" => &["decode page 10: EOF"],
        "bad-page-header" => &["invalid page header flags: 0x", "page number required"],
        "bad-lz4-block" => &["decompress block: "],
        "bad-lz4-frame" => &["lz4"],
        "checksum-mismatch" => &["file checksum mismatch", "decompress block: expected"],
        "page-order" => &[
            "nonsequential page numbers in snapshot transaction: ",
            "out-of-order page numbers: ",
            "decode page ",
        ],
        "bad-index-varint" => &["read page index: ", "varint overflows a 64-bit integer"],
        "post-apply-not-allowed" => &["post-apply checksum not allowed"],
        "post-apply-mismatch" => &["post-apply checksum in trailer ("],
        other => panic!("no words for class {other}"),
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(case: &Value) -> Files {
    let base = case["base"].as_str().expect("base");
    let replica = golden::replica(&format!("corrupt/{base}"));
    let mut files: Files = replica
        .into_iter()
        .map(|((_, name), bytes)| (name, bytes))
        .collect();
    for (name, replacement) in case["replaced"].as_object().expect("replaced") {
        match replacement.as_str() {
            None => drop(files.remove(name)),
            Some(below) => {
                let bytes = fs::read(golden::path(&format!("corrupt/{below}"))).expect("case");
                files.insert(name.clone(), bytes);
            }
        }
    }
    files
}

/// The files of a restore, by their names alone; `None` if there is a hole.
fn plan<'a>(case: &Value, files: &'a Files) -> Option<Vec<(&'a str, &'a [u8])>> {
    let until = case["restore_args"]
        .as_array()
        .map(|args| args[1].as_str().expect("txid"));
    let until = until.map_or(Txid::MAX, |txid| txid.parse().expect("txid"));
    let mut next = Txid::FIRST;
    let mut plan = Vec::new();
    let named = files
        .iter()
        .filter_map(|(name, bytes)| Some((FileName::parse(name)?, name, bytes)));
    for (file, name, bytes) in named.filter(|(file, ..)| file.range.max <= until) {
        if file.range.min != next {
            return None;
        }
        next = file.range.max.next();
        plan.push((&name[..], &bytes[..]));
    }
    (until == Txid::MAX || next == until.next())
        .then_some(plan)
        .filter(|plan| !plan.is_empty())
}

fn merge<'a>(plan: &[(&str, &'a [u8])]) -> Result<Merge<&'a [u8]>> {
    let inputs = plan.iter().map(|&(name, bytes)| Decoder::new(bytes, name));
    Merge::new(inputs.collect::<Result<Vec<_>>>()?)
}

/// Restores straight from the merged pages.
fn restore(plan: &[(&str, &[u8])]) -> Result<(String, u64)> {
    golden::database(merge(plan)?.pages())
}

/// Restores by way of a merged file, as the reference does.
fn restore_through_file(plan: &[(&str, &[u8])]) -> Result<(String, u64)> {
    let (bytes, _) = merge(plan)?.encode(Vec::new())?;
    golden::database_of_file(&bytes, "merged")
}

fn check_error(name: &str, class: &str, result: Result<(String, u64)>) {
    let error = result.expect_err(name);
    let message = error.to_string();
    assert!(
        words(class).iter().any(|words| message.contains(words)),
        "{name}: {message}"
    );
    assert_ne!(error.kind(), ErrorKind::Io, "{name}: {message}");
    if message.contains("unexpected EOF") {
        assert_eq!(error.kind(), ErrorKind::Truncated, "{name}: {message}");
    }
}

#[test]
fn every_case_is_refused_or_restored_as_recorded() {
    let manifest = golden::manifest("corrupt/manifest.json");
    let cases = manifest["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 81);
    let (mut refused, mut restored, mut different) = (0, 0, Vec::new());
    for case in cases {
        let name = case["case"].as_str().expect("name");
        let class = case["class"].as_str().expect("class");
        let expected = &case["restore"];
        let files = files(case);
        let Some(plan) = plan(case, &files) else {
            assert_eq!(case["stage"], "restore plan", "{name}");
            continue;
        };
        if DIFFERENT.iter().any(|(different, _)| *different == name) {
            different.push(name);
            continue;
        }
        for result in [restore(&plan), restore_through_file(&plan)] {
            if expected["exit"] == 0 {
                let (hash, size) = result.expect(name);
                assert_eq!(hash, expected["sha256"].as_str().expect("hash"), "{name}");
                assert_eq!(size, expected["size"].as_u64().expect("size"), "{name}");
                restored += 1;
            } else {
                check_error(name, class, result);
                refused += 1;
            }
        }
    }
    assert_eq!(different, ["short-page-stale-tail", "checksummed-all"]);
    assert_eq!((refused / 2, restored / 2), (63, 11));
}

#[test]
fn the_deliberate_differences() {
    let manifest = golden::manifest("corrupt/manifest.json");
    let base = manifest["base_restores"]["base-block"]["sha256"]
        .as_str()
        .expect("hash");
    for case in manifest["cases"].as_array().expect("cases") {
        let name = case["case"].as_str().expect("name");
        let files = files(case);
        let Some(plan) = plan(case, &files) else {
            continue;
        };
        match name {
            "short-page-stale-tail" => {
                assert_eq!(case["restore"]["exit"], 0);
                let message = restore(&plan).expect_err(name).to_string();
                assert!(
                    message.contains("expected 1024 bytes, found 600"),
                    "{message}"
                );
            }
            "checksummed-all" => {
                assert_eq!(case["restore"]["exit"], 1);
                assert_eq!(restore(&plan).expect(name).0, base);
                // A merged file cannot say it, as the reference's cannot.
                check_error(name, "post-apply-not-allowed", restore_through_file(&plan));
            }
            _ => {}
        }
    }
}
