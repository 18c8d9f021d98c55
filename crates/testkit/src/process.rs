//! Children of a test, and bounded waits for them.
//!
//! Invariant: no child outlives the test process. [`Child`] kills its process group
//! when dropped (also while unwinding), and a guard process beside it does so when the
//! test process itself is killed. Every wait has a deadline and names what it waited for.

mod guard;
mod run;
mod socket;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process, kill_process_group, pidfd_open};
use tempfile::TempDir;

use self::guard::Guard;
pub use self::run::{Failure, Finished, run};
pub use self::socket::SocketPath;

/// How much of a log is shown when a test fails.
const TAIL_BYTES: u64 = 16 * 1024;
/// Pause between two looks of [`wait_until`].
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Polls `condition` until it is true; fails after `timeout`, naming `what`.
///
/// This is for conditions that an external process brings about and that nothing
/// announces (a file appears, a socket accepts). It is a bounded wait, not a pause:
/// the outcome does not depend on the interval. Do not use it inside one process.
///
/// # Errors
/// When `timeout` has passed and the condition, looked at once more, is still false.
pub fn wait_until(
    timeout: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    wait_for(timeout, what, || condition().then_some(()))
}

/// Like [`wait_until`], for a condition that yields a value.
///
/// # Errors
/// When `timeout` has passed and `look` still yields nothing.
pub fn wait_for<T>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        // Taken before the look: the last look always happens after the deadline,
        // so a busy machine does not turn a true condition into a failure.
        let late = Instant::now() >= deadline;
        if let Some(value) = look() {
            return Ok(value);
        }
        ensure!(!late, "waited {timeout:?} in vain for: {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Where the standard output of a [`Child`] goes; standard error always goes to its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversation {
    /// Output to the log, no input.
    Silent,
    /// Input and output are pipes to the test, see [`Child::take_pipes`].
    Piped,
}

/// A running process that dies with the test.
#[derive(Debug)]
pub struct Child {
    name: String,
    inner: std::process::Child,
    pid: Pid,
    guard: Option<Guard>,
    status: Option<ExitStatus>,
    log: PathBuf,
    _folder: TempDir,
}

impl Child {
    /// Starts `command` as the leader of its own process group.
    ///
    /// `name` is what failures call it. Its log is a file in a temporary folder; the end
    /// of it is part of every error and is printed when the test panics.
    pub fn spawn(name: &str, command: &mut Command, conversation: Conversation) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-log-").tempdir()?;
        let log = folder.path().join("log");
        let out = File::options().create(true).append(true).open(&log)?;
        command
            .process_group(0)
            .stderr(Stdio::from(out.try_clone()?));
        match conversation {
            Conversation::Silent => command.stdin(Stdio::null()).stdout(Stdio::from(out)),
            Conversation::Piped => command.stdin(Stdio::piped()).stdout(Stdio::piped()),
        };
        let mut inner = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        let pid = Pid::from_child(&inner);
        let guard = match Guard::watch(pid) {
            Ok(guard) => Some(guard),
            Err(error) => {
                // Unguarded it could outlive a killed test; better no child at all.
                inner.kill()?;
                inner.wait()?;
                return Err(error);
            }
        };
        Ok(Self {
            name: name.to_owned(),
            inner,
            pid,
            guard,
            status: None,
            log,
            _folder: folder,
        })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// Both ends of the conversation, once; `None` if silent or taken before.
    pub fn take_pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.inner.stdin.take()?, self.inner.stdout.take()?))
    }

    /// File that receives standard error (and output, when [`Conversation::Silent`]).
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything written to the log so far.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)
            .with_context(|| format!("cannot read the log of {}", self.name))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until the log contains `text`; fails at once when the process ends before.
    pub fn wait_for_log(&mut self, timeout: Duration, text: &str) -> Result<()> {
        let what = format!("{text:?} in the log of {}", self.name);
        self.wait_while_alive(timeout, &what, |child| Ok(child.log()?.contains(text)))
    }

    /// Waits for `condition` as [`wait_until`] does, but fails at once, with the log,
    /// when the process ends first.
    pub fn wait_while_alive(
        &mut self,
        timeout: Duration,
        what: &str,
        mut condition: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let found = wait_for(timeout, what, || {
            let ended = self.exited();
            match (condition(self), ended) {
                (Ok(true), _) => Some(Ok(())),
                (Err(error), _) | (Ok(false), Err(error)) => Some(Err(error)),
                (Ok(false), Ok(Some(status))) => Some(Err(anyhow::anyhow!(
                    "{} ended with {status} before: {what}",
                    self.name
                ))),
                (Ok(false), Ok(None)) => None,
            }
        });
        found
            .and_then(|inner| inner)
            .with_context(|| self.log_context())
    }

    /// The exit status if the process has ended by now; does not wait.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match self.reap(Duration::ZERO) {
            Ok(status) => Ok(status),
            Err(error) => Err(error).with_context(|| format!("cannot wait for {}", self.name)),
        }
    }

    /// Waits for the end of the process.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        match self.reap(timeout)? {
            Some(status) => Ok(status),
            None => Err(self.failed(&format!("{} did not end within {timeout:?}", self.name))),
        }
    }

    /// Sends `signal`; an error when the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.exited()? {
            let text = format!("{} ended with {status} before it got {signal:?}", self.name);
            return Err(self.failed(&text));
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// SIGTERM, then waits for the exit status.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_exit(timeout)
    }

    /// SIGTERM and the expectation of exit status 0.
    pub fn stop(&mut self, timeout: Duration) -> Result<()> {
        let status = self.terminate(timeout)?;
        if status.success() {
            return Ok(());
        }
        Err(self.failed(&format!("{} ended with {status} after SIGTERM", self.name)))
    }

    /// Kills the process (not its own children) as a crash would, and reaps it.
    pub fn kill_9(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_exit(Duration::from_secs(30)).map(drop)
    }

    /// Waits on a pidfd, so that the end is noticed at once and without polling.
    fn reap(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        if !timeout.is_zero() {
            let fd = pidfd_open(self.pid, PidfdFlags::empty())?;
            wait_readable(&fd, timeout)?;
        }
        if let Some(status) = self.inner.try_wait()? {
            // From here on the process number may be used again by others.
            self.guard = None;
            self.status = Some(status);
        }
        Ok(self.status)
    }

    fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn log_context(&self) -> String {
        match self.tail() {
            Ok(tail) => format!("end of the log of {}:\n{tail}", self.name),
            Err(error) => format!("the log of {} cannot be read: {error}", self.name),
        }
    }

    fn failed(&self, text: &str) -> anyhow::Error {
        anyhow::anyhow!("{text}; {}", self.log_context())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = writeln!(io::stderr(), "{}", self.log_context());
            drop(shown); // nothing can be done about a closed standard error
        }
        if self.status.is_none() {
            // The whole group: a program may have children of its own.
            let killed = kill_process_group(self.pid, Signal::KILL);
            let reaped = self.inner.wait();
            drop((killed, reaped)); // both fail only when it is gone already
        }
    }
}

/// Waits until `fd` is readable (for a pidfd: the process has ended) or time is over.
fn wait_readable(fd: &impl std::os::fd::AsFd, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("wait is too long")?;
        let mut polled = [PollFd::new(fd, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("cannot poll a process descriptor: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
