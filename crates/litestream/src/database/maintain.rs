//! Compaction, snapshots and retention of one replica: what is due when, worked out from the index.
//!
//! Nothing is due while nothing new comes in, so an idle replica has neither a timer nor a request.

use std::sync::Arc;
use std::time::Duration;

use ltx::{Level, Timestamp, Txid};

use super::{Inner, snapshot};
use crate::compact;
use crate::error::{ErrorKind, Result};
use crate::replica::{RemoteFile, RemoteIndex, Replica};
use crate::settings::RetentionSettings;

/// A failed pass is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// A piece of work on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    Compact(Level),
    Snapshot,
    RetainRaw,
    RetainSnapshots,
}

/// Does what becomes due, for ever.
pub(super) async fn maintain_loop(inner: &Arc<Inner>, replica: &Arc<Replica>) {
    let mut acknowledged = replica.subscribe();
    let mut retry = false;
    loop {
        while retry {
            tokio::time::sleep(RETRY).await;
            retry = replica.ensure_index().await.is_err();
        }
        acknowledged.borrow_and_update();
        let due = next_chore(inner, replica);
        let Some((at, chore)) = due else {
            if acknowledged.changed().await.is_err() {
                return;
            }
            continue;
        };
        let wait = at
            .as_millis()
            .saturating_sub(inner.shared.clock.now().as_millis());
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // Something else may be due sooner now.
            changed = acknowledged.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let performed = perform(inner, replica, chore).await;
        replica.uploads().maintained(performed.as_ref().copied());
        if let Err(error) = performed {
            // Nothing is due as long as it is not known what the replica holds.
            retry = true;
            if error.kind() != ErrorKind::Cancelled {
                tracing::error!(
                    system = "store", db = inner.name, replica = replica.kind(), ?chore, %error,
                    hint = error.hint(), "compaction failed"
                );
            }
        }
    }
}

/// The chore that is due first, and when.
fn next_chore(inner: &Inner, replica: &Replica) -> Option<(Timestamp, Chore)> {
    let settings = &inner.shared.retention;
    let chores = replica.with_index(|index| chores(settings, index, replica.acknowledged()));
    chores.ok()?.into_iter().min_by_key(|(at, _)| *at)
}

fn chores(
    settings: &RetentionSettings,
    index: &RemoteIndex,
    acknowledged: Option<Txid>,
) -> Vec<(Timestamp, Chore)> {
    let mut due = Vec::new();
    for (interval, level) in settings.levels.iter().zip(Level::ALL.into_iter().skip(1)) {
        // At the end of the interval in which the oldest of the new files came: once an interval.
        if let Some(first) = compact::first_input(index, level) {
            due.push((
                compact::interval_end(first.created, *interval),
                Chore::Compact(level),
            ));
        }
    }
    let snapshots = index.level(Level::SNAPSHOT);
    if acknowledged.is_some() && index.level_max(Level::SNAPSHOT) < acknowledged {
        let last = snapshots.iter().map(|file| file.created).max();
        let at = last.map(|last| compact::interval_end(last, settings.snapshot_interval));
        due.push((at.unwrap_or(Timestamp::from_millis(0)), Chore::Snapshot));
    }
    if settings.delete_remote {
        let raw = compact::expired_raw(index, settings.l0_retention);
        // Several files at a time: what expires in one check interval goes at its end.
        due.extend(raw.map(|(_, at)| {
            (
                compact::interval_end(at, settings.l0_retention_check_interval),
                Chore::RetainRaw,
            )
        }));
        let expired = compact::expired_snapshots(index, settings.snapshot_retention);
        due.extend(expired.map(|(_, at)| (at, Chore::RetainSnapshots)));
    }
    due
}

async fn perform(inner: &Arc<Inner>, replica: &Arc<Replica>, chore: Chore) -> Result<()> {
    replica.check_alone()?;
    replica.ensure_index().await?;
    let result = try_perform(inner, replica, chore).await;
    if result.is_err() {
        let _no_upload_meanwhile = replica.work.lock().await;
        replica.forget_index();
    }
    result
}

