//! The program that `-exec` runs beside the replication.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::descriptors::Descriptors;
use crate::env::Env;

/// A running child.
pub(super) struct Child {
    process: tokio::process::Child,
}

/// How a child ended that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// Its exit code, or the signal that ended it.
    #[error("{0}")]
    Status(Ending),
    /// Its end could not be waited for.
    #[error("{0}")]
    Wait(#[from] std::io::Error),
}

/// An exit status in the words of the reference.
#[derive(Debug)]
pub struct Ending(ExitStatus);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(9)) => f.write_str("signal: killed"),
            (None, Some(15)) => f.write_str("signal: terminated"),
            (None, Some(2)) => f.write_str("signal: interrupt"),
            (None, Some(signal)) => write!(f, "signal: {signal}"),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

impl Child {
    /// Starts the program with the environment; it inherits standard output and error.
    pub(super) fn start(
        words: &[String],
        env: &Env,
        descriptors: &Descriptors,
    ) -> std::io::Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(std::io::Error::other("empty command"));
        };
        let process = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(env.vars())
            .stdin(Stdio::null())
            .spawn()?;
        let child = Self { process };
        if let Some(pid) = child.pid() {
            descriptors.restore_for(pid);
        }
        Ok(child)
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.process.id()?;
        i32::try_from(id).ok().and_then(Pid::from_raw)
    }

    /// Waits for its end; anything but success is an error.
    pub(super) async fn wait(&mut self) -> Result<(), ChildError> {
        let status = self.process.wait().await?;
        if status.success() {
            Ok(())
        } else {
            Err(ChildError::Status(Ending(status)))
        }
    }

    /// Waits for its end after a signal: being ended by it is what was asked for.
    pub(super) async fn wait_signalled(&mut self) -> Result<(), ChildError> {
        let status = self.process.wait().await?;
        match status.code() {
            Some(0) | None => Ok(()),
            Some(_) => Err(ChildError::Status(Ending(status))),
        }
    }

    /// Passes a signal on. A child that has ended already needs none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid()
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, "signal exec process");
        }
    }
}
