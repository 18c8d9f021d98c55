//! `list`: asks the daemon for its databases.

use super::{Command, positive_timeout};
use crate::context::Context;
use crate::control::{Client, DatabaseEntry, Listing};
use crate::error::Error;
use crate::flags::{Help, JSON, Parsed, SOCKET, TIMEOUT_10};
use crate::json::Json;
use crate::time::Moment;

/// The command.
pub const COMMAND: Command = Command {
    name: "list",
    summary: "list the databases of the running daemon",
    flags: &[JSON, SOCKET, TIMEOUT_10],
    help: Help {
        summary: &["Lists the databases of the running daemon, their state and last upload."],
        usage: &["list [arguments]"],
        notes: &[],
        examples: &[
            ("Databases of the daemon at the default socket.", "list"),
            ("The same as JSON.", "list -json"),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if !parsed.args.is_empty() {
        return Err(Error::TooManyArguments);
    }
    positive_timeout(parsed, &TIMEOUT_10)?;
    let client = Client::from_flags(parsed, &SOCKET, &TIMEOUT_10);
    let listing: Listing = client.call("list", "/list", None)?;
    if parsed.bool(&JSON) {
        let list = listing.databases.map_or(Json::Null, |list| {
            Json::List(list.iter().map(as_json).collect())
        });
        return Ok(Json::Object(vec![("databases", list)]).write(context.out)?);
    }
    let databases = listing.databases.unwrap_or_default();
    if databases.is_empty() {
        writeln!(context.out, "No databases configured")?;
    }
    for database in &databases {
        let last = last_sync(database).map_or_else(|| "never".into(), Moment::rfc3339);
        writeln!(
            context.out,
            "{} [{}] (last sync: {last})",
            database.path, database.status
        )?;
    }
    Ok(())
}

fn last_sync(database: &DatabaseEntry) -> Option<Moment> {
    database
        .last_sync_at
        .as_deref()
        .and_then(Moment::parse_rfc3339)
}

fn as_json(database: &DatabaseEntry) -> Json {
    let mut members = vec![
        ("path", Json::text(database.path.as_str())),
        ("status", Json::text(database.status.as_str())),
    ];
    if let Some(last) = last_sync(database) {
        members.push(("last_sync_at", Json::Text(last.rfc3339_nanos())));
    }
    Json::Object(members)
}
