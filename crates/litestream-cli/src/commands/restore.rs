//! `restore`: a database from its replica, once or kept current.

mod follow;
mod output;
mod run;

pub use run::execute;
pub(crate) use run::newest_source;

use std::path::PathBuf;
use std::time::Duration;

use super::{Command, load_config};
use crate::config::{Replica, replica_from_url};
use crate::context::Context;
use crate::env::Env;
use crate::error::Error;
use crate::flags::{CONFIG, Flag, Help, JSON, Kind, NO_EXPAND_ENV, Parsed};
use crate::log::{self, Destination, Logging};
use crate::ltx_files::parse_txid;
use crate::paths;
use crate::time::Moment;

const OUTPUT: Flag = Flag {
    name: "o",
    kind: Kind::Text(""),
    value: "PATH",
    doc: &[
        "Where to write the database. Required with a replica URL.",
        "Defaults to DB_PATH",
    ],
};
const TXID: Flag = Flag {
    name: "txid",
    kind: Kind::Checked(check_txid, ""),
    value: "TXID",
    doc: &[
        "Last transaction to restore, 16 hex digits.",
        "Defaults to the newest one",
    ],
};
const TIMESTAMP: Flag = Flag {
    name: "timestamp",
    kind: Kind::Text(""),
    value: "TIMESTAMP",
    doc: &[
        "Point in time to restore, for example 2000-01-01T00:00:00Z.",
        "Defaults to the newest backup",
    ],
};
const PARALLELISM: Flag = Flag {
    name: "parallelism",
    kind: Kind::Int(8),
    value: "NUM",
    doc: &["Downloads at a time.", "Defaults to 8"],
};
const IF_DB_NOT_EXISTS: Flag = Flag {
    name: "if-db-not-exists",
    kind: Kind::Bool,
    value: "",
    doc: &["Does nothing, successfully, when the database is already there."],
};
const IF_REPLICA_EXISTS: Flag = Flag {
    name: "if-replica-exists",
    kind: Kind::Bool,
    value: "",
    doc: &["Does nothing, successfully, when there is no backup."],
};
const DRY_RUN: Flag = Flag {
    name: "dry-run",
    kind: Kind::Bool,
    value: "",
    doc: &["Prints which files would be used, and writes nothing."],
};
const FORCE: Flag = Flag {
    name: "force",
    kind: Kind::Bool,
    value: "",
    doc: &["Replaces an existing database and its -wal, -shm and -journal files."],
};
const FOLLOW: Flag = Flag {
    name: "f",
    kind: Kind::Bool,
    value: "",
    doc: &[
        "Keeps the restored database current until stopped. Others may only read it.",
        "Resumes when the database and its -txid file are there.",
        "Not together with -txid or -timestamp.",
    ],
};
const FOLLOW_INTERVAL: Flag = Flag {
    name: "follow-interval",
    kind: Kind::Duration(1_000_000_000),
    value: "DURATION",
    doc: &[
        "Time between looks at the replica with -f.",
        "Defaults to 1s",
    ],
};
const INTEGRITY_CHECK: Flag = Flag {
    name: "integrity-check",
    kind: Kind::Text("none"),
    value: "MODE",
    doc: &[
        "Check of the restored database: none, quick or full.",
        "Defaults to none",
    ],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "restore",
    summary: "restore a database from a replica",
    flags: &[
        CONFIG,
        NO_EXPAND_ENV,
        TXID,
        TIMESTAMP,
        OUTPUT,
        IF_DB_NOT_EXISTS,
        IF_REPLICA_EXISTS,
        DRY_RUN,
        FORCE,
        JSON,
        FOLLOW,
        FOLLOW_INTERVAL,
        PARALLELISM,
        INTEGRITY_CHECK,
    ],
    help: Help {
        summary: &["Restores a database from its replica."],
        usage: &[
            "restore [arguments] DB_PATH",
            "restore [arguments] REPLICA_URL",
        ],
        notes: &[],
        examples: &[
            (
                "The newest state, to where the database was.",
                "restore /path/to/db",
            ),
            (
                "A point in time.",
                "restore -timestamp 2020-01-01T00:00:00Z /path/to/db",
            ),
            ("To another place.", "restore -o /tmp/db /path/to/db"),
            (
                "From a replica that is not configured.",
                "restore -o /tmp/db s3://mybucket/db",
            ),
            (
                "Show what would be fetched.",
                "restore -dry-run -o /tmp/db s3://mybucket/db",
            ),
            (
                "A copy that stays current.",
                "restore -f -o /tmp/copy.db s3://mybucket/db",
            ),
        ],
    },
    run,
};

