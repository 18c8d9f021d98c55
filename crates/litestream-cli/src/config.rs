//! The configuration file: find, read, expand, parse, resolve, validate.
//!
//! A [`Config`] is complete: every duration, size and path has its final value. Replicas are the
//! exception: their settings are kept as they stand after inheritance, because errors in them
//! concern only the commands that use the database ([`DatabaseConfig::replicas`]).

mod build;
mod decode;
pub mod defaults;
mod directory;
mod expand_env;
mod location;
mod network;
mod raw;
mod resolve;
mod s3_target;
mod scalar;
mod settings;
mod snapshots;
mod target;
#[cfg(test)]
mod tests;
mod unknown;
mod validate;
mod yaml;

use std::path::PathBuf;
use std::time::Duration;

pub use build::{BuildError, replica_from_url};
pub use decode::Bytes;
pub use location::{default_path, load};
pub use network::Network;
pub(crate) use raw::RawLogging;
pub use raw::RawReplica;
pub use resolve::{of_database, of_registered, parse};
pub use s3_target::S3Target;
pub use settings::{AgeSection, LeaseSection, ReplicaSettings};
pub use target::{
    AbsTarget, AzureIdentities, FileTarget, GsTarget, LeaseConfig, NatsTarget, OssTarget, Replica,
    SftpTarget, Target, WebdavTarget,
};
pub use unknown::Warning;
pub use yaml::SyntaxError;

use crate::log::Logging;

/// The whole configuration, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from, as typed; `None` when it was made from the command line.
    pub source: Option<String>,
    /// Metrics server address. Empty: none.
    pub addr: String,
    /// MCP server address. Empty: none.
    pub mcp_addr: String,
    /// Program to run while replicating. Empty: none.
    pub exec: String,
    /// Control socket.
    pub socket: Socket,
    /// Intervals of the compaction levels 1 and up; empty: no compaction.
    pub levels: Vec<Duration>,
    /// Snapshot schedule of the process.
    pub snapshot: Snapshot,
    /// How long level-0 files are kept after compaction; zero: never deleted.
    pub l0_retention: Duration,
    /// Time between looks at level 0.
    pub l0_retention_check_interval: Duration,
    /// Check the target level after each compaction.
    pub verify_compaction: bool,
    /// Delete old files on the replica.
    pub retention_enabled: bool,
    /// Time between contiguity checks of the replica; `None`: no checks.
    pub validation_interval: Option<Duration>,
    /// Address to call while all is well. Empty: none.
    pub heartbeat_url: String,
    /// Time between such calls.
    pub heartbeat_interval: Duration,
    /// How long the last upload is retried at shutdown; zero: one attempt.
    pub shutdown_sync_timeout: Duration,
    /// Pause between those attempts.
    pub shutdown_sync_interval: Duration,
    /// Log format, level and destination.
    pub logging: Logging,
    /// The databases, in the order of the file.
    pub dbs: Vec<DatabaseConfig>,
    /// What to tell the user about the file.
    pub warnings: Vec<Warning>,
}

/// The control socket of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Whether there is one.
    pub enabled: bool,
    /// Its path as written: relative to the working directory, may be empty (then a warning).
    pub path: String,
    /// Mode of the socket file.
    pub permissions: u32,
}

/// When snapshots are made and how long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Time between snapshots.
    pub interval: Duration,
    /// Age at which a snapshot is deleted.
    pub retention: Duration,
}

/// One entry of `dbs`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The file, or the folder of files.
    pub location: Location,
    /// Configured folder of local state, absolute; with a folder the base of such folders.
    pub meta_path: Option<PathBuf>,
    /// Time between looks at the WAL; `None`: no monitor.
    pub monitor_interval: Option<Duration>,
    /// Longest time between checkpoints; `None`: not by time.
    pub checkpoint_interval: Option<Duration>,
    /// Wait for locks of the database.
    pub busy_timeout: Duration,
    /// WAL pages before a checkpoint; not positive is an error at start ([`Config::check_start`]).
    pub min_checkpoint_page_count: i64,
    /// WAL pages before a checkpoint that truncates.
    pub truncate_page_n: u32,
    /// Most WAL bytes captured at a time; `None`: no limit.
    pub max_sync_wal_bytes: Option<u64>,
    /// Most bytes of local level-0 files; `None`: the size of the database, or 256 MiB if that is more.
    pub max_staged_bytes: Option<u64>,
    /// Restore before replicating when the file is missing.
    pub restore_if_db_not_exists: bool,
    /// The key `replica`, after inheritance.
    pub replica: Option<RawReplica>,
    /// The key `replicas`, after inheritance.
    pub replica_list: Vec<RawReplica>,
}

