//! The look from outside: once a second the watchdog compares what SQLite has committed with what
//! each replica has acknowledged, and says so when a state changes.
//!
//! Invariant: nothing here waits for a capture or an upload; a lock that is taken all the time is
//! itself a finding.

use std::collections::BTreeMap;
use std::time::Duration;

use ltx::{Timestamp, Txid};
use tokio::time::Instant;

use super::maintain::chores::Chore;
use super::{Database, Inner};
use crate::error::{Error, ErrorKind};
use crate::lease::Lease;
use crate::replica::Replica;
use crate::status::{DatabaseStatus, Facts, Lag, ReplicaStatus, State, Timeline, Trouble, assess};

/// A state that somebody should know of is told again so often.
const REMIND_EVERY: Duration = Duration::from_mins(5);
/// What captures and uploads may take beyond their intervals.
const SLACK: Duration = Duration::from_secs(5);

/// Errors in a row, without a success in between.
#[derive(Debug, Clone)]
struct Errors {
    first: Instant,
    text: String,
    permanent: bool,
}

impl Errors {
    fn note(errors: &mut Option<Self>, error: &Error) {
        let first = errors.as_ref().map(|errors| errors.first);
        *errors = Some(Self {
            first: first.unwrap_or_else(Instant::now),
            text: error.to_string(),
            permanent: is_permanent(error.kind()),
        });
    }

    fn trouble(&self, now: Instant) -> Trouble {
        Trouble {
            text: self.text.clone(),
            lasts: now.saturating_duration_since(self.first),
            permanent: self.permanent,
        }
    }
}

/// Errors that somebody has to do something about.
fn is_permanent(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::Conflict
    )
}

/// Whether the replica has everything there is, as far as can be seen.
fn is_complete(facts: &Facts) -> bool {
    facts.enabled
        && facts.lag.transactions == 0
        && facts.acknowledged.is_some()
        && facts.capture.is_none()
}

/// What is noted of the captures of a database.
#[derive(Debug, Default)]
pub(super) struct Progress {
    timeline: Timeline,
    /// Since when commits are known that are not captured, and their bytes.
    news: Option<(Instant, u64)>,
    /// Since when every look found a capture at work.
    busy: Option<Instant>,
    errors: Option<Errors>,
}

/// What is noted of the uploads to a replica.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    errors: Option<Errors>,
    /// Of the chores that failed when they were last tried.
    maintenance: BTreeMap<Chore, Errors>,
    last_success: Option<Timestamp>,
    shown: Option<Shown>,
}

/// The state that was last told, and when.
#[derive(Debug, Clone, Copy)]
struct Shown {
    state: State,
    since: Timestamp,
    told: Instant,
}

impl Uploads {
    /// An upload pass ended so; a pass that was given up says nothing.
    pub(crate) fn uploaded(&mut self, result: Result<(), &Error>) {
        Self::ended(&mut self.errors, result);
    }

    /// A chore ended so: of the others this says nothing.
    pub(super) fn maintained(&mut self, chore: Chore, result: Result<(), &Error>) {
        let mut errors = self.maintenance.remove(&chore);
        Self::ended(&mut errors, result);
        if let Some(errors) = errors {
            self.maintenance.insert(chore, errors);
        }
    }

    /// The failure of a chore that has lasted longest.
    fn maintenance_error(&self) -> Option<String> {
        let oldest = self.maintenance.values().min_by_key(|errors| errors.first);
        oldest.map(|errors| errors.text.clone())
    }

    fn ended(errors: &mut Option<Errors>, result: Result<(), &Error>) {
        match result {
            Ok(()) => *errors = None,
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => Errors::note(errors, error),
        }
    }
}

impl Database {
    /// How the database and its replicas fare. Costs no request and waits for nothing.
    pub fn status(&self) -> DatabaseStatus {
        let enabled = self.is_enabled();
        let inner = &self.inner;
        let now = Instant::now();
        let replicas: Vec<_> = inner
            .replicas
            .iter()
            .map(|replica| inner.status_of(replica, enabled, now))
            .collect();
        let worst = replicas.iter().map(|replica| replica.state).max();
        DatabaseStatus {
            path: inner.settings.path.clone(),
            state: worst.unwrap_or(State::Disabled),
            txid: inner.position(),
            replicas,
        }
    }
}