/// A restore cannot be made as asked for.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The output is in the way.
    #[error(transparent)]
    Output(#[from] output::OutputError),
    /// `-f` with `-dry-run`.
    #[error("cannot use -dry-run with -f")]
    FollowDryRun,
    /// `-f` with `-txid`.
    #[error("cannot use follow mode with -txid")]
    FollowTxid,
    /// `-f` with `-timestamp`.
    #[error("cannot use follow mode with -timestamp")]
    FollowTimestamp,
    /// `-txid` with `-timestamp`.
    #[error("cannot specify index & timestamp to restore")]
    TwoTargets,
    /// A replica cannot be opened.
    #[error(transparent)]
    Build(#[from] crate::config::BuildError),
    /// Threads or timers are not to be had.
    #[error("cannot run: {0}")]
    Run(#[from] std::io::Error),
    /// The replica has nothing that leads to the state asked for.
    #[error("no matching backup files available")]
    NoBackup,
    /// The replica is empty.
    #[error("no backups found")]
    NoBackups,
    /// The replica holds nothing of that time.
    #[error("timestamp does not exist")]
    NoSuchTime,
    /// The restore failed.
    #[error("{}", explained(.0))]
    Engine(litestream::Error),
}

/// The error, and what to do about it when that is for the user to decide.
fn explained(error: &litestream::Error) -> String {
    let hint = match error {
        litestream::Error::Context { source, .. } => explained_hint(source),
        error => explained_hint(error),
    };
    hint.map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}

fn explained_hint(error: &litestream::Error) -> Option<&'static str> {
    match error {
        litestream::Error::Follow(error) => error.hint(),
        _ => None,
    }
}

impl From<litestream::Error> for RestoreError {
    fn from(error: litestream::Error) -> Self {
        let is_missing =
            |error: &litestream::Error| matches!(error, litestream::Error::TxNotAvailable);
        match error {
            litestream::Error::Plan(cause) if is_missing(&cause) => Self::NoBackup,
            error if is_missing(&error) => Self::NoBackup,
            error => Self::Engine(error),
        }
    }
}

/// Everything that a restore needs to know.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct RestoreOptions {
    /// `DB_PATH` or `REPLICA_URL` as typed.
    pub source: String,
    /// The output as typed (relative to the working directory), else the database's path.
    pub output: PathBuf,
    /// Replicas to restore from; more than one only for a configured database.
    pub replicas: Vec<Replica>,
    /// True when the source is a URL: time bounds of the replica are then checked for `-timestamp`.
    pub is_url: bool,
    /// How far to restore.
    pub target: RestoreTarget,
    /// What to do with it.
    pub mode: RestoreMode,
    /// Downloads at a time, at least 1.
    pub parallelism: usize,
    /// No backup is no error.
    pub if_replica_exists: bool,
    /// Replace an existing output and its side files.
    pub force: bool,
    /// Result (or plan) as JSON on standard output; logs go to standard error.
    pub json: bool,
    /// Check of the restored database.
    pub integrity_check: IntegrityCheck,
    /// The environment, for credentials.
    pub env: Env,
}

/// How far to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreTarget {
    /// The newest state.
    Latest,
    /// Up to and including a transaction.
    Txid(u64),
    /// The state before a point in time.
    Timestamp(Moment),
}

/// What to do with the restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreMode {
    /// Write it.
    Write,
    /// Only print what would be fetched.
    DryRun,
    /// Write it and keep it current.
    Follow {
        /// Time between looks at the replica.
        interval: Duration,
    },
}

/// Check of the restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegrityCheck {
    /// None.
    None,
    /// `PRAGMA quick_check`.
    Quick,
    /// `PRAGMA integrity_check`.
    Full,
}

impl IntegrityCheck {
    /// The word on the command line and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    fn parse(word: &str) -> Result<Self, Error> {
        [Self::None, Self::Quick, Self::Full]
            .into_iter()
            .find(|check| check.word() == word)
            .ok_or_else(|| Error::Argument(format!("invalid -integrity-check value: {word}")))
    }
}

