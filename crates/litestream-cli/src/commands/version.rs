//! `version`: what was built, from what, with what.

use super::Command;
use crate::context::Context;
use crate::error::Error;
use crate::flags::{Flag, Help, Kind, Parsed};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const VERBOSE: Flag = Flag {
    name: "verbose",
    kind: Kind::Bool,
    value: "",
    doc: &["Prints compiler, commit, commit time and platform too."],
};

/// The command.
pub const COMMAND: Command = Command {
    name: "version",
    summary: "print the version",
    flags: &[VERBOSE],
    help: Help {
        summary: &["Prints the version."],
        usage: &["version [arguments]"],
        notes: &[],
        examples: &[],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    if !parsed.bool(&VERBOSE) {
        writeln!(context.out, "{VERSION}")?;
        return Ok(());
    }
    let commit = option_env!("LITESTREAM_BUILD_COMMIT").unwrap_or("(development build)");
    let time = option_env!("LITESTREAM_BUILD_COMMIT_TIME").unwrap_or("(development build)");
    // Operating system and processor under the names that release archives use.
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    writeln!(context.out, "Version:     {VERSION}")?;
    writeln!(context.out, "Compiler:    {}", env!("LITESTREAM_COMPILER"))?;
    writeln!(context.out, "Git Commit:  {commit}")?;
    writeln!(context.out, "Commit Time: {time}")?;
    writeln!(context.out, "OS/Arch:     {os}/{arch}")?;
    Ok(())
}
