//! `register`: gives the daemon a database that is not configured.

use super::{Command, one_database, positive_timeout};
use crate::context::Context;
use crate::control::{Client, StateChange};
use crate::error::Error;
use crate::flags::{Flag, Help, JSON, Kind, Parsed, SOCKET, TIMEOUT_30};
use crate::json::Json;

const REPLICA: Flag = Flag {
    name: "replica",
    kind: Kind::Text(""),
    value: "URL",
    doc: &["Where to replicate to, for example s3://bucket/prefix. Required."],
};

const HINT: &str = "litestream register -replica s3://bucket/prefix /path/to/db";

/// The command.
pub const COMMAND: Command = Command {
    name: "register",
    summary: "give the daemon a database to replicate",
    flags: &[REPLICA, TIMEOUT_30, SOCKET, JSON],
    help: Help {
        summary: &[
            "Gives the running daemon a database to replicate, until it is unregistered or the",
            "daemon ends.",
        ],
        usage: &["register [arguments] DB_PATH"],
        notes: &[],
        examples: &[
            (
                "Replicate to a bucket.",
                "register -replica s3://mybucket/db /path/to/db",
            ),
            (
                "Replicate to a folder.",
                "register -replica file:///backup/path /path/to/db",
            ),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let path = one_database(parsed, HINT)?;
    let replica = parsed.text(&REPLICA);
    if replica.is_empty() {
        return Err(Error::Usage {
            message: "-replica is required",
            hint: HINT.into(),
        });
    }
    positive_timeout(parsed, &TIMEOUT_30)?;
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_30);
    let body = serde_json::json!({"path": path, "replica_url": replica});
    let change: StateChange = client.call("register", "/register", Some(&body))?;
    if parsed.bool(&JSON) {
        let object = Json::Object(vec![
            ("status", Json::Text(change.status)),
            ("db_path", Json::Text(change.path)),
            ("replica", Json::text(replica)),
            ("socket", Json::Text(client.socket)),
        ]);
        return Ok(object.write(context.out)?);
    }
    let status = match change.status.as_str() {
        "already_registered" => "already registered",
        other => other,
    };
    writeln!(context.out, "status: {status}")?;
    writeln!(context.out, "db_path: {}", change.path)?;
    writeln!(context.out, "replica: {replica}")?;
    writeln!(context.out, "socket: {}", client.socket)?;
    Ok(())
}
