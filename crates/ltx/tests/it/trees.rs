//! Every file, every restore and every compaction of the golden replicas.

use ltx::{
    Decoder, FileName, FrameReader, IndexLocation, Merge, PageIndex, TRAILER_SIZE, TxidRange,
    decode_frame_at, index_location, merge, verify,
};
use serde_json::Value;

use crate::golden::{self, Replica};

fn text(value: &Value) -> &str {
    value.as_str().expect("string")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("number")
}

fn file_name(range: &[Value]) -> String {
    format!("{}-{}.ltx", text(&range[0]), text(&range[1]))
}

/// Runs a check on every tree. The tree of 1 GiB has a test of its own.
fn each_tree(mut check: impl FnMut(&str, &Value, &Replica)) {
    let names = golden::tree_names();
    assert_eq!(names.len(), 20);
    for name in names.iter().filter(|&name| name != "lock-page-64k") {
        check_tree(name, &mut check);
    }
}

fn check_tree(name: &str, check: &mut impl FnMut(&str, &Value, &Replica)) {
    let manifest = golden::manifest(&format!("trees/{name}/manifest.json"));
    let replica = golden::replica(&format!("trees/{name}"));
    check(name, &manifest, &replica);
}

fn check_file(tree: &str, entry: &Value, replica: &Replica) {
    let key = (number(&entry["level"]), text(&entry["name"]).to_owned());
    let name = format!("{tree}/{}/{}", key.0, key.1);
    let bytes = &replica[&key][..];
    let verified = verify(bytes, name.as_str()).expect("sound");
    let header = verified.header;
    let range = FileName::parse(&key.1).expect("a golden name").range;
    assert_eq!(header.range(), range, "{name}");
    assert_eq!(
        u64::from(header.flags.bits()),
        number(&entry["flags"]),
        "{name}"
    );
    assert_eq!(
        u64::from(header.page_size.get()),
        number(&entry["page_size"]),
        "{name}"
    );
    assert_eq!(u64::from(header.commit), number(&entry["commit"]), "{name}");
    assert_eq!(
        header.timestamp.as_millis() as u64,
        number(&entry["timestamp_ms"]),
        "{name}"
    );
    assert_eq!(header.wal_offset, number(&entry["wal_offset"]), "{name}");
    assert_eq!(header.wal_size, number(&entry["wal_size"]), "{name}");
    assert_eq!(
        format!("{:08x}", header.wal_salt1),
        text(&entry["wal_salt1"]),
        "{name}"
    );
    assert_eq!(
        format!("{:08x}", header.wal_salt2),
        text(&entry["wal_salt2"]),
        "{name}"
    );
    assert_eq!((header.pre_apply, header.node_id), (0, 0), "{name}");
    assert_eq!(header.encode()[..], bytes[..100], "{name}");
    assert_eq!(verified.size, number(&entry["size"]), "{name}");
    assert_eq!(verified.pages, number(&entry["page_count"]), "{name}");
    assert!(verified.index_is_exact, "{name}");
    assert_eq!(
        format!("{:016x}", verified.trailer.post_apply),
        text(&entry["post_apply"])
    );
    assert_eq!(
        format!("{:016x}", verified.trailer.file_checksum),
        text(&entry["file_checksum"])
    );

    let (hash, pages) = golden::content(bytes, &name).expect("sound");
    assert_eq!(hash, text(&entry["content_sha256"]), "{name}");
    let ranges = entry["page_ranges"].as_array().expect("ranges");
    let expected: Vec<u32> = ranges
        .iter()
        .flat_map(|range| number(&range[0]) as u32..=number(&range[1]) as u32)
        .collect();
    assert_eq!(pages, expected, "{name}");
    check_random_access(&name, entry, bytes);
}

/// Finds the index from a short and from a long tail, and reads every page through it.
fn check_random_access(name: &str, entry: &Value, bytes: &[u8]) {
    let (offset, len) = (number(&entry["index_offset"]), number(&entry["index_size"]));
    let size = bytes.len() as u64;
    let tail = &bytes[bytes.len() - 8 - TRAILER_SIZE..];
    let found = index_location(tail, size).expect("sound");
    assert_eq!(found, IndexLocation::Fetch { offset, len }, "{name}");
    let place = offset as usize..(offset + len) as usize;
    let found = index_location(bytes, size).expect("sound");
    assert_eq!(found, IndexLocation::InTail(place.clone()), "{name}");
    let index = PageIndex::parse(&bytes[place]).expect("sound");
    index.check_bounds(size).expect("inside the file");

    let mut decoder = Decoder::new(bytes, name).expect("sound");
    decoder.keep_index();
    let page_size = decoder.header().page_size;
    let (mut page, mut random) = (vec![0; page_size.bytes()], vec![0; page_size.bytes()]);
    while let Some(pgno) = decoder.next_page(&mut page).expect("sound") {
        let entry = index.lookup(pgno).expect("indexed");
        let range = entry.offset as usize..(entry.offset + entry.size) as usize;
        let found = decode_frame_at(&bytes[range], page_size, &mut random).expect("sound");
        assert_eq!((found, &random), (pgno, &page), "{name}");
    }
    assert_eq!(
        decoder.finish().expect("sound").index,
        Some(index),
        "{name}"
    );
}

