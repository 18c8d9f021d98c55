//! The configuration file as it is written: every key optional, nothing checked but types.

use super::decode::section;
use super::settings::ReplicaSettings;
use crate::duration::Span;

section! {
    /// `socket`: the control socket.
    pub(crate) struct RawSocket("litestream.SocketConfig", "[]litestream.SocketConfig") {
        /// Whether there is one. Default false.
        enabled: Option<bool> = "enabled",
        /// Where, as written: neither expanded nor made absolute.
        path: Option<String> = "path",
        /// Mode of the socket file, an octal number with leading 0. Default 0600.
        permissions: Option<u32> = "permissions",
    }
}

section! {
    /// One entry of `levels`.
    pub(crate) struct RawLevel("main.CompactionLevelConfig", "[]*main.CompactionLevelConfig") {
        /// Time between compactions into this level. More often means more requests, fewer files
        /// to restore from.
        interval: Span = "interval",
    }
}

section! {
    /// `snapshot`, at top level and on databases.
    pub(crate) struct RawSnapshot("main.SnapshotConfig", "[]main.SnapshotConfig") {
        /// Time between snapshots. Default 24 h. Each costs an upload of the whole database.
        interval: Option<Span> = "interval",
        /// How long snapshots and what lies between them are kept. Default 24 h. States older
        /// than this cannot be restored.
        retention: Option<Span> = "retention",
    }
}

section! {
    /// `retention`.
    pub(crate) struct RawRetention("main.RetentionConfig", "[]main.RetentionConfig") {
        /// Whether old files on the replica are deleted. Default true; false grows without end
        /// unless the provider deletes.
        enabled: Option<bool> = "enabled",
    }
}

section! {
    /// `validation`.
    pub(crate) struct RawValidation("main.ValidationConfig", "[]main.ValidationConfig") {
        /// Time between contiguity checks of the replica. Default: none. Costs listings.
        interval: Option<Span> = "interval",
    }
}

section! {
    /// `logging`.
    pub(crate) struct RawLogging("internal.LoggingConfig", "[]internal.LoggingConfig") {
        /// Lowest level shown: trace, debug, info, warn, error. Default info.
        level: Option<String> = "level",
        /// `text`, `json` or `pretty`. Default text.
        format: Option<String> = "type",
        /// Standard error instead of standard output. Default false.
        stderr: Option<bool> = "stderr",
        /// Add file and line of the source. Default false.
        source: Option<bool> = "source",
    }
}

section! {
    /// `replica`, and one entry of `replicas`.
    pub struct RawReplica("main.ReplicaConfig", "[]*main.ReplicaConfig") {
        /// Type word. Default: from the URL, else `file`.
        kind: Option<String> = "type",
        /// A name for people to tell replicas apart.
        name: Option<String> = "name",
        /// Path inside the bucket or host; folder of a file replica.
        path: Option<String> = "path",
        /// Everything in one text.
        url: Option<String> = "url",
        @shared settings: ReplicaSettings,
        @unwritten
        /// The URL came over the control socket, where a little more is understood.
        registered: bool,
    }
}

section! {
    /// One entry of `dbs`.
    pub(crate) struct RawDatabase("main.DBConfig", "[]*main.DBConfig") {
        /// A database file.
        path: Option<String> = "path",
        /// A folder with database files.
        dir: Option<String> = "dir",
        /// Which files of the folder.
        pattern: Option<String> = "pattern",
        /// Folders below too. Default false.
        recursive: Option<bool> = "recursive",
        /// Take in files that appear later. Default false.
        watch: Option<bool> = "watch",
        /// Snapshot schedule; becomes the one of the process when there is none at top level.
        snapshot: Option<RawSnapshot> = "snapshot",
        /// Folder of local state. Default `.FILE-litestream` beside the database.
        meta_path: Option<String> = "meta-path",
        /// Folder that holds the local state of all databases of `dir`.
        meta_dir: Option<String> = "meta-dir",
        /// Time between looks at the WAL. Default 1 s; zero or less = never.
        monitor_interval: Option<Span> = "monitor-interval",
        /// Longest time between checkpoints. Default 1 min; 0 = not by time.
        checkpoint_interval: Option<Span> = "checkpoint-interval",
        /// Wait for locks of the database. Default 1 s.
        busy_timeout: Option<Span> = "busy-timeout",
        /// WAL pages before a checkpoint. Default 1000; must be positive.
        min_checkpoint_page_count: Option<i64> = "min-checkpoint-page-count",
        /// WAL pages before a checkpoint that truncates. Default 121359; 0 = the default.
        truncate_page_n: Option<i64> = "truncate-page-n",
        /// Most WAL bytes captured at a time. Default 67108864; 0 = no limit.
        max_sync_wal_bytes: Option<MaxSyncWalBytes> = "max-sync-wal-bytes",
        /// Ours: bytes of local level-0 files above which a replica that is away is given up for a snapshot. Default
        /// 0 = the size of the database, 268435456 at least.
        max_staged_bytes: Option<MaxSyncWalBytes> = "max-staged-bytes",
        /// Restore before replicating when the file is missing. Default false.
        restore_if_db_not_exists: Option<bool> = "restore-if-db-not-exists",
        /// The replica.
        replica: Option<RawReplica> = "replica",
        /// Several replicas, each with its own state.
        replicas: Vec<RawReplica> = "replicas",
    }
}

