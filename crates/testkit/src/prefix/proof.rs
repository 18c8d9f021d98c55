//! The proof that a database is a state of a provable history.

use rusqlite::Connection;

use super::Prefix;
use crate::hash::integrity_check_of;

/// Why a database is not the state after any transaction.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot be read.
    #[error("unreadable: {0}")]
    Unreadable(#[from] rusqlite::Error),
    /// `SQLite`'s own check fails.
    #[error("broken structure: {0}")]
    Broken(String),
    /// A transaction is missing though later ones are there.
    #[error("transaction {s} is lost: position {position} of the log holds {found}")]
    Lost {
        /// The missing transaction.
        s: u64,
        /// Where it should be.
        position: u64,
        /// What is there.
        found: u64,
    },
    /// A transaction is there twice.
    #[error("transaction {s} is there twice: positions {first} and {second} of the log")]
    Doubled {
        /// The transaction.
        s: u64,
        /// Where it should be.
        first: u64,
        /// Where it is too.
        second: u64,
    },
    /// All transactions are there, in another order.
    #[error("position {position} of the log holds transaction {found}")]
    Reordered {
        /// The first wrong place.
        position: u64,
        /// What is there.
        found: u64,
    },
    /// A row has not what its transaction wrote.
    #[error("transaction {s} has another {column} than it wrote")]
    Altered {
        /// The transaction.
        s: u64,
        /// Column of the log.
        column: &'static str,
    },
    /// The log and the accounts are of different times.
    #[error(
        "the log ends with transaction {last}, but account {id} has s={s} after {updates} \
         updates, expected s={wanted} after {wanted_updates}"
    )]
    Torn {
        /// Last transaction of the log.
        last: u64,
        /// The account.
        id: u64,
        /// Its transaction as found.
        s: u64,
        /// Its number of updates as found.
        updates: u64,
        /// The transaction it should have.
        wanted: u64,
        /// The number of updates it should have.
        wanted_updates: u64,
    },
    /// Accounts are missing or too many.
    #[error("{found} accounts, expected {wanted} numbered from 0")]
    Accounts {
        /// Rows found.
        found: u64,
        /// Rows made.
        wanted: u64,
    },
}

/// See [`Prefix::proves`].
pub(super) fn prove(prefix: &Prefix, connection: &Connection) -> Result<u64, Damage> {
    integrity_check_of(connection).map_err(|error| Damage::Broken(format!("{error:#}")))?;
    // One read transaction, or log and accounts could be of different times.
    let transaction = connection.unchecked_transaction()?;
    prove_order(&transaction)?;
    let last = prove_log(prefix, &transaction)?;
    prove_accounts(prefix, &transaction, last)?;
    Ok(last)
}

/// Position p must hold transaction p; otherwise finds out what happened.
fn prove_order(connection: &Connection) -> Result<(), Damage> {
    let mut statement = connection.prepare(
        "SELECT place, position, s FROM
           (SELECT row_number() OVER (ORDER BY position) AS place, position, s FROM log)
         WHERE place <> s OR place <> position ORDER BY place LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(());
    };
    let (place, position, found): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let holds = |s: u64| {
        let query = "SELECT count(*) FROM log WHERE s = ?1";
        connection.query_row(query, [s], |row| row.get::<_, u64>(0))
    };
    if holds(found)? > 1 {
        let query = "SELECT min(position), max(position) FROM log WHERE s = ?1";
        let (first, second) =
            connection.query_row(query, [found], |row| Ok((row.get(0)?, row.get(1)?)))?;
        return Err(Damage::Doubled {
            s: found,
            first,
            second,
        });
    }
    if holds(place)? == 0 {
        return Err(Damage::Lost {
            s: place,
            position: place,
            found,
        });
    }
    Err(Damage::Reordered { position, found })
}

fn prove_log(prefix: &Prefix, connection: &Connection) -> Result<u64, Damage> {
    let mut statement = connection.prepare("SELECT s, token, body FROM log ORDER BY position")?;
    let mut rows = statement.query([])?;
    let mut last = 0;
    while let Some(row) = rows.next()? {
        let s: u64 = row.get(0)?;
        if row.get::<_, Vec<u8>>(1)? != prefix.token(s) {
            return Err(Damage::Altered { s, column: "token" });
        }
        if row.get::<_, String>(2)? != prefix.body(s) {
            return Err(Damage::Altered { s, column: "body" });
        }
        last = s;
    }
    Ok(last)
}

fn prove_accounts(prefix: &Prefix, connection: &Connection, last: u64) -> Result<(), Damage> {
    let mut statement = connection.prepare("SELECT id, s, updates FROM account ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        let (id, s, updates): (u64, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if id != found || id >= prefix.accounts {
            return Err(Damage::Accounts {
                found: found + 1,
                wanted: prefix.accounts,
            });
        }
        let (wanted, wanted_updates) = account_after(prefix.accounts, id, last);
        if (s, updates) != (wanted, wanted_updates) {
            return Err(Damage::Torn {
                last,
                id,
                s,
                updates,
                wanted,
                wanted_updates,
            });
        }
        found += 1;
    }
    if found == prefix.accounts {
        return Ok(());
    }
    Err(Damage::Accounts {
        found,
        wanted: prefix.accounts,
    })
}

/// The last transaction up to `last` that updated account `id`, and how many did.
fn account_after(accounts: u64, id: u64, last: u64) -> (u64, u64) {
    // Transactions id, id + accounts, ... touch it; number 0 does not exist.
    let first = if id == 0 { accounts } else { id };
    if last < first {
        return (0, 0);
    }
    let rounds = (last - first) / accounts;
    (first + rounds * accounts, rounds + 1)
}
