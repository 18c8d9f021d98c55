//! The answers of the daemon. Missing members count as empty, unknown ones are ignored.

use serde::Deserialize;

/// Answer of `/start`, `/stop`, `/register` and `/unregister`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StateChange {
    /// What happened: `started`, `already_running`, ...
    pub status: String,
    /// The database, absolute.
    pub path: String,
    /// Its last transaction.
    pub txid: u64,
}

/// Answer of `/sync`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Synced {
    /// The database, absolute.
    pub path: String,
    /// Last transaction captured.
    pub txid: u64,
    /// Last transaction on the replica.
    pub replicated_txid: u64,
}

/// Answer of `/info`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: i64,
    /// Seconds since it started.
    pub uptime_seconds: i64,
    /// When it started, RFC 3339.
    pub started_at: Option<String>,
    /// Databases it manages.
    pub database_count: i64,
}

/// Answer of `/list`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// The databases, in the daemon's order; absent and empty are told apart in JSON.
    pub databases: Option<Vec<DatabaseEntry>>,
}

/// One database of `/list`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DatabaseEntry {
    /// Absolute path.
    pub path: String,
    /// `replicating`, `open` or `stopped`.
    pub status: String,
    /// Last upload, RFC 3339; absent before the first.
    pub last_sync_at: Option<String>,
}
