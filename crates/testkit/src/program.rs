//! Driver of a program with the litestream command line.
//!
//! The same driver serves the reference binaries and our own, so that a differential
//! test is one function called with two programs. Nothing of the environment of the
//! test (credentials, proxies, litestream settings) reaches the program.

mod generations;

use std::ffi::{OsStr, OsString};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::{Child, Conversation, Failure, Finished, run, wait_until};

/// Limit for one command that is run to its end.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(2);
/// Limit for the daemon to do what it does at start or stop.
const DAEMON_TIMEOUT: Duration = Duration::from_mins(1);

/// The replica format a program writes, which decides a few of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// LTX files: 0.5 and ours.
    Ltx,
    /// Snapshots and WAL segments in generations: 0.3.
    Generations,
}

/// A program with the litestream command line.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    format: Format,
    variables: Vec<(String, String)>,
}

/// What `replicate` works on.
#[derive(Debug, Clone)]
pub enum Start {
    /// `replicate -config FILE`
    Config(PathBuf),
    /// `replicate DB file://REPLICA`, everything else at its default.
    Database {
        /// Path of the database.
        db: PathBuf,
        /// Folder of the file replica.
        replica: PathBuf,
    },
    /// `replicate ARGS...`, for whatever the other two cannot say.
    Args(Vec<OsString>),
}

/// Where `restore` reads from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file replica, by its folder.
    Replica(PathBuf),
    /// A replica URL.
    Url(String),
    /// A database of a configuration file.
    Config {
        /// The configuration file.
        config: PathBuf,
        /// The database as it is named there.
        db: PathBuf,
    },
}

/// Which state `restore` is to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreTarget {
    /// The newest.
    Latest,
    /// `-txid`: 16 hexadecimal digits.
    Txid(String),
    /// `-timestamp`: RFC 3339 with zone.
    Timestamp(String),
}

/// Answer of `sync -wait -json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SyncPosition {
    /// Newest local transaction.
    pub txid: u64,
    /// Newest transaction on the replica.
    pub replica_txid: u64,
}

impl Program {
    /// A program at `path` that speaks the command line of 0.5.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Ltx,
            variables: Vec::new(),
        }
    }

    /// A program at `path` that speaks the command line of 0.3.
    pub fn generations(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Generations,
            variables: Vec::new(),
        }
    }

    /// The same program with one more variable in its environment.
    #[must_use]
    pub fn with_variable(&self, name: &str, value: &str) -> Self {
        let mut program = self.clone();
        program.variables.push((name.to_owned(), value.to_owned()));
        program
    }

    /// Where the program is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command with a clean environment and no arguments yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if is_foreign(&name) {
                command.env_remove(name);
            }
        }
        // Without this an S3 client may wait for a metadata server that is not there.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program with `args` to its end.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Finished, Failure> {
        run(self.command().args(args), COMMAND_TIMEOUT)
    }

    /// What `version` prints, without a leading `v`.
    pub fn version(&self) -> Result<String, Failure> {
        let said = self.run(["version"])?.stdout;
        let said = said.trim();
        Ok(said.strip_prefix('v').unwrap_or(said).to_owned())
    }

    /// Brings the file replica in `replica` up to date with `db`, and ends.
    ///
    /// 0.3 has no `-once`: there a daemon runs until it has uploaded everything and is then
    /// stopped. Nobody may write to the database meanwhile, and the replica must be empty at
    /// the start, because 0.3 does not tell that it has nothing to do.
    pub fn replicate_once(&self, db: &Path, replica: &Path) -> Result<()> {
        let start = Start::Database {
            db: db.to_owned(),
            replica: replica.to_owned(),
        };
        if self.format == Format::Ltx {
            return self.replicate_once_with(&["-once"], &start).map(drop);
        }
        let there = replica_files(replica);
        ensure!(
            there.is_empty(),
            "{} has {} files already",
            replica.display(),
            there.len()
        );
        let mut daemon = self.daemon(&start)?;
        daemon.wait_while_alive(
            DAEMON_TIMEOUT,
            "the whole database in the replica",
            |daemon| generations::is_caught_up(&daemon.log()?, db),
        )?;
        daemon.stop(DAEMON_TIMEOUT)
    }

    /// `replicate OPTIONS... START` run to its end; `options` must contain `-once`.
    pub fn replicate_once_with(&self, options: &[&str], start: &Start) -> Result<Finished> {
        ensure!(
            options.contains(&"-once"),
            "without -once `replicate` does not end: {options:?}"
        );
        let mut args: Vec<OsString> = vec!["replicate".into()];
        args.extend(options.iter().map(OsString::from));
        args.extend(start.args());
        Ok(self.run(args)?)
    }

    /// Starts `replicate` and returns at once; see [`Daemon::wait_ready`].
    pub fn daemon(&self, start: &Start) -> Result<Daemon> {
        let mut command = self.command();
        command.arg("replicate").args(start.args());
        let name = format!("{} replicate", self.path.display());
        Ok(Daemon(Child::spawn(
            &name,
            &mut command,
            Conversation::Silent,
        )?))
    }

    /// `restore` into `out`, which must not exist.
    ///
    /// # Errors
    /// [`Failure`] with the exit status and what was printed.
    pub fn restore(
        &self,
        source: &Source,
        out: &Path,
        target: &RestoreTarget,
    ) -> Result<(), Failure> {
        self.restore_with(&[], source, out, target).map(drop)
    }

    /// `restore OPTIONS...`, as [`Program::restore`].
    pub fn restore_with(
        &self,
        options: &[&str],
        source: &Source,
        out: &Path,
        target: &RestoreTarget,
    ) -> Result<Finished, Failure> {
        let mut args: Vec<OsString> = vec!["restore".into()];
        args.extend(options.iter().map(OsString::from));
        args.extend(["-o".into(), out.into()]);
        match target {
            RestoreTarget::Latest => {}
            RestoreTarget::Txid(txid) => args.extend(["-txid".into(), txid.into()]),
            RestoreTarget::Timestamp(time) => args.extend(["-timestamp".into(), time.into()]),
        }
        match source {
            Source::Replica(folder) => args.push(file_url(folder)),
            Source::Url(url) => args.push(url.into()),
            Source::Config { config, db } => {
                args.extend(["-config".into(), config.into(), db.into()]);
            }
        }
        self.run(args)
    }

    /// What `status -live` says of the databases of the daemon at `socket`.
    pub fn live(&self, socket: &Path) -> Result<serde_json::Value> {
        let args = ["status", "-live", "-json", "-socket"].map(OsStr::new);
        let said = self
            .run(args.into_iter().chain([socket.as_os_str()]))?
            .stdout;
        serde_json::from_str(&said).with_context(|| format!("answer of `status -live`: {said}"))
    }

    /// Has the daemon at `socket` sync `db` and waits until the replica has it.
    pub fn sync_wait(&self, socket: &Path, db: &Path) -> Result<SyncPosition> {
        let (socket, db) = (socket.as_os_str(), db.as_os_str());
        let mut args = ["sync", "-wait", "-json", "-timeout", "60", "-socket"]
            .map(OsStr::new)
            .to_vec();
        args.extend([socket, db]);
        let said = self.run(args)?.stdout;
        serde_json::from_str(&said).with_context(|| format!("answer of `sync -wait -json`: {said}"))
    }
}

