//! `replicate`: the daemon, and with `-once` a single sync of everything.

mod child;
mod descriptors;
mod exec;
mod run;
mod signals;

pub use run::execute;
pub(super) use signals::Signals;

use litestream::HeartbeatSettings;

use super::{Command, load_config};
use crate::config::{self, BuildError, Config, Replica};
use crate::context::Context;
use crate::env::Env;
use crate::error::Error;
use crate::flags::{CONFIG, Flag, Help, Kind, NO_EXPAND_ENV, Parsed};
use crate::log::{self, Destination, Logging};
use crate::paths;

const EXEC: Flag = Flag {
    name: "exec",
    kind: Kind::Text(""),
    value: "CMD",
    doc: &["Runs a program and ends when it ends. Words are split without a shell."],
};
const ONCE: Flag = Flag {
    name: "once",
    kind: Kind::Bool,
    value: "",
    doc: &["Syncs every database once and ends. Not together with -exec."],
};
const FORCE_SNAPSHOT: Flag = Flag {
    name: "force-snapshot",
    kind: Kind::Bool,
    value: "",
    doc: &["With -once: makes a snapshot of every database."],
};
const ENFORCE_RETENTION: Flag = Flag {
    name: "enforce-retention",
    kind: Kind::Bool,
    value: "",
    doc: &["With -once: deletes snapshots that are older than the retention."],
};
const LOG_LEVEL: Flag = Flag {
    name: "log-level",
    kind: Kind::Text(""),
    value: "LEVEL",
    doc: &[
        "Lowest level logged: trace, debug, info, warn or error.",
        "Overrides everything else.",
    ],
};
const RESTORE: Flag = Flag {
    name: "restore-if-db-not-exists",
    kind: Kind::Bool,
    value: "",
    doc: &["Restores databases whose file is missing before replicating them."],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "replicate",
    summary: "replicate databases until told to stop",
    flags: &[
        CONFIG,
        EXEC,
        ONCE,
        FORCE_SNAPSHOT,
        ENFORCE_RETENTION,
        LOG_LEVEL,
        NO_EXPAND_ENV,
        RESTORE,
    ],
    help: Help {
        summary: &[
            "Replicates databases until it is told to stop: those of the configuration file, or one",
            "database that is given with its replica on the command line.",
        ],
        usage: &[
            "replicate [arguments]",
            "replicate [arguments] DB_PATH REPLICA_URL",
        ],
        notes: &[
            "The commands start, stop, sync, register, unregister, info and list need the control",
            "socket, which is switched on in the configuration file:",
            "",
            "\tsocket:",
            "\t  enabled: true",
            "\t  path: /tmp/litestream.sock",
        ],
        examples: &[
            ("Replicate what the configuration names.", "replicate"),
            (
                "Replicate one database.",
                "replicate /path/to/db s3://mybkt/db",
            ),
        ],
    },
    run,
};

/// The daemon cannot be started as configured.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// The command line of the child cannot be split.
    #[error("cannot parse exec command: {0}")]
    Exec(#[from] exec::SplitError),
    /// A replica cannot be opened.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Threads, timers or signals are not to be had.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// A replica's store cannot hold a lease.
    #[error("{0}; remove lease.enabled of this replica, or use a store that has them")]
    Lease(litestream::Error),
    /// A database cannot be managed.
    #[error("cannot open store: {0}")]
    Store(litestream::Error),
    /// A missing database could not be restored first.
    #[error("restore failed: {0}")]
    Restore(litestream::Error),
    /// One step of a single sync failed.
    #[error("{what} {}: {source}", path.display())]
    Once {
        /// The step.
        what: &'static str,
        /// The database.
        path: std::path::PathBuf,
        /// Why it failed.
        source: litestream::Error,
    },
    /// The child does not start.
    #[error("cannot start exec command: {0}")]
    StartChild(std::io::Error),
    /// The child failed.
    #[error("{0}")]
    Child(child::ChildError),
    /// The child failed after the signal.
    #[error("cannot wait for exec process: {0}")]
    WaitChild(child::ChildError),
    /// The last commits are not in a replica.
    #[error("not everything is replicated: {0}")]
    NotReplicated(litestream::Error),
}

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub struct ReplicateOptions {
    /// The configuration, from the file or made from the command line.
    pub config: Config,
    /// The replicas of each entry of `config.dbs`, in the same order.
    pub replicas: Vec<Vec<Replica>>,
    /// How long to run.
    pub mode: Mode,
    /// The environment, for children and for credentials.
    pub env: Env,
    /// Who is told at intervals that all is well.
    pub heartbeat: Option<HeartbeatSettings>,
}

