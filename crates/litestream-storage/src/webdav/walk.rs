//! List: a walk over the collections below a prefix, in the order of keys.
//!
//! Invariant: what is wanted of a collection comes once, in descending order.

use futures_util::stream::BoxStream;

use super::multistatus::Properties;
use super::request::refusal;
use super::{KIND, Shared, file_meta};
use crate::remote_path::{self as path, Directories};
use crate::tree::{TEMP_SUFFIX, Wanted};
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
        let target = path::join(&self.shared.root, &file.key);
        let key = Key::new(file.key);
        let found = self.shared.server.whole(LIST, &target, file.properties);
        let found = found.await.map_err(|error| error.with_key(&key))?;
        Ok(found.and_then(|found| file_meta(key, &found)))
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
                match self.shared.server.find(LIST, path).await {
                    Ok(found) if found.as_ref().is_none_or(|found| !found.collection) => {
                        return Ok(Vec::new());
                    }
                    _ => return Err(error),
                }
            }
        };
        if let Some(status) = own(&found).and_then(|own| own.refused) {
            return Err(refusal(LIST, &target, status));
        }
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
            // What the server does not tell about may be either.
            self.wanted.object(&key)
                || properties.refused.is_some()
                    && !name.ends_with(TEMP_SUFFIX)
                    && self.wanted.directory(&format!("{key}/"))
        };
        wanted.then_some(Entry { key, properties })
    }
}

/// The collection itself among its entries: that is the one with the shortest path, whatever a
/// proxy in between has made of the paths.
fn own(found: &[Properties]) -> Option<&Properties> {
    found.iter().min_by_key(|entry| trim(&entry.path).len())
}

/// The entries of a collection by name, without itself.
fn below(found: Vec<Properties>) -> impl Iterator<Item = (String, Properties)> {
    let own = own(&found).map(|own| trim(&own.path).to_owned());
    let own = own.unwrap_or_default();
    found.into_iter().filter_map(move |entry| {
        let name = trim(&entry.path).strip_prefix(own.as_str())?;
        let name = name.strip_prefix('/')?.to_owned();
        Some((name, entry))
    })
}

fn trim(path: &str) -> &str {
    path.trim_end_matches('/')
}
