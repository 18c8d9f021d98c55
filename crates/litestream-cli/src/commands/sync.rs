//! `sync`: tells the daemon to capture (and with `-wait` upload) now.

use std::time::Instant;

use super::{Command, one_database, positive_timeout};
use crate::context::Context;
use crate::control::{Client, Synced};
use crate::error::Error;
use crate::flags::{Flag, Help, JSON, Kind, Parsed, SOCKET, TIMEOUT_30};
use crate::json::Json;

const WAIT: Flag = Flag {
    name: "wait",
    kind: Kind::Bool,
    value: "",
    doc: &["Returns only after the replica has everything."],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "sync",
    summary: "sync a database now",
    flags: &[WAIT, TIMEOUT_30, SOCKET, JSON],
    help: Help {
        summary: &["Tells the running daemon to sync a database now."],
        usage: &["sync [arguments] DB_PATH"],
        notes: &[],
        examples: &[
            (
                "Capture what the write-ahead log holds.",
                "sync /path/to/db",
            ),
            (
                "Wait until the replica has it, two minutes at most.",
                "sync -wait -timeout 120 /path/to/db",
            ),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let path = one_database(parsed, "litestream sync /path/to/db")?;
    let timeout = positive_timeout(parsed, &TIMEOUT_30)?;
    let is_waiting = parsed.bool(&WAIT);
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_30);
    let body = if is_waiting {
        serde_json::json!({"path": path, "wait": true, "timeout": timeout})
    } else {
        serde_json::json!({"path": path, "timeout": timeout})
    };
    let begin = Instant::now();
    let synced: Synced = client.call("sync", "/sync", Some(&body))?;
    let duration = i128::try_from(begin.elapsed().as_millis()).unwrap_or(i128::MAX);
    if parsed.bool(&JSON) {
        let mut members = vec![
            ("db_path", Json::Text(synced.path)),
            ("txid", Json::int(synced.txid)),
        ];
        if is_waiting {
            members.push(("replica_txid", Json::int(synced.replicated_txid)));
        }
        members.push(("duration_ms", Json::int(duration)));
        return Ok(Json::Object(members).write(context.out)?);
    }
    writeln!(context.out, "db_path: {}", synced.path)?;
    writeln!(context.out, "txid: {}", synced.txid)?;
    if is_waiting {
        writeln!(context.out, "replica_txid: {}", synced.replicated_txid)?;
    }
    writeln!(context.out, "duration_ms: {duration}")?;
    Ok(())
}
