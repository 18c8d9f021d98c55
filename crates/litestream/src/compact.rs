//! Merges files of one level into the next, and says what is due and what may be deleted.
//!
//! | Module | Owns |
//! |---|---|
//! | `ladder` | which files go up next, and the intervals |
//! | `retention` | what may be deleted |
//! | `contiguity` | whether the files of a level follow each other |
//!
//! The decisions are pure functions of the index; only [`compact`] and [`merge_into`] move bytes.
//! Invariant: what is merged is stored under its name in full, or not at all, and its inputs stay.

mod contiguity;
mod ladder;
mod retention;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use litestream_storage::{Body, ByteRange, Key, ObjectStore, PutOptions};
use ltx::{Decoder, Level, Timestamp, TxidRange};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use self::contiguity::{Finding, check_level};
pub(crate) use self::ladder::{Batch, first_input, inputs, interval_end};
pub(crate) use self::retention::{
    base_without_snapshot, expired_raw, expired_snapshots, raw_to_delete, snapshots_to_delete,
};
use crate::bridge::{ChunkReader, ChunkWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::local::LocalDir;
use crate::pool::Pool;
use crate::replica::{RemoteFile, Replica};

/// What a compaction has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compacted {
    /// The new file.
    pub(crate) file: RemoteFile,
    /// The batch was full: there is more of the same.
    pub(crate) more: bool,
}

/// Merges what is new in the level below into one file of `level`, up to a batch.
///
/// # Cost
/// Reads each input once, from the meta directory where it is there; one upload.
pub(crate) async fn compact(
    replica: &Replica,
    local: &LocalDir,
    pool: &Pool,
    level: Level,
) -> Result<Option<Compacted>> {
    let Batch { files, more } = replica.with_index(|index| inputs(index, level))?;
    let (Some(first), Some(last)) = (files.first(), files.last()) else {
        return Ok(None);
    };
    let Some(range) = TxidRange::new(first.range.min, last.range.max) else {
        return Ok(None);
    };
    let file = merge_into(replica, local, pool, files, level, range).await?;
    Ok(Some(Compacted { file, more }))
}

/// Merges `inputs`, oldest first, into one file.
///
/// Its time is that of its newest transaction, read from the newest input: a listing does not tell
/// it on every store.
///
/// # Errors
/// [`Error::ForeignWriter`], without a request, when another writer was seen.
///
/// # Cost
/// As for [`compact`].
pub(crate) async fn merge_into(
    replica: &Replica,
    local: &LocalDir,
    pool: &Pool,
    inputs: Vec<RemoteFile>,
    level: Level,
    range: TxidRange,
) -> Result<RemoteFile> {
    // Another writer may have been seen since this became due.
    replica.check_alone()?;
    let merged = merge_from(replica, Some(local), pool, &inputs, level, range).await;
    let is_local = |file: &RemoteFile| local_copy(local, file).is_some_and(|path| path.exists());
    match merged {
        Err(error) if error.kind() == ErrorKind::Corrupt && inputs.iter().any(is_local) => {
            // The replica has them all: what it has was verified when it was put there.
            tracing::warn!(
                replica = replica.kind(), level = level.get(), %error,
                "a local ltx file may be damaged, merging from the replica"
            );
            merge_from(replica, None, pool, &inputs, level, range).await
        }
        merged => merged,
    }
}

/// As [`merge_into`], from what the replica has alone.
///
/// # Errors
/// As [`merge_into`].
///
/// # Cost
/// Reads each input once, from the replica.
pub(crate) async fn merge_remote(
    replica: &Replica,
    pool: &Pool,
    inputs: &[RemoteFile],
    level: Level,
    range: TxidRange,
) -> Result<RemoteFile> {
    replica.check_alone()?;
    merge_from(replica, None, pool, inputs, level, range).await
}

/// The copy of a level-0 file in the meta directory, if it is still there.
fn local_copy(local: &LocalDir, file: &RemoteFile) -> Option<PathBuf> {
    (file.level == Level::RAW && file.range.is_single()).then(|| local.file(file.range.max))
}

