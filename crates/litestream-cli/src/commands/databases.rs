//! `databases`: what the configuration names. Contacts nothing.

use super::{Command, load_config};
use crate::config::Location;
use crate::context::Context;
use crate::error::Error;
use crate::flags::{CONFIG, Help, JSON, NO_EXPAND_ENV, Parsed};
use crate::json::Json;
use crate::log::Destination;
use crate::table;

/// The command.
pub const COMMAND: Command = Command {
    name: "databases",
    summary: "list the databases of the configuration file",
    flags: &[CONFIG, JSON, NO_EXPAND_ENV],
    help: Help {
        summary: &["Lists the databases of the configuration file and the type of their replicas."],
        usage: &["databases [arguments]"],
        notes: &[],
        examples: &[
            ("Databases of the default configuration file.", "databases"),
            (
                "Databases of another configuration file.",
                "databases -config /path/to/litestream.yml",
            ),
        ],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if !parsed.args.is_empty() {
        return Err(Error::TooManyArguments);
    }
    let config = load_config(context, parsed, Some(Destination::Stderr))?;
    let mut rows = Vec::new();
    for database in &config.dbs {
        let path = match &database.location {
            Location::File(path) => path,
            Location::Directory(directory) => &directory.path,
        };
        for replica in database.replicas(&context.env)? {
            rows.push(vec![
                path.display().to_string(),
                replica.target.kind().to_owned(),
            ]);
        }
    }
    if !parsed.bool(&JSON) {
        return Ok(table::write(context.out, &["path", "replica"], &rows)?);
    }
    let list = rows.into_iter().map(|row| {
        let mut cells = row.into_iter();
        Json::Object(vec![
            ("path", Json::text(cells.next().unwrap_or_default())),
            ("replica", Json::text(cells.next().unwrap_or_default())),
        ])
    });
    Ok(Json::List(list.collect()).write(context.out)?)
}
