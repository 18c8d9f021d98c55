//! Commands that are run to their end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// What a command that ended with status 0 wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command that could not be run, did not end in time, or ended with another status than 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {reason}\nstdout:\n{stdout}\nstderr:\n{stderr}")]
pub struct Failure {
    /// The command line.
    pub command: String,
    /// In words: the status, the signal, the time limit or the cause.
    pub reason: String,
    /// Exit status; `None` when it was killed, timed out or never ran.
    pub status: Option<i32>,
    /// Standard output until then.
    pub stdout: String,
    /// Standard error until then.
    pub stderr: String,
}

/// Runs `command` to its end, without input, for at most `timeout`.
///
/// Output goes through files, so that a child which leaves a grandchild with the
/// same output behind cannot make this wait for ever.
///
/// # Errors
/// Everything but exit status 0, see [`Failure`].
pub fn run(command: &mut Command, timeout: Duration) -> Result<Finished, Failure> {
    let line = format!("{command:?}");
    let folder = tempfile::tempdir().map_err(|error| never_ran(&line, &error))?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let ended = run_into(command, timeout, &out, &err).map_err(|error| never_ran(&line, &error))?;
    let read = |path| match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(output lost: {error})"),
    };
    let (stdout, stderr) = (read(&out), read(&err));
    let reason = match ended {
        Some(status) if status.success() => return Ok(Finished { stdout, stderr }),
        Some(status) => status.to_string(),
        None => format!("killed because it did not end within {timeout:?}"),
    };
    let status = ended.and_then(|status| status.code());
    Err(Failure {
        command: line,
        reason,
        status,
        stdout,
        stderr,
    })
}

/// The status, or `None` when the time was over and the process group was killed.
fn run_into(
    command: &mut Command,
    timeout: Duration,
    out: &std::path::Path,
    err: &std::path::Path,
) -> anyhow::Result<Option<ExitStatus>> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::from(File::create(out)?))
        .stderr(Stdio::from(File::create(err)?))
        .spawn()?;
    let pid = Pid::from_child(&child);
    let waited = super::guard::Guard::watch(pid).and_then(|_guard| {
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        super::wait_readable(&fd, timeout)?;
        Ok(child.try_wait()?)
    });
    if let Ok(Some(status)) = waited {
        return Ok(Some(status));
    }
    kill_process_group(pid, Signal::KILL)?;
    child.wait()?;
    waited
}

fn never_ran(command: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure {
        command: command.to_owned(),
        reason: format!("cannot be run: {error}"),
        status: None,
        stdout: String::new(),
        stderr: String::new(),
    }
}
