//! `stop`: tells the daemon to finish replicating a database.

use super::start::change;
use super::{Command, one_database};
use crate::context::Context;
use crate::error::Error;
use crate::flags::{Help, JSON, Parsed, SOCKET, TIMEOUT_30};

/// The command.
pub const COMMAND: Command = Command {
    name: "stop",
    summary: "stop replication of a database",
    flags: &[TIMEOUT_30, SOCKET, JSON],
    help: Help {
        summary: &[
            "Tells the running daemon to stop replicating a database.",
            "The daemon uploads what is left before it stops.",
        ],
        usage: &["stop [arguments] DB_PATH"],
        notes: &["A timeout of 0 waits without limit."],
        examples: &[("Stop replication.", "stop /path/to/db")],
    },
    run,
};

fn run(context: &mut Context<'_>, parsed: &Parsed) -> Result<(), Error> {
    let path = one_database(parsed, "litestream stop /path/to/db")?;
    change(context, parsed, path, "stop", "/stop", "stopped")
}
