//! Manifests of LTX trees and of corrupt LTX inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{copy_file, copy_tree, manifest_folders, read_manifest, set_mtime};

/// One tree: a folder with a replica and its manifest.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The folder; it contains `ltx/`, or an archive of it.
    pub folder: PathBuf,
    /// What is known of it.
    pub manifest: TreeManifest,
}

impl Tree {
    /// Reads the tree in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = read_manifest(&folder.join("manifest.json"))?;
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
        })
    }

    /// All trees below `root/ltx/trees`, `root` being [`super::root`].
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let folders = manifest_folders(&root.join("ltx/trees"))?;
        folders.iter().map(|folder| Self::open(folder)).collect()
    }

    /// Lays the replica out in `to` (so that `to/ltx/0/...` exists), with the
    /// modification times that timestamp restores depend on.
    pub fn copy_replica(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to)?;
        if self.manifest.archive.is_some() {
            let archive = self.folder.join("ltx.tar.xz");
            let mut tar = Command::new("tar");
            tar.arg("-xJf").arg(&archive).arg("-C").arg(to);
            crate::process::run(&mut tar, Duration::from_mins(2))?;
        } else {
            copy_tree(&self.folder.join("ltx"), &to.join("ltx"))?;
        }
        for file in &self.manifest.files {
            set_mtime(&to.join(file.path()), file.timestamp_ms * 1_000_000)?;
        }
        Ok(())
    }
}

/// `manifest.json` of a tree.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeManifest {
    /// Name of the tree, equal to that of its folder.
    pub name: String,
    /// Which release wrote it.
    pub written_by: String,
    /// Which release made `restores`.
    pub restored_by: String,
    /// What the database went through, in words.
    pub workload: String,
    /// Settings of the writer: level to interval.
    pub compaction_levels: BTreeMap<String, String>,
    /// Setting of the writer.
    pub snapshot_interval: String,
    /// Setting of the writer.
    pub l0_retention: String,
    /// Bytes per page.
    pub page_size: u32,
    /// What made `dump_sha256`.
    pub dump_tool: String,
    /// Set when the replica is packed; how to unpack it.
    pub archive: Option<String>,
    /// What was done before which transaction.
    pub steps: Vec<Step>,
    /// All files of the replica.
    pub files: Vec<LtxFile>,
    /// Restores of the real binary.
    pub restores: Vec<TreeRestore>,
}

/// A step of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Done before this transaction was synced.
    Numbered(u64, String),
    /// Words only.
    Words(String),
}

/// A file of a tree; hashes and checksums in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LtxFile {
    /// Level, which is the folder.
    pub level: u8,
    /// File name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// `block` or `frame`.
    pub encoding: String,
    /// Header flags.
    pub flags: u32,
    /// Bytes per page.
    pub page_size: u32,
    /// Pages of the database after the file.
    pub commit: u32,
    /// First transaction, 16 digits.
    pub min_txid: String,
    /// Last transaction, 16 digits.
    pub max_txid: String,
    /// Header timestamp, Unix milliseconds; also the modification time.
    pub timestamp_ms: u64,
    /// Header: where in the WAL its frames began.
    pub wal_offset: u64,
    /// Header: how many bytes of WAL.
    pub wal_size: u64,
    /// Header, 8 digits.
    pub wal_salt1: String,
    /// Header, 8 digits.
    pub wal_salt2: String,
    /// Pages in the file.
    pub page_count: u64,
    /// Their numbers, as ranges with both ends included.
    pub page_ranges: Vec<(u32, u32)>,
    /// Where the page index begins.
    pub index_offset: u64,
    /// Its bytes.
    pub index_size: u64,
    /// Trailer, 16 digits.
    pub post_apply: String,
    /// Trailer, 16 digits.
    pub file_checksum: String,
    /// SHA-256 over page number (big-endian) and page of all pages in file order.
    pub content_sha256: String,
}

impl LtxFile {
    /// Path below the replica: `ltx/LEVEL/NAME`.
    pub fn path(&self) -> PathBuf {
        Path::new("ltx")
            .join(self.level.to_string())
            .join(&self.name)
    }
}

/// A restore of the real binary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawRestore")]
pub struct TreeRestore {
    /// What was asked for.
    pub request: Request,
    /// What came.
    pub outcome: RestoreOutcome,
}

/// What a restore was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// No option.
    Latest,
    /// `-txid`, 16 digits.
    Txid(String),
    /// `-timestamp`.
    Timestamp(String),
}

