//! Brings level-0 files to the replica, strictly in order.
//!
//! The first one, transaction 1, is the whole database: see `base`.
//!
//! The order for each file: it is durable locally; it is put; the store returns success; the index
//! notes it; the transaction is acknowledged. An error in between leaves the acknowledged
//! transaction where it was, and the same file is put again: that is harmless, its bytes are equal.

use std::time::Duration;

use litestream_storage::{self as storage, ByteRange, Condition, Key, PutOptions};
use ltx::{Level, PageSize, Txid, TxidRange};

use super::base::level_of;
use super::checked::Checked;
use super::{RemoteFile, RemoteIndex, Replica};
use crate::capture::Extent;
use crate::error::{Error, Result};
use crate::local::{Ends, LocalDir};
use crate::restore::{Target, plan};

const DIVERGED: &str = "nothing proves that the replica has our history";

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
    /// The whole database under the transaction `claim`, then a snapshot of the local state.
    Takeover { claim: Txid, reason: &'static str },
    /// The replica's history is ahead of ours, or another one: the database must be captured anew
    /// with a transaction above this one.
    Base {
        above: Txid,
        reason: &'static str,
        extent: Extent,
    },
}

/// What a replica needs that holds another history up to `newest`, once the database has been
/// captured anew above `above`.
///
/// The first thing put there is the whole database under the very next transaction: it follows on
/// anything, and a writer of the other history that is still alive finds its place taken.
fn after_divergence(local: &LocalDir, position: Txid, newest: Option<Txid>, above: Txid) -> Need {
    if position <= above {
        return Need::Base {
            above,
            reason: DIVERGED,
            extent: Extent::Whole,
        };
    }
    if newest == Some(above) && local.file_size(above.next()) > 0 {
        return Need::Files {
            first: above.next(),
            last: position,
        };
    }
    Need::Takeover {
        claim: newest.map_or(Txid::FIRST, Txid::next),
        reason: DIVERGED,
    }
}

/// A level-0 file that the store has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uploaded {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Where it was put.
    pub(crate) level: Level,
}

/// Whether the newest file of a replica is of the history of the local files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Ours,
    Other,
    /// The local file of that transaction is gone.
    Unproved,
}

