//! The flag syntax of the command line.
//!
//! A command owns a table of [`Flag`]s; parser and help both read that table, so they cannot
//! disagree. Flags end at the first word that is none; what follows is positional.

mod common;
mod help;
mod numbers;
mod parse;
#[cfg(test)]
mod tests;

pub use common::{CONFIG, JSON, LIVE, NO_EXPAND_ENV, SOCKET, TIMEOUT_10, TIMEOUT_30};
pub use help::Help;
pub use numbers::parse_int;
pub use parse::{Outcome, Parsed, parse};

use crate::quote::quoted;

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Nothing, or `=V` with a truth value; absent means false.
    Bool,
    /// A text; the default.
    Text(&'static str),
    /// An integer; the default.
    Int(i64),
    /// A duration; the default in nanoseconds.
    Duration(i64),
    /// A text that must pass a check, whose error is shown as the cause; the default.
    Checked(fn(&str) -> Result<(), &'static str>, &'static str),
}

/// One flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The word for its value in the help, empty for a truth value.
    pub value: &'static str,
    /// Its description, one line of help each.
    pub doc: &'static [&'static str],
}

/// A flag that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `---x`, `-=x`, `--=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Undefined(String),
    /// The value is missing.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    /// A truth value that is none.
    #[error("invalid boolean value {} for -{name}: {cause}", quoted(value))]
    InvalidBool {
        /// Name of the flag.
        name: String,
        /// What was given.
        value: String,
        /// Why it is refused.
        cause: &'static str,
    },
    /// A value that does not fit.
    #[error("invalid value {} for flag -{name}: {cause}", quoted(value))]
    InvalidValue {
        /// Name of the flag.
        name: String,
        /// What was given.
        value: String,
        /// Why it is refused.
        cause: &'static str,
    },
}
