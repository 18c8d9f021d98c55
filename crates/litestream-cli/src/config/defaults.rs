//! Every default of the configuration, in one table.

use std::time::Duration;

use litestream::LeaseSettings;

/// Control socket.
pub const SOCKET_PATH: &str = "/var/run/litestream.sock";
/// Mode of the control socket's file.
pub const SOCKET_PERMISSIONS: u32 = 0o600;
/// Intervals of the compaction levels 1, 2, 3.
pub const LEVEL_INTERVALS: [Duration; 3] = [
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_hours(1),
];
/// Time between snapshots.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_hours(24);
/// How long snapshots are kept.
pub const SNAPSHOT_RETENTION: Duration = Duration::from_hours(24);
/// How long level-0 files are kept after compaction.
pub const L0_RETENTION: Duration = Duration::from_mins(5);
/// Time between looks at level 0.
pub const L0_RETENTION_CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// Time between heartbeat calls.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_mins(5);
/// Shortest time allowed between heartbeat calls.
pub const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_mins(1);
/// How long the last upload is retried at shutdown.
pub const SHUTDOWN_SYNC_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between those attempts.
pub const SHUTDOWN_SYNC_INTERVAL: Duration = Duration::from_millis(500);
/// Time between looks at the WAL.
pub const MONITOR_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between checkpoints.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);
/// Wait for locks of the database.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// WAL pages before a checkpoint.
pub const MIN_CHECKPOINT_PAGE_COUNT: u32 = 1000;
/// WAL pages before a checkpoint that truncates.
pub const TRUNCATE_PAGE_N: u32 = 121_359;
/// Most WAL bytes captured at a time.
pub const MAX_SYNC_WAL_BYTES: u64 = 64 << 20;
/// Time between uploads.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Files per upload batch.
pub const MAX_SYNC_LTX_FILES: usize = 256;
/// Life of a lease.
pub const LEASE_TTL: Duration = LeaseSettings::TTL;
/// Shortest life of a lease.
pub const MIN_LEASE_TTL: Duration = LeaseSettings::MIN_TTL;
/// Compaction levels that can be configured.
pub const MAX_LEVELS: usize = 8;
/// S3: parts uploaded at a time.
pub const S3_CONCURRENCY: usize = 5;
/// Cloudflare R2: parts uploaded at a time.
pub const R2_CONCURRENCY: usize = 2;
/// OSS: parts uploaded at a time.
pub const OSS_CONCURRENCY: usize = 3;
/// S3, OSS: size of upload parts.
pub const PART_SIZE: u64 = 5 << 20;
/// OSS: region.
pub const OSS_REGION: &str = "cn-hangzhou";
/// S3: region when there is an endpoint but no region.
pub const S3_REGION: &str = "us-east-1";
/// S3: algorithm of a customer key.
pub const SSE_ALGORITHM: &str = "AES256";
/// NATS: reconnection attempts, without end.
pub const NATS_MAX_RECONNECTS: i64 = -1;
/// NATS: pause between reconnections.
pub const NATS_RECONNECT_WAIT: Duration = Duration::from_secs(2);
/// NATS: limit of an operation.
pub const NATS_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes per second that a replica may be limited to at least. Below, uploads that go on at the
/// same time would be so slow that they count as stalled.
pub(super) const LEAST_BANDWIDTH: u64 = 64 * 1024;
