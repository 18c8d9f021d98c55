//! What a replica holds, kept in memory after one listing.
//!
//! Invariant: between [`RemoteIndex::load`] and the next error the index equals the store, because
//! this process is the only writer; after an error it is thrown away and listed again (`known`).

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use litestream_storage::{ListOptions, ObjectStore};
use ltx::{Level, Txid};

use super::layout::{Layout, RemoteFile};
use crate::error::Result;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteIndex {
    levels: BTreeMap<Level, Vec<RemoteFile>>,
}

impl RemoteIndex {
    /// Lists the whole replica once.
    ///
    /// # Cost
    /// One listing over all levels; with `timestamps`, on stores that do not list them, one request
    /// per object more.
    pub async fn load(store: &dyn ObjectStore, layout: Layout, timestamps: bool) -> Result<Self> {
        let options = ListOptions {
            timestamps,
            ..ListOptions::default()
        };
        let mut listing = store.list(layout.prefix(), options);
        let mut index = Self::default();
        while let Some(meta) = listing.try_next().await? {
            if let Some(file) = layout.parse(&meta) {
                index.insert(file);
            }
        }
        Ok(index)
    }

    /// Notes a file that is there now.
    pub fn insert(&mut self, file: RemoteFile) {
        let files = self.levels.entry(file.level).or_default();
        let key = |file: &RemoteFile| (file.range.min, file.range.max);
        match files.binary_search_by_key(&key(&file), key) {
            Ok(at) => {
                if let Some(slot) = files.get_mut(at) {
                    *slot = file;
                }
            }
            Err(at) => files.insert(at, file),
        }
    }

    /// Notes that a file is gone.
    pub fn remove(&mut self, file: &RemoteFile) {
        if let Some(files) = self.levels.get_mut(&file.level) {
            files.retain(|other| other.range != file.range);
        }
    }

    /// Files of a level, ascending by first and last transaction.
    pub fn level(&self, level: Level) -> &[RemoteFile] {
        self.levels.get(&level).map_or(&[], Vec::as_slice)
    }

    /// All files, level by level.
    pub fn files(&self) -> impl Iterator<Item = &RemoteFile> {
        self.levels.values().flatten()
    }

    /// The newest transaction of a level.
    pub fn level_max(&self, level: Level) -> Option<Txid> {
        self.level(level).iter().map(|file| file.range.max).max()
    }

    /// The newest transaction of all levels: nothing at or below it may be written again.
    pub fn max(&self) -> Option<Txid> {
        self.files().map(|file| file.range.max).max()
    }

    /// Whether the replica has no file.
    pub fn is_empty(&self) -> bool {
        self.levels.values().all(Vec::is_empty)
    }
}
