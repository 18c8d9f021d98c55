//! Damage done to a generations replica, and what restores of it gave.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::generations::{GenerationsManifest, GenerationsRestore};
use super::set_mtime;

/// A damaged variant of a replica.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeCase {
    /// Name.
    pub name: String,
    /// The damage, in order.
    pub ops: Vec<Edit>,
    /// Restores by 0.3.13.
    #[serde(default, rename = "restore_v0.3.13")]
    pub restore_v0_3_13: Vec<GenerationsRestore>,
    /// Restores by 0.5.17.
    #[serde(default, rename = "restore_v0.5.17")]
    pub restore_v0_5_17: Vec<GenerationsRestore>,
}

impl EdgeCase {
    /// Lays the damaged replica out in `to`: `generation` of the replica of the base,
    /// whose folder is `base`, with the damage done to it.
    pub fn copy_replica(
        &self,
        base: &Path,
        manifest: &GenerationsManifest,
        generation: &str,
        to: &Path,
    ) -> Result<()> {
        manifest.copy_replica(base, to)?;
        let mut kept = 0;
        for entry in std::fs::read_dir(to.join("generations"))? {
            let entry = entry?;
            if entry.file_name() == generation {
                kept += 1;
            } else {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        ensure!(
            kept == 1,
            "no generation {generation} in {}",
            base.display()
        );
        self.ops.iter().try_for_each(|edit| {
            edit.apply(to)
                .with_context(|| format!("case {}: {edit:?}", self.name))
        })
    }
}

/// One change of a replica; paths are below it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Edit {
    /// Removes a file.
    Delete {
        /// The file.
        path: String,
    },
    /// Removes a folder and all in it.
    Rmdir {
        /// The folder.
        path: String,
    },
    /// Moves a file.
    Rename {
        /// From.
        path: String,
        /// To.
        to: String,
    },
    /// Cuts a file; its time stays.
    Truncate {
        /// The file.
        path: String,
        /// Bytes that remain.
        size: u64,
    },
    /// Changes a byte; the time stays.
    Xor {
        /// The file.
        path: String,
        /// Which byte.
        offset: u64,
        /// What it is combined with.
        value: u8,
    },
    /// Makes or replaces a file.
    Put {
        /// The file.
        path: String,
        /// Content, as base64 text.
        base64: String,
        /// Its time, Unix nanoseconds.
        mtime_ns: u64,
    },
    /// Sets the time of a file.
    Mtime {
        /// The file.
        path: String,
        /// Unix nanoseconds.
        mtime_ns: u64,
    },
}

impl Edit {
    /// Does the change to the replica in the folder `replica`.
    pub fn apply(&self, replica: &Path) -> Result<()> {
        match self {
            Self::Delete { path } => std::fs::remove_file(replica.join(path))?,
            Self::Rmdir { path } => std::fs::remove_dir_all(replica.join(path))?,
            Self::Rename { path, to } => std::fs::rename(replica.join(path), replica.join(to))?,
            Self::Truncate { path, size } => {
                in_place(&replica.join(path), |file| Ok(file.set_len(*size)?))?;
            }
            Self::Xor {
                path,
                offset,
                value,
            } => in_place(&replica.join(path), |file| {
                let mut byte = [0];
                file.read_exact_at(&mut byte, *offset)?;
                let changed = byte.map(|byte| byte ^ value);
                Ok(file.write_all_at(&changed, *offset)?)
            })?,
            Self::Put {
                path,
                base64,
                mtime_ns,
            } => {
                let target = replica.join(path);
                let folder = target.parent().context("a file has a folder")?;
                std::fs::create_dir_all(folder)?;
                std::fs::write(&target, STANDARD.decode(base64)?)?;
                set_mtime(&target, *mtime_ns)?;
            }
            Self::Mtime { path, mtime_ns } => set_mtime(&replica.join(path), *mtime_ns)?,
        }
        Ok(())
    }
}

/// Changes a file and puts its modification time back.
fn in_place(path: &Path, change: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let time = file.metadata()?.modified()?;
    change(&file)?;
    Ok(file.set_modified(time)?)
}
