//! The command line of `testkit-writer`: `--name value` pairs, written and read here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::history::{AutoVacuum, Encoding, Options};
use crate::prefix::{Load, Prefix};

pub(super) fn of_load(load: &Load) -> Vec<OsString> {
    let mut pairs = Pairs::default();
    pairs.path("db", &load.db);
    pairs.path("progress", &load.progress);
    pairs.add("seed", &load.prefix.seed);
    pairs.add("accounts", &load.prefix.accounts);
    pairs.add("page-size", &load.prefix.page_size);
    pairs.add("autocheckpoint", &load.autocheckpoint);
    pairs.add("busy-timeout", &load.busy_timeout.as_millis());
    pairs.add("full-sync", &load.full_sync);
    if let Some(rate) = load.rate {
        pairs.add("rate", &rate);
    }
    if let Some(transactions) = load.transactions {
        pairs.add("transactions", &transactions);
    }
    pairs.0
}

pub(super) fn of_history(db: &Path, seed: u64, options: &Options) -> Vec<OsString> {
    let mut pairs = Pairs::default();
    pairs.path("db", db);
    pairs.add("seed", &seed);
    pairs.add("page-size", &options.page_size);
    pairs.add("auto-vacuum", &options.auto_vacuum.as_str());
    pairs.add("encoding", &options.encoding.as_str());
    pairs.add("autocheckpoint", &options.autocheckpoint);
    pairs.add("busy-timeout", &options.busy_timeout.as_millis());
    pairs.add("cache-pages", &options.cache_pages);
    pairs.add("content-limit", &options.content_limit);
    pairs.add("record", &options.record);
    pairs.0
}

pub(super) fn load(args: impl Iterator<Item = OsString>) -> Result<Load> {
    let mut given = Given::read(args)?;
    let mut prefix = Prefix::new(given.or("seed", 0)?);
    prefix.accounts = given.or("accounts", prefix.accounts)?;
    prefix.page_size = given.or("page-size", prefix.page_size)?;
    let mut load = Load::new(prefix, given.path("db")?, given.path("progress")?);
    load.rate = given.maybe("rate")?;
    ensure!(
        load.rate.is_none_or(|rate| rate > 0.0),
        "--rate must be above 0, or left out"
    );
    load.transactions = given.maybe("transactions")?;
    load.autocheckpoint = given.or("autocheckpoint", load.autocheckpoint)?;
    load.busy_timeout = given.millis("busy-timeout", load.busy_timeout)?;
    load.full_sync = given.or("full-sync", load.full_sync)?;
    given.finish()?;
    Ok(load)
}

pub(super) fn history(args: impl Iterator<Item = OsString>) -> Result<(PathBuf, u64, Options)> {
    let mut given = Given::read(args)?;
    let default = Options::default();
    let options = Options {
        page_size: given.or("page-size", default.page_size)?,
        auto_vacuum: given.word("auto-vacuum", AutoVacuum::ALL, AutoVacuum::as_str)?,
        encoding: given.word("encoding", Encoding::ALL, Encoding::as_str)?,
        autocheckpoint: given.or("autocheckpoint", default.autocheckpoint)?,
        busy_timeout: given.millis("busy-timeout", default.busy_timeout)?,
        cache_pages: given.or("cache-pages", default.cache_pages)?,
        content_limit: given.or("content-limit", default.content_limit)?,
        record: given.or("record", default.record)?,
    };
    let (db, seed) = (given.path("db")?, given.or("seed", 0)?);
    given.finish()?;
    Ok((db, seed, options))
}

#[derive(Default)]
struct Pairs(Vec<OsString>);

impl Pairs {
    fn add(&mut self, name: &str, value: &dyn Display) {
        self.0
            .extend([format!("--{name}").into(), value.to_string().into()]);
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.0.extend([format!("--{name}").into(), path.into()]);
    }
}

/// Pairs as they came, taken out one by one.
struct Given(BTreeMap<String, OsString>);

impl Given {
    fn read(mut args: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut pairs = BTreeMap::new();
        while let Some(name) = args.next() {
            let shown = name.to_string_lossy().into_owned();
            let name = shown
                .strip_prefix("--")
                .with_context(|| format!("no option: {shown}"))?;
            let value = args
                .next()
                .with_context(|| format!("{shown} needs a value"))?;
            ensure!(
                pairs.insert(name.to_owned(), value).is_none(),
                "{shown} is given twice"
            );
        }
        Ok(Self(pairs))
    }

    fn maybe<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        let parsed = value.to_str().and_then(|text| text.parse().ok());
        parsed
            .map(Some)
            .with_context(|| format!("--{name} has a bad value: {}", value.display()))
    }

    fn or<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.maybe(name)?.unwrap_or(default))
    }

    fn millis(&mut self, name: &str, default: Duration) -> Result<Duration> {
        Ok(self.maybe(name)?.map_or(default, Duration::from_millis))
    }

    fn path(&mut self, name: &str) -> Result<PathBuf> {
        let value = self
            .0
            .remove(name)
            .with_context(|| format!("--{name} is missing"))?;
        Ok(PathBuf::from(value))
    }

    /// One of some words; the first when none is given.
    fn word<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        all: [T; N],
        as_str: fn(T) -> &'static str,
    ) -> Result<T> {
        let [first, ..] = all.as_slice() else {
            anyhow::bail!("--{name} has no values")
        };
        let word: String = self.or(name, as_str(*first).to_owned())?;
        let found = all
            .into_iter()
            .find(|value| as_str(*value).eq_ignore_ascii_case(&word));
        found.with_context(|| format!("--{name} has a bad value: {word}"))
    }

    fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            Some(name) => anyhow::bail!("unknown option --{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_survives_the_command_line() {
        let mut load = Load::new(
            Prefix {
                seed: 5,
                accounts: 7,
                page_size: 512,
            },
            "a b",
            "c",
        );
        load.rate = Some(12.5);
        load.transactions = Some(9);
        load.autocheckpoint = 0;
        load.busy_timeout = Duration::from_millis(17);
        load.full_sync = true;
        assert_eq!(super::load(of_load(&load).into_iter()).unwrap(), load);
    }

    #[test]
    fn a_history_survives_the_command_line() {
        let options = Options {
            page_size: 65536,
            auto_vacuum: AutoVacuum::Incremental,
            encoding: Encoding::Utf16Be,
            autocheckpoint: 3,
            busy_timeout: Duration::from_millis(1),
            cache_pages: 99,
            content_limit: 1234,
            record: false,
        };
        let args = of_history(Path::new("x"), 8, &options).into_iter();
        assert_eq!(history(args).unwrap(), (PathBuf::from("x"), 8, options));
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        let read = |words: &[&str]| history(words.iter().map(OsString::from)).unwrap_err();
        assert!(
            read(&["--db", "x", "--sede", "1"])
                .to_string()
                .contains("--sede")
        );
        assert!(
            read(&["--db", "x", "--seed", "one"])
                .to_string()
                .contains("--seed")
        );
        assert!(
            read(&["--db", "x", "--seed"])
                .to_string()
                .contains("needs a value")
        );
        assert!(
            read(&["--db", "x", "--encoding", "latin1"])
                .to_string()
                .contains("latin1")
        );
        assert!(read(&["--seed", "1"]).to_string().contains("--db"));
    }
}
