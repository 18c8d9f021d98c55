//! The errors a command ends with, and how they are shown.

use crate::flags::FlagError;

/// Why a command failed. The texts of those that scripts may match equal the reference's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first word is no command.
    #[error("litestream {0}: unknown command")]
    UnknownCommand(String),
    /// An argument of the command line is not UTF-8.
    #[error("argument {0} is not valid UTF-8")]
    NotUtf8(usize),
    /// A flag is wrong; the command's help is shown with it.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// Something is missing on the command line; `hint` shows a working command line.
    #[error("{message}")]
    Usage {
        /// What is missing.
        message: &'static str,
        /// A command line that works.
        hint: String,
    },
    /// A check of the arguments failed.
    #[error("{0}")]
    Argument(String),
    /// More positional arguments than the command takes.
    #[error("too many arguments")]
    TooManyArguments,
    /// The configuration cannot be read or is not valid.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A database or replica of the configuration cannot be built.
    #[error(transparent)]
    Build(#[from] crate::config::BuildError),
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Control(#[from] crate::control::ControlError),
    /// The daemon cannot be started as configured.
    #[error(transparent)]
    Replicate(#[from] crate::commands::replicate::ReplicateError),
    /// A restore cannot be made as asked for.
    #[error(transparent)]
    Restore(#[from] crate::commands::restore::RestoreError),
    /// Local state cannot be reset.
    #[error(transparent)]
    Reset(#[from] crate::commands::reset::ResetError),
    /// The listing of a replica failed.
    #[error(transparent)]
    Listing(#[from] crate::ltx_files::ListError),
    /// A replica cannot be listed.
    #[error(transparent)]
    Store(litestream::Error),
    /// A replica cannot be used as it is.
    #[error(transparent)]
    Doctor(#[from] crate::commands::doctor::DoctorError),
    /// Writing the command's own output failed.
    #[error("cannot write output: {0}")]
    Output(#[from] std::io::Error),
}

/// Exit code of failures.
pub const FAILURE: u8 = 1;
/// Exit code when the program ended in order, but the last commits are not in every replica.
pub const NOT_REPLICATED: u8 = 3;

impl Error {
    /// The exit code that tells of it.
    pub fn exit_code(&self) -> u8 {
        use crate::commands::replicate::ReplicateError;
        match self {
            Self::Replicate(ReplicateError::NotReplicated(_)) => NOT_REPLICATED,
            _ => FAILURE,
        }
    }

    /// The command line that is offered as a way out.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } => Some(hint),
            _ => None,
        }
    }

    /// True when the reader of our output went away: the command then ends quietly.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
