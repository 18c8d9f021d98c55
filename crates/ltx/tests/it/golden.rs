//! Access to the golden files: replicas written by real Litestream programs, and what the real
//! restore makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use ltx::{Decoder, MergedPages, PageSize, Pgno};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Path below the folder of golden files.
pub(crate) fn path(below: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", below]
        .iter()
        .collect()
}

pub(crate) fn manifest(below: &str) -> Value {
    let text = fs::read_to_string(path(below)).expect("manifest");
    serde_json::from_str(&text).expect("JSON")
}

/// A replica: file name and content by level.
pub(crate) type Replica = BTreeMap<(u64, String), Vec<u8>>;

pub(crate) fn tree_names() -> Vec<String> {
    let folders = fs::read_dir(path("trees")).expect("trees");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<_> = folders
        .map(|entry| name(entry).into_string().expect("ASCII"))
        .collect();
    names.sort();
    names
}

pub(crate) fn replica(folder: &str) -> Replica {
    let root = path(folder).join("ltx");
    if !root.exists() {
        return unpack(&fs::read(path(folder).join("ltx.tar.xz")).expect("archive"));
    }
    let mut replica = Replica::new();
    for level in fs::read_dir(root).expect("levels") {
        let level = level.expect("level");
        let number = level
            .file_name()
            .to_str()
            .expect("ASCII")
            .parse()
            .expect("level number");
        for file in fs::read_dir(level.path()).expect("files") {
            let file = file.expect("file");
            let name = file.file_name().into_string().expect("ASCII");
            replica.insert((number, name), fs::read(file.path()).expect("content"));
        }
    }
    replica
}

/// Files of a tar archive with paths `ltx/LEVEL/NAME`.
fn unpack(archive: &[u8]) -> Replica {
    let mut tar = Vec::new();
    let mut reader = lzma_rust2::XzReader::new(archive, true);
    reader.read_to_end(&mut tar).expect("sound archive");
    let (mut replica, mut at) = (Replica::new(), 0);
    while at + 512 <= tar.len() && tar[at] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = &tar[at + range.start..at + range.end];
            let end = field
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(field.len());
            std::str::from_utf8(&field[..end]).expect("ASCII").trim()
        };
        let name = text(0..100);
        let size = usize::from_str_radix(text(124..136), 8).expect("octal");
        let parts: Vec<_> = name.split('/').collect();
        if let ["ltx", level, file] = parts[..]
            && !file.is_empty()
        {
            let content = tar[at + 512..at + 512 + size].to_vec();
            replica.insert((level.parse().expect("level"), file.to_owned()), content);
        }
        at += 512 + size.next_multiple_of(512);
    }
    replica
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// SHA-256 over (page number, page) of all frames, and the page numbers.
pub(crate) fn content(bytes: &[u8], name: &str) -> ltx::Result<(String, Vec<u32>)> {
    let mut decoder = Decoder::new(bytes, name)?;
    let mut page = vec![0; decoder.header().page_size.bytes()];
    let (mut hash, mut numbers) = (Sha256::new(), Vec::new());
    while let Some(pgno) = decoder.next_page(&mut page)? {
        hash.update(pgno.get().to_be_bytes());
        hash.update(&page);
        numbers.push(pgno.get());
    }
    decoder.finish()?;
    Ok((hex(&hash.finalize()), numbers))
}

/// Hash and size of a database that is written page by page.
struct Image {
    hash: Sha256,
    page_size: PageSize,
    next: u32,
}

impl Image {
    fn new(page_size: PageSize) -> Self {
        Self {
            hash: Sha256::new(),
            page_size,
            next: 1,
        }
    }

    fn push(&mut self, pgno: Pgno, page: &[u8]) {
        self.skip_lock_page();
        assert_eq!(pgno.get(), self.next, "pages come without a hole");
        self.hash.update(page);
        self.next += 1;
    }

    fn skip_lock_page(&mut self) {
        if self.next == self.page_size.lock_page().get() {
            self.hash.update(vec![0; self.page_size.bytes()]);
            self.next += 1;
        }
    }

    fn finish(mut self, commit: u32) -> (String, u64) {
        if self.next == commit {
            self.skip_lock_page();
        }
        assert_eq!(self.next - 1, commit, "all pages are there");
        (
            hex(&self.hash.finalize()),
            u64::from(commit) * u64::from(self.page_size.get()),
        )
    }
}

/// SHA-256 and size of the database that a merge yields.
pub(crate) fn database(mut pages: MergedPages<&[u8]>) -> ltx::Result<(String, u64)> {
    let header = *pages.header();
    let mut image = Image::new(header.page_size);
    while let Some((pgno, page)) = pages.next()? {
        image.push(pgno, page);
    }
    Ok(image.finish(header.commit))
}

/// SHA-256 and size of the database that one file yields.
pub(crate) fn database_of_file(bytes: &[u8], name: &str) -> ltx::Result<(String, u64)> {
    let mut decoder = Decoder::new(bytes, name)?;
    let header = *decoder.header();
    let mut image = Image::new(header.page_size);
    let mut page = vec![0; header.page_size.bytes()];
    while let Some(pgno) = decoder.next_page(&mut page)? {
        image.push(pgno, &page);
    }
    decoder.finish()?;
    Ok(image.finish(header.commit))
}
