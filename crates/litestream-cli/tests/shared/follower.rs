//! A program in follow mode.

use std::path::Path;

use testkit::process::{Child, Conversation};
use testkit::program::{Program, file_url};

/// Starts `program` with `restore -f` from a file replica into `copy`.
pub(crate) fn follow(program: &Program, replica: &Path, copy: &Path) -> Child {
    let mut command = program.command();
    command.args(["restore", "-f", "-follow-interval", "50ms", "-o"]);
    command.arg(copy).arg(file_url(replica));
    let name = format!("{} restore -f", program.path().display());
    Child::spawn(&name, &mut command, Conversation::Silent).expect("the follower starts")
}
