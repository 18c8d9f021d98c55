//! Compaction, snapshots and retention of one replica: what is due when, worked out from the index.
//!
//! Nothing is due while nothing new comes in, so an idle replica has neither a timer nor a request.
//! Three lines of work go side by side, so that a snapshot that takes hours keeps nothing else
//! waiting: the ladder with its retention, the snapshots, and the validation if there is one.
//!
//! Invariant: of one line at most one chore runs at a time, and after a failure none before the
//! replica was listed anew.

pub(super) mod chores;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use ltx::{Level, Timestamp};

use self::chores::{Chore, Line, Passed, first_due};
use super::{Inner, mark, snapshot};
use crate::compact;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::add;
use crate::replica::{RemoteFile, Replica};
use crate::restore::{Target, plan};
use crate::settings::defaults::MAX_BACKOFF;

/// A failed chore is tried again after this time, then after twice as long, and so on.
const RETRY: Duration = Duration::from_secs(30);
/// An index that is older is not believed any more before the next chore: somebody else may have
/// deleted by a life-cycle rule. Nothing is listed only because time goes by.
const OLD_INDEX: Duration = Duration::from_hours(24);

/// Does what becomes due, for ever.
pub(super) async fn maintain_loop(inner: &Arc<Inner>, replica: &Arc<Replica>) {
    tokio::join!(
        follow_line(inner, replica, Line::Ladder),
        follow_line(inner, replica, Line::Snapshots),
        validate::validate_loop(inner, replica),
    );
}

async fn follow_line(inner: &Arc<Inner>, replica: &Arc<Replica>, line: Line) {
    let mut acknowledged = replica.subscribe();
    let mut files = replica.subscribe_files();
    let mut passed = Passed::default();
    let mut failures = 0_u32;
    loop {
        if failures > 0 {
            tokio::time::sleep(pause(failures)).await;
            if replica.ensure_index().await.is_err() {
                failures += 1;
                continue;
            }
            passed.hole = !is_whole(replica);
        }
        acknowledged.borrow_and_update();
        files.borrow_and_update();
        let news = async {
            tokio::select! {
                changed = acknowledged.changed() => changed.is_ok(),
                changed = files.changed() => changed.is_ok(),
            }
        };
        let Some((at, chore)) = next_due(inner, replica, line, &passed) else {
            if news.await {
                continue;
            }
            return;
        };
        let wait = at
            .as_millis()
            .saturating_sub(inner.shared.clock.now().as_millis());
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            // Something else may be due sooner now.
            open = news => if open { continue } else { return },
        }
        let work = Box::pin(perform(inner, replica, chore, &mut passed));
        let performed = inner.shared.chores.pass(work).await;
        if !matches!(performed, Err(Error::Unlisted { .. })) {
            let mut uploads = replica.uploads();
            uploads.maintained(chore, performed.as_ref().copied());
        }
        match performed {
            Ok(()) => failures = 0,
            // The other line has had an error; it has told of it.
            Err(Error::Unlisted { .. }) => failures = 1,
            Err(error) => {
                failures += 1;
                if error.kind() != ErrorKind::Cancelled {
                    tell(inner, replica, chore, &error);
                }
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8));
    doubled.min(MAX_BACKOFF)
}

/// Whether the files of the replica lead to everything that is acknowledged.
fn is_whole(replica: &Replica) -> bool {
    let newest = replica.with_index(|index| {
        let plan = plan(index, Target::Latest);
        plan.map(|plan| plan.txid()).ok()
    });
    // What is not known is no hole.
    newest.map_or(true, |newest| newest >= replica.acknowledged())
}