fn check_txid(text: &str) -> Result<(), &'static str> {
    parse_txid(text).map(|_| ()).ok_or("invalid txid format")
}

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let source = match parsed.args.as_slice() {
        [source] if !source.is_empty() => source,
        [] | [_] => {
            return Err(Error::Usage {
                message: "database path or replica URL required",
                hint: "litestream restore -o /path/to/db s3://bucket/prefix".into(),
            });
        }
        _ => return Err(Error::TooManyArguments),
    };
    let integrity_check = IntegrityCheck::parse(parsed.text(&INTEGRITY_CHECK))?;
    let timestamp = timestamp(parsed)?;
    let destination = if parsed.bool(&JSON) {
        Destination::Stderr
    } else {
        Destination::Stdout
    };
    log::configure(&Logging::plain(destination), &context.env);
    let (replicas, output) = source_of(context, parsed, source)?;
    let is_there = std::fs::symlink_metadata(&output).is_ok();
    if parsed.bool(&IF_DB_NOT_EXISTS) && is_there {
        tracing::info!("database already exists, skipping");
        return Ok(());
    }
    let target = target(parsed, timestamp)?;
    let mode = mode(parsed, target)?;
    let force = parsed.bool(&FORCE);
    if mode == RestoreMode::Write {
        output::check(&output, force).map_err(RestoreError::Output)?;
    }
    for replica in &replicas {
        replica.ensure_available()?;
    }
    let options = RestoreOptions {
        source: source.clone(),
        output,
        replicas,
        is_url: paths::is_url(source),
        target,
        mode,
        parallelism: usize::try_from(parsed.int(&PARALLELISM))
            .unwrap_or(1)
            .max(1),
        if_replica_exists: parsed.bool(&IF_REPLICA_EXISTS),
        force,
        json: parsed.bool(&JSON),
        integrity_check,
        env: context.env.clone(),
    };
    Ok(execute(&options, context.out)?)
}

fn timestamp(parsed: &Parsed) -> Result<Option<Moment>, Error> {
    let text = parsed.text(&TIMESTAMP);
    if text.is_empty() {
        return Ok(None);
    }
    // The no-break space after 8601 is part of the text that scripts know.
    let message =
        "invalid -timestamp, must specify in ISO 8601\u{a0}format (e.g. 2000-01-01T00:00:00Z)";
    Moment::parse_rfc3339(text)
        .map(Some)
        .ok_or_else(|| Error::Argument(message.into()))
}

/// The replicas to restore from and the path to restore to.
fn source_of(
    context: &Context<'_>,
    parsed: &Parsed,
    source: &str,
) -> Result<(Vec<Replica>, PathBuf), Error> {
    let output = Some(parsed.text(&OUTPUT))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    if paths::is_url(source) {
        if !parsed.text(&CONFIG).is_empty() {
            return Err(Error::Argument(
                "cannot specify a replica URL and the -config flag".into(),
            ));
        }
        let output = output.ok_or_else(|| Error::Usage {
            message: "-o is required when restoring from a replica URL",
            hint: format!("litestream restore -o /path/to/db {source}"),
        })?;
        return Ok((vec![replica_from_url(&context.env, source)?], output));
    }
    let destination = parsed.bool(&JSON).then_some(Destination::Stderr);
    let config = load_config(context, parsed, destination)?;
    let path = paths::expand(&context.env, source);
    let database = config.database(&path).ok_or_else(|| {
        Error::Argument(format!("database not found in config: {}", path.display()))
    })?;
    Ok((database.replicas(&context.env)?, output.unwrap_or(path)))
}

fn target(parsed: &Parsed, timestamp: Option<Moment>) -> Result<RestoreTarget, RestoreError> {
    match (parse_txid(parsed.text(&TXID)), timestamp) {
        (Some(_), Some(_)) => Err(RestoreError::TwoTargets),
        (Some(txid), None) => Ok(RestoreTarget::Txid(txid)),
        (None, Some(moment)) => Ok(RestoreTarget::Timestamp(moment)),
        (None, None) => Ok(RestoreTarget::Latest),
    }
}

fn mode(parsed: &Parsed, target: RestoreTarget) -> Result<RestoreMode, RestoreError> {
    match (parsed.bool(&FOLLOW), parsed.bool(&DRY_RUN)) {
        (true, true) => Err(RestoreError::FollowDryRun),
        (true, false) => match target {
            RestoreTarget::Txid(_) => Err(RestoreError::FollowTxid),
            RestoreTarget::Timestamp(_) => Err(RestoreError::FollowTimestamp),
            RestoreTarget::Latest => {
                let interval = parsed.duration(&FOLLOW_INTERVAL).positive();
                let interval = interval.unwrap_or(Duration::from_secs(1));
                Ok(RestoreMode::Follow { interval })
            }
        },
        (false, true) => Ok(RestoreMode::DryRun),
        (false, false) => Ok(RestoreMode::Write),
    }
}
