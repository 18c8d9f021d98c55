//! Histories in a process of their own, as an application would be.
//!
//! The program `testkit-writer` does the writing; this module starts it, talks to it and
//! kills it. It knows nothing of the replicator and goes on when that dies.

mod arguments;
mod serve;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::history::{CheckpointMode, CheckpointResult, Options};
use crate::prefix::{Load, Progress, Report};
use crate::process::{Child, Conversation};

pub use self::serve::main;

/// Limit for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// File name of the program.
const PROGRAM: &str = "testkit-writer";

/// Where the program `testkit-writer` is: beside the folder of the running test.
///
/// # Errors
/// When it has not been built; the text tells the command.
pub fn writer_path() -> Result<PathBuf> {
    let test = std::env::current_exe().context("path of the running test")?;
    let searched: Vec<PathBuf> = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(PROGRAM))
        .collect();
    for path in &searched {
        if path.try_exists()? {
            return Ok(path.clone());
        }
    }
    bail!("{PROGRAM} is not built: run `cargo build -p testkit --bins`; looked for {searched:?}")
}

/// A committed step of a [`HistoryWriter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedStep {
    /// Its number.
    pub number: u64,
    /// Content hash after it; `None` when hashes are not recorded.
    pub hash: Option<String>,
    /// Unix time in nanoseconds before its commit began.
    pub before: u64,
    /// Unix time in nanoseconds after it returned.
    pub after: u64,
}

/// A [`crate::history::History`] in its own process.
#[derive(Debug)]
pub struct HistoryWriter(Dialogue);

impl HistoryWriter {
    /// Starts on the database at `db`, which is made, or gone on with, if it exists.
    pub fn start(db: &Path, seed: u64, options: &Options) -> Result<Self> {
        let mut args: Vec<OsString> = vec!["history".into()];
        args.extend(arguments::of_history(db, seed, options));
        Dialogue::start(args).map(Self)
    }

    /// Does `count` steps and returns those that committed.
    pub fn step(&mut self, count: u64) -> Result<Vec<CommittedStep>> {
        let mut steps = Vec::new();
        self.0.ask(&format!("step {count}"), |line| {
            steps.push(parse_step(line)?);
            Ok(())
        })?;
        Ok(steps)
    }

    /// Begins a read transaction and holds it.
    pub fn open_reader(&mut self) -> Result<()> {
        self.0.ask("reader open", unexpected).map(drop)
    }

    /// Ends the held read transaction.
    pub fn close_reader(&mut self) -> Result<()> {
        self.0.ask("reader close", unexpected).map(drop)
    }

    /// Checkpoints over another connection, without waiting for anybody.
    pub fn checkpoint(&mut self, mode: CheckpointMode) -> Result<CheckpointResult> {
        let said = self
            .0
            .ask(&format!("checkpoint {}", mode.as_str()), unexpected)?;
        parse_checkpoint(&said).with_context(|| format!("answer to checkpoint: {said:?}"))
    }

    /// Hash of the content now.
    pub fn content_hash(&mut self) -> Result<String> {
        self.0.ask("hash", unexpected)
    }

    /// Ends in order: connections are closed, the last of them checkpoints as `SQLite` does.
    pub fn quit(mut self) -> Result<()> {
        self.0.ask("quit", unexpected)?;
        let status = self.0.child.wait_exit(ANSWER_TIMEOUT)?;
        ensure!(status.success(), "{PROGRAM} ended with {status}");
        Ok(())
    }
}

impl Deref for HistoryWriter {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0.child
    }
}

impl DerefMut for HistoryWriter {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0.child
    }
}

/// A provable history ([`crate::prefix`]) committed by its own process.
#[derive(Debug)]
pub struct PrefixWriter {
    dialogue: Dialogue,
    progress: PathBuf,
}

