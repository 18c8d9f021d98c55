//! Brings level-0 files to the replica, strictly in order.
//!
//! The order for each file: it is durable locally; it is put; the store returns success; the index
//! notes it; the transaction is acknowledged. An error in between leaves the acknowledged
//! transaction where it was, and the same file is put again: that is harmless, its bytes are equal.

use litestream_storage::{Body, ByteRange, PutOptions};
use ltx::{Level, Timestamp, Txid, TxidRange};

use super::{RemoteFile, RemoteIndex, Replica};
use crate::error::{Error, Result};
use crate::local::LocalDir;
use crate::restore::{Target, plan};

const DIVERGED: &str = "replica has another history";

/// What has to be done to bring the replica up to the local position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is there.
    Nothing,
    /// These level-0 files, one after the other. If one of them is gone locally, a snapshot of the
    /// local state closes the gap.
    Files { first: Txid, last: Txid },
    /// A snapshot of the local state: level-0 files would not lead to it.
    Snapshot { reason: &'static str },
    /// The replica's history is ahead of ours, or another one: the database must be captured anew
    /// with a transaction above this one.
    Base { above: Txid, reason: &'static str },
}

impl Replica {
    /// Compares the replica with the local state. Lists the replica unless its index is known.
    pub(crate) async fn need(&self, local: &LocalDir, position: Txid) -> Result<Need> {
        self.ensure_index().await?;
        let diverged = *self.diverged();
        if let Some(above) = diverged {
            return Ok(if position <= above {
                Need::Base {
                    above,
                    reason: DIVERGED,
                }
            } else {
                Need::Snapshot { reason: DIVERGED }
            });
        }
        let Some(newest) = self.with_index(RemoteIndex::max)? else {
            return Ok(Need::Files {
                first: Txid::FIRST,
                last: position,
            });
        };
        if newest > position {
            return Ok(Need::Base {
                above: newest,
                reason: "database behind replica",
            });
        }
        // More than is acknowledged: from before the start, or put by a call that seemed to fail.
        if Some(newest) > self.acknowledged() {
            if !self.is_ours(local, newest).await? {
                *self.diverged() = Some(position);
                return Ok(Need::Base {
                    above: position,
                    reason: DIVERGED,
                });
            }
            let whole = self.with_index(|index| {
                plan(index, Target::Latest).is_ok_and(|plan| plan.txid() == newest)
            })?;
            if !whole {
                return Ok(Need::Snapshot {
                    reason: "replica has a hole",
                });
            }
            self.acknowledge(newest);
        }
        if newest == position {
            return Ok(Need::Nothing);
        }
        Ok(Need::Files {
            first: newest.next(),
            last: position,
        })
    }

    /// Notes that a snapshot of everything up to `txid` is in the replica.
    pub(crate) fn caught_up(&self, txid: Txid) {
        *self.diverged() = None;
        self.acknowledge(txid);
    }

    /// Whether a level-0 file has the page size of what it would follow in the replica: a chain of
    /// two page sizes can neither be merged nor restored.
    ///
    /// # Cost
    /// One small ranged read when the file before is not there locally.
    pub(crate) async fn fits_chain(&self, local: &LocalDir, txid: Txid) -> Result<bool> {
        let newest = self.with_index(|index| {
            let max = index.max();
            index
                .files()
                .find(|file| Some(file.range.max) == max)
                .copied()
        })?;
        let (Some(newest), Some(before)) = (newest, txid.prev()) else {
            return Ok(true);
        };
        let (path, before) = (local.file(txid), local.file(before));
        let ends =
            tokio::task::spawn_blocking(move || (read_ends(&path), read_ends(&before))).await;
        let (ours, before) = ends.map_err(|_| Error::Closing {
            what: "compare with replica",
        })?;
        let (Some((ours, ..)), before) = (ours?, before?) else {
            return Ok(true);
        };
        let theirs = match before {
            Some((before, ..)) => Some(before),
            None => self.read_header(&newest).await?,
        };
        Ok(theirs.is_none_or(|theirs| theirs.page_size == ours.page_size))
    }

    async fn read_header(&self, file: &RemoteFile) -> Result<Option<ltx::Header>> {
        let head = ByteRange::new(0, ltx::HEADER_SIZE as u64);
        let head = self.read(file.level, file.range, head).await?;
        Ok(head
            .first_chunk()
            .and_then(|bytes| ltx::Header::decode(bytes).ok()))
    }

    /// Whether the replica's newest file is of the history that the local files are of.
    ///
    /// # Cost
    /// One small ranged read, once after start.
    async fn is_ours(&self, local: &LocalDir, newest: Txid) -> Result<bool> {
        let path = local.file(newest);
        let ours = tokio::task::spawn_blocking(move || read_ends(&path)).await;
        let ours = ours.map_err(|_| Error::Closing {
            what: "compare with replica",
        })??;
        // Without the local file there is nothing to compare: it was acknowledged and removed.
        let Some((header, trailer, size)) = ours else {
            return Ok(true);
        };
        let remote =
            self.with_index(|index| index.files().find(|file| file.range.max == newest).copied())?;
        let Some(remote) = remote else {
            return Ok(true);
        };
        if remote.range.is_single() && remote.level == Level::RAW {
            if remote.size != size {
                return Ok(false);
            }
            let start = size - trailer.len() as u64;
            let tail = ByteRange::new(start, trailer.len() as u64);
            return Ok(self.read(remote.level, remote.range, tail).await?[..] == trailer);
        }
        // A compacted file carries the time of its newest transaction.
        let theirs = self.read_header(&remote).await?;
        Ok(remote.level == Level::SNAPSHOT
            || theirs.is_some_and(|theirs| theirs.timestamp == header.timestamp))
    }

    /// Puts one level-0 file and acknowledges its transaction.
    ///
    /// # Durability
    /// When this returns, the transaction is restorable from the replica.
    pub(crate) async fn upload(&self, local: &LocalDir, txid: Txid) -> Result<u64> {
        let path = local.file(txid);
        let known = tokio::task::spawn_blocking({
            let path = path.clone();
            move || read_ends(&path)
        });
        let known = known
            .await
            .map_err(|_| Error::Closing { what: "upload" })??;
        let Some((header, _, size)) = known else {
            return Err(Error::LtxMissing { path });
        };
        let range = TxidRange::single(txid);
        let put = self.store.put(
            self.layout.key(Level::RAW, range),
            Body::File { path, size },
            PutOptions {
                timestamp: Some(header.timestamp.as_millis()),
                ..PutOptions::default()
            },
        );
        let meta = put.await?;
        self.note_file(Level::RAW, range, meta.size, header.timestamp);
        self.acknowledge(txid);
        Ok(size)
    }

    pub(crate) fn note_file(&self, level: Level, range: TxidRange, size: u64, created: Timestamp) {
        self.update_index(|index| {
            index.insert(RemoteFile {
                level,
                range,
                size,
                created,
            });
        });
    }
}

type Ends = (ltx::Header, [u8; ltx::TRAILER_SIZE], u64);

/// Header, trailer and size of a local file; `None` when it is not there.
fn read_ends(path: &std::path::Path) -> Result<Option<Ends>> {
    use std::io::{Read, Seek, SeekFrom};
    let fail = |error| Error::io("read", path, error);
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut header = [0; ltx::HEADER_SIZE];
    let mut trailer = [0; ltx::TRAILER_SIZE];
    file.read_exact(&mut header).map_err(fail)?;
    file.seek(SeekFrom::End(-(ltx::TRAILER_SIZE as i64)))
        .map_err(fail)?;
    file.read_exact(&mut trailer).map_err(fail)?;
    let size = file.stream_position().map_err(fail)?;
    let header = ltx::Header::decode(&header).map_err(|error| Error::ltx("decode", path, error))?;
    Ok(Some((header, trailer, size)))
}
