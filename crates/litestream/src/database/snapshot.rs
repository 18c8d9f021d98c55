//! Writes a snapshot of the whole database to a replica, while captures go on.
//!
//! A third connection holds a read transaction for as long as the snapshot is read: the WAL cannot
//! be started anew and nothing behind it gets into the database file, so that WAL and file together
//! stay the state of one transaction. Nothing is staged on the local disk.

use std::sync::Arc;

use litestream_storage::{Body, Condition, PutOptions};
use ltx::{Encoder, Header, Level, Timestamp, Txid, TxidRange};

use super::{Inner, uploader};
use crate::bridge::ChunkWriter;
use crate::capture::{Frozen, encode_image};
use crate::error::{Error, Result};
use crate::replica::Replica;

/// Writes a snapshot of the newest captured transaction.
///
/// The level-0 files up to it go first: nothing at or below the newest file of a replica is put
/// there any more, so a snapshot that came sooner would leave a hole in level 0 for ever.
///
/// # Cost
/// One upload of the whole database, compressed.
pub(super) async fn write(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Txid> {
    inner.capture_all().await?;
    let Some(position) = inner.position() else {
        return Err(Error::NoPosition);
    };
    uploader::upload_up_to(inner, replica, position).await?;
    let frozen = freeze(inner).await?;
    uploader::upload_up_to(inner, replica, frozen.txid()).await?;
    put(inner, replica, frozen).await
}

/// Brings a replica up to date with a snapshot where level-0 files do not lead on.
///
/// # Cost
/// As for [`write`].
pub(super) async fn catch_up(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<()> {
    let frozen = freeze(inner).await?;
    let txid = put(inner, replica, frozen).await?;
    replica.caught_up(txid);
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
    let had_conditions = replica.has_conditions();
    let claimed = try_claim(inner, replica, txid).await;
    if claimed.is_err() && had_conditions && !replica.has_conditions() {
        // The store has just said that it has no conditional writes.
        return try_claim(inner, replica, txid).await;
    }
    claimed
}

async fn try_claim(inner: &Arc<Inner>, replica: &Arc<Replica>, txid: Txid) -> Result<()> {
    let frozen = freeze(inner).await?;
    // A local file of that transaction is not what is put there; compaction must not find it.
    let (local, newest) = (inner.local.clone(), frozen.txid());
    let removed = inner
        .shared
        .slow_pool
        .run(move || local.remove_before(newest));
    removed.await?;
    replica.check_free(txid).await?;
    put_image(inner, replica, frozen, Level::RAW, TxidRange::single(txid)).await?;
    Ok(())
}

async fn put(inner: &Arc<Inner>, replica: &Arc<Replica>, frozen: Frozen) -> Result<Txid> {
    let txid = frozen.txid();
    let range = TxidRange {
        min: Txid::FIRST,
        max: txid,
    };
    let size = put_image(inner, replica, frozen, Level::SNAPSHOT, range).await?;
    tracing::info!(
        system = "store", db = inner.name, %txid, size,
        replica = inner.one_of_several(replica),
        "snapshot complete"
    );
    Ok(txid)
}

/// Puts the whole database: as a snapshot, or into level 0 under a key that must be free.
async fn put_image(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    frozen: Frozen,
    level: Level,
    range: TxidRange,
) -> Result<u64> {
    replica.check_alone()?;
    let condition = match level {
        Level::RAW => replica.if_absent(),
        _ => Condition::None,
    };
    let timestamp = inner.shared.clock.now().max(frozen.timestamp());
    let (writer, body) = ChunkWriter::new();
    let encoding = inner
        .shared
        .slow_pool
        .run(move || encode(&frozen, range, timestamp, writer));
    let put = replica.store().put(
        replica.layout().key(level, range),
        Body::Stream(body),
        PutOptions {
            timestamp: Some(timestamp.as_millis()),
            condition,
            ..PutOptions::default()
        },
    );
    let (encoded, put) = tokio::join!(encoding, put);
    // Why the upload failed matters more than that the encoder was cut off by it.
    let meta = replica.claimed(range.max, put)?;
    encoded?;
    replica.note_file(level, range, meta.size, timestamp);
    Ok(meta.size)
}

async fn freeze(inner: &Arc<Inner>) -> Result<Frozen> {
    inner.capture_all().await?;
    let owner = Arc::clone(inner);
    let frozen = inner
        .shared
        .pool
        .run(move || match owner.capture().as_mut() {
            Some(capture) => {
                let frozen = capture.freeze();
                owner.publish(capture.position());
                frozen
            }
            None => Err(Error::NoPosition),
        });
    frozen.await
}

fn encode(
    frozen: &Frozen,
    range: TxidRange,
    timestamp: Timestamp,
    mut writer: ChunkWriter,
) -> Result<()> {
    let result = encode_into(frozen, range, timestamp, &mut writer);
    match result {
        Ok(()) => writer
            .finish()
            .map_err(|error| Error::io("upload snapshot of", frozen.path(), error)),
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
    writer: &mut ChunkWriter,
) -> Result<()> {
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
    encode_image(
        &frozen.pages(),
        frozen.commit(),
        &mut page,
        &mut chunk,
        |pgno, page| encoder.encode_page(pgno, page).map_err(fail),
    )?;
    encoder.finish().map_err(fail)?;
    Ok(())
}