async fn try_perform(inner: &Arc<Inner>, replica: &Arc<Replica>, chore: Chore) -> Result<()> {
    match chore {
        Chore::Compact(level) => compact_level(inner, replica, level).await,
        Chore::Snapshot => snapshot::write(inner, replica).await.map(drop),
        Chore::RetainRaw => enforce_raw_retention(inner, replica).await,
        Chore::RetainSnapshots => enforce_snapshot_retention(inner, replica).await,
    }
}

async fn compact_level(inner: &Arc<Inner>, replica: &Arc<Replica>, level: Level) -> Result<()> {
    let pool = &inner.shared.slow_pool;
    let Some(file) = compact::compact(replica, &inner.local, pool, level).await? else {
        return Ok(());
    };
    tracing::info!(
        system = "store", db = inner.name, level = level.get(),
        txid.min = %file.range.min, txid.max = %file.range.max, size = file.size,
        replica = inner.one_of_several(replica),
        "compaction complete"
    );
    if level.below() == Some(Level::RAW) {
        remove_local(inner).await?;
    }
    Ok(())
}

/// Removes level-0 files from the meta directory that every replica has, also compacted.
async fn remove_local(inner: &Arc<Inner>) -> Result<()> {
    let level = Level::new(1).unwrap_or(Level::RAW);
    let compacted = inner.replicas.iter().map(|replica| {
        replica
            .with_index(|index| index.level_max(level))
            .ok()
            .flatten()
    });
    let Some(Some(safe)) = compacted.min() else {
        return Ok(());
    };
    let Some(position) = inner.position() else {
        return Ok(());
    };
    // The newest of them stays: it is what tells, at the next start, whether a replica is ours.
    let keep_from = safe.min(position);
    let local = inner.local.clone();
    let removed = inner
        .shared
        .pool
        .run(move || local.remove_before(keep_from))
        .await?;
    tracing::debug!(
        system = "store",
        db = inner.name,
        removed,
        "deleting local ltx files"
    );
    Ok(())
}

async fn enforce_raw_retention(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<()> {
    let settings = &inner.shared.retention;
    let now = inner.shared.clock.now();
    let files =
        replica.with_index(|index| compact::raw_to_delete(index, settings.l0_retention, now))?;
    let deleted = files.len();
    delete(replica, files).await?;
    let max = replica.with_index(|index| index.level_max(Level::new(1)?))?;
    tracing::info!(
        system = "store", db = inner.name, deleted_count = deleted,
        max_l1_txid = %max.map_or_else(String::new, |txid| txid.to_string()),
        replica = inner.one_of_several(replica),
        "l0 retention enforced"
    );
    Ok(())
}

/// Deletes snapshots past their time, and what only they made useful.
pub(super) async fn enforce_snapshot_retention(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
) -> Result<()> {
    let settings = &inner.shared.retention;
    if !settings.delete_remote {
        return Ok(());
    }
    replica.ensure_index().await?;
    let now = inner.shared.clock.now();
    let levels = settings.levels.len();
    let files = replica.with_index(|index| {
        compact::snapshots_to_delete(index, settings.snapshot_retention, levels, now)
    })?;
    delete(replica, files).await
}

/// Deletes from the store, then from the index.
async fn delete(replica: &Replica, files: Vec<RemoteFile>) -> Result<()> {
    let layout = replica.layout();
    if files.is_empty() {
        return Ok(());
    }
    let keys = files
        .iter()
        .map(|file| layout.key(file.level, file.range))
        .collect();
    for file in &files {
        tracing::debug!(
            replica = replica.kind(), level = file.level.get(),
            minTXID = %file.range.min, maxTXID = %file.range.max,
            "deleting ltx file"
        );
    }
    let failed = replica.store().delete(keys).await?;
    let failed_keys: Vec<_> = failed.iter().map(|(key, _)| key.clone()).collect();
    replica.update_index(|index| {
        for file in files
            .iter()
            .filter(|file| !failed_keys.contains(&layout.key(file.level, file.range)))
        {
            index.remove(file);
        }
    });
    match failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