impl Replica {
    /// Compares the replica with the local state. Lists the replica unless its index is known, and
    /// looks for another writer after `quiet` without a request.
    ///
    /// # Errors
    /// [`Error::ForeignWriter`], from then on without any request until replication is started anew.
    pub(crate) async fn need(
        &self,
        local: &LocalDir,
        position: Txid,
        quiet: Duration,
    ) -> Result<Need> {
        self.check_alone()?;
        self.ensure_index().await?;
        self.look_for_others(quiet).await?;
        let newest = self.with_index(RemoteIndex::max)?;
        let diverged = *self.diverged();
        if let Some(above) = diverged {
            if newest <= Some(above) {
                return Ok(after_divergence(local, position, newest, above));
            }
            // What was put on top of the other history is there.
            *self.diverged() = None;
        }
        let Some(newest) = newest else {
            return Ok(Need::Files {
                first: Txid::FIRST,
                last: position,
            });
        };
        let acknowledged = self.acknowledged();
        if newest > position {
            if acknowledged.is_some() {
                return Err(self.fence(newest));
            }
            self.accept(Some(newest));
            return Ok(Need::Base {
                above: newest,
                reason: "database behind replica",
                extent: Extent::Difference,
            });
        }
        if Some(newest) > acknowledged
            && let Some(need) = self.judge(local, position, newest).await?
        {
            return Ok(need);
        }
        if self.watch.take_listed() || Some(newest) > acknowledged {
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

    /// Whether the file of a transaction is to follow what is not of the history of the local files before it.
    pub(crate) fn begins_anew(&self, txid: Txid) -> bool {
        let is_accepted = |before| self.watch.has_accepted(before);
        self.diverged().is_some() || txid.prev().is_some_and(is_accepted)
    }

    /// What follows from a newest file that is not acknowledged: it is from before the start, or was put
    /// by a call that seemed to fail, or is not ours. `None` when it is ours.
    async fn judge(&self, local: &LocalDir, position: Txid, newest: Txid) -> Result<Option<Need>> {
        match self.origin(local, newest).await? {
            Origin::Ours => return Ok(None),
            Origin::Other if self.acknowledged().is_some() => return Err(self.fence(newest)),
            Origin::Other | Origin::Unproved => {}
        }
        if newest.next() < position {
            return Ok(Some(Need::Takeover {
                claim: newest.next(),
                reason: DIVERGED,
            }));
        }
        // The next transaction is to be the whole database, so that no file of ours comes directly after
        // one of theirs.
        *self.diverged() = Some(position);
        Ok(Some(after_divergence(
            local,
            position,
            Some(newest),
            position,
        )))
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
    /// One small ranged read when the file before was not put by this process and is not there locally.
    async fn fits_chain(&self, local: &LocalDir, txid: Txid, ours: PageSize) -> Result<bool> {
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
        let last = *self.last_put();
        if let Some((_, theirs)) =
            last.filter(|(last, _)| (*last, before) == (newest.range.max, *last))
        {
            return Ok(theirs == ours);
        }
        let files = local.clone();
        // A damaged file is as good as none.
        let theirs = match local.pool().run(move || files.sound_ends(before)).await? {
            Some(before) => Some(before.header),
            None => self.read_header(&newest).await?,
        };
        Ok(theirs.is_none_or(|theirs| theirs.page_size == ours))
    }

    async fn read_header(&self, file: &RemoteFile) -> Result<Option<ltx::Header>> {
        let head = ByteRange::new(0, ltx::HEADER_SIZE as u64);
        let head = self.read(file.level, file.range, head).await?;
        Ok(head
            .first_chunk()
            .and_then(|bytes| ltx::Header::decode(bytes).ok()))
    }

    /// Whether nothing speaks against the replica's newest file being of our history.
    ///
    /// # Cost
    /// As for [`Self::origin`].
    pub(crate) async fn may_be_ours(&self, local: &LocalDir, newest: Txid) -> Result<bool> {
        Ok(self.origin(local, newest).await? != Origin::Other)
    }

    /// Whether the replica's newest file is of the history that the local files are of.
    ///
    /// # Cost
    /// One small ranged read, once after start.
    async fn origin(&self, local: &LocalDir, newest: Txid) -> Result<Origin> {
        let files = local.clone();
        let ours = local.pool().run(move || files.sound_ends(newest)).await?;
        let Some(ours) = ours else {
            let accepted = self.watch.has_accepted(newest);
            return Ok(if accepted {
                Origin::Ours
            } else {
                Origin::Unproved
            });
        };
        let remote =
            self.with_index(|index| index.files().find(|file| file.range.max == newest).copied())?;
        let Some(remote) = remote else {
            return Ok(Origin::Ours);
        };
        let is_base = newest == Txid::FIRST;
        if remote.range.is_single() && (remote.level == Level::RAW || is_base) {
            let is_same = self.is_same(&remote, &ours).await?;
            if is_same || remote.level == Level::RAW {
                return Ok(if is_same { Origin::Ours } else { Origin::Other });
            }
        }
        // A compacted file carries the time of its newest transaction.
        let theirs = self.read_header(&remote).await?;
        let is_same = match (remote.level, theirs) {
            // Another snapshot of transaction 1 is ours if it was taken of the same WAL.
            (Level::SNAPSHOT, Some(theirs)) if is_base => salts(&theirs) == salts(&ours.header),
            (Level::SNAPSHOT, theirs) => {
                return Ok(theirs.map_or(Origin::Unproved, |theirs| {
                    of_snapshot(&theirs, &ours.header)
                }));
            }
            (_, theirs) => theirs.is_some_and(|theirs| theirs.timestamp == ours.header.timestamp),
        };
        Ok(if is_same { Origin::Ours } else { Origin::Other })
    }

    /// Whether a file of the replica is the local one, by size and trailer.
    pub(super) async fn is_same(&self, remote: &RemoteFile, ours: &Ends) -> Result<bool> {
        if remote.size != ours.size {
            return Ok(false);
        }
        let start = ours.size - ours.trailer.len() as u64;
        let tail = ByteRange::new(start, ours.trailer.len() as u64);
        Ok(self.read(remote.level, remote.range, tail).await?[..] == ours.trailer)
    }

    /// Verifies one level-0 file, puts it and acknowledges its transaction. An object that is there already is
    /// never replaced: it is the same file, put by a call whose answer was lost, or another writer's.
    ///
    /// Answers what it has put, or `None` when its page size does not fit what is in the replica: nothing is
    /// put then.
    ///
    /// # Durability
    /// When this returns, the transaction is restorable from the replica.
    ///
    /// # Errors
    /// [`Error::LtxMissing`] and [`Error::LtxDamaged`] when the local file is of no use: nothing is put.
    ///
    /// # Cost
    /// One request; on stores without conditional writes one more, to see that the key is free; for the base one
    /// more, to see that there is no other.
    pub(crate) async fn upload(&self, local: &LocalDir, txid: Txid) -> Result<Option<Uploaded>> {
        self.check_alone()?;
        let file = Checked::read(local, txid).await?;
        let header = file.ends.header;
        if !self.fits_chain(local, txid, header.page_size).await? {
            return Ok(None);
        }
        let level = level_of(&file, txid);
        let uploaded = self.put_on(&file, level, txid).await?;
        if txid == Txid::FIRST {
            self.has_only_base(&file, level).await?;
        }
        *self.last_put() = Some((txid, header.page_size));
        *self.diverged() = None;
        self.acknowledge(txid);
        Ok(Some(uploaded))
    }

    /// Puts the file of a transaction on one level.
    pub(super) async fn put_on(
        &self,
        file: &Checked,
        level: Level,
        txid: Txid,
    ) -> Result<Uploaded> {
        let (range, created) = (TxidRange::single(txid), file.ends.header.timestamp);
        let key = self.layout.key(level, range);
        self.begin_put(level, range);
        let size = if let Some(size) = self.put_new(file, &key).await? {
            size
        } else {
            let size = self.store.head(key).await?.size;
            let there = RemoteFile {
                level,
                range,
                size,
                created,
            };
            let is_noted = |index: &RemoteIndex| {
                let mut snapshots = index.level(level).iter();
                snapshots.any(|file| file.range == range)
            };
            // A snapshot of the same state that this process has put meanwhile.
            let is_known = level == Level::SNAPSHOT && self.with_index(is_noted)?;
            if !is_known && !self.is_same(&there, &file.ends).await? {
                return Err(self.fence(txid));
            }
            size
        };
        self.note_file(level, range, size, created);
        Ok(Uploaded { size, level })
    }

    /// Puts a file unless its key is taken; gives the stored size.
    async fn put_new(&self, file: &Checked, key: &Key) -> Result<Option<u64>> {
        let put = |condition| {
            let options = PutOptions {
                timestamp: Some(file.ends.header.timestamp.as_millis()),
                size_hint: Some(file.ends.size),
                condition,
            };
            self.store.put(key.clone(), file.body(), options)
        };
        if self.watch.has_conditions() {
            match put(Condition::IfAbsent).await {
                Ok(meta) => return Ok(Some(meta.size)),
                Err(error) if error.kind() == storage::ErrorKind::AlreadyExists => {
                    return Ok(None);
                }
                Err(error) if error.kind() == storage::ErrorKind::Unsupported => {
                    self.watch.no_conditions();
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !self.is_free(key).await? {
            return Ok(None);
        }
        Ok(Some(put(Condition::None).await?.size))
    }

    async fn is_free(&self, key: &Key) -> Result<bool> {
        match self.store.head(key.clone()).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == storage::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// On stores without conditional writes: fails if the key of a transaction in level 0 is taken.
    pub(crate) async fn check_free(&self, txid: Txid) -> Result<()> {
        let key = self.layout.key(Level::RAW, TxidRange::single(txid));
        if self.watch.has_conditions() || self.is_free(&key).await? {
            return Ok(());
        }
        Err(self.fence(txid))
    }

    /// On stores without conditional writes: fails if a key is taken, as a conditional put would.
    pub(crate) async fn check_vacant(&self, level: Level, range: TxidRange) -> Result<()> {
        let key = self.layout.key(level, range);
        if self.watch.has_conditions() || self.is_free(&key).await? {
            return Ok(());
        }
        let error = storage::Error::new(storage::ErrorKind::AlreadyExists, storage::Operation::Put);
        Err(error.with_key(&key).into())
    }

    /// What the error of a put means that was to take a free key of level 0: a key that is taken shows
    /// another writer.
    pub(crate) fn claim_failed(&self, txid: Txid, error: storage::Error) -> Error {
        match error.kind() {
            storage::ErrorKind::AlreadyExists => self.fence(txid),
            _ => error.into(),
        }
    }

    /// Notes it if this is how a store says that it has no conditional writes; `true` the first time.
    pub(crate) fn learns_of_no_conditions(&self, error: &Error) -> bool {
        let says = matches!(
            error,
            Error::Storage(error) if error.kind() == storage::ErrorKind::Unsupported
        );
        let is_news = says && self.watch.has_conditions();
        if is_news {
            self.watch.no_conditions();
        }
        is_news
    }
}

fn salts(header: &ltx::Header) -> (u32, u32) {
    (header.wal_salt1, header.wal_salt2)
}

/// Whether a snapshot is of the history of the local file of its transaction. It says where in the WAL the state
/// ends that it holds, if it was read from the database; a merged one has the time of that transaction.
/// Where the WAL was started anew in between, nothing is proved.
fn of_snapshot(theirs: &ltx::Header, ours: &ltx::Header) -> Origin {
    let end = |header: &ltx::Header| header.wal_offset + header.wal_size;
    let same_wal = salts(theirs) == salts(ours);
    if theirs.timestamp == ours.timestamp || (same_wal && end(theirs) == end(ours)) {
        Origin::Ours
    } else if same_wal || theirs.timestamp < ours.timestamp {
        Origin::Other
    } else {
        Origin::Unproved
    }
}
