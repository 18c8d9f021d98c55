//! `reset`: deletes the local replication state of a database, never the database.

use std::io;
use std::path::{Path, PathBuf};

use super::{Command, load_config, one_database};
use crate::context::Context;
use crate::error::Error;
use crate::flags::{CONFIG, Flag, Help, Kind, NO_EXPAND_ENV, Parsed};
use crate::{os_error, paths};

const DRY_RUN: Flag = Flag {
    name: "dry-run",
    kind: Kind::Bool,
    value: "",
    doc: &["Lists the local LTX files that would be deleted, and deletes nothing."],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "reset",
    summary: "delete the local replication state of a database",
    flags: &[CONFIG, NO_EXPAND_ENV, DRY_RUN],
    help: Help {
        summary: &[
            "Deletes the local replication state of a database: the LTX files in its metadata",
            "folder. The database is not touched; the next sync makes a new snapshot.",
            "A way out when local LTX files are damaged or missing.",
        ],
        usage: &["reset [arguments] DB_PATH"],
        notes: &["The configuration file is read only when -config is given."],
        examples: &[
            ("Delete the local state of a database.", "reset /path/to/db"),
            ("Show what would be deleted.", "reset -dry-run /path/to/db"),
        ],
    },
    run,
};

/// Local state cannot be reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The configuration given by `-config` cannot be read.
    #[error("cannot read config: {0}")]
    Config(crate::config::ConfigError),
    /// The configured database cannot be built.
    #[error("cannot create database from config: {0}")]
    Build(crate::config::BuildError),
    /// There is no such database.
    #[error("database does not exist: {}", .0.display())]
    NoDatabase(PathBuf),
    /// Looking or deleting failed.
    #[error("reset failed: {0}")]
    Failed(String),
}

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let argument = one_database(parsed, "litestream reset /path/to/db")?;
    let database = paths::absolute(&context.env, argument);
    let mut meta_path = paths::default_meta_path(&database);
    if !parsed.text(&CONFIG).is_empty() {
        let config = match load_config(context, parsed, None) {
            Err(Error::Config(error)) => return Err(ResetError::Config(error).into()),
            other => other?,
        };
        if let Some(entry) = config.database(&database) {
            entry.replicas(&context.env).map_err(ResetError::Build)?;
            meta_path = entry.meta_path_of_file(&database);
        }
    }
    match std::fs::metadata(&database) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ResetError::NoDatabase(database).into());
        }
        Err(error) => return Err(failed(&database, &error).into()),
    }
    let (shown, meta) = (database.display(), meta_path.display());
    match std::fs::metadata(&meta_path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            writeln!(context.out, "No local state to reset for {shown}")?;
            writeln!(context.out, "Meta directory does not exist: {meta}")?;
            return Ok(());
        }
        Err(error) => return Err(failed(&meta_path, &error).into()),
    }
    let ltx_dir = meta_path.join("ltx");
    if parsed.bool(&DRY_RUN) {
        return preview(context, &database, &ltx_dir);
    }
    writeln!(context.out, "Resetting local Litestream state for: {shown}")?;
    writeln!(context.out, "Removing: {}", ltx_dir.display())?;
    let name = database
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    tracing::info!(
        db = name,
        meta_path = %meta,
        ltx_dir = %ltx_dir.display(),
        "resetting local litestream state"
    );
    remove_all(&ltx_dir).map_err(|error| failed(&ltx_dir, &error))?;
    tracing::info!(
        db = name,
        "local state reset complete, next sync will create fresh snapshot"
    );
    writeln!(
        context.out,
        "Reset complete. Next replication sync will create a fresh snapshot."
    )?;
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> ResetError {
    ResetError::Failed(os_error::describe("access", path, error))
}

/// Deletes a folder with all it holds; one that does not exist is as good as deleted.
fn remove_all(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn preview(context: &mut Context<'_>, database: &Path, ltx_dir: &Path) -> Result<(), Error> {
    let files = files_below(ltx_dir)?;
    writeln!(
        context.out,
        "Dry run: local Litestream state would be reset for: {}",
        database.display()
    )?;
    writeln!(context.out, "Would remove: {}", ltx_dir.display())?;
    if files.is_empty() {
        writeln!(context.out, "No local LTX files would be removed.")?;
        return Ok(());
    }
    writeln!(context.out, "Files that would be removed:")?;
    for file in files {
        writeln!(context.out, "  {}", file.display())?;
    }
    writeln!(context.out, "No files were removed.")?;
    Ok(())
}

/// The files of a folder and the folders below it, in the order of their names.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, ResetError> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&folder, &error))?;
            let kind = entry
                .file_type()
                .map_err(|error| failed(&entry.path(), &error))?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
