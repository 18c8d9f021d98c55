//! What the program `testkit-writer` does.
//!
//! `history`: says `ready`, then obeys one command per line. `step N` answers with a line
//! `step NUMBER HASH BEFORE AFTER` per committed step (`-` when hashes are off, times in Unix
//! nanoseconds); `reader open`, `reader close`, `checkpoint MODE`, `hash` and `quit` give
//! no such lines. Every command ends with `ok ...` or `error ...`.
//!
//! `prefix`: says `ready`, commits until a line comes, then prints its report as JSON.
//!
//! Both end when their standard input ends: then whoever started them is gone.

use std::ffi::OsString;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, bail};

use super::arguments;
use crate::history::History;
use crate::prefix;

/// The whole program; `args` are those after its name.
///
/// # Errors
/// Wrong arguments, and what keeps it from working at all. A failing step or checkpoint
/// is an answer, not the end.
pub fn main(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let mode = args.next().unwrap_or_default();
    match mode.to_str() {
        Some("history") => serve_history(args),
        Some("prefix") => serve_prefix(args),
        _ => bail!("usage: testkit-writer history|prefix --db PATH [--OPTION VALUE ...]"),
    }
}

fn serve_history(args: impl Iterator<Item = OsString>) -> Result<()> {
    let (db, seed, options) = arguments::history(args)?;
    let mut history = if db.try_exists()? {
        History::resume(&db, seed, options)?
    } else {
        History::create(&db, seed, options)?
    };
    say("ready")?;
    for line in stdin().lock().lines() {
        let line = line?;
        let answer = match obey(&mut history, &line) {
            Ok(rest) => format!("ok {rest}"),
            // One line, whatever the text.
            Err(error) => format!("error {error:#}").replace('\n', " "),
        };
        say(&answer)?;
        if line == "quit" {
            break;
        }
    }
    Ok(())
}

fn obey(history: &mut History, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["step", count] => {
            for _ in 0..count
                .parse()
                .with_context(|| format!("{count:?} is no number"))?
            {
                let step = history.step()?;
                if step.action.commits() {
                    let hash = step.hash.as_deref().unwrap_or("-");
                    say(&format!(
                        "step {} {hash} {} {}",
                        step.number, step.before, step.after
                    ))?;
                }
            }
        }
        ["reader", "open"] => history.open_reader()?,
        ["reader", "close"] => history.close_reader(),
        ["checkpoint", mode] => {
            let done = history.checkpoint(mode.parse()?)?;
            return Ok(format!(
                "{} {} {}",
                u8::from(done.busy),
                done.log,
                done.checkpointed
            ));
        }
        ["hash"] => return history.content_hash(),
        ["quit"] => {}
        _ => bail!("unknown command {line:?}"),
    }
    Ok(String::new())
}

fn serve_prefix(args: impl Iterator<Item = OsString>) -> Result<()> {
    let load = arguments::load(args)?;
    let (sender, stop) = channel();
    // Not joined: it waits for input that may never come, and ends with the process.
    std::thread::spawn(move || {
        let read = stdin().lock().read_line(&mut String::new());
        // Anything that happened, an error too, means stop; nobody listening means done.
        drop((read, sender.send(())));
    });
    say("ready")?;
    let report = prefix::write(&load, &stop)?;
    say(&serde_json::to_string(&report)?)
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
