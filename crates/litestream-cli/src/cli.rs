//! Dispatch: which command, its flags, and how it ends.

use std::process::ExitCode;

use crate::commands::{self, Command};
use crate::config;
use crate::context::Context;
use crate::env::Env;
use crate::error::{Error, FAILURE};
use crate::flags::{self, Outcome};
use crate::log::{self, Destination, Logging};
use crate::memory;

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    memory::limit();
    let mut env = Env::capture();
    env.apply_credential_aliases();
    log::configure(&Logging::plain(Destination::Stdout), &env);
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut context = Context {
        out: &mut out,
        err: &mut err,
        env,
    };
    let words: Result<Vec<String>, usize> = std::env::args_os()
        .skip(1)
        .enumerate()
        .map(|(index, word)| word.into_string().map_err(|_| index + 1))
        .collect();
    let code = match words {
        Ok(words) => run(&mut context, &words),
        Err(index) => report(&mut context, &Error::NotUtf8(index)),
    };
    ExitCode::from(code)
}

/// Runs one command line and returns its exit code; errors are written to the context.
pub fn run(context: &mut Context<'_>, words: &[String]) -> u8 {
    match dispatch(context, words) {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => 0,
        Err(error) => report(context, &error),
    }
}

fn dispatch(context: &mut Context<'_>, words: &[String]) -> Result<u8, Error> {
    let (word, rest) = words
        .split_first()
        .map_or(("", words), |(word, rest)| (word, rest));
    if matches!(word, "help" | "-h" | "-help" | "--help") {
        write_overview(context)?;
        return Ok(0);
    }
    if word.is_empty() || word.starts_with('-') {
        write_overview(context)?;
        return Ok(FAILURE);
    }
    let command = commands::find(word).ok_or_else(|| Error::UnknownCommand(word.to_owned()))?;
    if word == commands::DEPRECATED_LTX {
        writeln!(
            context.err,
            "Warning: 'wal' command is deprecated, please use 'ltx' instead"
        )?;
    }
    match flags::parse(command.flags, rest) {
        Ok(Outcome::Parsed(parsed)) => (command.run)(context, &parsed).map(|()| 0),
        Ok(Outcome::Help) => {
            write_help(context, command)?;
            Ok(0)
        }
        Err(error) => {
            write_help(context, command)?;
            writeln!(context.err, "{error}")?;
            Err(error.into())
        }
    }
}

fn report(context: &mut Context<'_>, error: &Error) -> u8 {
    // With standard error gone there is nowhere left to say it.
    let _ = writeln!(context.err, "Error: {error}");
    if let Some(hint) = error.hint() {
        let _ = writeln!(context.err, "Try: {hint}");
    }
    error.exit_code()
}

fn write_help(context: &mut Context<'_>, command: &Command) -> std::io::Result<()> {
    let text = command
        .help
        .render(command.flags, config::default_path(&context.env));
    context.out.write_all(text.as_bytes())
}

fn write_overview(context: &mut Context<'_>) -> std::io::Result<()> {
    let mut text = String::from(
        "litestream replicates SQLite databases.\n\nUsage:\n\n\tlitestream <command> [arguments]\n\n\
         The commands are:\n\n",
    );
    for command in commands::TABLE {
        let line = format!("\t{:<12} {}\n", command.name, command.summary);
        text.push_str(&line);
    }
    text.push('\n');
    context.out.write_all(text.as_bytes())
}
