//! A history whose every state can be proved.
//!
//! Transaction `s` (1, 2, 3, ...) appends a row to `log` with `s` and a token and body
//! derived from the seed and `s`, and updates row `s % accounts` of `account` to `s`. So the state
//! after any `s` is known, and a restored database either is exactly the state after some
//! `s` or shows a [`Damage`]: no lost, doubled, torn or reordered transaction goes unnoticed.

mod load;
mod progress;
mod proof;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::hash::{Access, View, hex};

pub use self::load::{Load, Report, write};
pub use self::progress::Progress;
pub use self::proof::Damage;

/// Bytes of a token.
const TOKEN_BYTES: usize = 24;
/// Each so many transactions the body is larger than most pages.
const LARGE_EVERY: u64 = 97;

/// The definition of a provable history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// What tokens and bodies are derived from.
    pub seed: u64,
    /// Rows of `account`.
    pub accounts: u64,
    /// Bytes per page of the database.
    pub page_size: u32,
}

impl Prefix {
    /// 64 accounts, pages of 4096 bytes.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            accounts: 64,
            page_size: 4096,
        }
    }

    /// Makes the database at `path`, in WAL mode, before the first transaction.
    pub fn create(&self, path: &Path) -> Result<Connection> {
        ensure!(
            self.accounts > 0,
            "a provable history needs at least one account"
        );
        ensure!(!path.try_exists()?, "{} exists already", path.display());
        let mut connection = Connection::open(path)?;
        connection.execute_batch(&format!("PRAGMA page_size = {}", self.page_size))?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        ensure!(mode == "wal", "journal mode is {mode}, wanted wal");
        let transaction = connection.transaction()?;
        transaction.execute_batch(
            "CREATE TABLE log(position INTEGER PRIMARY KEY, s INTEGER NOT NULL,
                              token BLOB NOT NULL, body TEXT NOT NULL);
             CREATE TABLE account(id INTEGER PRIMARY KEY, s INTEGER NOT NULL,
                                  updates INTEGER NOT NULL, padding TEXT NOT NULL);",
        )?;
        for id in 0..self.accounts {
            let padding = self.body(id);
            transaction.execute(
                "INSERT INTO account VALUES(?1, 0, 0, ?2)",
                params![id, padding],
            )?;
        }
        transaction.commit()?;
        Ok(connection)
    }

    /// Opens a database that [`Prefix::create`] made, for more transactions.
    pub fn open(path: &Path, autocheckpoint: u32, busy_timeout: Duration) -> Result<Connection> {
        ensure!(path.try_exists()?, "{} does not exist", path.display());
        let connection = Connection::open(path)?;
        connection.busy_timeout(busy_timeout)?;
        connection.pragma_update(None, "wal_autocheckpoint", autocheckpoint)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection)
    }

    /// Commits transaction `s`. The caller counts; nothing here keeps it from doing
    /// one twice, so that tests can make damaged histories too.
    ///
    /// # Errors
    /// `SQLITE_BUSY` among others; the transaction is then rolled back.
    pub fn apply(&self, connection: &mut Connection, s: u64) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.append(&transaction, s)?;
        self.update(&transaction, s)?;
        transaction.commit()
    }

    /// The first half of transaction `s`.
    pub(crate) fn append(&self, transaction: &Transaction<'_>, s: u64) -> rusqlite::Result<()> {
        transaction
            .prepare_cached("INSERT INTO log(s, token, body) VALUES(?1, ?2, ?3)")?
            .execute(params![s, self.token(s), self.body(s)])
            .map(drop)
    }

    /// The second half of transaction `s`.
    pub(crate) fn update(&self, transaction: &Transaction<'_>, s: u64) -> rusqlite::Result<()> {
        transaction
            .prepare_cached("UPDATE account SET s = ?1, updates = updates + 1 WHERE id = ?2")?
            .execute(params![s, s % self.accounts])
            .map(drop)
    }

    /// The number of the last transaction of an undamaged database.
    pub fn last(&self, connection: &Connection) -> Result<u64> {
        Ok(connection.query_row("SELECT coalesce(max(s), 0) FROM log", [], |row| row.get(0))?)
    }

    /// The `s` such that the database at `path` is exactly the state after `s`.
    ///
    /// # Errors
    /// A [`Damage`] (find it by `downcast_ref`) when there is no such `s`.
    pub fn proves(&self, path: &Path, access: Access) -> Result<u64> {
        let prove = || {
            let view = View::open(path, access)?;
            Ok::<_, anyhow::Error>(self.proves_of(view.connection())?)
        };
        prove().with_context(|| format!("{} is no state of the history", path.display()))
    }

    /// [`Prefix::proves`] for an open database.
    pub fn proves_of(&self, connection: &Connection) -> Result<u64, Damage> {
        proof::prove(self, connection)
    }

    fn token(&self, s: u64) -> Vec<u8> {
        let mut token = self.derived("token", s);
        token.truncate(TOKEN_BYTES);
        token
    }

    fn body(&self, s: u64) -> String {
        let digest = self.derived("body", s);
        let digits = hex(&digest);
        let repeats = match digest.first() {
            _ if s % LARGE_EVERY == LARGE_EVERY - 1 => 200,
            Some(byte) => usize::from(byte % 8),
            None => 0,
        };
        format!(
            "row {s} of the log: {digits}{}",
            " and so on".repeat(repeats)
        )
    }

    fn derived(&self, purpose: &str, s: u64) -> Vec<u8> {
        Sha256::digest(format!("{purpose}:{}:{s}", self.seed)).to_vec()
    }
}

#[cfg(test)]
mod tests;
