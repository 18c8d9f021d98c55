//! The environment of the process, captured once.
//!
//! Invariant: nothing else reads environment variables, and nothing writes those of the process.
//! Changes (the credential aliases, `-log-level`) are made here and passed on to children.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A snapshot of variables, working directory and home folder.
#[derive(Debug, Clone)]
pub struct Env {
    vars: BTreeMap<String, String>,
    working_dir: PathBuf,
    home: Option<String>,
    pid: u32,
}

/// Variables that are accepted under a second name: (alias, name).
const CREDENTIAL_ALIASES: [(&str, &str); 2] = [
    ("LITESTREAM_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    ("LITESTREAM_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
];

impl Env {
    /// Reads the environment of the process.
    ///
    /// The home folder is that of the account (password file); `$HOME` counts only when the account
    /// has no entry.
    pub fn capture() -> Self {
        let vars = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        let working_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let mut env = Self {
            vars,
            working_dir,
            home: None,
            pid: std::process::id(),
        };
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        env.home = home_of(&accounts, rustix::process::getuid().as_raw())
            .or_else(|| env.var("HOME").map(str::to_owned));
        env
    }

    /// An environment made of the given parts; `home` is the account's home folder.
    pub fn of(vars: &[(&str, &str)], working_dir: &str, home: Option<&str>, pid: u32) -> Self {
        Self {
            vars: vars
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            working_dir: PathBuf::from(working_dir),
            home: home.map(str::to_owned),
            pid,
        }
    }

    /// The value of a variable; `None` when it is not present.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// The value of a variable, `None` also when it is empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.var(name).filter(|value| !value.is_empty())
    }

    /// Sets a variable for this program's own reading and for its children.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// All variables, to be given to a child process.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The working directory at start.
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// The home folder of the account.
    pub fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }

    /// The process id, which the configuration may refer to as `$PID`.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Copies `LITESTREAM_*` credentials to their `AWS_*` names where those are not present.
    pub fn apply_credential_aliases(&mut self) {
        for (alias, name) in CREDENTIAL_ALIASES {
            if let Some(value) = self.var(alias).map(str::to_owned)
                && self.var(name).is_none()
            {
                self.set(name, &value);
            }
        }
    }
}

/// The home folder of `uid` in the text of a password file.
fn home_of(accounts: &str, uid: u32) -> Option<String> {
    accounts
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_name, _password, id, _group, _comment, home, ..] = fields.as_slice() else {
                return None;
            };
            (id.parse() == Ok(uid) && !home.is_empty()).then(|| (*home).to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_the_account() {
        let accounts = "# comment\nroot:x:0:0:root:/root:/bin/sh\nann:x:7:7::/home/ann:/bin/sh\n";
        assert_eq!(home_of(accounts, 7).as_deref(), Some("/home/ann"));
        assert_eq!(home_of(accounts, 8), None);
    }

    #[test]
    fn credential_alias_fills_only_absent_names() {
        let mut env = Env::of(
            &[
                ("LITESTREAM_ACCESS_KEY_ID", "a"),
                ("LITESTREAM_SECRET_ACCESS_KEY", "b"),
                ("AWS_SECRET_ACCESS_KEY", ""),
            ],
            "/",
            None,
            1,
        );
        env.apply_credential_aliases();
        assert_eq!(env.var("AWS_ACCESS_KEY_ID"), Some("a"));
        assert_eq!(env.var("AWS_SECRET_ACCESS_KEY"), Some(""));
    }
}
