//! A watchdog process for the case that the test process is killed.
//!
//! A shell waits for end-of-file on a pipe that only the test process holds open. When
//! the test process goes, in whatever way, the pipe closes and the shell kills the
//! guarded process group. (The kernel's parent-death signal would need `unsafe` here, and is sent at
//! the end of the starting *thread*, which is not what a test with threads wants.)

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Kills a process group when the test process ends; disarmed by dropping it.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Guards the process group led by `leader`.
    pub(super) fn watch(leader: Pid) -> Result<Self> {
        // A group of its own: an interrupt typed at a terminal must not end the guard
        // before it has done its work.
        Command::new("sh")
            .args(["-c", r#"read -r _; kill -s KILL -- "-$1""#, "guard"])
            .arg(leader.as_raw_nonzero().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .context("cannot start the guard shell `sh`")
    }
}

#[cfg(test)]
impl Guard {
    /// The write end of the pipe it watches.
    pub(super) fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.0.stdin.take()
    }

    /// Waits for a guard that has fired.
    pub(super) fn reap(&mut self) {
        self.0.wait().expect("the guard is a child of this process");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed before its pipe closes, so it never fires on this way.
        let done = self.0.kill().and_then(|()| self.0.wait());
        drop(done); // fails only when the guard is gone already
    }
}
