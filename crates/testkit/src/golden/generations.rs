//! Manifests of generations replicas (v0.3 and v0.4).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::edges::EdgeCase;
use super::{copy_tree, manifest_folders, read_manifest, set_mtime};

/// `manifest.json` of a generations replica. Which parts are there depends on the case.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationsManifest {
    /// Name, equal to that of its folder.
    pub name: String,
    /// In words.
    pub description: String,
    /// What wrote it.
    pub made_by: Option<String>,
    /// More words.
    pub note: Option<String>,
    /// Configuration it was made with; `$W` is the work folder.
    pub config: Option<String>,
    /// Files with identities that decrypt it.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The generation the case is about.
    pub generation: Option<String>,
    /// All files of the replica.
    #[serde(default)]
    pub files: Vec<GenerationsFile>,
    /// Restores by 0.3.13.
    #[serde(default, rename = "restore_v0.3.13")]
    pub restore_v0_3_13: Vec<GenerationsRestore>,
    /// Restores by 0.5.17.
    #[serde(default, rename = "restore_v0.5.17")]
    pub restore_v0_5_17: Vec<GenerationsRestore>,
    /// What a reader of the v0.4 layout must give.
    #[serde(default, rename = "expected_same_as_01-plain-4k")]
    pub expected_same_as_plain: Vec<GenerationsRestore>,
    /// Command to output of 0.3.13.
    #[serde(default, rename = "cli_v0.3.13")]
    pub cli_v0_3_13: BTreeMap<String, String>,
    /// Rows found after the restores of the torn snapshot.
    pub restored_a_b: Option<RestoredRows>,
    /// Local state left by a kill.
    #[serde(default)]
    pub local: Vec<LocalFile>,
    /// Files of the replica at that time.
    #[serde(default)]
    pub replica_before: Vec<String>,
    /// What 0.3.13 did when started again on that state.
    #[serde(rename = "restart_v0.3.13")]
    pub restart_v0_3_13: Option<Restart>,
    /// The replica that `cases` change.
    pub base: Option<String>,
    /// Damaged variants.
    #[serde(default)]
    pub cases: Vec<EdgeCase>,
}

impl GenerationsManifest {
    /// Folder and manifest of all replicas below `root/generations`.
    pub fn all(root: &Path) -> Result<Vec<(PathBuf, Self)>> {
        let folders = manifest_folders(&root.join("generations"))?;
        folders
            .into_iter()
            .map(|folder| {
                let manifest = read_manifest(&folder.join("manifest.json"))?;
                Ok((folder, manifest))
            })
            .collect()
    }

    /// Lays the replica of `folder` out in `to` (so that `to/generations/...` exists),
    /// with the modification times restores depend on.
    pub fn copy_replica(&self, folder: &Path, to: &Path) -> Result<()> {
        copy_tree(&folder.join("replica"), to)?;
        for file in &self.files {
            set_mtime(&to.join(&file.path), file.mtime_ns)?;
        }
        Ok(())
    }
}

/// A file of a generations replica.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationsFile {
    /// Path below the replica.
    pub path: String,
    /// `snapshot` or `wal`.
    pub kind: String,
    /// Generation, 16 digits.
    pub generation: String,
    /// WAL index.
    pub index: u64,
    /// WAL offset, of a segment.
    pub offset: Option<u64>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Modification time, Unix nanoseconds.
    pub mtime_ns: u64,
    /// The same in RFC 3339.
    pub mtime: String,
    /// Bytes when decompressed.
    pub raw_size: Option<u64>,
    /// SHA-256 when decompressed.
    pub raw_sha256: Option<String>,
    /// The file of another case it is made of.
    pub source_path: Option<String>,
}

/// A restore of a generations replica.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationsRestore {
    /// Options besides `-o OUT URL`.
    pub args: Vec<String>,
    /// Exit status.
    pub rc: i32,
    /// Last error text; `$ROOT` is the path of the replica.
    pub error: Option<String>,
    /// SHA-256 of the restored file.
    pub sha256: Option<String>,
    /// Its bytes.
    pub size: Option<u64>,
    /// Logical hash, as the README of the vectors defines it.
    pub dump_sha256: Option<String>,
    /// What `PRAGMA integrity_check` said.
    pub integrity_check: Option<String>,
    /// Whether no WAL was applied.
    pub snapshot_only: Option<bool>,
    /// Other files left beside the output.
    #[serde(default)]
    pub leftovers: Vec<String>,
}

/// Number of rows of the tables `a` and `b`, by release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredRows {
    /// Restored by 0.3.13.
    #[serde(rename = "v0.3.13")]
    pub v0_3_13: (u64, u64),
    /// Restored by 0.5.17.
    #[serde(rename = "v0.5.17")]
    pub v0_5_17: (u64, u64),
}

/// A file of the local state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalFile {
    /// Path below `local`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: String,
}

/// What 0.3.13 did when started again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Settings it ran with.
    pub config: RestartSettings,
    /// Whether it said that it began a new generation.
    pub new_generation_logged: bool,
    /// Files that came to the replica.
    pub replica_added: Vec<String>,
    /// A restore afterwards.
    pub restore: GenerationsRestore,
    /// How many rows the restored database must have, and the text of the last.
    pub rows: (u64, String),
}

/// Settings of a [`Restart`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestartSettings {
    /// In pages.
    pub min_checkpoint_page_count: u32,
    /// Duration in words.
    pub monitor_interval: String,
    /// Duration in words.
    pub sync_interval: String,
}
