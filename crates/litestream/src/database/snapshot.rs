//! Writes snapshots of the whole database to a replica, while captures go on.
//!
//! The normal way reads the database: that costs no request and no traffic. A third connection holds
//! a read transaction for as long as the snapshot is read: the WAL cannot be started anew and
//! nothing behind it gets into the database file, so that WAL and file together stay the state of
//! one transaction. Nothing is staged on the local disk.
//!
//! The price is a WAL that grows for as long as the upload takes. Where it grows past its bound the
//! reader is given up, and the snapshot is merged from what the replica holds already: the snapshot
//! before and the files since. That reads everything from the store once, but does not touch the
//! database.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use litestream_storage::{Body, Condition, PutOptions};
use ltx::{Encoder, Header, Level, Timestamp, Txid, TxidRange};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Inner, uploader};
use crate::bridge::ChunkWriter;
use crate::capture::{Frozen, encode_image, with_suffix};
use crate::compact::{base_without_snapshot, merge_into, merge_remote, told_first};
use crate::error::{Error, Result};
use crate::replica::{RemoteFile, Replica};
use crate::restore::{Target, plan};
use crate::settings::defaults;

/// Pages between two looks at the size of the WAL.
const PAGES_PER_LOOK: u32 = 256;

/// Writes a snapshot of the newest captured transaction.
///
/// The level-0 files up to it go first: nothing at or below the newest file of a replica is put
/// there any more, so a snapshot that came sooner would leave a hole in level 0 for ever.
///
/// # Cost
/// One upload of the whole database, compressed; no download unless the WAL grows past its bound.
pub(super) async fn write(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Txid> {
    write_within(inner, replica, Some(most_wal(inner))).await
}

/// The snapshot of a replica that has none: the base that is in level 0, as it is. The ladder stands on it.
/// Answers whether it is there.
///
/// # Cost
/// One upload of the base; read from the meta directory, or where it is gone there, from the replica.
pub(super) async fn copy_base(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<bool> {
    let Some(base) = replica.with_index(|index| base_without_snapshot(index).copied())? else {
        return Ok(false);
    };
    let local = &inner.local;
    let size = if let Some(copied) = replica.copy_base(local, &base).await? {
        copied.size
    } else {
        let pool = &inner.shared.snapshot_pool;
        let (inputs, level) = ([base], Level::SNAPSHOT);
        merge_remote(replica, pool, &inputs, level, base.range)
            .await?
            .size
    };
    complete(inner, replica, Txid::FIRST, size);
    Ok(true)
}

/// As [`write`], with the reader given up when the WAL grows past `most_wal` bytes.
pub(super) async fn write_within(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    most_wal: Option<u64>,
) -> Result<Txid> {
    inner.capture_all().await?;
    let position = inner.position().ok_or(Error::NoPosition)?;
    uploader::upload_up_to(inner, replica, position).await?;
    // Without another way there is no giving up.
    let most_wal = most_wal.filter(|_| base_of(replica).is_some());
    let image = Image {
        most_wal,
        place: Place::BehindFiles,
    };
    if let Some(txid) = put(inner, replica, image).await? {
        return Ok(txid);
    }
    tracing::info!(
        system = "store",
        db = inner.name,
        replica = inner.one_of_several(replica),
        wal_limit = most_wal,
        "wal grew too long while the snapshot was read, merging it from the replica"
    );
    merge(inner, replica).await
}

/// Brings a replica up to date with a snapshot where level-0 files do not lead on. It never takes the place of
/// one that is there: that would be of another writer, or of ours with a lost answer. Which of them is
/// found out with the listing that follows on the error.
///
/// # Cost
/// As for [`write`].
pub(super) async fn catch_up(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<()> {
    let image = Image {
        most_wal: None,
        place: Place::Snapshot,
    };
    let snapshot = put_if_free(inner, replica, image);
    if let Some(txid) = inner.shared.catching_up.pass(snapshot).await? {
        replica.caught_up(txid);
    }
    Ok(())
}

/// Puts the whole database into level 0 under a transaction that comes right after what a replica holds
/// of another history.
///
/// # Errors
/// [`Error::ForeignWriter`] when the place is taken.
///
/// # Cost
/// As for [`write`].
pub(super) async fn claim(inner: &Arc<Inner>, replica: &Arc<Replica>, txid: Txid) -> Result<()> {
    let image = Image {
        most_wal: None,
        place: Place::Claim(txid),
    };
    put_if_free(inner, replica, image).await.map(drop)
}

/// As [`put`], once more if the store says that it has no conditional writes: then it is looked whether the
/// place is free.
async fn put_if_free(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    image: Image,
) -> Result<Option<Txid>> {
    match put(inner, replica, image).await {
        Err(error) if replica.learns_of_no_conditions(&error) => put(inner, replica, image).await,
        result => result,
    }
}

/// How the database is read, and where the image goes.
#[derive(Debug, Clone, Copy)]
struct Image {
    /// Bytes of WAL from which on the reader is given up.
    most_wal: Option<u64>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A snapshot, under a key that must be free.
    Snapshot,
    /// A snapshot; the level-0 files up to it go to the replica before.
    BehindFiles,
    /// Level 0, under a key that must be free.
    Claim(Txid),
}

impl Place {
    /// Where the image of a transaction goes.
    fn of(self, txid: Txid) -> (Level, TxidRange) {
        match self {
            Self::Snapshot | Self::BehindFiles => (Level::SNAPSHOT, image_of(txid)),
            Self::Claim(txid) => (Level::RAW, TxidRange::single(txid)),
        }
    }
}

/// Reads the database into an upload. `None` when the WAL grew past its bound.
///
/// Boxed, because an upload may itself catch up with a snapshot.
fn put<'a>(
    inner: &'a Arc<Inner>,
    replica: &'a Arc<Replica>,
    image: Image,
) -> BoxFuture<'a, Result<Option<Txid>>> {
    put_image(inner, replica, image).boxed()
}

async fn put_image(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    image: Image,
) -> Result<Option<Txid>> {
    replica.check_alone()?;
    // Opens the database if need be.
    inner.capture_all().await?;
    let (announce, announced) = oneshot::channel();
    let (writer, body) = ChunkWriter::new();
    let owner = Arc::clone(inner);
    let runtime = Handle::current();
    // The reader begins on the thread that reads: nothing is held while the pool has no room.
    let encoding = inner.shared.snapshot_pool.run(move || {
        // The database may have been closed while it rested and this waited for its turn.
        runtime.block_on(owner.await_place())?;
        let frozen = freeze(&owner)?;
        let txid = frozen.txid();
        let timestamp = owner.shared.clock.now().max(frozen.timestamp());
        if announce
            .send((txid, timestamp, most_bytes(&frozen)))
            .is_err()
        {
            return Err(Error::Closing { what: "snapshot" });
        }
        let (_, range) = image.place.of(txid);
        encode(&frozen, range, timestamp, image.most_wal, writer)
    });
    let putting = async {
        // Without an announcement the reader has failed, and says why.
        let Ok((txid, timestamp, most)) = announced.await else {
            return Ok::<_, Error>(Ok(None));
        };
        make_room(inner, replica, image.place, txid).await?;
        let (level, range) = image.place.of(txid);
        let key = replica.layout().key(level, range);
        replica.begin_put(level, range);
        let options = PutOptions {
            timestamp: Some(timestamp.as_millis()),
            size_hint: Some(most),
            condition: match image.place {
                Place::Claim(_) | Place::Snapshot => replica.if_absent(),
                // A snapshot that is there is of the same transaction, whose level-0 file is ours.
                Place::BehindFiles => Condition::None,
            },
        };
        let put = replica.store().put(key, Body::Stream(body), options).await;
        Ok(put.map(|meta| Some((txid, timestamp, meta.size))))
    };
    let (encoded, put) = tokio::join!(encoding, putting);
    let (ended, encoded) = match encoded {
        Ok(ended) => (ended, Ok(())),
        Err(error) => (Ended::Whole, Err(error)),
    };
    if ended == Ended::GivenUp {
        return Ok(None);
    }
    let put = match (image.place, put?) {
        (Place::Claim(txid), Err(error)) => return Err(replica.claim_failed(txid, error)),
        (_, put) => put,
    };
    let stored = told_first(encoded, put)?;
    let (txid, timestamp, size) = stored.ok_or(Error::Closing { what: "snapshot" })?;
    let (level, range) = image.place.of(txid);
    replica.note_file(level, range, size, timestamp);
    if level == Level::SNAPSHOT {
        complete(inner, replica, txid, size);
    }
    Ok(Some(txid))
}

/// An upper bound of the size of a snapshot: pages that do not compress, with what surrounds each.
/// Stores need it to choose parts large enough.
fn most_bytes(frozen: &Frozen) -> u64 {
    let page = u64::from(frozen.page_size().get());
    let around = page / 255 + 64;
    (page + around) * u64::from(frozen.commit()) + 4096
}

/// What has to be done before the image of `txid` may be put.
async fn make_room(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    place: Place,
    txid: Txid,
) -> Result<()> {
    match place {
        Place::Snapshot => replica.check_vacant(Level::SNAPSHOT, image_of(txid)).await,
        Place::BehindFiles => uploader::upload_up_to(inner, replica, txid).await,
        Place::Claim(claimed) => {
            // A local file of that transaction is not what is put there; compaction must not find it.
            let local = inner.local.clone();
            let removed = inner.shared.pool.run(move || local.remove_before(txid));
            removed.await?;
            replica.check_free(claimed).await
        }
    }
}

fn image_of(txid: Txid) -> TxidRange {
    TxidRange {
        min: Txid::FIRST,
        max: txid,
    }
}

fn complete(inner: &Inner, replica: &Replica, txid: Txid, size: u64) {
    tracing::info!(
        system = "store", db = inner.name, %txid, size,
        replica = inner.one_of_several(replica),
        "snapshot complete"
    );
}

/// Builds the snapshot of what the replica holds from there, without the database.
///
/// # Cost
/// Reads the newest snapshot and all files since once.
async fn merge(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Txid> {
    let files = base_of(replica).ok_or(Error::TxNotAvailable)?;
    let txid = files.last().ok_or(Error::TxNotAvailable)?.range.max;
    let (pool, local) = (&inner.shared.snapshot_pool, &inner.local);
    let (level, range) = (Level::SNAPSHOT, image_of(txid));
    let file = merge_into(replica, local, pool, files, level, range).await?;
    complete(inner, replica, txid, file.size);
    Ok(txid)
}

/// The files that lead from an image in the replica to its newest transaction, if they do.
fn base_of(replica: &Replica) -> Option<Vec<RemoteFile>> {
    let plan = replica.with_index(|index| plan(index, Target::Latest).ok());
    let files = plan.ok()??.files().to_vec();
    (files.len() > 1).then_some(files)
}

/// Where the WAL is long enough to be cut, a snapshot must not let it grow on.
fn most_wal(inner: &Inner) -> u64 {
    let pages = inner
        .settings
        .truncate_pages
        .unwrap_or(defaults::TRUNCATE_PAGES);
    // The page size does not matter much here: the least that databases commonly have.
    sqlite_wal::frames_end(4096, pages)
}

fn freeze(inner: &Inner) -> Result<Frozen> {
    let mut slot = inner.capture();
    if slot.is_none() {
        *slot = inner.open_capture()?;
    }
    let capture = slot.as_mut().ok_or(Error::NoPosition)?;
    let frozen = capture.freeze();
    inner.publish(capture.position());
    frozen
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    GivenUp,
}

fn encode(
    frozen: &Frozen,
    range: TxidRange,
    timestamp: Timestamp,
    most_wal: Option<u64>,
    mut writer: ChunkWriter,
) -> Result<Ended> {
    match encode_into(frozen, range, timestamp, most_wal, &mut writer) {
        Ok(Ended::Whole) => {
            let fail = |error| Error::io("upload snapshot of", frozen.path(), error);
            writer.finish().map_err(fail)?;
            Ok(Ended::Whole)
        }
        Ok(Ended::GivenUp) => {
            writer.fail("the wal grew too long");
            Ok(Ended::GivenUp)
        }
        Err(error) => {
            writer.fail(&error.to_string());
            Err(error)
        }
    }
}

fn encode_into(
    frozen: &Frozen,
    range: TxidRange,
    timestamp: Timestamp,
    most_wal: Option<u64>,
    writer: &mut ChunkWriter,
) -> Result<Ended> {
    let fail = |source| Error::LtxStream {
        operation: "encode snapshot",
        source,
    };
    let (mut page, mut chunk) = (Vec::new(), Vec::new());
    let header = frozen.describe(Header::new(
        frozen.page_size(),
        frozen.commit(),
        range,
        timestamp,
    ));
    let mut encoder = Encoder::new(writer, header).map_err(fail)?;
    let wal = with_suffix(frozen.path(), "-wal");
    // Asking for the size by name opens no descriptor. A file that was long already is no growth.
    let length = || std::fs::metadata(&wal).map_or(0, |meta| meta.len());
    let most_wal = most_wal.map(|most| most.max(length()));
    let mut grown = false;
    let put = |pgno: ltx::Pgno, page: &[u8]| {
        if pgno.get().is_multiple_of(PAGES_PER_LOOK) && most_wal.is_some_and(|most| length() > most)
        {
            grown = true;
            return Err(Error::Closing { what: "snapshot" });
        }
        encoder.encode_page(pgno, page).map_err(fail)
    };
    let read = encode_image(&frozen.pages(), frozen.commit(), &mut page, &mut chunk, put);
    if grown {
        return Ok(Ended::GivenUp);
    }
    read?;
    encoder.finish().map_err(fail)?;
    Ok(Ended::Whole)
}
