//! What a command may touch: the two output streams and the environment.

use std::io::Write;

use crate::env::Env;

/// The surroundings of one command.
pub struct Context<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Environment variables, working directory, home folder.
    pub env: Env,
}
