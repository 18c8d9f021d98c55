//! What a file replica and a local folder hold: names of LTX files, level by level.

use std::io;
use std::path::{Path, PathBuf};

use crate::os_error;
use crate::time::Moment;

/// The highest level, which holds snapshots.
pub const SNAPSHOT_LEVEL: u8 = 9;

/// A folder that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ListError(String);

/// One LTX file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LtxFile {
    /// First transaction.
    pub min_txid: u64,
    /// Last transaction.
    pub max_txid: u64,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: Moment,
}

/// A replica whose levels can be listed.
pub trait Levels {
    /// The files of a level in the order of their names; a level that does not exist is empty.
    fn list_level(&self, level: u8) -> Result<Vec<LtxFile>, ListError>;
}

/// A file replica, or the metadata folder of a database: both keep files in `ltx/LEVEL/`.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Levels for Folder {
    fn list_level(&self, level: u8) -> Result<Vec<LtxFile>, ListError> {
        let path = self.0.join("ltx").join(level.to_string());
        let mut files = Vec::new();
        for (name, entry) in read_names(&path)? {
            let Some((min_txid, max_txid)) = parse_name(&name) else {
                continue;
            };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Deleted by retention while we were looking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(ListError(os_error::describe("stat", &entry.path(), &error)));
                }
            };
            let modified = metadata
                .modified()
                .map_or_else(|_| Moment::unset(), Moment::local);
            files.push(LtxFile {
                min_txid,
                max_txid,
                size: metadata.len(),
                created: modified,
            });
        }
        Ok(files)
    }
}

/// The highest transaction of a local level-0 folder; `None` when there is no file.
pub fn highest_local_txid(meta_path: &Path) -> Result<Option<u64>, ListError> {
    let names = read_names(&meta_path.join("ltx").join("0"))?;
    Ok(names
        .iter()
        .filter_map(|(name, _)| parse_name(name))
        .map(|(_, max)| max)
        .max())
}

/// The entries of a folder in the order of their names; nothing when it does not exist.
fn read_names(path: &Path) -> Result<Vec<(String, std::fs::DirEntry)>, ListError> {
    let failed = |error: io::Error| ListError(os_error::describe("open", path, &error));
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry));
        }
    }
    names.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// The transactions in `MIN-MAX.ltx`; nothing for any other name.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let range = ltx::FileName::parse(name)?.range;
    Some((range.min.get(), range.max.get()))
}

/// A transaction id of exactly 16 hex digits.
pub fn parse_txid(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The form of a transaction id in names, tables and logs.
pub fn format_txid(txid: u64) -> String {
    format!("{txid:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_two_transaction_ids() {
        assert_eq!(
            parse_name("0000000000000001-000000000000001f.ltx"),
            Some((1, 31))
        );
        for name in [
            "1-2.ltx",
            "0000000000000001-000000000000000g.ltx",
            "x.tmp",
            "-.ltx",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(format_txid(31), "000000000000001f");
    }

    #[test]
    fn lists_in_name_order_and_skips_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let level = folder.path().join("ltx/3");
        std::fs::create_dir_all(&level).unwrap();
        for name in [
            "0000000000000002-0000000000000002.ltx",
            "0000000000000001-0000000000000001.ltx",
            "0000000000000003-0000000000000003.ltx.tmp",
        ] {
            std::fs::write(level.join(name), name).unwrap();
        }
        let replica = Folder(folder.path().to_owned());
        let files = replica.list_level(3).unwrap();
        assert_eq!(
            files.iter().map(|file| file.min_txid).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(files[0].size, 37);
        assert_eq!(replica.list_level(4).unwrap(), []);
        assert_eq!(highest_local_txid(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("ltx")).unwrap();
        std::fs::write(folder.path().join("ltx/0"), "").unwrap();
        let error = highest_local_txid(folder.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("open ") && error.ends_with("not a directory"),
            "{error}"
        );
    }
}
