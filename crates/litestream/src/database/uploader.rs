//! The upload loop of one replica of one database, and the uploads that somebody waits for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use ltx::Txid;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cycle::{Purpose, backoff};
use super::{Inner, maintain, mark, snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::add;
use crate::replica::{Need, Replica, Uploaded};

/// The same error is logged at most so often.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// How a pass ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// The replica has everything there is.
    Done,
    /// The batch was full; there is more.
    Limited,
    /// The database has to be captured anew first.
    WaitsForBase,
}

/// Uploads what is captured, as it comes. Ends when `stop` is cancelled.
pub(super) async fn upload_loop(inner: Arc<Inner>, replica: Arc<Replica>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = maintain::maintain_loop(&inner, &replica) => {}
        () = upload_forever(&inner, &replica) => {}
    }
}

async fn upload_forever(inner: &Arc<Inner>, replica: &Arc<Replica>) {
    let mut position = inner.position.subscribe();
    let mut last: Option<Instant> = None;
    let mut errors = 0;
    let mut logged: Option<Instant> = None;
    loop {
        let newest = *position.borrow_and_update();
        if newest.is_none() || newest <= replica.acknowledged() {
            if position.changed().await.is_err() {
                return;
            }
            continue;
        }
        if let Some(last) = last {
            tokio::select! {
                () = tokio::time::sleep_until(last + replica.settings().sync_interval) => {}
                () = replica.hurry.notified() => {}
            }
        }
        last = Some(Instant::now());
        match Box::pin(drain(inner, replica)).await {
            Ok(pass) => {
                if errors > 0 {
                    tracing::info!(
                        system = "store",
                        db = inner.name,
                        replica = replica.kind(),
                        previous_errors = errors,
                        "replica sync recovered"
                    );
                    errors = 0;
                }
                if pass == Pass::WaitsForBase && position.changed().await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => {
                errors += 1;
                let pause = backoff(replica.settings().sync_interval, errors);
                if logged.is_none_or(|logged: Instant| logged.elapsed() >= LOG_EVERY) {
                    logged = Some(Instant::now());
                    tracing::error!(
                        system = "store", db = inner.name, replica = replica.kind(), %error,
                        hint = error.hint(), consecutive_errors = errors, backoff = ?pause,
                        "monitor error"
                    );
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = replica.hurry.notified() => {}
                }
            }
        }
    }
}

/// Passes until none is limited.
async fn drain(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Pass> {
    loop {
        match pass(inner, replica).await? {
            Pass::Limited => tracing::debug!(
                system = "store",
                db = inner.name,
                replica = replica.kind(),
                "replica sync limited"
            ),
            other => return Ok(other),
        }
    }
}

/// One batch of uploads. After an error the replica is listed anew.
async fn pass(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Pass> {
    let _one_at_a_time = replica.work.lock().await;
    let result = async {
        let _ours = inner.hold().await?;
        replica.forget_stale_index();
        try_pass(inner, replica).await
    }
    .await;
    replica.uploads().uploaded(result.as_ref().map(drop));
    if result.is_err() {
        replica.forget_index();
    }
    result
}

async fn try_pass(inner: &Arc<Inner>, replica: &Arc<Replica>) -> Result<Pass> {
    let Some(position) = inner.position() else {
        return Err(Error::NoPosition);
    };
    let quiet = inner.shared.retention.l0_retention / 2;
    let (first, last) = match replica.need(&inner.local, position, quiet).await? {
        Need::Nothing => (None, position),
        Need::Files { first, last } => (Some(first), last),
        other => return make_up(inner, replica, position, other).await,
    };
    if let Some(first) = first.filter(|first| replica.begins_anew(*first)) {
        begin_local(inner, first).await?;
    }
    let limit = replica.settings().max_sync_ltx_files;
    let mut next = first.filter(|first| *first <= last);
    let mut count = 0;
    while let Some(txid) = next {
        if limit != 0 && count == limit {
            return Ok(Pass::Limited);
        }
        match replica.upload(&inner.local, txid).await {
            Ok(Some(Uploaded { size, level })) => tracing::debug!(
                system = "store", db = inner.name, replica = replica.kind(),
                level = level.get(), minTXID = %txid, maxTXID = %txid, size,
                "ltx file uploaded"
            ),
            Ok(None) => {
                tracing::warn!(
                    system = "store", db = inner.name, replica = replica.kind(), %txid,
                    "page size changed, cutting the chain with a snapshot"
                );
                snapshot::catch_up(inner, replica).await?;
                return Ok(Pass::Limited);
            }
            Err(Error::LtxMissing { path }) => {
                tracing::warn!(
                    system = "store", db = inner.name, replica = replica.kind(),
                    path = %path.display(),
                    "local ltx file is gone, catching up with a snapshot"
                );
                snapshot::catch_up(inner, replica).await?;
                return Ok(Pass::Limited);
            }
            Err(error @ Error::LtxDamaged { .. }) => {
                add(&inner.metrics.damaged_files, 1);
                tracing::error!(
                    system = "store", db = inner.name, replica = replica.kind(), %error,
                    "local ltx file is damaged, catching up with a snapshot"
                );
                snapshot::catch_up(inner, replica).await?;
                return Ok(Pass::Limited);
            }
            Err(error) => return Err(error),
        }
        count += 1;
        next = Some(txid.next()).filter(|next| *next <= last);
    }
    if inner.position() <= replica.acknowledged() {
        if replica.set_behind(None).is_some() {
            tracing::info!(
                system = "store", db = inner.name, replica = replica.kind(), txid = %last,
                "replica has caught up"
            );
        }
        inner.health().last_sync = Some(SystemTime::now());
    }
    tracing::debug!(
        system = "store", db = inner.name, replica = replica.kind(),
        txid.replica = %last, txid.db = %last, "replica sync"
    );
    Ok(Pass::Done)
}

/// Removes the local files before `first`, which goes on from a history that is not theirs: compaction must not
/// take them for files of the replica that have the same numbers. Another replica that lacks them catches up
/// with a snapshot.
async fn begin_local(inner: &Arc<Inner>, first: Txid) -> Result<()> {
    let local = inner.local.clone();
    let begun = inner.shared.pool.run(move || {
        let gone = local.begin_at(first)?;
        Ok::<_, Error>((gone, local.size()?))
    });
    let (gone, size) = begun.await?;
    if gone > 0 {
        inner.set_staged(size);
        tracing::info!(
            system = "store", db = inner.name, files = gone, %first,
            "local files of another history removed"
        );
    }
    Ok(())
}

/// Brings a replica to where level-0 files lead on again.
async fn make_up(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    position: Txid,
    need: Need,
) -> Result<Pass> {
    match need {
        Need::Nothing | Need::Files { .. } => {}
        Need::Base {
            above,
            reason,
            extent,
        } => {
            tracing::info!(
                system = "store", db = inner.name, replica = replica.kind(),
                db_txid = %position, replica_txid = %above, reason,
                "database must be captured anew"
            );
            inner.demand_base(above, reason, extent);
            inner.signals.raise(crate::watcher::LOOK_NOW);
            return Ok(Pass::WaitsForBase);
        }
        Need::Snapshot { reason } => {
            tracing::warn!(
                system = "store",
                db = inner.name,
                replica = replica.kind(),
                reason,
                "catching up with a snapshot"
            );
            snapshot::catch_up(inner, replica).await?;
        }
        Need::Takeover { claim, reason } => {
            tracing::warn!(
                system = "store", db = inner.name, replica = replica.kind(), reason, txid = %claim,
                "taking over the replica"
            );
            snapshot::claim(inner, replica, claim).await?;
            snapshot::catch_up(inner, replica).await?;
        }
    }
    Ok(Pass::Limited)
}

/// Uploads until the replica has `txid`, whatever the sync interval.
pub(super) async fn upload_up_to(
    inner: &Arc<Inner>,
    replica: &Arc<Replica>,
    txid: Txid,
) -> Result<()> {
    let mut captured_anew = false;
    while replica.acknowledged() < Some(txid) {
        match drain(inner, replica).await? {
            Pass::WaitsForBase if captured_anew => {
                return Err(Error::Setting(
                    "the replica keeps moving ahead of us".to_owned(),
                ));
            }
            Pass::WaitsForBase => {
                captured_anew = true;
                inner.capture_all().await?;
            }
            Pass::Done | Pass::Limited => {}
        }
    }
    Ok(())
}

/// The last capture and the last upload, with retries until the deadline of the settings.
pub(super) async fn last_sync(inner: &Arc<Inner>, hurry: &CancellationToken) -> Result<()> {
    let captured = inner.cycle(Purpose::Last).await;
    if let Err(error) = &captured {
        tracing::error!(system = "store", db = inner.name, %error, "last sync failed");
    }
    if captured.is_ok() {
        mark::mark_if_bare(inner).await;
    }
    let Some(position) = inner.position() else {
        return captured.map(drop);
    };
    let deadline = Instant::now() + inner.settings.shutdown_sync_timeout;
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        if hurry.is_cancelled() {
            tracing::warn!(
                system = "store", db = inner.name, attempts, duration = ?started.elapsed(),
                "shutdown sync skipped, interrupted by signal"
            );
            return Err(Error::Closing {
                what: "shutdown sync",
            });
        }
        attempts += 1;
        let attempt = async {
            // All at once: one that is away must not keep the others from their last files.
            let uploads = inner
                .replicas
                .iter()
                .map(|replica| upload_up_to(inner, replica, position));
            let results = join_all(uploads).await;
            Error::all(results.into_iter().filter_map(Result::err).collect())
        };
        let result = tokio::select! {
            result = attempt => result,
            () = hurry.cancelled() => continue,
            () = tokio::time::sleep_until(deadline), if !inner.settings.shutdown_sync_timeout.is_zero() => {
                Err(Error::Timeout {
                    what: format!("shutdown sync timeout after {attempts} attempts"),
                    seconds: started.elapsed().as_secs_f64(),
                })
            }
        };
        let Err(error) = result else {
            if attempts > 1 {
                tracing::info!(
                    system = "store", db = inner.name, attempts, duration = ?started.elapsed(),
                    "shutdown sync succeeded after retry"
                );
            }
            return captured.map(drop);
        };
        if error.is_final() {
            tracing::error!(system = "store", db = inner.name, %error, "shutdown sync failed");
            return Err(error);
        }
        let now = Instant::now();
        let interval = inner.settings.shutdown_sync_interval;
        if inner.settings.shutdown_sync_timeout.is_zero() || now + interval >= deadline {
            tracing::error!(
                system = "store", db = inner.name, attempts, duration = ?started.elapsed(), %error,
                "shutdown sync failed after timeout"
            );
            return Err(error.context(format!("shutdown sync timeout after {attempts} attempts")));
        }
        tracing::warn!(
            system = "store", db = inner.name, attempts, %error, elapsed = ?started.elapsed(),
            remaining = ?(deadline - now),
            "shutdown sync failed, retrying (press Ctrl+C again to skip)"
        );
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = hurry.cancelled() => {}
        }
    }
}
