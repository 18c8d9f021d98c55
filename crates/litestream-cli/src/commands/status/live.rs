//! `status -live`: the states of all replicas, as the running daemon knows them.

use std::time::Duration;

use serde::Deserialize;

use crate::commands::positive_timeout;
use crate::context::Context;
use crate::control::Client;
use crate::error::Error;
use crate::flags::{JSON, Parsed, SOCKET, TIMEOUT_10};
use crate::ltx_files::format_txid;
use crate::time::Moment;
use crate::{paths, table};

const HEADER: [&str; 7] = [
    "database", "replica", "state", "since", "txid", "lag", "cause",
];

/// The daemon's answer; what is not shown in the table is passed on as it came.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    databases: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Database {
    path: String,
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    r#type: String,
    state: String,
    since: String,
    cause: Option<String>,
    replicated_txid: u64,
    lag_seconds: f64,
}

pub(super) fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    positive_timeout(parsed, &TIMEOUT_10)?;
    let wanted = parsed.args.first().filter(|path| !path.is_empty());
    let wanted = wanted.map(|path| paths::expand(&context.env, path));
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_10);
    let mut answer: Answer = client.call("status", "/status", None)?;
    if let Some(wanted) = wanted {
        let wanted = wanted.to_string_lossy();
        answer.databases.retain(|database| {
            database.get("path").and_then(|path| path.as_str()) == Some(&wanted)
        });
    }
    if parsed.bool(&JSON) {
        let list = serde_json::Value::Array(answer.databases);
        writeln!(context.out, "{list:#}")?;
        return Ok(());
    }
    let mut rows = Vec::new();
    for database in answer.databases {
        let database: Database =
            serde_json::from_value(database).map_err(crate::control::ControlError::Response)?;
        rows.extend(
            database
                .replicas
                .iter()
                .map(|replica| row(&database.path, replica)),
        );
    }
    Ok(table::write(context.out, &HEADER, &rows)?)
}

fn row(path: &str, replica: &Replica) -> Vec<String> {
    let since = Moment::parse_rfc3339(&replica.since);
    let lag = Duration::try_from_secs_f64(replica.lag_seconds).unwrap_or_default();
    vec![
        path.to_owned(),
        replica.r#type.clone(),
        replica.state.clone(),
        since.map_or_else(|| "-".to_owned(), Moment::rfc3339),
        match replica.replicated_txid {
            0 => "-".to_owned(),
            txid => format_txid(txid),
        },
        format!("{:.1}s", lag.as_secs_f64()),
        replica.cause.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