/// Where the databases of an entry are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A database file, absolute.
    File(PathBuf),
    /// A folder of database files.
    Directory(Directory),
}

/// A folder of database files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// As configured; this is what log lines and messages show.
    pub configured: String,
    /// Absolute.
    pub path: PathBuf,
    /// Pattern of base names.
    pub pattern: String,
    /// Folders below too.
    pub recursive: bool,
    /// Take in files that appear later.
    pub watch: bool,
    /// Folder that holds the local state of all its databases, absolute.
    pub meta_dir: Option<PathBuf>,
}

impl Config {
    /// The entry of a database file; the path must be absolute and clean.
    pub fn database(&self, path: &std::path::Path) -> Option<&DatabaseConfig> {
        self.dbs
            .iter()
            .find(|db| matches!(&db.location, Location::File(file) if file == path))
    }

    /// The checks that are made when the daemon starts, not when the file is read.
    pub fn check_start(&self) -> Result<(), BuildError> {
        if self.levels.len() > defaults::MAX_LEVELS {
            return Err(BuildError::TooManyLevels(defaults::MAX_LEVELS));
        }
        if self.dbs.iter().any(|db| db.min_checkpoint_page_count <= 0) {
            return Err(BuildError::CheckpointPageCount);
        }
        Ok(())
    }
}

impl DatabaseConfig {
    /// The settings of the replicas; exactly one of `replica` and `replicas` must be there.
    fn replica_settings(&self) -> Result<&[RawReplica], BuildError> {
        match (&self.replica, self.replica_list.as_slice()) {
            (None, []) => Err(BuildError::NoReplica),
            (Some(_), [_, ..]) => Err(BuildError::BothForms),
            (Some(replica), []) => Ok(std::slice::from_ref(replica)),
            (None, list) => Ok(list),
        }
    }

    /// The folder of local state of a database file.
    pub fn meta_path_of_file(&self, file: &std::path::Path) -> PathBuf {
        self.meta_path
            .clone()
            .unwrap_or_else(|| crate::paths::default_meta_path(file))
    }
}

/// A configuration that cannot be used. The texts equal the reference's.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error("config file not found: {}", .0.display())]
    NotFound(PathBuf),
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The file is no YAML.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Values of the wrong type, one line each.
    #[error("yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Types(Vec<String>),
    /// A value that cannot be read, or a document that is too large to be honest.
    #[error("{0}")]
    Unusable(String),
    /// A value out of range.
    #[error("{field}: {message} (got {value})")]
    Value {
        /// Key, with its section.
        field: String,
        /// The rule.
        message: &'static str,
        /// What was found.
        value: String,
    },
    /// An entry of `dbs` contradicts itself.
    #[error("database config #{number}: {message}")]
    Database {
        /// Position in the list, from 1.
        number: usize,
        /// The rule.
        message: &'static str,
    },
    /// Two entries of `dbs` for one file.
    #[error(
        "database config #{number}: duplicate path {} (already used by database config #{first}); \
         each database can be listed only once",
        crate::quote::quoted(path)
    )]
    Duplicate {
        /// Position of the second entry, from 1.
        number: usize,
        /// Position of the first entry, from 1.
        first: usize,
        /// The path, absolute.
        path: String,
    },
    /// Two databases ask for different snapshot schedules.
    #[error(
        "conflicting database snapshot {what}: {first} has {first_value}, {second} has {second_value}"
    )]
    Conflict {
        /// `intervals` or `retentions`.
        what: &'static str,
        /// Path of one database, as written.
        first: String,
        /// Its value.
        first_value: String,
        /// Path of the other database, as written.
        second: String,
        /// Its value.
        second_value: String,
    },
    /// No such log format.
    #[error("logging.type: must be one of text, json, pretty (got {0})")]
    LoggingType(String),
}
