//! Which files were captured before a time, without asking for the time of each.
//!
//! Some stores list no timestamps: each costs a request. But within a level the timestamps never
//! decrease from file to file, so that bisecting each level finds the border with a request per
//! doubling of the number of files.

use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use litestream_storage::{ListOptions, ObjectStore};
use ltx::{Level, Timestamp};

use crate::error::Result;
use crate::replica::{Layout, RemoteFile, RemoteIndex};

/// What is known of a file's time.
#[derive(Debug, Clone, Copy)]
struct Listed {
    file: RemoteFile,
    /// The listing told the exact time.
    exact: bool,
}

/// Lists a replica so that `file.created < time` is right for each file. The time itself is exact
/// only where the store lists it, and for the files at the border.
///
/// # Cost
/// One listing; on stores that list no timestamps, about the logarithm of the number of files more
/// requests per level, of all levels at the same time.
pub(super) async fn list_around(
    store: &dyn ObjectStore,
    layout: Layout,
    time: Timestamp,
) -> Result<RemoteIndex> {
    let mut listing = store.list(layout.prefix(), ListOptions::default());
    let mut levels: Vec<Vec<Listed>> = Level::ALL.iter().map(|_| Vec::new()).collect();
    while let Some(meta) = listing.try_next().await? {
        if let Some(file) = layout.parse(&meta)
            && let Some(files) = levels.get_mut(usize::from(file.level.get()))
        {
            let exact = meta.timestamp.is_some();
            files.push(Listed { file, exact });
        }
    }
    let marked = levels.into_iter().map(|mut files| async move {
        // The listing orders by name, which is by first transaction; times follow the last.
        files.sort_by_key(|listed| (listed.file.range.max, listed.file.range.min));
        if !files.iter().all(|listed| listed.exact) {
            bisect(store, layout, &mut files, time).await?;
        }
        Ok::<_, crate::Error>(files)
    });
    let mut index = RemoteIndex::default();
    for listed in try_join_all(marked).await?.into_iter().flatten() {
        index.insert(listed.file);
    }
    Ok(index)
}

/// Marks the files of one level, in the order of their times, as captured before `time` or not.
async fn bisect(
    store: &dyn ObjectStore,
    layout: Layout,
    files: &mut Vec<Listed>,
    time: Timestamp,
) -> Result<()> {
    // All before `from` are known to be older than `time`, all from `to` on not to be.
    let (mut from, mut to) = (0, files.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let Some(listed) = files.get_mut(middle) else {
            break;
        };
        if !listed.exact {
            let key = layout.key(listed.file.level, listed.file.range);
            match store.head(key).await {
                Ok(meta) => {
                    listed.exact = true;
                    if let Some(millis) = meta.timestamp {
                        listed.file.created = Timestamp::from_millis(millis);
                    }
                }
                // Deleted since it was listed.
                Err(error) if error.is_not_found() => {
                    files.remove(middle);
                    to -= 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if listed.file.created < time {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    let just_before = Timestamp::from_millis(time.as_millis().saturating_sub(1));
    for (at, listed) in files.iter_mut().enumerate() {
        let is_before = listed.file.created < time;
        if is_before != (at < from) {
            // An upload is later than its capture, so the listed time can be on the wrong side.
            listed.file.created = if at < from { just_before } else { time };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