/// How long a run lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Until a signal.
    Daemon,
    /// Until a child ends, or a signal: program and arguments, at least one word.
    Exec(Vec<String>),
    /// One sync of everything.
    Once {
        /// Make a snapshot of every database.
        force_snapshot: bool,
        /// Delete what the retention does not keep.
        enforce_retention: bool,
    },
}

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if parsed.is_given(&LOG_LEVEL) && !parsed.text(&LOG_LEVEL).is_empty() {
        context.env.set("LOG_LEVEL", parsed.text(&LOG_LEVEL));
    }
    let mut config = configuration(context, parsed)?;
    if parsed.bool(&RESTORE) {
        for database in &mut config.dbs {
            database.restore_if_db_not_exists = true;
        }
    }
    if !parsed.text(&EXEC).is_empty() {
        parsed.text(&EXEC).clone_into(&mut config.exec);
    }
    let mode = mode(&config.exec, parsed)?;
    let version = super::version::VERSION;
    tracing::info!(version, level = config.logging.level, "litestream");
    if config.dbs.is_empty() {
        tracing::error!("no databases specified in configuration");
    }
    let env = context.env.clone();
    let replicas = config
        .dbs
        .iter()
        .map(|database| database.replicas(&env))
        .collect::<Result<Vec<_>, BuildError>>()?;
    for replica in replicas.iter().flatten() {
        replica.ensure_available()?;
    }
    config.check_start()?;
    crate::engine::check_features(&config)?;
    let heartbeat = crate::engine::heartbeat(&config, &env)?;
    Ok(execute(&ReplicateOptions {
        config,
        replicas,
        mode,
        env,
        heartbeat,
    })?)
}

/// The configuration of the file, or the one that the positional arguments amount to.
fn configuration(context: &Context<'_>, parsed: &Parsed) -> Result<Config, Error> {
    let (path, urls) = match parsed.args.as_slice() {
        [] => return load_config(context, parsed, None),
        [path] => {
            let message = format!("must specify at least one replica URL for {path}");
            return Err(Error::Argument(message));
        }
        [path, urls @ ..] => (path, urls),
    };
    if !parsed.text(&CONFIG).is_empty() {
        return Err(Error::Argument(
            "cannot specify a replica URL and the -config flag".into(),
        ));
    }
    if let Some(flag) = urls.iter().find(|url| url.starts_with('-')) {
        return Err(Error::Argument(format!(
            "flag \"{flag}\" must be positioned before DB_PATH and REPLICA_URL arguments"
        )));
    }
    let path = paths::expand(&context.env, path);
    let mut config = config::of_database(&context.env, &path, urls);
    config.logging = Logging {
        level: "INFO".into(),
        ..Logging::plain(Destination::Stdout)
    };
    log::configure(&config.logging, &context.env);
    Ok(config)
}

fn mode(exec: &str, parsed: &Parsed) -> Result<Mode, Error> {
    let refuse = |message: &str| Err(Error::Argument(message.to_owned()));
    let is_once = parsed.bool(&ONCE);
    if is_once && !exec.is_empty() {
        return refuse("cannot specify -once flag with -exec");
    }
    if !is_once && parsed.bool(&FORCE_SNAPSHOT) {
        return refuse("cannot specify -force-snapshot flag without -once");
    }
    if !is_once && parsed.bool(&ENFORCE_RETENTION) {
        return refuse("cannot specify -enforce-retention flag without -once");
    }
    if is_once {
        return Ok(Mode::Once {
            force_snapshot: parsed.bool(&FORCE_SNAPSHOT),
            enforce_retention: parsed.bool(&ENFORCE_RETENTION),
        });
    }
    if exec.is_empty() {
        return Ok(Mode::Daemon);
    }
    Ok(Mode::Exec(exec::split(exec).map_err(ReplicateError::Exec)?))
}
