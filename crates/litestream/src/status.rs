//! What becomes visible of a database and its replicas: state, lag, cause, since when.
//!
//! Lag is the distance between what the application has committed and what a replica has
//! acknowledged. It is worked out from what the capture and the uploads leave behind and from a
//! look at the wal-index, never by asking either of them: one that hangs shows as growing lag.

mod assess;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use ltx::{Timestamp, Txid};

pub(crate) use self::assess::{Facts, Trouble, assess};
pub(crate) use self::timeline::Timeline;
use crate::lease::LeaseState;

/// What a replica, or a database as its worst replica, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped by request; nothing is replicated.
    Disabled,
    /// The replica has everything but what is in the normal pace of captures and uploads.
    Replicating,
    /// The replica is not up to date, and it has not lasted long: after the start, after a burst,
    /// after a first error.
    CatchingUp,
    /// Commits wait longer than [`StatusSettings::behind_after`].
    Behind,
    /// Every attempt has failed for [`StatusSettings::failed_after`], or the error is one that does
    /// not pass by itself. Attempts go on.
    Failed,
}

impl State {
    /// All states, from best to worst.
    pub const ALL: [Self; 5] = [
        Self::Disabled,
        Self::Replicating,
        Self::CatchingUp,
        Self::Behind,
        Self::Failed,
    ];

    /// The word for it in logs, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Replicating => "replicating",
            Self::CatchingUp => "catching-up",
            Self::Behind => "behind",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody should be told.
    pub const fn is_alarming(self) -> bool {
        matches!(self, Self::Behind | Self::Failed)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a replica lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Level-0 files that are captured and not acknowledged, and one more when commits wait to be
    /// captured.
    pub transactions: u64,
    /// Bytes of WAL in them, as far as they were captured since the start, plus what waits in the
    /// WAL.
    pub bytes: u64,
    /// How long the oldest commit that the replica lacks has been waiting, from the moment it was
    /// noticed. What a process found waiting at its start counts from the start.
    pub time: Duration,
}

/// How a replica fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Type word of the store: `file`, `s3`, ...
    pub kind: &'static str,
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why, where there is something to say: the last error, or what is waited for.
    pub cause: Option<String>,
    /// Newest transaction that can be restored from it.
    pub acknowledged: Option<Txid>,
    /// What it lacks.
    pub lag: Lag,
    /// When it last had everything there was.
    pub last_success: Option<Timestamp>,
    /// The lease that it writes under, if it does.
    pub lease: Option<LeaseState>,
    /// The error that compaction, snapshots or retention end with, if they do.
    pub maintenance_error: Option<String>,
}

/// How a database fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStatus {
    /// The database file.
    pub path: PathBuf,
    /// The worst of its replicas' states.
    pub state: State,
    /// Newest captured transaction.
    pub txid: Option<Txid>,
    /// Its replicas, in the order of the configuration.
    pub replicas: Vec<ReplicaStatus>,
}

/// From when on a lag or an error changes the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSettings {
    /// A replica whose oldest missing commit is older is [`State::Behind`].
    pub behind_after: Duration,
    /// A replica that has had nothing but errors for so long is [`State::Failed`].
    pub failed_after: Duration,
}

impl Default for StatusSettings {
    fn default() -> Self {
        Self {
            behind_after: Duration::from_mins(1),
            failed_after: Duration::from_secs(30),
        }
    }
}
