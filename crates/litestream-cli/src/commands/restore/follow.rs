//! `restore -f`: makes or resumes the copy and keeps it current until a signal comes.

use std::time::Duration;

use litestream::{Follow, FollowOptions, FollowStart, Source};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{IntegrityCheck, RestoreError, RestoreOptions};

/// Follows until SIGINT or SIGTERM; both are a good end.
pub(super) async fn follow(
    options: &RestoreOptions,
    interval: Duration,
    source: Source,
) -> Result<(), RestoreError> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        signalled.cancel();
    });
    let mut settings = FollowOptions::new(&options.output);
    settings.interval = interval;
    settings.restore.parallelism = options.parallelism;
    settings.restore.integrity_check = super::run::check_of(options.integrity_check);
    let kind = source.kind();
    let mut follow = Follow::new(source, settings);
    let Some(started) = stop.run_until_cancelled(follow.start()).await else {
        tracing::info!(replica = kind, "follow mode stopped");
        return Ok(());
    };
    if matches!(started?, FollowStart::Restored(_))
        && options.integrity_check != IntegrityCheck::None
    {
        tracing::info!(replica = kind, "post-restore integrity check passed");
    }
    Ok(follow.follow(&stop).await?)
}