impl Inner {
    /// Notes what a look at the wal-index says, and tells of states that have changed. `stirring` tells
    /// of a database that is closed while it rests whether its files have changed.
    pub(super) fn observe(&self, stirring: Option<bool>) {
        let now = Instant::now();
        self.look(now, stirring);
        let all = self.replicas.iter().map(|replica| replica.acknowledged());
        if let Some(Some(all)) = all.min() {
            self.progress().timeline.acknowledged(all);
        }
        for replica in &self.replicas {
            self.observe_replica(replica, now);
        }
    }

    /// Notes that the database was stopped.
    pub(super) fn disabled(&self) {
        for replica in &self.replicas {
            replica.uploads().shown = Some(Shown {
                state: State::Disabled,
                since: self.shared.clock.now(),
                told: Instant::now(),
            });
        }
    }

    fn look(&self, now: Instant, stirring: Option<bool>) {
        let slot = self.capture.try_lock();
        let mut progress = self.progress();
        let Ok(slot) = slot else {
            progress.busy.get_or_insert(now);
            return;
        };
        progress.busy = None;
        if self.settings.monitor_interval.is_zero() {
            // Commits are captured on request only.
            progress.news = None;
            return;
        }
        let bytes = match (slot.as_ref(), stirring) {
            // A look that failed says that something may wait.
            (Some(capture), _) => capture
                .news()
                .map_or(Some(0), |bytes| (bytes > 0).then_some(bytes)),
            (None, Some(stirring)) => stirring.then_some(0),
            (None, None) => return,
        };
        let since = progress.news.map_or(now, |(since, _)| since);
        progress.news = bytes.map(|bytes| (since, bytes));
    }

    /// The database was opened and has been captured up to `position`: what the replicas lack of it
    /// waits since now at least. What is committed beyond that still waits as long as was known.
    pub(super) fn opened(&self, position: Option<Txid>) {
        let Some(position) = position else { return };
        let now = Instant::now();
        self.progress().timeline.note(position, now, 0);
    }

    /// Transactions up to `position` were captured from `bytes` of WAL: `all` of what was committed,
    /// or as much as goes into one file.
    pub(super) fn captured(&self, position: Option<Txid>, bytes: u64, all: bool) {
        let Some(position) = position else { return };
        let mut progress = self.progress();
        let seen = progress.news.map_or_else(Instant::now, |(since, _)| since);
        progress.timeline.note(position, seen, bytes);
        progress.news = (!all).then_some((seen, 0));
    }

    /// A capture ended so.
    pub(super) fn capture_ended(&self, result: Result<(), &Error>) {
        Uploads::ended(&mut self.progress().errors, result);
    }

    /// Errors of captures without a success in between, their text, and since when.
    pub(super) fn capture_errors(&self) -> Option<(String, Duration)> {
        let progress = self.progress();
        let errors = progress.errors.as_ref()?;
        Some((errors.text.clone(), errors.first.elapsed()))
    }

    fn facts(&self, replica: &Replica, uploads: &Uploads, enabled: bool, now: Instant) -> Facts {
        let progress = self.progress();
        let (position, acknowledged) = (self.position(), replica.acknowledged());
        let mut lag = Lag::default();
        if let Some((seen, bytes)) = progress.timeline.above(acknowledged) {
            lag.time = now.saturating_duration_since(seen);
            lag.bytes = bytes;
        }
        let newest = position.map_or(0, Txid::get);
        lag.transactions = newest.saturating_sub(acknowledged.map_or(0, Txid::get));
        if let Some((since, bytes)) = progress.news {
            lag.transactions += 1;
            lag.bytes = lag.bytes.saturating_add(bytes);
            lag.time = lag.time.max(now.saturating_duration_since(since));
        }
        let capturing = progress
            .busy
            .map(|since| now.saturating_duration_since(since));
        let pace = self.settings.monitor_interval + replica.settings().sync_interval + SLACK;
        if let Some(time) = capturing.filter(|time| *time > pace) {
            lag.time = lag.time.max(time);
        }
        Facts {
            enabled,
            position,
            acknowledged,
            lag,
            pace,
            capture: progress.errors.as_ref().map(|errors| errors.trouble(now)),
            upload: Self::lease_trouble(replica)
                .or_else(|| uploads.errors.as_ref().map(|errors| errors.trouble(now))),
            capturing,
        }
    }