impl Start {
    fn args(&self) -> Vec<OsString> {
        match self {
            Self::Config(file) => vec!["-config".into(), file.into()],
            Self::Database { db, replica } => vec![db.into(), file_url(replica)],
            Self::Args(args) => args.clone(),
        }
    }
}

/// `replicate`, running.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    /// Waits until every database is open and the daemon says what it replicates to.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.0.wait_for_log(DAEMON_TIMEOUT, "replicating to")
    }

    /// Waits until the control socket takes connections.
    pub fn wait_socket(&mut self, socket: &Path) -> Result<()> {
        let what = format!("control socket {}", socket.display());
        self.0.wait_while_alive(DAEMON_TIMEOUT, &what, |_| {
            Ok(UnixStream::connect(socket).is_ok())
        })
    }
}

impl Deref for Daemon {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// Writes a configuration file.
///
/// The file is JSON, which is YAML too, so that a test can build it with
/// `serde_json::json!` and needs no escaping of its own.
pub fn write_config(path: &Path, config: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(config)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The URL of a file replica.
pub fn file_url(folder: &Path) -> OsString {
    let mut url = OsString::from("file://");
    url.push(folder);
    url
}

/// Waits until `condition` holds for what the file replica in `folder` contains.
///
/// `condition` gets the paths of all files, relative to `folder` and sorted.
pub fn wait_replica(
    folder: &Path,
    timeout: Duration,
    what: &str,
    mut condition: impl FnMut(&[PathBuf]) -> bool,
) -> Result<()> {
    wait_until(timeout, what, || condition(&replica_files(folder)))
}

/// All files below `folder`, relative to it and sorted; files that vanish meanwhile
/// are left out, and a missing folder is empty.
pub fn replica_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(_) => found.extend(path.strip_prefix(folder).map(Path::to_owned)),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

/// Variables that would change what a program under test does.
fn is_foreign(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let lower = name.to_ascii_lowercase();
    ["LITESTREAM_", "AWS_", "GOOGLE_", "AZURE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || lower.ends_with("_proxy")
        || name == "LOG_LEVEL"
}
