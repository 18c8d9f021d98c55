//! Where the configuration file is, and reading it.

use std::io;

use super::{Config, ConfigError, expand_env, resolve};
use crate::env::Env;
use crate::{os_error, paths};

/// Where the file is when nothing else is said.
const SYSTEM_PATH: &str = "/etc/litestream.yml";

/// The path that is used without `-config`: `$LITESTREAM_CONFIG`, else the system's place.
pub fn default_path(env: &Env) -> &str {
    env.non_empty("LITESTREAM_CONFIG").unwrap_or(SYSTEM_PATH)
}

/// Reads and resolves the configuration; `flag` is the value of `-config`, empty when absent.
pub fn load(env: &Env, flag: &str, expand_variables: bool) -> Result<Config, ConfigError> {
    let typed = if flag.is_empty() {
        default_path(env)
    } else {
        flag
    };
    let path = paths::expand(env, typed);
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::NotFound(path.clone()),
        io::ErrorKind::IsADirectory => {
            ConfigError::Unreadable(os_error::describe("read", &path, &error))
        }
        _ => ConfigError::Unreadable(os_error::describe("open", &path, &error)),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ConfigError::Unusable(format!("yaml: {}: no UTF-8 at byte {at}", path.display()))
    })?;
    let text = if expand_variables {
        expand_env::expand(env, &text)
    } else {
        text
    };
    let mut config = resolve::parse(env, &text)?;
    config.source = Some(typed.to_owned());
    Ok(config)
}
