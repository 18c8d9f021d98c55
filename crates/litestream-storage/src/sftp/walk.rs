//! List: a walk over the directories below a prefix, in the order of keys.
//!
//! Invariant: a directory is read to its end, and what is wanted of it is in descending order.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{File, FileAttributes, StatusCode};

use super::connection::{is_failure, is_missing};
use super::pool::Lease;
use super::{DIRECTORY, FILE, KIND, Shared, is_kind, object_meta};
use crate::remote_path::{self as path, Directories};
use crate::tree::Wanted;
use crate::{Error, ErrorKind, Key, ListOptions, ObjectMeta, Operation, Result};

/// Requests for names in flight.
const WINDOW: usize = 8;
/// Entries taken from one directory; more are refused instead of filling the memory.
const MOST_ENTRIES: usize = 4_000_000;

const LIST: Operation = Operation::List;

pub(super) fn list(
    shared: &Arc<Shared>,
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
    /// The key; that of a directory ends in `/`.
    key: String,
    path: String,
    attributes: FileAttributes,
}

impl Directories for Walk<'_> {
    type Entry = Entry;

    fn key(entry: &Entry) -> &str {
        &entry.key
    }

    async fn first(&self) -> Result<Vec<Entry>> {
        let (path, key) = path::directory(&self.shared.root, &self.wanted.prefix, LIST)?;
        self.read(&path, &key).await
    }

    async fn below(&self, directory: &Entry) -> Result<Vec<Entry>> {
        self.read(&directory.path, &directory.key).await
    }

    /// The metadata of a file, asked for when the directory did not tell.
    async fn object(&self, entry: Entry) -> Result<Option<ObjectMeta>> {
        let key = Key::new(entry.key);
        if entry.attributes.size.is_some() && entry.attributes.mtime.is_some() {
            return Ok(Some(object_meta(key, &entry.attributes)));
        }
        let lease = self.shared.lease(LIST).await?;
        let found = lease.stat(&entry.path).await;
        // Nothing: deleted since the directory was read.
        let found = lease.done(LIST, || format!("look at {}", entry.path), found)?;
        Ok(found
            .filter(|found| is_kind(found, FILE))
            .map(|found| object_meta(key, &found)))
    }
}

impl Walk<'_> {
    /// The entries of a directory that are wanted, in descending order.
    async fn read(&self, path: &str, key: &str) -> Result<Vec<Entry>> {
        let lease = self.shared.lease(LIST).await?;
        let handle = match lease.ask(lease.sftp.opendir(path)).await {
            Ok(opened) => opened.handle,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => {
                // Some servers have no other word for a file where a folder was expected.
                if is_failure(&error)
                    && matches!(lease.stat(path).await, Ok(found)
                        if found.as_ref().is_none_or(|found| !is_kind(found, DIRECTORY)))
                {
                    return Ok(Vec::new());
                }
                return lease.done(LIST, || format!("open the folder {path}"), Err(error));
            }
        };
        let read = self.names(&lease, &handle, path, key).await;
        // Whatever was read is true; a failed close changes nothing about it.
        drop(lease.ask(lease.sftp.close(handle)).await);
        let mut entries = read?;
        entries.sort_unstable_by(|a, b| b.key.cmp(&a.key));
        Ok(entries)
    }

    async fn names(
        &self,
        lease: &Lease,
        handle: &str,
        path: &str,
        key: &str,
    ) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut seen = 0_usize;
        // One first: most directories fit into its answer.
        let mut window = 1;
        loop {
            let requests = (0..window).map(|_| lease.ask(lease.sftp.readdir(handle)));
            let mut answers = stream::iter(requests).buffered(window);
            let mut ended = false;
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(names) if names.files.is_empty() => ended = true,
                    Ok(names) => {
                        seen = seen.saturating_add(names.files.len());
                        if seen > MOST_ENTRIES {
                            let detail = format!("{path} has more than {MOST_ENTRIES} entries");
                            return Err(Error::new(ErrorKind::Invalid, LIST).with_detail(detail));
                        }
                        let wanted = names.files.into_iter();
                        entries.extend(wanted.filter_map(|file| self.entry(path, key, file)));
                    }
                    Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                        ended = true;
                    }
                    Err(error) => {
                        return lease.done(LIST, || format!("read the folder {path}"), Err(error));
                    }
                }
            }
            if ended {
                return Ok(entries);
            }
            window = WINDOW;
        }
    }

    fn entry(&self, directory: &str, key: &str, file: File) -> Option<Entry> {
        let File {
            filename,
            longname,
            attrs: mut attributes,
        } = file;
        if !path::is_name(&filename) {
            return None;
        }
        // Servers that send no modes show what a file is in the text for people.
        if attributes.permissions.is_none() && longname.starts_with('d') {
            attributes.permissions = Some(DIRECTORY);
        }
        let is_directory = is_kind(&attributes, DIRECTORY);
        let slash = if is_directory { "/" } else { "" };
        let key = format!("{key}{filename}{slash}");
        let wanted = if is_directory {
            self.wanted.directory(&key)
        } else {
            is_kind(&attributes, FILE) && self.wanted.object(&key)
        };
        wanted.then(|| Entry {
            path: path::join(directory, &filename),
            key,
            attributes,
        })
    }
}
