//! Merges files of one level into the next, and says what retention may delete.
//!
//! The decisions are pure functions of the index. Invariant: a file is deleted only if another file
//! that stays covers its transactions, or if everything it is needed for has been deleted by
//! policy; the newest file of a level always stays.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use litestream_storage::{Body, ByteRange, PutOptions};
use ltx::{Decoder, Level, Timestamp, TxidRange};

use crate::bridge::{ChunkReader, ChunkWriter};
use crate::error::{Error, Result};
use crate::local::LocalDir;
use crate::pool::Pool;
use crate::replica::{RemoteFile, RemoteIndex, Replica};

/// Files merged in one go; what is left over is merged next.
const MOST_INPUTS: usize = 256;
/// Milliseconds from 0001-01-01 to the Unix epoch: intervals are counted from there.
const YEAR_ONE: i64 = 62_135_596_800_000;

/// Files of the level below that are not in `level` yet, up to the first hole.
fn inputs(index: &RemoteIndex, level: Level) -> Vec<RemoteFile> {
    let Some(below) = level.below() else {
        return Vec::new();
    };
    let done = index.level_max(level);
    let mut inputs: Vec<RemoteFile> = Vec::new();
    for file in index
        .level(below)
        .iter()
        .filter(|file| Some(file.range.min) > done)
    {
        let follows = inputs
            .last()
            .is_none_or(|last| file.range.extends(&last.range));
        if !follows || inputs.len() == MOST_INPUTS {
            break;
        }
        inputs.push(*file);
    }
    inputs
}

/// The oldest file that is not merged into `level` yet.
pub(crate) fn first_input(index: &RemoteIndex, level: Level) -> Option<RemoteFile> {
    inputs(index, level).first().copied()
}

/// The end of the interval that a time lies in. Intervals are aligned as the reference aligns them,
/// from the year 1 on.
pub(crate) fn interval_end(time: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    let since = time.as_millis().saturating_add(YEAR_ONE);
    let start = since - since.rem_euclid(interval);
    Timestamp::from_millis(start.saturating_add(interval).saturating_sub(YEAR_ONE))
}

/// Merges what is new in the level below into one file of `level`.
///
/// # Cost
/// Reads each input once, from the meta directory where it is there; one upload.
pub(crate) async fn compact(
    replica: &Replica,
    local: &LocalDir,
    pool: &Pool,
    level: Level,
) -> Result<Option<RemoteFile>> {
    let inputs = replica.with_index(|index| inputs(index, level))?;
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
        return Ok(None);
    };
    let Some(range) = TxidRange::new(first.range.min, last.range.max) else {
        return Ok(None);
    };
    let timestamp = last.created;
    let mut sources: Vec<(String, Box<dyn Read + Send>)> = Vec::with_capacity(inputs.len());
    for file in &inputs {
        let key = replica.layout().key(file.level, file.range);
        let name = key.as_str().to_owned();
        let reader = if let Some(reader) = open_local(local, file) {
            reader
        } else {
            let object = replica.store().get(key, ByteRange::ALL).await?;
            Box::new(ChunkReader::spawn(object.body))
        };
        sources.push((name, reader));
    }
    let (writer, body) = ChunkWriter::new();
    let merged = pool.run(move || merge(sources, writer));
    let options = PutOptions {
        timestamp: Some(timestamp.as_millis()),
        ..PutOptions::default()
    };
    let put = replica.store().put(
        replica.layout().key(level, range),
        Body::Stream(body),
        options,
    );
    let (merged, put) = tokio::join!(merged, put);
    let meta = put?;
    merged?;
    let file = RemoteFile {
        level,
        range,
        size: meta.size,
        created: timestamp,
    };
    replica.note_file(level, range, meta.size, timestamp);
    Ok(Some(file))
}

/// The local copy of a level-0 file: cheaper, and certainly whole.
fn open_local(local: &LocalDir, file: &RemoteFile) -> Option<Box<dyn Read + Send>> {
    if file.level != Level::RAW {
        return None;
    }
    let file = File::open(local.file(file.range.max)).ok()?;
    Some(Box::new(file))
}

fn merge(sources: Vec<(String, Box<dyn Read + Send>)>, mut writer: ChunkWriter) -> Result<()> {
    let fail = |source| Error::LtxStream {
        operation: "compact",
        source,
    };
    let mut decoders = Vec::with_capacity(sources.len());
    for (name, reader) in sources {
        match Decoder::new(reader, name) {
            Ok(decoder) => decoders.push(decoder),
            Err(error) => {
                writer.fail(&error.to_string());
                return Err(fail(error));
            }
        }
    }
    match ltx::merge(decoders, &mut writer) {
        Ok(_) => writer
            .finish()
            .map_err(|error| Error::io("upload", std::path::Path::new("compaction"), error)),
        Err(error) => {
            writer.fail(&error.to_string());
            Err(fail(error))
        }
    }
}

/// The level-0 files that are compacted and of which the oldest passes its time first, and when.
pub(crate) fn expired_raw(
    index: &RemoteIndex,
    retention: Duration,
) -> Option<(RemoteFile, Timestamp)> {
    let compacted = index.level_max(Level::new(1)?)?;
    let files = index.level(Level::RAW);
    let first = files
        .first()
        .filter(|file| files.len() > 1 && file.range.max <= compacted)?;
    (!retention.is_zero()).then(|| (*first, later(first.created, retention)))
}

/// The level-0 files to delete now: compacted, old enough, a run from the oldest on, never the newest.
pub(crate) fn raw_to_delete(
    index: &RemoteIndex,
    retention: Duration,
    now: Timestamp,
) -> Vec<RemoteFile> {
    let Some(compacted) = Level::new(1).and_then(|level| index.level_max(level)) else {
        return Vec::new();
    };
    let files = index.level(Level::RAW);
    let keep = files.len().saturating_sub(1);
    let old = files
        .iter()
        .take(keep)
        .take_while(|file| file.range.max <= compacted && later(file.created, retention) <= now);
    old.copied().collect()
}

/// The oldest snapshot, if there is a newer one, and when it passes its time.
pub(crate) fn expired_snapshots(
    index: &RemoteIndex,
    retention: Duration,
) -> Option<(RemoteFile, Timestamp)> {
    let snapshots = index.level(Level::SNAPSHOT);
    let first = snapshots.first().filter(|_| snapshots.len() > 1)?;
    Some((*first, later(first.created, retention)))
}

/// Snapshots past their time but for the newest, and files of the levels between that end before
/// the newest snapshot that is deleted: a restore in flight that was planned on that snapshot still
/// finds what follows it.
pub(crate) fn snapshots_to_delete(
    index: &RemoteIndex,
    retention: Duration,
    levels: usize,
    now: Timestamp,
) -> Vec<RemoteFile> {
    let snapshots = index.level(Level::SNAPSHOT);
    let keep = snapshots.len().saturating_sub(1);
    let expired = snapshots
        .iter()
        .take(keep)
        .filter(|file| later(file.created, retention) <= now);
    let mut delete: Vec<RemoteFile> = expired.copied().collect();
    let Some(floor) = delete.iter().map(|file| file.range.max).max() else {
        return delete;
    };
    for level in Level::ALL.into_iter().skip(1).take(levels) {
        let files = index.level(level);
        let keep = files.len().saturating_sub(1);
        delete.extend(
            files
                .iter()
                .take(keep)
                .filter(|file| file.range.max < floor)
                .copied(),
        );
    }
    delete
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_add(by))
}