section! {
    /// The whole file.
    pub(crate) struct RawConfig("main.Config", "[]main.Config") {
        /// Address of the metrics server, with a port. Default: none.
        addr: Option<String> = "addr",
        /// Address of the MCP server. Default: none.
        mcp_addr: Option<String> = "mcp-addr",
        /// Program to run while replicating.
        exec: Option<String> = "exec",
        /// Control socket.
        socket: Option<RawSocket> = "socket",
        /// Compaction levels 1 and up.
        levels: Levels = "levels",
        /// Snapshot schedule.
        snapshot: Option<RawSnapshot> = "snapshot",
        /// How long level-0 files are kept after compaction. Default 5 min; 0 = for ever.
        l0_retention: Option<Span> = "l0-retention",
        /// Time between looks at level 0. Default 15 s. Costs nothing while nothing is due.
        l0_retention_check_interval: Option<Span> = "l0-retention-check-interval",
        /// Check the target level after each compaction. Default false. Costs a listing.
        verify_compaction: Option<bool> = "verify-compaction",
        /// Deletion on the replica.
        retention: Option<RawRetention> = "retention",
        /// Periodic check of the replica.
        validation: Option<RawValidation> = "validation",
        /// Address to call while all is well.
        heartbeat_url: Option<String> = "heartbeat-url",
        /// Time between such calls. Default 5 min, at least 1 min.
        heartbeat_interval: Option<Span> = "heartbeat-interval",
        /// How long the last upload is retried at shutdown. Default 30 s; 0 = one attempt. What is
        /// not uploaded then exists only on the local disk.
        shutdown_sync_timeout: Option<Span> = "shutdown-sync-timeout",
        /// Pause between those attempts. Default 500 ms.
        shutdown_sync_interval: Option<Span> = "shutdown-sync-interval",
        /// Log format and destination.
        logging: Option<RawLogging> = "logging",
        /// The databases.
        dbs: Vec<RawDatabase> = "dbs",
        @shared settings: ReplicaSettings,
    }
}

/// The list of compaction levels; `None` when the key is absent.
///
/// An empty key is an empty list, unlike for other keys, where it means the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels(pub(crate) Option<Vec<RawLevel>>);

impl super::decode::Decode for Levels {
    const TYPE: &'static str = "[]*main.CompactionLevelConfig";
    const LIST_TYPE: &'static str = "[]*main.CompactionLevelConfig";
    fn decode(&mut self, node: &super::yaml::Node, decoder: &mut super::decode::Decoder) {
        self.0.get_or_insert_default().decode(node, decoder);
    }
}

/// A count of bytes without unit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MaxSyncWalBytes(pub(crate) i64);

impl super::decode::Decode for MaxSyncWalBytes {
    const TYPE: &'static str = "int64";
    const LIST_TYPE: &'static str = "[]int64";
    fn decode(&mut self, node: &super::yaml::Node, decoder: &mut super::decode::Decoder) {
        let mut value = self.0;
        let before = decoder.type_errors.len();
        value.decode(node, decoder);
        if decoder.type_errors.len() > before {
            decoder.type_errors.truncate(before);
            decoder.mismatch(node, Self::TYPE);
        }
        self.0 = value;
    }
}