/// What a restore gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// A database.
    Restored {
        /// Files used, in order.
        plan: Vec<PlannedFile>,
        /// The result.
        database: RestoredDatabase,
    },
    /// The last line printed.
    Failed(String),
}

/// A file of a restore plan: level, first and last transaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlannedFile(pub u8, pub String, pub String);

/// A restored database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredDatabase {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// What `PRAGMA integrity_check` said.
    pub integrity_check: String,
    /// Pages; `None` when the database could not be opened.
    pub page_count: Option<u64>,
    /// SHA-256 of the output of `.dump`.
    pub dump_sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRestore {
    latest: Option<bool>,
    txid: Option<String>,
    timestamp: Option<String>,
    plan: Option<Vec<PlannedFile>>,
    error: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
    integrity_check: Option<String>,
    page_count: Option<u64>,
    dump_sha256: Option<String>,
}

impl TryFrom<RawRestore> for TreeRestore {
    type Error = String;

    fn try_from(raw: RawRestore) -> Result<Self, String> {
        let request = match (raw.latest, raw.txid, raw.timestamp) {
            (Some(true), None, None) => Request::Latest,
            (None, Some(txid), None) => Request::Txid(txid),
            (None, None, Some(time)) => Request::Timestamp(time),
            other => return Err(format!("restore asks for {other:?}, not for one thing")),
        };
        let missing = |field: &str| format!("restore {request:?} has no {field}");
        let outcome = match raw.error {
            Some(error) => RestoreOutcome::Failed(error),
            None => RestoreOutcome::Restored {
                plan: raw.plan.ok_or_else(|| missing("plan"))?,
                database: RestoredDatabase {
                    sha256: raw.sha256.ok_or_else(|| missing("sha256"))?,
                    size: raw.size.ok_or_else(|| missing("size"))?,
                    integrity_check: raw.integrity_check.ok_or_else(|| missing("check"))?,
                    page_count: raw.page_count,
                    dump_sha256: raw.dump_sha256.ok_or_else(|| missing("dump_sha256"))?,
                },
            },
        };
        Ok(Self { request, outcome })
    }
}

/// `corrupt/manifest.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptManifest {
    /// What made the results.
    pub tool: String,
    /// What the labels of the cases mean.
    pub class_note: String,
    /// What the intact bases give.
    pub base_restores: BTreeMap<String, CorruptOutcome>,
    /// All cases.
    pub cases: Vec<CorruptCase>,
}

/// One damaged replica.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptCase {
    /// Name.
    pub case: String,
    /// Folder of the intact replica.
    pub base: String,
    /// In words.
    pub description: String,
    /// Level-0 file name to the file that replaces it (below `corrupt`); `None` deletes it.
    pub replaced: BTreeMap<String, Option<String>>,
    /// Label: what is wrong.
    pub class: String,
    /// Label: where a reader notices.
    pub stage: Option<String>,
    /// More words.
    pub note: Option<String>,
    /// Options of the restore.
    #[serde(default)]
    pub restore_args: Vec<String>,
    /// What the real binary did.
    pub restore: CorruptOutcome,
}

impl CorruptCase {
    /// Lays the damaged replica out in `to`; `corrupt` is the folder of the manifest.
    pub fn copy_replica(&self, corrupt: &Path, to: &Path) -> Result<()> {
        copy_tree(&corrupt.join(&self.base), to)?;
        let level = to.join("ltx/0");
        for (name, replacement) in &self.replaced {
            let target = level.join(name);
            match replacement {
                Some(file) => copy_file(&corrupt.join(file), &target)?,
                None => std::fs::remove_file(&target)
                    .with_context(|| format!("case {}: {}", self.case, target.display()))?,
            }
        }
        Ok(())
    }
}

/// What a restore of a corrupt input gave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptOutcome {
    /// Exit status.
    pub exit: i32,
    /// Last line printed, when it failed.
    pub error: Option<String>,
    /// First line of the panic, when it crashed.
    pub panic: Option<String>,
    /// Whether the result equals that of the intact base.
    pub same_as_base: Option<bool>,
    /// SHA-256 of the restored file.
    pub sha256: Option<String>,
    /// Its bytes.
    pub size: Option<u64>,
    /// What `PRAGMA integrity_check` said.
    pub integrity_check: Option<String>,
    /// Its pages; `None` also when it could not be opened.
    pub page_count: Option<u64>,
    /// SHA-256 of the output of `.dump`.
    pub dump_sha256: Option<String>,
}
