//! The metric families of the engine. Names, labels and meaning of the first table are those of
//! the reference; the second table is ours.

use litestream::{
    CheckpointCounts, DatabaseStatus, LeaseState, MetricsSnapshot, ReplicaStatus, State, Store,
};

use super::exposition::{Exposition, Kind};
use super::{operations, process};
use crate::backend;

/// What a scrape shows of a database.
struct Scraped {
    path: String,
    metrics: MetricsSnapshot,
    status: DatabaseStatus,
}

type Value = fn(&MetricsSnapshot) -> f64;
type Counted = fn(&CheckpointCounts) -> f64;
type Measured = fn(&ReplicaStatus) -> Option<f64>;

/// One series per database.
const OF_DATABASE: [(&str, Kind, &str, Value); 9] = [
    (
        "litestream_db_size",
        Kind::Gauge,
        "Size of the database file, in bytes",
        |metrics| metrics.database_size as f64,
    ),
    (
        "litestream_wal_size",
        Kind::Gauge,
        "End of the captured part of the WAL, in bytes",
        |metrics| metrics.wal_size as f64,
    ),
    (
        "litestream_total_wal_bytes",
        Kind::Counter,
        "Bytes of WAL captured",
        |metrics| metrics.total_wal_bytes as f64,
    ),
    (
        "litestream_txid",
        Kind::Gauge,
        "Newest captured transaction",
        |metrics| metrics.txid as f64,
    ),
    (
        "litestream_sync_count",
        Kind::Counter,
        "Number of captures",
        |metrics| metrics.sync_count as f64,
    ),
    (
        "litestream_sync_error_count",
        Kind::Counter,
        "Number of captures that failed",
        |metrics| metrics.sync_errors as f64,
    ),
    (
        "litestream_sync_seconds",
        Kind::Counter,
        "Time spent in captures, in seconds",
        |metrics| metrics.sync_duration.as_secs_f64(),
    ),
    (
        "litestream_disk_full",
        Kind::Gauge,
        "1 while captures fail for lack of space, else 0",
        |metrics| if metrics.disk_full { 1.0 } else { 0.0 },
    ),
    (
        "litestream_ltx_damaged_count",
        Kind::Counter,
        "Number of local LTX files found damaged before their upload",
        |metrics| metrics.damaged_files as f64,
    ),
];

/// One series per database and mode, from the first checkpoint on.
const OF_CHECKPOINTS: [(&str, &str, Counted); 3] = [
    (
        "litestream_checkpoint_count",
        "Number of checkpoints",
        |counts| counts.count as f64,
    ),
    (
        "litestream_checkpoint_error_count",
        "Number of checkpoints that failed",
        |counts| counts.errors as f64,
    ),
    (
        "litestream_checkpoint_seconds",
        "Time spent in checkpoints, in seconds",
        |counts| counts.duration.as_secs_f64(),
    ),
];

/// One series per replica.
const OF_REPLICA: [(&str, &str, Measured); 8] = [
    (
        "litestream_replica_txid",
        "Newest transaction that can be restored from the replica",
        |replica| Some(replica.acknowledged?.get() as f64),
    ),
    (
        "litestream_replication_lag_seconds",
        "Age of the oldest commit that the replica lacks, in seconds",
        |replica| Some(replica.lag.time.as_secs_f64()),
    ),
    (
        "litestream_replication_lag_bytes",
        "Bytes of WAL that the replica lacks",
        |replica| Some(replica.lag.bytes as f64),
    ),
    (
        "litestream_replication_lag_transactions",
        "Transactions (level-0 files) that the replica lacks",
        |replica| Some(replica.lag.transactions as f64),
    ),
    (
        "litestream_replica_healthy",
        "0 while the replica is behind or failed, else 1",
        |replica| {
            Some(if replica.state.is_alarming() {
                0.0
            } else {
                1.0
            })
        },
    ),
    (
        "litestream_replica_last_success_timestamp_seconds",
        "When the replica last had everything, in seconds since the Unix epoch",
        |replica| Some(replica.last_success?.as_millis() as f64 / 1000.0),
    ),
    (
        "litestream_lease_held",
        "1 while the lease of the replica is held, else 0; only with a lease",
        |replica| Some(f64::from(u8::from(replica.lease.as_ref()?.is_held()))),
    ),
    (
        "litestream_lease_generation",
        "Generation of the lease, while it is held",
        |replica| match replica.lease.as_ref()? {
            LeaseState::Held { generation, .. } => Some(*generation as f64),
            _ => None,
        },
    ),
];

/// All families, as text.
pub(super) fn all(store: &Store) -> String {
    let scraped: Vec<Scraped> = store
        .list()
        .iter()
        .map(|database| Scraped {
            path: database.path().display().to_string(),
            metrics: database.metrics(),
            status: database.status(),
        })
        .collect();
    let mut to = Exposition::default();
    of_databases(&mut to, &scraped);
    of_replicas(&mut to, &scraped);
    operations::write(&mut to, &backend::meters());
    process::write(&mut to);
    to.into_text()
}

fn of_databases(to: &mut Exposition, scraped: &[Scraped]) {
    if scraped.is_empty() {
        return;
    }
    for (name, kind, help, value) in OF_DATABASE {
        to.family(name, kind, help);
        for database in scraped {
            to.sample(name, &[("db", &database.path)], value(&database.metrics));
        }
    }
    let checkpoints = |database: &Scraped| {
        [
            ("PASSIVE", database.metrics.passive),
            ("TRUNCATE", database.metrics.truncate),
        ]
    };
    for (name, help, value) in OF_CHECKPOINTS {
        let mut begun = false;
        for database in scraped {
            for (mode, counts) in checkpoints(database) {
                if counts.count == 0 {
                    continue;
                }
                if !begun {
                    to.family(name, Kind::Counter, help);
                    begun = true;
                }
                to.sample(
                    name,
                    &[("db", &database.path), ("mode", mode)],
                    value(&counts),
                );
            }
        }
    }
}

fn of_replicas(to: &mut Exposition, scraped: &[Scraped]) {
    if scraped.is_empty() {
        return;
    }
    let enabled = || {
        let databases = scraped.iter();
        databases.filter(|database| database.status.state != State::Disabled)
    };
    for (name, help, measured) in OF_REPLICA {
        to.family(name, Kind::Gauge, help);
        for database in enabled() {
            for (at, replica) in database.status.replicas.iter().enumerate() {
                let Some(value) = measured(replica) else {
                    continue;
                };
                let at = at.to_string();
                let labels = [
                    ("db", database.path.as_str()),
                    ("replica", at.as_str()),
                    ("replica_type", replica.kind),
                ];
                to.sample(name, &labels, value);
            }
        }
    }
    let name = "litestream_databases";
    to.family(
        name,
        Kind::Gauge,
        "Databases by the state of their worst replica",
    );
    for state in State::ALL {
        let databases = scraped.iter();
        let count = databases
            .filter(|database| database.status.state == state)
            .count();
        to.sample(name, &[("state", state.as_str())], count as f64);
    }
}