fn check_restores(tree: &str, manifest: &Value, replica: &Replica) -> usize {
    let mut checked = 0;
    let mut last: Option<(&Value, (String, u64))> = None;
    for restore in manifest["restores"].as_array().expect("restores") {
        if !restore["error"].is_null() {
            continue;
        }
        let plan = &restore["plan"];
        // Neighbouring requests often have the same plan.
        let result = match last.take() {
            Some((prior, result)) if prior == plan => result,
            _ => {
                let files = plan.as_array().expect("plan").iter().map(|file| {
                    let name = file_name(&file.as_array().expect("file")[1..]);
                    let bytes = &replica[&(number(&file[0]), name.clone())][..];
                    Decoder::new(bytes, name).expect("sound header")
                });
                golden::database(Merge::new(files).expect("mergeable").pages()).expect("sound")
            }
        };
        assert_eq!(result.0, text(&restore["sha256"]), "{tree}: {plan}");
        assert_eq!(result.1, number(&restore["size"]), "{tree}: {plan}");
        last = Some((plan, result));
        checked += 1;
    }
    checked
}

/// Files of the level below that lie in `range`, if they cover it.
fn sources(replica: &Replica, level: u64, range: TxidRange) -> Option<Vec<(&str, &[u8])>> {
    let mut next = Some(range.min);
    let mut found = Vec::new();
    for ((_, name), bytes) in replica.iter().filter(|((at, _), _)| *at == level) {
        let source = FileName::parse(name).expect("a golden name").range;
        if range.contains(source.min) && range.contains(source.max) && next == Some(source.min) {
            next = source.max.checked_next();
            found.push((&name[..], &bytes[..]));
        }
    }
    (next == range.max.checked_next()).then_some(found)
}

/// Rebuilds the compacted files; gives how many, and how many of them came out byte for byte.
fn check_compactions(tree: &str, replica: &Replica) -> (usize, usize) {
    let (mut rebuilt, mut equal) = (0, 0);
    for ((level, name), bytes) in replica
        .iter()
        .filter(|((level, _), _)| (1..9).contains(level))
    {
        let range = FileName::parse(name).expect("a golden name").range;
        let Some(sources) = sources(replica, level - 1, range) else {
            continue;
        };
        let decoders = sources
            .iter()
            .map(|&(name, bytes)| Decoder::new(bytes, name).expect("sound"));
        let mut out = Vec::new();
        let written = merge(decoders, &mut out).expect("mergeable");
        assert_eq!(written.size, out.len() as u64);
        let place = format!("{tree}/{level}/{name}");
        assert_eq!(out[..100], bytes[..100], "{place}");
        let content = |bytes| golden::content(bytes, &place).expect("sound");
        assert_eq!(content(&out), content(bytes), "{place}");
        let verified = verify(&out[..], "rebuilt").expect("sound");
        assert!(verified.index_is_exact, "{place}");
        assert_eq!(verified.trailer, written.trailer);
        rebuilt += 1;
        let is_copied = sources.iter().all(|&(_, bytes)| is_block_encoded(bytes));
        if is_copied && is_block_encoded(bytes) {
            // Every page is the block of its source, and the writer's compressor is deterministic.
            assert_eq!(&out, bytes, "{place}");
            equal += 1;
        }
    }
    (rebuilt, equal)
}

fn is_block_encoded(bytes: &[u8]) -> bool {
    let mut reader = FrameReader::new(bytes, "golden").expect("sound");
    let mut frame = ltx::Frame::new();
    while reader.next_frame(&mut frame).expect("sound") {
        if frame.encoding() != ltx::Encoding::Block {
            return false;
        }
    }
    true
}

#[test]
fn every_file_reads_as_recorded() {
    let mut files = 0;
    each_tree(|name, manifest, replica| {
        let entries = manifest["files"].as_array().expect("files");
        assert_eq!(entries.len(), replica.len(), "{name}");
        for entry in entries {
            check_file(name, entry, replica);
            files += 1;
        }
    });
    assert_eq!(files, 447);
}

#[test]
fn every_restore_yields_the_recorded_database() {
    let mut restores = 0;
    each_tree(|name, manifest, replica| restores += check_restores(name, manifest, replica));
    assert_eq!(restores, 276);
}

#[test]
fn every_compacted_file_can_be_rebuilt() {
    let mut total = (0, 0);
    each_tree(|name, _, replica| {
        let (rebuilt, equal) = check_compactions(name, replica);
        total = (total.0 + rebuilt, total.1 + equal);
    });
    // The sources of the other compacted files were deleted by retention.
    assert_eq!(total, (129, 109));
}

/// More than 1 GiB of database, where the lock page lies inside. To keep this short, the two large
/// files are read once each: the raw one by itself, the snapshot as part of the last restore.
#[test]
fn the_lock_page_is_left_out_and_comes_back_as_zeros() {
    check_tree("lock-page-64k", &mut |name, manifest, replica| {
        for entry in manifest["files"].as_array().expect("files") {
            if number(&entry["size"]) < 1 << 20 {
                check_file(name, entry, replica);
            } else if number(&entry["level"]) == 0 {
                let key = (number(&entry["level"]), text(&entry["name"]).to_owned());
                let verified = verify(&replica[&key][..], name).expect("sound");
                assert_eq!(verified.pages, number(&entry["page_count"]));
            }
        }
        let mut latest = manifest.clone();
        let restores = latest["restores"].as_array_mut().expect("restores");
        restores.retain(|restore| restore["latest"] == true);
        assert_eq!(check_restores(name, &latest, replica), 1);
        assert_eq!(check_compactions(name, replica).0, 1);
    });
}
