//! The processes of an application: started, watched, stopped.

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command};
use std::time::Duration;

use testkit::prefix::Progress;
use testkit::process::{Child, Conversation};

use super::role::{self, Outcome, Role, Work};

const LONG: Duration = Duration::from_mins(1);
const SCRIPT: &str = include_str!("app.py");

/// Which SQLite library the process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// The one the engine is linked with.
    Bundled,
    /// The one of the distribution, through python.
    System,
}

/// One process.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) role: Role,
    child: Child,
    /// It goes on until this is closed.
    input: ChildStdin,
    _output: ChildStdout,
}

impl App {
    /// Starts a process with this work on the database; its files are made in `folder`.
    pub(crate) fn start(
        folder: &Path,
        db: &Path,
        number: usize,
        library: Library,
        work: Work,
    ) -> Self {
        let name = format!("{} {number}", work.word());
        // Checkpoints that cannot do all within the least patience that is promised for give up; a
        // writer may have to wait for several of them, and for the disk of a busy machine.
        let busy_ms = match work {
            Work::Checkpoints { .. } => 1000,
            _ => 5000,
        };
        let file = |end: &str| folder.join(format!("{number}.{end}"));
        let role = Role {
            db: db.to_owned(),
            progress: file("progress"),
            outcome: file("outcome"),
            busy_ms,
            work,
        };
        let mut command = match library {
            Library::Bundled => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "application", "--ignored", "--nocapture"]);
                command
            }
            Library::System => {
                let mut command = Command::new("python3");
                command.args(["-c", SCRIPT]);
                command
            }
        };
        command.env(role::VARIABLE, serde_json::to_string(&role).unwrap());
        let mut child = Child::spawn(&name, &mut command, Conversation::Piped).unwrap();
        let (input, output) = child.take_pipes().unwrap();
        Self {
            name,
            role,
            child,
            input,
            _output: output,
        }
    }

    /// How far a writer is; `None` of the others.
    pub(crate) fn progress(&self) -> Option<Progress> {
        match self.role.work {
            Work::Prefix { .. } | Work::Side { .. } => {
                Some(Progress::read(&self.role.progress).unwrap())
            }
            Work::Checkpoints { .. } | Work::Reads { .. } => None,
        }
    }

    /// Panics, with its log, if it has ended.
    pub(crate) fn expect_alive(&mut self) {
        if let Some(status) = self.child.exited().unwrap() {
            panic!(
                "{} ended with {status}: {}",
                self.name,
                self.child.log().unwrap()
            );
        }
    }

    /// Ends it in order and tells what it saw.
    pub(crate) fn stop(self) -> (String, Work, Outcome) {
        let Self {
            name,
            role,
            mut child,
            input,
            _output,
        } = self;
        drop(input);
        let status = child.wait_exit(LONG).unwrap();
        assert!(
            status.success(),
            "{name}: {status}: {}",
            child.log().unwrap()
        );
        let outcome = role::read_outcome(&role.outcome);
        (name, role.work, outcome)
    }
}

/// Version of python's SQLite library; `None`, said aloud, when there is no python with it.
pub(crate) fn system_library() -> Option<String> {
    let asked = Command::new("python3")
        .args(["-c", "import sqlite3; print(sqlite3.sqlite_version)"])
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        other => {
            println!("SKIPPED: no python3 with the sqlite3 module: {other:?}");
            None
        }
    }
}

impl Work {
    fn word(&self) -> &'static str {
        match self {
            Self::Prefix { .. } => "prefix",
            Self::Side { .. } => "side",
            Self::Checkpoints { .. } => "checkpoints",
            Self::Reads { .. } => "reads",
        }
    }
}

/// Where the sampler of the WAL stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalSeen {
    /// How often its header was found changed.
    pub(crate) restarts: u64,
    /// The largest size in bytes.
    pub(crate) largest: u64,
    header: Option<[u8; 32]>,
}

impl WalSeen {
    /// Looks at the WAL once. (Its descriptor carries no lock, so this process may open and close it.)
    pub(crate) fn look(&mut self, wal: &PathBuf) {
        use std::io::Read;
        let Ok(mut file) = std::fs::File::open(wal) else {
            return;
        };
        self.largest = self
            .largest
            .max(file.metadata().map_or(0, |meta| meta.len()));
        let mut header = [0; 32];
        if file.read_exact(&mut header).is_ok() && self.header != Some(header) {
            self.restarts += u64::from(self.header.is_some());
            self.header = Some(header);
        }
    }
}
