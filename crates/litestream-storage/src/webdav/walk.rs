//! List: a walk over the collections below a prefix, in the order of keys.
//!
//! Invariant: what is wanted of a collection comes once, in descending order.

use futures_util::stream::BoxStream;

use super::multistatus::Properties;
use super::{KIND, Shared, file_meta};
use crate::remote_path::{self as path, Directories};
use crate::tree::Wanted;
use crate::{Key, ListOptions, ObjectMeta, Operation, Result};

const LIST: Operation = Operation::List;

pub(super) fn list(
    shared: &Shared,
    prefix: String,
    options: ListOptions,
) -> BoxStream<'_, Result<ObjectMeta>> {
    let walk = Walk {
        shared,
        wanted: Wanted::new(prefix, options),
    };
    path::walk(walk, KIND)
}

struct Walk<'a> {
    shared: &'a Shared,
    wanted: Wanted,
}

struct Entry {
    /// The key; that of a collection ends in `/`.
    key: String,
    properties: Properties,
}

impl Directories for Walk<'_> {
    type Entry = Entry;

    fn key(entry: &Entry) -> &str {
        &entry.key
    }

    async fn first(&self) -> Result<Vec<Entry>> {
        let (path, key) = path::directory(&self.shared.root, &self.wanted.prefix, LIST)?;
        let path = if path == "." { String::new() } else { path };
        self.read(&path, &key).await
    }

    async fn below(&self, collection: &Entry) -> Result<Vec<Entry>> {
        let path = path::join(&self.shared.root, collection.key.trim_end_matches('/'));
        self.read(&path, &collection.key).await
    }

    async fn object(&self, file: Entry) -> Result<Option<ObjectMeta>> {
        Ok(file_meta(Key::new(file.key), &file.properties))
    }
}

impl Walk<'_> {
    /// The entries of a collection that are wanted, in descending order.
    async fn read(&self, path: &str, key: &str) -> Result<Vec<Entry>> {
        // With a slash at its end, as collections have: servers redirect otherwise.
        let target = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let found = self.shared.server.properties(LIST, &target, "1").await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // Servers have many words for a file where a collection was expected.
                let plain = self.shared.server.properties(LIST, path, "0").await;
                match plain.map(|found| found.into_iter().next()) {
                    Ok(found) if found.as_ref().is_none_or(|found| !found.collection) => {
                        return Ok(Vec::new());
                    }
                    _ => return Err(error),
                }
            }
        };
        let mut entries: Vec<_> = below(found)
            .filter_map(|(name, properties)| self.entry(key, &name, properties))
            .collect();
        entries.sort_unstable_by(|a, b| b.key.cmp(&a.key));
        entries.dedup_by(|a, b| a.key == b.key);
        Ok(entries)
    }

    fn entry(&self, directory: &str, name: &str, properties: Properties) -> Option<Entry> {
        if !path::is_name(name) {
            return None;
        }
        let slash = if properties.collection { "/" } else { "" };
        let key = format!("{directory}{name}{slash}");
        let wanted = if properties.collection {
            self.wanted.directory(&key)
        } else {
            self.wanted.object(&key)
        };
        wanted.then_some(Entry { key, properties })
    }
}

/// The entries of a collection by name, without itself: that is the one with the shortest path,
/// whatever a proxy in between has made of the paths.
fn below(found: Vec<Properties>) -> impl Iterator<Item = (String, Properties)> {
    let trim = |path: &str| path.trim_end_matches('/').to_owned();
    let own = found.iter().map(|entry| trim(&entry.path));
    let own = own.min_by_key(String::len).unwrap_or_default();
    found.into_iter().filter_map(move |entry| {
        let path = trim(&entry.path);
        let name = path.strip_prefix(own.as_str())?.strip_prefix('/')?;
        let name = name.to_owned();
        Some((name, entry))
    })
}
