//! `/status`: the states of all databases and replicas, an endpoint of ours.

use litestream::{DatabaseStatus, LeaseState, ReplicaStatus, Store};
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
        "lease": status.lease.as_ref().map(lease),
        "maintenance_error": status.maintenance_error,
    })
}

fn lease(state: &LeaseState) -> Value {
    let mut members = json!({ "state": state.as_str(), "text": state.to_string() });
    match state {
        LeaseState::Held { generation, until } => {
            members["generation"] = json!(generation);
            members["until"] = json!(moment(*until));
        }
        LeaseState::Waiting { owner, until } => {
            members["owner"] = json!(owner);
            members["until"] = json!(moment(*until));
        }
        _ => {}
    }
    members
}

fn moment(time: Timestamp) -> String {
    Moment::local(time.to_system_time()).rfc3339_nanos()
}
