//! From configuration to engine: settings, and the runtime they run on.
//!
//! Invariant: a configured setting reaches the engine, or the start is refused; nothing is ignored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use litestream::{
    DatabaseSettings, HeartbeatSettings, LeaseSettings, ReplicaSettings, RetentionSettings, Source,
};
use litestream_storage::SystemClock;
use tokio::runtime::Runtime;

use crate::backend;
use crate::config::{BuildError, Config, DatabaseConfig, Location, Replica};
use crate::env::Env;
use crate::metrics;

/// Threads that run tasks.
const WORKERS: usize = 2;
/// Threads for SQLite and files, at most. How many are used is bounded mount by mount, by the engine
/// for databases and by the file backend for replicas, so that with the main thread there are a dozen; what
/// is above that is for file systems that hang and keep theirs.
const BLOCKING: usize = 128;
/// The runtime of a command.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
}

/// Refuses settings whose feature this program does not have.
pub(crate) fn check_features(config: &Config) -> Result<(), BuildError> {
    let missing = |setting| Err(BuildError::FeatureNotAvailable(setting));
    if !config.addr.is_empty() {
        // The reference looks at it only when databases are being replicated already.
        metrics::split(&config.addr).ok_or_else(|| BuildError::NoPort(config.addr.clone()))?;
    }
    if !config.mcp_addr.is_empty() {
        return missing("mcp-addr");
    }
    if !config.heartbeat_url.is_empty() && cfg!(not(feature = "http")) {
        return missing("heartbeat-url");
    }
    if config
        .dbs
        .iter()
        .any(|db| matches!(db.location, Location::Directory(_)))
    {
        return missing("dir");
    }
    Ok(())
}

/// Who is told at intervals that all is well.
#[cfg(feature = "http")]
pub(crate) fn heartbeat(
    config: &Config,
    env: &Env,
) -> Result<Option<HeartbeatSettings>, BuildError> {
    if config.heartbeat_url.is_empty() {
        return Ok(None);
    }
    let network = crate::config::Network::of(env);
    let client = backend::http::client(&network, false, false)?;
    let url = &config.heartbeat_url;
    let receiver = crate::heartbeat::Receiver::new(client, url);
    let receiver = receiver.ok_or_else(|| BuildError::HeartbeatUrl(url.clone()))?;
    Ok(Some(HeartbeatSettings {
        receiver: Arc::new(receiver),
        interval: config.heartbeat_interval,
    }))
}

/// Without HTTP a heartbeat is refused by [`check_features`].
#[cfg(not(feature = "http"))]
pub(crate) fn heartbeat(_: &Config, _: &Env) -> Result<Option<HeartbeatSettings>, BuildError> {
    Ok(None)
}

/// A replica to write to.
pub(crate) fn replica(replica: &Replica) -> Result<Arc<litestream::Replica>, BuildError> {
    let backend = backend::open(replica)?;
    let lease = replica.lease.clone();
    let settings = ReplicaSettings {
        sync_interval: replica.sync_interval,
        max_sync_ltx_files: replica.max_sync_ltx_files.unwrap_or(0),
    };
    let mut replica = litestream::Replica::new(backend.store(), backend.layout, settings);
    if let Some(adopt) = backend.adopt {
        replica = replica.adopting(adopt);
    }
    if let Some(lease) = lease {
        let settings = LeaseSettings {
            ttl: lease.ttl,
            owner: lease.owner.unwrap_or_else(owner),
        };
        replica = replica.leased(settings, Arc::new(SystemClock::new()));
    }
    Ok(Arc::new(replica))
}

/// Who we are, in the form of the reference: `HOSTNAME:PID`.
fn owner() -> String {
    let pid = std::process::id();
    let uname = rustix::system::uname();
    match uname.nodename().to_string_lossy() {
        name if name.is_empty() => format!("pid-{pid}"),
        name => format!("{name}:{pid}"),
    }
}

/// A replica to restore from.
pub(crate) fn source(replica: &Replica) -> Result<Source, BuildError> {
    let backend = backend::open(replica)?;
    Ok(Source::new(backend.store(), backend.layout))
}

/// The settings of one database file.
pub(crate) fn database(config: &Config, db: &DatabaseConfig, path: &Path) -> DatabaseSettings {
    DatabaseSettings {
        path: path.to_owned(),
        meta_path: Some(db.meta_path_of_file(path)),
        monitor_interval: db.monitor_interval.unwrap_or(Duration::ZERO),
        checkpoint_interval: db.checkpoint_interval.unwrap_or(Duration::ZERO),
        busy_timeout: db.busy_timeout,
        min_checkpoint_pages: u32::try_from(db.min_checkpoint_page_count).unwrap_or(u32::MAX),
        truncate_pages: Some(db.truncate_page_n),
        max_sync_wal_bytes: db.max_sync_wal_bytes.unwrap_or(0),
        max_staged_bytes: db.max_staged_bytes,
        shutdown_sync_timeout: config.shutdown_sync_timeout,
        shutdown_sync_interval: config.shutdown_sync_interval,
    }
}

/// Levels, snapshots and retention.
pub(crate) fn retention(config: &Config) -> RetentionSettings {
    RetentionSettings {
        levels: config.levels.clone(),
        snapshot_interval: config.snapshot.interval,
        snapshot_retention: config.snapshot.retention,
        l0_retention: config.l0_retention,
        l0_retention_check_interval: config.l0_retention_check_interval,
        delete_remote: config.retention_enabled,
        verify_compaction: config.verify_compaction,
        validation_interval: config.validation_interval,
    }
}

/// The path of an entry that is a file.
pub(crate) fn file_of(db: &DatabaseConfig) -> Option<&PathBuf> {
    match &db.location {
        Location::File(path) => Some(path),
        Location::Directory(_) => None,
    }
}