impl PrefixWriter {
    /// Starts; the first commits may be done when this returns.
    pub fn start(load: &Load) -> Result<Self> {
        let mut args: Vec<OsString> = vec!["prefix".into()];
        args.extend(arguments::of_load(load));
        Ok(Self {
            dialogue: Dialogue::start(args)?,
            progress: load.progress.clone(),
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Result<Progress> {
        Progress::read(&self.progress)
    }

    /// Waits until transaction `s` is committed; fails when the writer ends before.
    pub fn wait_committed(&mut self, s: u64, timeout: Duration) -> Result<()> {
        let (child, progress) = (&mut self.dialogue.child, &self.progress);
        child.wait_while_alive(timeout, &format!("commit of transaction {s}"), |_| {
            Ok(Progress::read(progress)?.committed >= s)
        })
    }

    /// Stops after the running transaction and tells what the application saw.
    pub fn stop(mut self) -> Result<Report> {
        // Fails when the writer is done already, and then its report is there all the same.
        drop(self.dialogue.say("quit"));
        self.finish()
    }

    /// Waits until the load is done, and tells what the application saw.
    pub fn finish(mut self) -> Result<Report> {
        let line = self.dialogue.hear()?;
        let report = serde_json::from_str(&line).with_context(|| format!("report {line:?}"))?;
        let status = self.dialogue.child.wait_exit(ANSWER_TIMEOUT)?;
        ensure!(status.success(), "{PROGRAM} ended with {status}");
        Ok(report)
    }
}

impl Deref for PrefixWriter {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.dialogue.child
    }
}

impl DerefMut for PrefixWriter {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.dialogue.child
    }
}

/// Lines to and from the program.
#[derive(Debug)]
struct Dialogue {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Dialogue {
    fn start(args: Vec<OsString>) -> Result<Self> {
        let mut command = Command::new(writer_path()?);
        let mut child = Child::spawn(PROGRAM, command.args(args), Conversation::Piped)?;
        let (input, output) = child.take_pipes().context("the pipes of a new child")?;
        let (sender, lines) = channel();
        // A thread of its own, because a read of a pipe cannot be given a time limit.
        // It ends with the pipe, or when nobody wants its lines any more.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut dialogue = Self {
            child,
            input,
            lines,
        };
        let line = dialogue.hear()?;
        ensure!(line == "ready", "{PROGRAM} said {line:?} at its start");
        Ok(dialogue)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").with_context(|| format!("cannot tell {PROGRAM}: {line}"))
    }

    fn hear(&mut self) -> Result<String> {
        match self.lines.recv_timeout(ANSWER_TIMEOUT) {
            Ok(line) => Ok(line),
            Err(error) => {
                let log = self.child.log()?;
                bail!("no answer from {PROGRAM}: {error}; its log:\n{log}")
            }
        }
    }

    /// Sends a command; every line up to the final one goes to `each`, and the rest of
    /// the final `ok` line is the result.
    fn ask(&mut self, line: &str, mut each: impl FnMut(&str) -> Result<()>) -> Result<String> {
        self.say(line)?;
        loop {
            let heard = self.hear()?;
            match heard.split_once(' ').unwrap_or((&heard, "")) {
                ("ok", rest) => return Ok(rest.to_owned()),
                ("error", text) => bail!("{PROGRAM}, {line}: {text}"),
                _ => each(&heard)?,
            }
        }
    }
}

fn unexpected(line: &str) -> Result<()> {
    bail!("{PROGRAM} said {line:?}")
}

fn parse_step(line: &str) -> Result<CommittedStep> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [word, number, hash, before, after] = parts.as_slice() else {
        bail!("{PROGRAM} said {line:?}, expected a step");
    };
    ensure!(*word == "step", "{PROGRAM} said {line:?}, expected a step");
    Ok(CommittedStep {
        number: number.parse()?,
        hash: (*hash != "-").then(|| (*hash).to_owned()),
        before: before.parse()?,
        after: after.parse()?,
    })
}

fn parse_checkpoint(rest: &str) -> Option<CheckpointResult> {
    let mut numbers = rest.split(' ').map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    Some(CheckpointResult {
        busy: next()? != 0,
        log: next()?,
        checkpointed: next()?,
    })
}
