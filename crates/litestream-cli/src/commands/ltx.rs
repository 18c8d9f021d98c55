//! `ltx` (old name `wal`): the files that a replica holds, level by level.

use std::ops::RangeInclusive;

use litestream::RemoteFile;
use ltx::Level;

use super::{Command, load_config};
use crate::config::{Replica, Target, replica_from_url};
use crate::context::Context;
use crate::engine;
use crate::error::Error;
use crate::flags::{CONFIG, Flag, Help, JSON, Kind, NO_EXPAND_ENV, Parsed, parse_int};
use crate::json::Json;
use crate::log::Destination;
use crate::ltx_files::{Folder, Levels, LtxFile, SNAPSHOT_LEVEL, format_txid};
use crate::time::Moment;
use crate::{paths, table};

const LEVEL: Flag = Flag {
    name: "level",
    kind: Kind::Checked(check_level, "0"),
    value: "LEVEL",
    doc: &[
        "Compaction level to list: 0 to 9, or \"all\".",
        "Defaults to 0",
    ],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "ltx",
    summary: "list the LTX files of a replica",
    flags: &[CONFIG, NO_EXPAND_ENV, LEVEL, JSON],
    help: Help {
        summary: &["Lists the LTX files that the replica of a database holds."],
        usage: &["ltx [arguments] DB_PATH", "ltx [arguments] REPLICA_URL"],
        notes: &[],
        examples: &[
            (
                "Files of level 0 of a configured database.",
                "ltx /path/to/db",
            ),
            (
                "Files of a replica that is not configured.",
                "ltx s3://mybkt/db",
            ),
            ("Snapshots.", "ltx -level 9 /path/to/db"),
            ("All levels.", "ltx -level all /path/to/db"),
        ],
    },
    run,
};

/// The levels that a word means.
fn parse_level(word: &str) -> Result<RangeInclusive<u8>, &'static str> {
    if word == "all" {
        return Ok(0..=SNAPSHOT_LEVEL);
    }
    let level = parse_int(word).ok_or("invalid level: must be 0-9 or \"all\"")?;
    match u8::try_from(level) {
        Ok(level) if level <= SNAPSHOT_LEVEL => Ok(level..=level),
        _ => Err("level must be between 0 and 9"),
    }
}

fn check_level(word: &str) -> Result<(), &'static str> {
    parse_level(word).map(|_| ())
}

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let levels = parse_level(parsed.text(&LEVEL)).map_err(|cause| Error::Argument(cause.into()))?;
    let argument = match parsed.args.as_slice() {
        [argument] if !argument.is_empty() => argument,
        [] | [_] => {
            return Err(Error::Usage {
                message: "database path or replica URL required",
                hint: "litestream ltx /path/to/db".into(),
            });
        }
        _ => return Err(Error::TooManyArguments),
    };
    let mut rows = Vec::new();
    for replica in replicas_of(context, parsed, argument)? {
        let listed = match &replica.target {
            Target::File(target) => list_folder(&Folder(target.path.clone()), levels.clone())?,
            _ => list_store(&replica, levels.clone())?,
        };
        rows.extend(listed);
    }
    print(context, parsed.bool(&JSON), &rows)
}

/// The replica of a URL, or those of a configured database.
fn replicas_of(
    context: &Context<'_>,
    parsed: &Parsed,
    argument: &str,
) -> Result<Vec<Replica>, Error> {
    if paths::is_url(argument) {
        if !parsed.text(&CONFIG).is_empty() {
            return Err(Error::Argument(
                "cannot specify a replica URL and the -config flag".into(),
            ));
        }
        return Ok(vec![replica_from_url(&context.env, argument)?]);
    }
    let config = load_config(context, parsed, Some(Destination::Stderr))?;
    let path = paths::expand(&context.env, argument);
    let database = config.database(&path).ok_or_else(|| {
        Error::Argument(format!("database not found in config: {}", path.display()))
    })?;
    Ok(database.replicas(&context.env)?)
}

/// A file of a level.
type Row = (u8, LtxFile);

fn list_folder(folder: &Folder, levels: RangeInclusive<u8>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for level in levels {
        let files = folder.list_level(level)?;
        rows.extend(files.into_iter().map(|file| (level, file)));
    }
    Ok(rows)
}

/// Lists any store, with the times at which the transactions were captured.
fn list_store(replica: &Replica, levels: RangeInclusive<u8>) -> Result<Vec<Row>, Error> {
    let source = engine::source(replica)?;
    let runtime = engine::runtime()?;
    let listed = runtime.block_on(async {
        let mut rows = Vec::new();
        for level in levels.filter_map(Level::new) {
            let files = source.list_level_with(level, true).await?;
            rows.extend(files.iter().map(|file| (level.get(), row(file))));
        }
        Ok(rows)
    });
    runtime.shutdown_background();
    listed.map_err(Error::Store)
}

fn row(file: &RemoteFile) -> LtxFile {
    LtxFile {
        min_txid: file.range.min.get(),
        max_txid: file.range.max.get(),
        size: file.size,
        created: Moment::utc(file.created.to_system_time()),
    }
}

fn print(context: &mut Context<'_>, as_json: bool, rows: &[Row]) -> Result<(), Error> {
    if as_json {
        let list = rows.iter().map(|(level, file)| {
            Json::Object(vec![
                ("level", Json::int(*level)),
                ("min_txid", Json::Text(format_txid(file.min_txid))),
                ("max_txid", Json::Text(format_txid(file.max_txid))),
                ("size", Json::int(file.size)),
                ("timestamp", Json::Text(file.created.rfc3339())),
            ])
        });
        return Ok(Json::List(list.collect()).write(context.out)?);
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(level, file)| {
            vec![
                level.to_string(),
                format_txid(file.min_txid),
                format_txid(file.max_txid),
                file.size.to_string(),
                file.created.rfc3339(),
            ]
        })
        .collect();
    let header = ["level", "min_txid", "max_txid", "size", "created"];
    Ok(table::write(context.out, &header, &rows)?)
}