fn tell(inner: &Inner, replica: &Replica, chore: Chore, error: &Error) {
    let (db, kind, hint) = (&inner.name, replica.kind(), error.hint());
    match chore {
        Chore::Compact(_) | Chore::Snapshot => tracing::error!(
            system = "store", db, replica = kind, level = chore.level().get(), %error, hint,
            "compaction failed"
        ),
        Chore::Mark => tracing::error!(
            system = "store", db, replica = kind, %error, hint,
            "cannot mark position in level 0"
        ),
        Chore::RetainRaw => tracing::error!(
            system = "store", db, replica = kind, %error, hint,
            "l0 retention enforcement failed"
        ),
        Chore::RetainSnapshots => tracing::error!(
            system = "store", db, replica = kind, %error, hint,
            "retention enforcement failed"
        ),
    }
}

/// The chore of a line that is due first, and when; `None` as well when the index is not known.
fn next_due(
    inner: &Inner,
    replica: &Replica,
    line: Line,
    passed: &Passed,
) -> Option<(Timestamp, Chore)> {
    let settings = &inner.shared.retention;
    let acknowledged = replica.acknowledged();
    let due = replica.with_index(|index| first_due(settings, index, acknowledged, line, passed));
    due.ok()?
}

async fn perform(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    chore: Chore,
    passed: &mut Passed,
) -> Result<()> {
    replica.check_alone()?;
    let _ours = inner.hold().await?;
    let is_old = replica.index_age().is_some_and(|age| age > OLD_INDEX);
    if is_old || replica.is_stale() {
        let _no_upload_meanwhile = replica.work.lock().await;
        replica.forget_index();
    }
    replica.ensure_index().await?;
    let result = try_perform(inner, replica, chore, passed).await;
    if result.is_err() {
        let _no_upload_meanwhile = replica.work.lock().await;
        replica.forget_index();
    }
    result
}

async fn try_perform(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    chore: Chore,
    passed: &mut Passed,
) -> Result<()> {
    match chore {
        Chore::Compact(level) => {
            let more = compact_level(inner, replica, level).await?;
            passed.compacted(level, more, inner.shared.clock.now());
        }
        Chore::Mark => {
            mark::mark(inner, replica).await?;
            passed.compacted(Level::RAW, false, inner.shared.clock.now());
        }
        Chore::Snapshot => {
            if passed.hole || !snapshot::copy_base(inner, replica).await? {
                snapshot::write(inner, replica).await?;
            }
            passed.hole = false;
        }
        Chore::RetainRaw => enforce_raw_retention(inner, replica).await?,
        Chore::RetainSnapshots => enforce_snapshot_retention(inner, replica).await?,
    }
    Ok(())
}

/// Answers whether more waits behind what was merged.
async fn compact_level(inner: &Arc<Inner>, replica: &Arc<Replica>, level: Level) -> Result<bool> {
    let pool = &inner.shared.slow_pool;
    let Some(done) = compact::compact(replica, &inner.local, pool, level).await? else {
        return Ok(false);
    };
    let file = done.file;
    tracing::info!(
        system = "store", db = inner.name, level = level.get(),
        txid.min = %file.range.min, txid.max = %file.range.max, size = file.size,
        replica = inner.one_of_several(replica),
        "compaction complete"
    );
    if inner.shared.retention.verify_compaction {
        verify(inner, replica, level).await?;
    }
    if level.below() == Some(Level::RAW) {
        remove_local(inner).await?;
    }
    Ok(done.more)
}

/// Lists the level that was compacted into and looks at what is really there.
async fn verify(inner: &Arc<Inner>, replica: &Arc<Replica>, level: Level) -> Result<()> {
    let files = replica.list_level(level).await?;
    let found = replica.with_index(|index| compact::check_level(index, level, &files))?;
    if let Some(first) = found.first() {
        add(&inner.metrics.compaction_verify_errors, 1);
        tracing::warn!(
            system = "store", db = inner.name, subsystem = "compactor", level = level.get(),
            replica = inner.one_of_several(replica), error = %first, findings = found.len(),
            "post-compaction verification failed"
        );
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
    replica.check_alone()?;
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
    for file in files
        .into_iter()
        .filter(|file| !failed_keys.contains(&layout.key(file.level, file.range)))
    {
        replica.note_deleted(file);
    }
    match failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
