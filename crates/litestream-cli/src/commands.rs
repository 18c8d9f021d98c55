//! The commands, one file each: flags, checks, run, print.

pub mod databases;
pub mod doctor;
pub mod info;
pub mod list;
pub mod ltx;
pub mod register;
pub mod replicate;
pub mod reset;
pub mod restore;
pub mod start;
pub mod status;
pub mod stop;
pub mod sync;
pub mod unregister;
pub mod version;

use crate::config::{self, Config};
use crate::context::Context;
use crate::error::Error;
use crate::flags::{CONFIG, Flag, Help, NO_EXPAND_ENV, Parsed};
use crate::log::{self, Destination};

/// A command of the program.
pub struct Command {
    /// The word that calls it.
    pub name: &'static str,
    /// What it does, for the overview.
    pub summary: &'static str,
    /// Its flags, in the order of the help.
    pub flags: &'static [Flag],
    /// Its help.
    pub help: Help,
    /// Checks the arguments and does it.
    pub run: fn(&mut Context<'_>, &Parsed) -> Result<(), Error>,
}

/// All commands, in the order of the overview.
pub const TABLE: &[Command] = &[
    databases::COMMAND,
    doctor::COMMAND,
    info::COMMAND,
    list::COMMAND,
    ltx::COMMAND,
    register::COMMAND,
    replicate::COMMAND,
    reset::COMMAND,
    restore::COMMAND,
    start::COMMAND,
    status::COMMAND,
    stop::COMMAND,
    sync::COMMAND,
    unregister::COMMAND,
    version::COMMAND,
];

/// The old word for `ltx`.
pub const DEPRECATED_LTX: &str = "wal";

/// The command that a word calls.
pub fn find(word: &str) -> Option<&'static Command> {
    let word = if word == DEPRECATED_LTX {
        ltx::COMMAND.name
    } else {
        word
    };
    TABLE.iter().find(|command| command.name == word)
}

/// Reads the configuration and logs by it; `destination` overrides the configured one.
///
/// Commands whose output is a table or JSON log to standard error, so that a warning never lands
/// in what a script parses.
fn load_config(
    context: &Context<'_>,
    parsed: &Parsed,
    destination: Option<Destination>,
) -> Result<Config, Error> {
    let expand = !parsed.bool(&NO_EXPAND_ENV);
    let config = config::load(&context.env, parsed.text(&CONFIG), expand)?;
    let mut logging = config.logging.clone();
    if let Some(destination) = destination {
        logging.destination = destination;
    }
    log::configure(&logging, &context.env);
    for warning in &config.warnings {
        let (line, column) = warning.position;
        match (&warning.hint, line) {
            (Some(hint), _) => {
                tracing::warn!(key = warning.key, line, column, hint, "{}", warning.problem);
            }
            (None, 0) => tracing::warn!(key = warning.key, "{}", warning.problem),
            (None, _) => tracing::warn!(key = warning.key, line, column, "{}", warning.problem),
        }
    }
    Ok(config)
}

/// The database path of a command that takes exactly one.
fn one_database<'a>(parsed: &'a Parsed, hint: &str) -> Result<&'a str, Error> {
    match parsed.args.as_slice() {
        [] => Err(Error::Usage {
            message: "database path required",
            hint: hint.to_owned(),
        }),
        [path] => Ok(path),
        _ => Err(Error::TooManyArguments),
    }
}

/// Refuses a `-timeout` that leaves no time.
fn positive_timeout(parsed: &Parsed, timeout: &Flag) -> Result<i64, Error> {
    match parsed.int(timeout) {
        seconds if seconds > 0 => Ok(seconds),
        _ => Err(Error::Argument("timeout must be greater than 0".into())),
    }
}
