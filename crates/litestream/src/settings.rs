//! Settings of databases and replicas and their defaults, in one place.

use std::path::PathBuf;
use std::time::Duration;

/// Defaults, the same as those of Litestream v0.5.
pub mod defaults {
    use std::time::Duration;

    /// Least time between two captures while commits keep coming.
    pub const MONITOR_INTERVAL: Duration = Duration::from_secs(1);
    /// A WAL with frames that are not in the database file is copied after this time.
    pub const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);
    /// How long SQLite waits for a lock when the database is opened.
    pub const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
    /// Pages in the WAL from which on it is copied into the database file.
    pub const MIN_CHECKPOINT_PAGES: u32 = 1000;
    /// Pages in the WAL from which on the WAL file is cut: about 500 MB of 4 KiB pages.
    pub const TRUNCATE_PAGES: u32 = 121_359;
    /// Bytes of WAL that go into one level-0 file, but for a larger single transaction.
    pub const MAX_SYNC_WAL_BYTES: u64 = 64 << 20;
    /// Level-0 files that a replica does not have yet take so many bytes at least before it is given
    /// up to bring them there one by one.
    pub const MIN_STAGED_BYTES: u64 = 256 << 20;
    /// Least time between two uploads to a replica.
    pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);
    /// Level-0 files uploaded in one go.
    pub const MAX_SYNC_LTX_FILES: usize = 256;
    /// Longest pause between two attempts after errors.
    pub const MAX_BACKOFF: Duration = Duration::from_mins(5);
    /// Time for the last upload when the program ends.
    pub const SHUTDOWN_SYNC_TIMEOUT: Duration = Duration::from_secs(30);
    /// Pause between attempts of the last upload.
    pub const SHUTDOWN_SYNC_INTERVAL: Duration = Duration::from_millis(500);
    /// Time between two snapshots.
    pub const SNAPSHOT_INTERVAL: Duration = Duration::from_hours(24);
    /// How long snapshots, and what builds on them, are kept.
    pub const SNAPSHOT_RETENTION: Duration = Duration::from_hours(24);
    /// How long level-0 files are kept after they are compacted.
    pub const L0_RETENTION: Duration = Duration::from_mins(5);
    /// Time between two looks for level-0 files to delete.
    pub const L0_RETENTION_CHECK_INTERVAL: Duration = Duration::from_secs(15);
    /// Intervals of the compaction levels 1, 2, 3.
    pub const LEVEL_INTERVALS: [Duration; 3] = [
        Duration::from_secs(30),
        Duration::from_mins(5),
        Duration::from_hours(1),
    ];
    /// Files fetched at the same time by a restore.
    pub const RESTORE_PARALLELISM: usize = 8;
    /// Time between looks of a follower at its replica.
    pub const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
    /// How long an apply of a follower waits for readers of the copy.
    pub const FOLLOW_READER_WAIT: Duration = Duration::from_secs(1);
}

/// Settings of one database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The database file.
    pub path: PathBuf,
    /// Folder of the local state; `None` means `.NAME-litestream` beside the database.
    pub meta_path: Option<PathBuf>,
    /// Least time between two captures while commits keep coming. The first commit after quiet is
    /// captured at once. Effect on loss: what is not captured is lost with the local disk.
    pub monitor_interval: Duration,
    /// See [`defaults::CHECKPOINT_INTERVAL`]; zero switches checkpoints by time off.
    pub checkpoint_interval: Duration,
    /// See [`defaults::BUSY_TIMEOUT`].
    pub busy_timeout: Duration,
    /// See [`defaults::MIN_CHECKPOINT_PAGES`].
    pub min_checkpoint_pages: u32,
    /// See [`defaults::TRUNCATE_PAGES`]; `None` never cuts the WAL.
    pub truncate_pages: Option<u32>,
    /// See [`defaults::MAX_SYNC_WAL_BYTES`]; 0 means no limit.
    pub max_sync_wal_bytes: u64,
    /// Bytes that level-0 files may take in the meta directory. Above it those go that every replica
    /// has, and then those that a replica lacks that is out of reach; it catches up with a snapshot.
    /// `None`: the size of the database, or [`defaults::MIN_STAGED_BYTES`] if that is more. From there
    /// on a snapshot is less to upload than the files. Effect on loss: none, the newest file stays;
    /// transactions in between are not restorable from that replica one by one.
    pub max_staged_bytes: Option<u64>,
    /// Time for the last upload when the database is closed; zero means one attempt.
    pub shutdown_sync_timeout: Duration,
    /// Pause between attempts of the last upload.
    pub shutdown_sync_interval: Duration,
}

impl DatabaseSettings {
    /// The defaults for a database file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            meta_path: None,
            monitor_interval: defaults::MONITOR_INTERVAL,
            checkpoint_interval: defaults::CHECKPOINT_INTERVAL,
            busy_timeout: defaults::BUSY_TIMEOUT,
            min_checkpoint_pages: defaults::MIN_CHECKPOINT_PAGES,
            truncate_pages: Some(defaults::TRUNCATE_PAGES),
            max_sync_wal_bytes: defaults::MAX_SYNC_WAL_BYTES,
            max_staged_bytes: None,
            shutdown_sync_timeout: defaults::SHUTDOWN_SYNC_TIMEOUT,
            shutdown_sync_interval: defaults::SHUTDOWN_SYNC_INTERVAL,
        }
    }
}

/// Settings of one replica of a database.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// Least time between two uploads. The first file after quiet is uploaded at once.
    /// Effect on cost: one request per interval while commits keep coming, none when idle.
    pub sync_interval: Duration,
    /// See [`defaults::MAX_SYNC_LTX_FILES`]; 0 means no limit.
    pub max_sync_ltx_files: usize,
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        Self {
            sync_interval: defaults::SYNC_INTERVAL,
            max_sync_ltx_files: defaults::MAX_SYNC_LTX_FILES,
        }
    }
}

/// What happens to a replica's files over time.
#[derive(Debug, Clone)]
pub struct RetentionSettings {
    /// Interval of each compaction level, from level 1 on.
    pub levels: Vec<Duration>,
    /// Time between two snapshots.
    pub snapshot_interval: Duration,
    /// How far back states can be restored at least: snapshots that are older go, but for the newest
    /// of them, which the oldest states inside build on.
    pub snapshot_retention: Duration,
    /// How long level-0 files are kept after they are compacted; zero keeps them for ever.
    pub l0_retention: Duration,
    /// Time between two looks for level-0 files to delete.
    pub l0_retention_check_interval: Duration,
    /// Whether files are deleted from the replica at all.
    pub delete_remote: bool,
    /// Lists a level after each compaction into it and tells of gaps and overlaps. Effect on cost:
    /// one request more per compaction.
    pub verify_compaction: bool,
    /// Lists each replica so often and tells of gaps and overlaps; `None` never does. Effect on
    /// cost: a listing per interval, also of an idle database.
    pub validation_interval: Option<Duration>,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            levels: defaults::LEVEL_INTERVALS.to_vec(),
            snapshot_interval: defaults::SNAPSHOT_INTERVAL,
            snapshot_retention: defaults::SNAPSHOT_RETENTION,
            l0_retention: defaults::L0_RETENTION,
            l0_retention_check_interval: defaults::L0_RETENTION_CHECK_INTERVAL,
            delete_remote: true,
            verify_compaction: false,
            validation_interval: None,
        }
    }
}
