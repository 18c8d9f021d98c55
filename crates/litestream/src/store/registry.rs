//! Which databases there are, in the order in which they were added.
//!
//! Invariant: a path has one database at most. One that was taken out stays known until its life has
//! ended, so that another database of the same path begins only then.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::database::Database;
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// By number, which only grows.
    ordered: BTreeMap<u64, Database>,
    numbers: HashMap<PathBuf, u64>,
    next: u64,
    leaving: HashMap<PathBuf, Database>,
    closed: bool,
}

impl Registry {
    /// Adds a database and calls `start` with the one of the same path that is still leaving.
    /// `false` when there is one already.
    ///
    /// # Errors
    /// The registry is closed.
    pub(super) fn add(
        &self,
        database: Database,
        start: impl FnOnce(&Database, Option<&Database>),
    ) -> Result<bool> {
        let mut entries = self.entries();
        entries.ensure_open()?;
        let path = database.path().to_owned();
        if entries.numbers.contains_key(&path) {
            return Ok(false);
        }
        start(&database, entries.leaving.get(&path));
        let number = entries.next;
        entries.next += 1;
        entries.numbers.insert(path, number);
        entries.ordered.insert(number, database);
        Ok(true)
    }

    /// Takes a database out; it counts as leaving until [`Self::left`].
    pub(super) fn remove(&self, path: &Path) -> Option<Database> {
        let mut entries = self.entries();
        let number = entries.numbers.remove(path)?;
        let database = entries.ordered.remove(&number)?;
        entries.leaving.insert(path.to_owned(), database.clone());
        Some(database)
    }

    /// The database of this path that was taken out and has not ended.
    pub(super) fn leaving(&self, path: &Path) -> Option<Database> {
        self.entries().leaving.get(path).cloned()
    }

    /// Forgets a database that was taken out, unless it is another one by now.
    pub(super) fn left(&self, database: &Database) {
        let mut entries = self.entries();
        let leaving = entries.leaving.get(database.path());
        if leaving.is_some_and(|other| other.is_same(database)) {
            entries.leaving.remove(database.path());
        }
    }

    /// The database of this path.
    pub(super) fn find(&self, path: &Path) -> Result<Database> {
        self.entries().find(path).cloned()
    }

    /// Calls `act` on the database of this path, while none can be added or removed.
    ///
    /// # Errors
    /// There is none, or the registry is closed.
    pub(super) fn with<R>(&self, path: &Path, act: impl FnOnce(&Database) -> R) -> Result<R> {
        let entries = self.entries();
        entries.ensure_open()?;
        entries.find(path).map(act)
    }

    /// All databases, in the order in which they were added.
    pub(super) fn list(&self) -> Vec<Database> {
        self.entries().ordered.values().cloned().collect()
    }

    /// At most `count` databases behind the one numbered `after`, and the number of the last.
    pub(super) fn some_after(&self, after: Option<u64>, count: usize) -> (Vec<Database>, u64) {
        let entries = self.entries();
        let from = after.map_or(0, |after| after + 1);
        let mut last = from;
        let found = entries
            .ordered
            .range(from..)
            .take(count)
            .map(|(number, database)| {
                last = *number;
                database.clone()
            });
        (found.collect(), last)
    }

    /// How many databases there are.
    pub(super) fn len(&self) -> usize {
        self.entries().ordered.len()
    }

    /// Takes all out for ever: those that were there, and those that are still leaving.
    pub(super) fn close(&self) -> (Vec<Database>, Vec<Database>) {
        let mut entries = self.entries();
        entries.closed = true;
        entries.numbers.clear();
        let ordered = std::mem::take(&mut entries.ordered);
        let leaving = std::mem::take(&mut entries.leaving);
        (
            ordered.into_values().collect(),
            leaving.into_values().collect(),
        )
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn find(&self, path: &Path) -> Result<&Database> {
        let number = self.numbers.get(path);
        let found = number.and_then(|number| self.ordered.get(number));
        found.ok_or_else(|| Error::DatabaseNotFound {
            path: path.to_owned(),
        })
    }

    fn ensure_open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::Closing { what: "store" });
        }
        Ok(())
    }
}
