//! List: a walk over the directories below a prefix, in the order of keys.
//!
//! Invariant: entries are visited in the byte order of their whole keys, where a directory counts
//! as its name with a `/`: `a.b` comes before `a/b` although the directory `a` sorts before `a.b`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::path;
use super::steps::{FileStep, fail};
use super::{FileStore, KIND, Shared, object_meta};
use crate::tree::Wanted;
use crate::{Key, ListOptions, ObjectMeta, Operation, Result, blocking};

/// Objects per hop to the blocking pool.
const PAGE: usize = 512;

pub(super) fn list(
    store: &FileStore,
    prefix: String,
    options: ListOptions,
) -> BoxStream<'_, Result<ObjectMeta>> {
    let start = Walk {
        wanted: Wanted::new(prefix, options),
        pending: None,
    };
    stream::try_unfold(Some(start), move |walk| async move {
        let Some(mut walk) = walk else {
            return Ok(None);
        };
        let shared = Arc::clone(&store.shared);
        let lane = &store.shared.lane;
        let page = blocking::run_in(lane, Operation::List, move || {
            let page = walk.page(&shared)?;
            let more = page.len() == PAGE;
            Ok((page, more.then_some(walk)))
        });
        let (page, walk) = page.await.map_err(|error| error.with_backend(KIND))?;
        Ok(Some((stream::iter(page.into_iter().map(Ok)), walk)))
    })
    .try_flatten()
    .boxed()
}

struct Walk {
    wanted: Wanted,
    /// What is still to be visited, last first. `None` before the first page.
    pending: Option<Vec<Entry>>,
}

struct Entry {
    /// The key; that of a directory ends in `/`.
    key: String,
    path: PathBuf,
}

impl Walk {
    /// The next objects, fewer than [`PAGE`] only at the end.
    fn page(&mut self, shared: &Shared) -> Result<Vec<ObjectMeta>> {
        let mut pending = match self.pending.take() {
            Some(pending) => pending,
            None => self.start(shared)?,
        };
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(entry) = pending.pop()
        {
            if entry.key.ends_with('/') {
                pending.extend(self.read_dir(shared, &entry)?);
                continue;
            }
            match fs::symlink_metadata(&entry.path) {
                Ok(found) if found.is_file() => {
                    page.push(object_meta(&Key::from(entry.key), &found));
                }
                Ok(_) => {}
                // Deleted since the directory was read.
                Err(error) if path::is_missing(&error) => {}
                Err(error) => return fail(Operation::List, FileStep::ReadDir, &entry.path, error),
            }
        }
        self.pending = Some(pending);
        Ok(page)
    }

    fn start(&self, shared: &Shared) -> Result<Vec<Entry>> {
        let path = path::directory(&shared.root, &self.wanted.prefix, Operation::List)?;
        if path != shared.root {
            path::refuse_links(&shared.root, &path.join("_"), Operation::List)?;
        }
        let key = match self.wanted.prefix.rfind('/') {
            Some(slash) => self.wanted.prefix[..=slash].to_owned(),
            None => String::new(),
        };
        self.read_dir(shared, &Entry { key, path })
    }

    /// The entries of a directory that are wanted, in descending order.
    fn read_dir(&self, shared: &Shared, dir: &Entry) -> Result<Vec<Entry>> {
        let read = shared.step(FileStep::ReadDir, &dir.path, || {
            let mut entries = Vec::new();
            let names = match fs::read_dir(&dir.path) {
                Err(error) if path::is_missing(&error) => return Ok(entries),
                names => names?,
            };
            for found in names {
                let found = found?;
                // Names that are not text cannot be keys, and links are not followed.
                let name = found.file_name();
                let Some(name) = name.to_str() else { continue };
                let kind = match found.file_type() {
                    Err(error) if path::is_missing(&error) => continue,
                    kind => kind?,
                };
                let slash = if kind.is_dir() { "/" } else { "" };
                let key = format!("{}{name}{slash}", dir.key);
                let wanted = if kind.is_dir() {
                    self.wanted.directory(&key)
                } else {
                    kind.is_file() && self.wanted.object(&key)
                };
                if wanted {
                    entries.push(Entry {
                        key,
                        path: found.path(),
                    });
                }
            }
            Ok(entries)
        });
        let mut entries = match read {
            Ok(entries) => entries,
            Err(error) => return fail(Operation::List, FileStep::ReadDir, &dir.path, error),
        };
        entries.sort_unstable_by(|a, b| b.key.cmp(&a.key));
        Ok(entries)
    }
}
