//! The heartbeat: tells somebody outside, at intervals, that all is well; silence is the alarm.
//!
//! Invariant: no beat is sent unless at that moment every enabled database is known to be
//! replicated: each replica has acknowledged something, lacks nothing that is older than the interval,
//! and is neither behind nor failed.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior};

use crate::status::{DatabaseStatus, State};

/// The state of the store is looked at so often.
pub(crate) const CHECK: Duration = Duration::from_secs(15);
/// A beat that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);
/// Beats are at least so far apart.
const LEAST_INTERVAL: Duration = Duration::from_mins(1);

/// Who is told.
pub trait Heartbeat: Debug + Send + Sync {
    /// Where the beat goes, for log lines; without secrets.
    fn address(&self) -> &str;

    /// Sends one beat. The error says why it did not arrive.
    fn beat(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Settings of the heartbeat.
#[derive(Debug, Clone)]
pub struct HeartbeatSettings {
    /// Who is told.
    pub receiver: Arc<dyn Heartbeat>,
    /// Time between two beats, and how old the oldest commit may be that a replica lacks. Less than a
    /// minute counts as a minute.
    pub interval: Duration,
}

/// Beats until `status` answers `None`.
pub(crate) async fn run(
    status: impl Fn() -> Option<Vec<DatabaseStatus>>,
    settings: HeartbeatSettings,
) {
    let interval = settings.interval.max(LEAST_INTERVAL);
    let mut tick = tokio::time::interval_at(Instant::now() + CHECK, CHECK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attempted: Option<Instant> = None;
    let mut withheld = false;
    loop {
        tick.tick().await;
        if attempted.is_some_and(|at| at.elapsed() < interval) {
            continue;
        }
        let Some(databases) = status() else { return };
        if let Some(reason) = why_not(&databases, interval) {
            if !withheld {
                tracing::warn!(system = "store", reason, "heartbeat withheld");
            }
            withheld = true;
            continue;
        }
        withheld = false;
        // Noted before it is sent: a receiver that does not answer is not asked sooner again.
        attempted = Some(Instant::now());
        send(&*settings.receiver).await;
    }
}

async fn send(receiver: &dyn Heartbeat) {
    let sent = tokio::time::timeout(LIMIT, receiver.beat()).await;
    let url = receiver.address();
    match sent.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs()))) {
        Ok(()) => tracing::debug!(system = "store", url, "heartbeat ping sent"),
        Err(error) => tracing::error!(system = "store", url, error, "heartbeat ping failed"),
    }
}

/// Why no beat may be sent now.
fn why_not(databases: &[DatabaseStatus], interval: Duration) -> Option<String> {
    let mut enabled = databases
        .iter()
        .filter(|database| database.state != State::Disabled)
        .peekable();
    if enabled.peek().is_none() {
        return Some("no database is enabled".to_owned());
    }
    for database in enabled {
        for replica in &database.replicas {
            let lags = replica.lag.time >= interval;
            if replica.acknowledged.is_none() || lags || replica.state.is_alarming() {
                let cause = replica.cause.as_deref();
                return Some(format!(
                    "{}: replica {} is {}: {}",
                    database.path.display(),
                    replica.kind,
                    replica.state,
                    cause.unwrap_or("commits wait to be replicated"),
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
