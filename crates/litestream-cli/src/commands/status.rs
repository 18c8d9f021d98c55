//! `status`: local state of the configured databases. Contacts neither daemon nor replica.

mod live;

use std::io;
use std::path::Path;

use super::{Command, load_config};
use crate::config::Location;
use crate::context::Context;
use crate::error::Error;
use crate::flags::{CONFIG, Help, JSON, LIVE, NO_EXPAND_ENV, Parsed, SOCKET, TIMEOUT_10};
use crate::json::Json;
use crate::log::Destination;
use crate::ltx_files::{format_txid, highest_local_txid};
use crate::{size, table};

/// The command.
pub const COMMAND: Command = Command {
    name: "status",
    summary: "show the local replication state of databases",
    flags: &[CONFIG, JSON, LIVE, NO_EXPAND_ENV, SOCKET, TIMEOUT_10],
    help: Help {
        summary: &[
            "Shows the local replication state of the configured databases, or of one of them.",
            "Only files are looked at: neither the daemon nor a replica is asked, but with -live.",
        ],
        usage: &["status [arguments] [DB_PATH]"],
        notes: &[
            "Columns:",
            "  database      path of the database",
            "  status        ok, not initialized, no database, directory, error",
            "  local txid    last transaction captured locally",
            "  wal size      size of the write-ahead log",
            "",
            "Columns with -live, a line for each replica:",
            "  database      path of the database",
            "  replica       type of the replica",
            "  state         replicating, catching-up, behind, failed, disabled",
            "  since         since when it is in this state",
            "  txid          newest transaction that can be restored",
            "  lag           age of the oldest commit that the replica lacks",
            "  cause         why, where there is something to say",
        ],
        examples: &[
            ("All databases.", "status"),
            (
                "One database, by the path of the configuration.",
                "status /path/to/db",
            ),
            (
                "State and lag of each replica, from the daemon.",
                "status -live",
            ),
        ],
    },
    run,
};

const HEADER: [&str; 4] = ["database", "status", "local txid", "wal size"];

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if parsed.bool(&LIVE) {
        return live::run(context, parsed);
    }
    let config = load_config(context, parsed, Some(Destination::Stderr))?;
    let wanted = parsed
        .args
        .first()
        .filter(|path| !path.is_empty())
        .map(Path::new);
    let mut rows = Vec::new();
    for database in &config.dbs {
        database.replicas(&context.env)?;
        let (path, row) = match &database.location {
            Location::File(path) => (path, file_row(path, &database.meta_path_of_file(path))),
            Location::Directory(directory) => (&directory.path, row("directory", None, "-".into())),
        };
        if wanted.is_none_or(|wanted| wanted == path) {
            let mut cells = vec![path.display().to_string()];
            cells.extend(row);
            rows.push(cells);
        }
    }
    if !parsed.bool(&JSON) {
        return Ok(table::write(context.out, &HEADER, &rows)?);
    }
    let keys = ["database", "status", "local_txid", "wal_size"];
    let list = rows.into_iter().map(|row| {
        Json::Object(
            keys.into_iter()
                .zip(row.into_iter().map(Json::Text))
                .collect(),
        )
    });
    Ok(Json::List(list.collect()).write(context.out)?)
}

fn row(status: &str, txid: Option<u64>, wal_size: String) -> [String; 3] {
    [
        status.to_owned(),
        txid.map_or_else(|| "-".into(), format_txid),
        wal_size,
    ]
}

fn file_row(path: &Path, meta_path: &Path) -> [String; 3] {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return row("no database", None, "-".into());
        }
        Err(_) => return row("error", None, "-".into()),
        Ok(_) => {}
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let wal_size = match std::fs::metadata(&wal) {
        Ok(metadata) => size::human(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => size::human(0),
        Err(_) => "-".into(),
    };
    match highest_local_txid(meta_path) {
        Ok(Some(txid)) if txid > 0 => row("ok", Some(txid), wal_size),
        Ok(_) => row("not initialized", None, wal_size),
        Err(_) => row("error", None, wal_size),
    }
}
