//! `unregister`: takes a database away from the daemon.

use super::{Command, one_database, positive_timeout};
use crate::context::Context;
use crate::control::{Client, StateChange};
use crate::error::Error;
use crate::flags::{Flag, Help, JSON, Kind, Parsed, SOCKET, TIMEOUT_30};
use crate::json::Json;

const DRY_RUN: Flag = Flag {
    name: "dry-run",
    kind: Kind::Bool,
    value: "",
    doc: &["Prints what would be asked of the daemon, and asks nothing."],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "unregister",
    summary: "take a database away from the daemon",
    flags: &[TIMEOUT_30, SOCKET, DRY_RUN, JSON],
    help: Help {
        summary: &[
            "Takes a database away from the running daemon, which uploads what is left before.",
            "The replica keeps its data. A configured database is back after a restart.",
        ],
        usage: &["unregister [arguments] DB_PATH"],
        notes: &[],
        examples: &[
            ("Stop managing a database.", "unregister /path/to/db"),
            (
                "Show what would be asked.",
                "unregister -dry-run /path/to/db",
            ),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let path = one_database(parsed, "litestream unregister /path/to/db")?;
    let timeout = positive_timeout(parsed, &TIMEOUT_30)?;
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_30);
    if parsed.bool(&DRY_RUN) {
        writeln!(context.out, "Dry run: unregister request preview")?;
        writeln!(context.out, "  database: {path}")?;
        writeln!(context.out, "  socket: {}", client.socket)?;
        writeln!(
            context.out,
            "  replicas: those that the daemon holds for this database"
        )?;
        writeln!(
            context.out,
            "  final sync: the daemon syncs database and replica before it closes"
        )?;
        writeln!(context.out, "  timeout: {timeout}s")?;
        writeln!(context.out, "No unregister request was sent.")?;
        return Ok(());
    }
    let body = serde_json::json!({"path": path, "timeout": timeout});
    let change: StateChange = client.call("unregister", "/unregister", Some(&body))?;
    if parsed.bool(&JSON) {
        let object = Json::Object(vec![
            ("status", Json::Text(change.status)),
            ("db_path", Json::Text(change.path)),
            ("final_txid", Json::int(change.txid)),
            ("socket", Json::Text(client.socket)),
        ]);
        return Ok(object.write(context.out)?);
    }
    writeln!(context.out, "status: {}", change.status)?;
    writeln!(context.out, "db_path: {}", change.path)?;
    writeln!(context.out, "final_txid: {}", change.txid)?;
    writeln!(context.out, "socket: {}", client.socket)?;
    Ok(())
}
