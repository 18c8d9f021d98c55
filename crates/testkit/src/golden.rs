//! The golden vectors: replica trees of real binaries, and what restores of them gave.
//!
//! Manifests are read strictly: a key that is not known here is an error, so that no
//! recorded fact is overlooked in silence.

mod edges;
mod generations;
mod ltx;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

pub use self::edges::{EdgeCase, Edit};
pub use self::generations::{
    GenerationsFile, GenerationsManifest, GenerationsRestore, LocalFile, Restart, RestartSettings,
    RestoredRows,
};
pub use self::ltx::{
    CorruptCase, CorruptManifest, CorruptOutcome, LtxFile, PlannedFile, Request, RestoreOutcome,
    RestoredDatabase, Step, Tree, TreeManifest, TreeRestore,
};

/// The folder with the golden vectors: `LITESTREAM_GOLDEN`, else `golden` at the root of
/// the workspace. It has the folders `ltx` and `generations`.
pub fn root() -> Result<PathBuf> {
    let folder = match std::env::var_os("LITESTREAM_GOLDEN") {
        Some(folder) => PathBuf::from(folder),
        None => crate::reference::workspace_root().join("golden"),
    };
    ensure!(folder.is_dir(), "no golden vectors at {}", folder.display());
    Ok(folder)
}

/// Reads the manifest of an LTX tree, of the corrupt inputs, or of a generations replica.
pub fn read_manifest<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("manifest {}", file.display()))
}

/// Folders directly or two levels below `folder` that have a `manifest.json`, sorted.
pub fn manifest_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in crate::program::replica_files(folder) {
        if entry
            .file_name()
            .is_some_and(|name| name == "manifest.json")
        {
            found.extend(entry.parent().map(|parent| folder.join(parent)));
        }
    }
    ensure!(
        !found.is_empty(),
        "no manifest.json below {}",
        folder.display()
    );
    Ok(found)
}

/// Copies all files below `from` to `to`, which is made.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let files = crate::program::replica_files(from);
    ensure!(!files.is_empty(), "nothing to copy in {}", from.display());
    for file in files {
        let target = to.join(&file);
        let folder = target.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        copy_file(&from.join(&file), &target)?;
    }
    Ok(())
}

/// Copies the bytes of a file, but not its mode: the original may be read-only.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let copy = || {
        let bytes = std::fs::read(from)?;
        std::fs::write(to, bytes)
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Sets the modification time, which is the creation time of an object in a file
/// replica and which version control does not keep.
fn set_mtime(file: &Path, unix_nanos: u64) -> Result<()> {
    let time = UNIX_EPOCH + Duration::from_nanos(unix_nanos);
    let opened = File::options().write(true).open(file);
    opened
        .and_then(|opened| opened.set_modified(time))
        .with_context(|| format!("cannot set the time of {}", file.display()))
}

#[cfg(test)]
mod tests;
