//! Streaming replication of SQLite databases to object storage.
//!
//! A [`Store`] manages databases. Each [`Database`] follows the WAL of a live database that other
//! processes write to, turns committed transactions into LTX files, and brings those to its
//! [`Replica`]s. [`restore`] builds a database from a replica, at the newest or any kept state.
//!
//! The way of a transaction: capture, replicate, compact, retain; plan, fetch, apply, verify. The
//! modules are called so.
//!
//! The library needs a tokio runtime of its user, reads neither environment nor configuration
//! files, and prints nothing: it tells what happens through [`tracing`].

mod bridge;
mod capture;
mod clock;
mod compact;
mod database;
mod doctor;
mod error;
mod files;
mod follow;
mod gate;
mod heartbeat;
mod lease;
mod local;
mod metrics;
mod page_sums;
mod pool;
mod replica;
mod restore;
mod settings;
mod status;
mod store;
mod watcher;

pub use capture::{BaseImage, CheckpointMode, CheckpointResult, CommitBatch, Pages, Sink};
pub use clock::{Clock, SystemClock};
pub use database::{Database, Synced};
pub use doctor::{Diagnosis, Doctor, Finding, Probe, Verdict};
pub use error::{Error, ErrorKind, Result};
pub use files::{AllSteps, FileStep, FileSteps, Ownership};
pub use follow::{
    Follow, FollowCause, FollowError, FollowOptions, FollowStart, FollowState, FollowStatus,
    FollowStep,
};
pub use heartbeat::{Heartbeat, HeartbeatSettings};
pub use lease::{Lease, LeaseSettings, LeaseState};
pub use local::default_meta_path;
pub use metrics::{CheckpointCounts, MetricsSnapshot};
pub use replica::{Behind, Layout, RemoteFile, RemoteIndex, Replica};
pub use restore::{
    IntegrityCheck, RestoreOptions, RestorePlan, Restored, Source, Target, plan, restore,
    restore_plan, sidecars,
};
pub use settings::{DatabaseSettings, ReplicaSettings, RetentionSettings, defaults};
pub use status::{DatabaseStatus, Lag, ReplicaStatus, State, StatusSettings};
pub use store::{Store, StoreSettings};