async fn merge_from(
    replica: &Replica,
    local: Option<&LocalDir>,
    pool: &Pool,
    inputs: &[RemoteFile],
    level: Level,
    range: TxidRange,
) -> Result<RemoteFile> {
    let most = inputs.iter().map(|file| file.size).sum();
    let sources = Sources {
        store: Arc::clone(replica.store()),
        files: inputs
            .iter()
            .map(|file| InputFile {
                local: local.and_then(|local| local_copy(local, file)),
                key: replica.layout().key(file.level, file.range),
            })
            .collect(),
    };
    let (announce, announced) = oneshot::channel();
    let (writer, body) = ChunkWriter::new();
    let runtime = Handle::current();
    let merging = pool.run(move || merge(&sources, &runtime, writer, announce));
    let putting = async {
        // Without an announcement the merge has failed, and says why.
        let Ok(timestamp) = announced.await else {
            return Ok(None);
        };
        let options = PutOptions {
            timestamp: Some(timestamp.as_millis()),
            size_hint: Some(most),
            ..PutOptions::default()
        };
        let key = replica.layout().key(level, range);
        let meta = replica
            .store()
            .put(key, Body::Stream(body), options)
            .await?;
        Ok(Some((meta.size, timestamp)))
    };
    let (merged, put) = tokio::join!(merging, putting);
    let stored = told_first(merged, put)?;
    let (size, created) = stored.ok_or(Error::Closing { what: "compact" })?;
    replica.note_file(level, range, size, created);
    Ok(RemoteFile {
        level,
        range,
        size,
        created,
    })
}

/// Of two errors the one that caused the other: a writer whose upload ended is told so by its
/// channel, an upload whose writer failed by its body.
pub(crate) fn told_first<T>(
    written: Result<()>,
    put: Result<T, litestream_storage::Error>,
) -> Result<T> {
    match (written, put) {
        (Ok(()), put) => Ok(put?),
        (Err(written), Err(put)) if put.kind() != litestream_storage::ErrorKind::Cancelled => {
            drop(written);
            Err(put.into())
        }
        (Err(written), _) => Err(written),
    }
}

/// Where the bytes of a merge come from.
struct Sources {
    store: Arc<dyn ObjectStore>,
    files: Vec<InputFile>,
}

struct InputFile {
    /// The local copy of a level-0 file: cheaper, and visible at once.
    local: Option<PathBuf>,
    key: Key,
}

impl InputFile {
    fn open(&self, store: &dyn ObjectStore, runtime: &Handle) -> Result<Box<dyn Read + Send>> {
        if let Some(path) = &self.local {
            match File::open(path) {
                Ok(file) => return Ok(Box::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", path, error)),
            }
        }
        let object = runtime.block_on(store.get(self.key.clone(), ByteRange::ALL))?;
        Ok(Box::new(ChunkReader::spawn(object.body)))
    }
}

/// Runs on a pool thread: opens the inputs only when there is room for the work, so that no
/// connection waits idle.
fn merge(
    sources: &Sources,
    runtime: &Handle,
    mut writer: ChunkWriter,
    announce: oneshot::Sender<Timestamp>,
) -> Result<()> {
    let fail = |source| Error::LtxStream {
        operation: "compact",
        source,
    };
    let begin = || {
        let mut decoders = Vec::with_capacity(sources.files.len());
        for file in &sources.files {
            let reader = file.open(&*sources.store, runtime)?;
            decoders.push(Decoder::new(reader, file.key.as_str()).map_err(fail)?);
        }
        ltx::Merge::new(decoders).map_err(fail)
    };
    let merge = begin()?;
    let gone = |error| Error::io("upload", std::path::Path::new("compaction"), error);
    if announce.send(merge.header().timestamp).is_err() {
        return Err(Error::Closing { what: "compact" });
    }
    match merge.encode(&mut writer) {
        Ok(_) => writer.finish().map_err(gone),
        Err(error) => {
            writer.fail(&error.to_string());
            Err(fail(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use ltx::Txid;

    use super::*;
    use crate::replica::RemoteIndex;

    pub(super) fn file(level: u8, min: u64, max: u64) -> RemoteFile {
        aged(level, min, max, Timestamp::from_millis(0), 0)
    }

    /// A file that came so many milliseconds before `now`.
    pub(super) fn aged(level: u8, min: u64, max: u64, now: Timestamp, age: i64) -> RemoteFile {
        let (min, max) = (Txid::new(min).unwrap(), Txid::new(max).unwrap());
        RemoteFile {
            level: Level::new(level).unwrap(),
            range: TxidRange::new(min, max).unwrap(),
            size: 200,
            created: Timestamp::from_millis(now.as_millis() - age),
        }
    }

    pub(super) fn index(files: &[(u8, u64, u64)]) -> RemoteIndex {
        let mut index = RemoteIndex::default();
        for (level, min, max) in files {
            index.insert(file(*level, *min, *max));
        }
        index
    }
}
