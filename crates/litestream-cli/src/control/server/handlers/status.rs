//! `/status`: the states of all databases and replicas, an endpoint of ours.

use litestream::{DatabaseStatus, ReplicaStatus, Store};
use ltx::{Timestamp, Txid};
use serde_json::{Value, json};

use crate::time::Moment;

pub(super) fn all(store: &Store) -> Value {
    let databases: Vec<Value> = store.status().iter().map(database).collect();
    json!({ "databases": databases })
}

fn database(status: &DatabaseStatus) -> Value {
    let replicas: Vec<Value> = status.replicas.iter().map(replica).collect();
    json!({
        "path": status.path,
        "state": status.state.as_str(),
        "txid": status.txid.map_or(0, Txid::get),
        "replicas": replicas,
    })
}

fn replica(status: &ReplicaStatus) -> Value {
    json!({
        "type": status.kind,
        "state": status.state.as_str(),
        "since": moment(status.since),
        "cause": status.cause,
        "replicated_txid": status.acknowledged.map_or(0, Txid::get),
        "lag_seconds": status.lag.time.as_secs_f64(),
        "lag_bytes": status.lag.bytes,
        "lag_transactions": status.lag.transactions,
        "last_success_at": status.last_success.map(moment),
        "maintenance_error": status.maintenance_error,
    })
}

fn moment(time: Timestamp) -> String {
    Moment::local(time.to_system_time()).rfc3339_nanos()
}
