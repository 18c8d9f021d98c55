//! The states of a follower, as a pure function of what its looks at the replica came to.
//!
//! Invariant: a follower that does not get on is in [`FollowState::Behind`] with a cause, and says
//! so at once and then every half minute; nothing but an apply or a look that found nothing new ends
//! that state.

use std::time::Duration;

use ltx::{Timestamp, Txid};

use super::error::FollowError;
use crate::error::{Error, ErrorKind};

/// Longest pause after errors, unless the interval itself is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Least time between two reports of the same trouble, in milliseconds.
const REPORT_INTERVAL: i64 = 30_000;

/// What a follower is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowState {
    /// It builds the copy, or finds out where an existing one is.
    Starting,
    /// The copy was at the end of the replica at the last look.
    Current,
    /// New files are being fetched, verified and applied.
    Applying,
    /// The copy cannot be brought to the end of the replica, and this is why.
    Behind(FollowCause),
    /// It has ended.
    Stopped,
}

/// Why a copy is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FollowCause {
    /// The replica does not answer, or refuses.
    Unreachable,
    /// No files lead on from where the copy is.
    Hole,
    /// A file that is needed is damaged.
    Damaged,
    /// The replica ends before the copy: its history was restarted.
    Restarted,
    /// Readers do not let go of the copy.
    Held,
    /// The local disk, or the copy on it, cannot be written.
    Local,
}

impl FollowCause {
    /// What an error of a look or an apply means.
    fn of(error: &Error) -> Self {
        match error {
            Error::Follow(FollowError::Ahead { .. } | FollowError::Empty { .. }) => Self::Restarted,
            Error::Storage(_) => Self::Unreachable,
            Error::NonContiguous { .. } | Error::Plan(_) | Error::TxNotAvailable => Self::Hole,
            error => match error.kind() {
                ErrorKind::Busy => Self::Held,
                ErrorKind::Corrupt | ErrorKind::Invalid => Self::Damaged,
                // Bytes that stopped coming.
                _ if matches!(error, Error::LtxStream { .. }) => Self::Unreachable,
                _ => Self::Local,
            },
        }
    }
}

/// What is known about a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowStatus {
    /// What it is doing.
    pub state: FollowState,
    /// Since when.
    pub since: Timestamp,
    /// The transaction whose state the copy has.
    pub position: Option<Txid>,
    /// The newest transaction of the replica, as far as is known.
    pub newest: Option<Txid>,
    /// When the newest transaction that this follower applied was captured at its source.
    pub captured: Option<Timestamp>,
    /// When the copy was last known to be at the end of the replica.
    pub confirmed: Option<Timestamp>,
    /// Looks and applies that failed in a row.
    pub failures: u32,
    /// The error of the last one.
    pub error: Option<String>,
}

impl FollowStatus {
    /// How far the copy may be behind the replica: the time since it was last known to be at its
    /// end, zero while it is. `None` before it was for the first time.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        if self.state == FollowState::Current {
            return Some(Duration::ZERO);
        }
        let since = now.as_millis().saturating_sub(self.confirmed?.as_millis());
        Some(Duration::from_millis(u64::try_from(since).unwrap_or(0)))
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The copy is there, at this transaction.
    Started { position: Txid },
    /// Files that lead on were found.
    Found { newest: Txid },
    /// They were applied.
    Applied { to: Txid, captured: Timestamp },
    /// There is nothing new.
    Nothing,
    /// It is not known whether there is anything new.
    Unknown,
    /// A look or an apply failed.
    Failed(&'a Error),
    /// The end.
    Stopped,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Trouble, with the number of failures in a row.
    Trouble { failures: u32 },
    /// Its end, and how long it was.
    Recovered { failures: u32, after: Duration },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Machine {
    interval: Duration,
    status: FollowStatus,
    /// When trouble was reported last.
    reported: Option<Timestamp>,
    /// When the trouble began.
    trouble_since: Option<Timestamp>,
}

impl Machine {
    pub(super) fn new(interval: Duration, now: Timestamp) -> Self {
        Self {
            interval,
            status: FollowStatus {
                state: FollowState::Starting,
                since: now,
                position: None,
                newest: None,
                captured: None,
                confirmed: None,
                failures: 0,
                error: None,
            },
            reported: None,
            trouble_since: None,
        }
    }

    pub(super) fn status(&self) -> &FollowStatus {
        &self.status
    }

    /// Takes what happened and tells what is to be reported.
    pub(super) fn on(&mut self, event: &Event<'_>, now: Timestamp) -> Option<Report> {
        match event {
            Event::Started { position } => {
                self.status.position = Some(*position);
                None
            }
            Event::Found { newest } => {
                self.status.newest = Some(*newest);
                self.enter(FollowState::Applying, now);
                None
            }
            Event::Applied { to, captured } => {
                self.status.position = Some(*to);
                self.status.captured = Some(*captured);
                if self.status.newest.is_none_or(|newest| newest <= *to) {
                    self.status.newest = Some(*to);
                    self.caught_up(now)
                } else {
                    None
                }
            }
            Event::Nothing => {
                self.status.newest = self.status.position;
                self.caught_up(now)
            }
            Event::Unknown => None,
            Event::Failed(error) => self.failed(error, now),
            Event::Stopped => {
                self.enter(FollowState::Stopped, now);
                None
            }
        }
    }

    fn enter(&mut self, state: FollowState, now: Timestamp) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = now;
        }
    }

    fn caught_up(&mut self, now: Timestamp) -> Option<Report> {
        self.enter(FollowState::Current, now);
        self.status.confirmed = Some(now);
        self.status.error = None;
        self.reported = None;
        let failures = std::mem::take(&mut self.status.failures);
        let since = self.trouble_since.take()?;
        let after = now.as_millis().saturating_sub(since.as_millis());
        Some(Report::Recovered {
            failures,
            after: Duration::from_millis(u64::try_from(after).unwrap_or(0)),
        })
    }

    fn failed(&mut self, error: &Error, now: Timestamp) -> Option<Report> {
        let state = FollowState::Behind(FollowCause::of(error));
        let began = *self.trouble_since.get_or_insert(now);
        let is_other = self.status.failures == 0;
        self.enter(state, now);
        // From applying back to the trouble that was there before: it has not ended meanwhile.
        self.status.since = began;
        self.status.failures = self.status.failures.saturating_add(1);
        self.status.error = Some(error.to_string());
        let is_due = self.reported.is_none_or(|at| {
            let since = now.as_millis().saturating_sub(at.as_millis());
            !(0..REPORT_INTERVAL).contains(&since)
        });
        (is_other || is_due).then(|| {
            self.reported = Some(now);
            Report::Trouble {
                failures: self.status.failures,
            }
        })
    }

    /// The pause before the next look.
    pub(super) fn pause(&self) -> Duration {
        match (self.status.state, self.status.failures) {
            // More is known to be there.
            (FollowState::Applying, _) => Duration::ZERO,
            (_, 0) => self.interval,
            (_, failures) => {
                let doubled = self.interval.saturating_mul(1 << (failures - 1).min(16));
                doubled.min(LONGEST_PAUSE.max(self.interval))
            }
        }
    }
}

#[cfg(test)]
mod tests;