    fn status_of(&self, replica: &Replica, enabled: bool, now: Instant) -> ReplicaStatus {
        let uploads = replica.uploads();
        let facts = self.facts(replica, &uploads, enabled, now);
        let (state, cause) = assess(&facts, self.shared.status);
        let since = uploads.shown.filter(|shown| shown.state == state);
        ReplicaStatus {
            kind: replica.kind(),
            state,
            since: since.map_or_else(|| self.shared.clock.now(), |shown| shown.since),
            cause,
            acknowledged: facts.acknowledged,
            lag: facts.lag,
            last_success: if is_complete(&facts) {
                Some(self.shared.clock.now())
            } else {
                uploads.last_success
            },
            lease: replica.lease().map(Lease::state),
            maintenance_error: uploads.maintenance_error(),
        }
    }

    fn observe_replica(&self, replica: &Replica, now: Instant) {
        let mut uploads = replica.uploads();
        let facts = self.facts(replica, &uploads, true, now);
        if is_complete(&facts) {
            uploads.last_success = Some(self.shared.clock.now());
        }
        let (state, cause) = assess(&facts, self.shared.status);
        let before = uploads.shown;
        let same = before.filter(|before| before.state == state);
        if same.is_some_and(|same| !state.is_alarming() || same.told + REMIND_EVERY > now) {
            return;
        }
        let clock = self.shared.clock.now();
        uploads.shown = Some(Shown {
            state,
            since: same.map_or(clock, |before| before.since),
            told: now,
        });
        drop(uploads);
        self.tell(replica, state, before, cause.as_deref(), facts.lag);
    }

    fn tell(
        &self,
        replica: &Replica,
        state: State,
        before: Option<Shown>,
        cause: Option<&str>,
        lag: Lag,
    ) {
        let (db, kind) = (&self.name, replica.kind());
        let lag_seconds = lag.time.as_secs();
        let was_alarming = before.is_some_and(|before| before.state.is_alarming());
        match state {
            State::Failed => tracing::error!(
                system = "store",
                db,
                replica = kind,
                cause,
                lag_seconds,
                lag_transactions = lag.transactions,
                lag_bytes = lag.bytes,
                "replica failed"
            ),
            State::Behind => tracing::warn!(
                system = "store",
                db,
                replica = kind,
                cause,
                lag_seconds,
                lag_transactions = lag.transactions,
                lag_bytes = lag.bytes,
                "replica behind"
            ),
            _ if was_alarming => tracing::info!(
                system = "store",
                db,
                replica = kind,
                state = state.as_str(),
                previous = before.map(|before| before.state.as_str()),
                "replica recovered"
            ),
            _ => tracing::debug!(
                system = "store",
                db,
                replica = kind,
                state = state.as_str(),
                cause,
                "replica state"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use ltx::Level;

    use super::*;

    /// A snapshot that succeeds does not hide that a level cannot be compacted, nor the other way round.
    #[test]
    fn the_success_of_one_chore_leaves_the_error_of_another() {
        let mut uploads = Uploads::default();
        let failed = |text: &str| Error::Setting(text.to_owned());
        let (first, second) = (Level::new(1).unwrap(), Level::new(2).unwrap());
        uploads.maintained(Chore::Compact(first), Err(&failed("one")));
        uploads.maintained(Chore::Snapshot, Err(&failed("nine")));
        assert_eq!(uploads.maintenance_error().as_deref(), Some("one"));
        for chore in [Chore::Compact(second), Chore::RetainRaw, Chore::Mark] {
            uploads.maintained(chore, Ok(()));
        }
        assert_eq!(uploads.maintenance_error().as_deref(), Some("one"));
        uploads.maintained(Chore::Compact(first), Err(&failed("one, again")));
        assert_eq!(uploads.maintenance_error().as_deref(), Some("one, again"));
        uploads.maintained(
            Chore::Compact(first),
            Err(&Error::Closing { what: "compact" }),
        );
        assert_eq!(uploads.maintenance_error().as_deref(), Some("one, again"));
        uploads.maintained(Chore::Compact(first), Ok(()));
        assert_eq!(uploads.maintenance_error().as_deref(), Some("nine"));
        uploads.maintained(Chore::Snapshot, Ok(()));
        assert_eq!(uploads.maintenance_error(), None);
    }
}
