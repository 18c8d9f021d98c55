//! `start`: tells the daemon to replicate a database that it knows.

use super::{Command, one_database};
use crate::context::Context;
use crate::control::{Client, StateChange};
use crate::error::Error;
use crate::flags::{Help, JSON, Parsed, SOCKET, TIMEOUT_30};
use crate::json::Json;

/// The command.
pub const COMMAND: Command = Command {
    name: "start",
    summary: "start replication of a database",
    flags: &[TIMEOUT_30, SOCKET, JSON],
    help: Help {
        summary: &["Tells the running daemon to replicate a database that was stopped."],
        usage: &["start [arguments] DB_PATH"],
        notes: &["A timeout of 0 waits without limit."],
        examples: &[("Start replication.", "start /path/to/db")],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let path = one_database(parsed, "litestream start /path/to/db")?;
    change(context, parsed, path, "start", "/start", "running")
}

/// Sends a change of state and prints what the daemon did; `state` is the state after it.
pub(super) fn change(
    context: &mut Context<'_>,
    parsed: &Parsed,
    path: &str,
    command: &'static str,
    endpoint: &'static str,
    state: &str,
) -> Result<(), Error> {
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_30);
    let body = serde_json::json!({"path": path, "timeout": parsed.int(&TIMEOUT_30)});
    let change: StateChange = client.call(command, endpoint, Some(&body))?;
    if parsed.bool(&JSON) {
        let object = Json::Object(vec![
            ("status", Json::Text(change.status)),
            ("db_path", Json::Text(change.path)),
            ("state", Json::text(state)),
            ("txid", Json::int(change.txid)),
            ("socket", Json::Text(client.socket)),
        ]);
        return Ok(object.write(context.out)?);
    }
    writeln!(context.out, "status: {}", change.status)?;
    writeln!(context.out, "db_path: {}", change.path)?;
    writeln!(context.out, "state: {state}")?;
    writeln!(context.out, "txid: {}", change.txid)?;
    writeln!(context.out, "socket: {}", client.socket)?;
    Ok(())
}
