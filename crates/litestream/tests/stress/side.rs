//! A second provable history, for many writers beside one another: each has rows of its own.
//!
//! After transaction `n` of a worker its rows are the last [`KEPT`] numbers up to `n`, each with the
//! body that its number asks for, and `tally` says `n`. The python application writes the same.

use rusqlite::{Connection, params};

/// Rows that stay.
pub(crate) const KEPT: u64 = 40;

/// The tables.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE side(worker INTEGER, n INTEGER, body BLOB, PRIMARY KEY(worker, n)) WITHOUT ROWID;
    CREATE TABLE tally(worker INTEGER PRIMARY KEY, n INTEGER NOT NULL);";

/// Does transaction `n` of a worker within the open transaction.
pub(crate) fn apply(connection: &Connection, worker: u64, n: u64) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO side VALUES(?1, ?2, ?3)",
        params![worker, n, body(worker, n)],
    )?;
    connection.execute(
        "DELETE FROM side WHERE worker = ?1 AND n <= ?2",
        params![worker, n as i64 - KEPT as i64],
    )?;
    connection.execute("INSERT OR REPLACE INTO tally VALUES(?1, ?2)", [worker, n])?;
    Ok(())
}

fn body(worker: u64, n: u64) -> String {
    let repeats = if n.is_multiple_of(31) {
        3000
    } else {
        n % 40 + 1
    };
    format!("{worker}:{n};").repeat(repeats as usize)
}

/// The number of the transaction whose state the rows of a worker are.
///
/// # Errors
/// They are no such state; the text tells what is wrong.
pub(crate) fn proves(connection: &Connection, worker: u64) -> Result<u64, String> {
    let told = connection.query_row(
        "SELECT coalesce(max(n), 0) FROM tally WHERE worker = ?1",
        [worker],
        |row| row.get::<_, u64>(0),
    );
    let last = told.map_err(|error| format!("tally of worker {worker}: {error}"))?;
    let read = || {
        let mut statement = connection
            .prepare("SELECT n, CAST(body AS TEXT) FROM side WHERE worker = ?1 ORDER BY n")?;
        let rows = statement.query_map([worker], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<(u64, String)>>>()
    };
    let rows = read().map_err(|error| format!("rows of worker {worker}: {error}"))?;
    let expected: Vec<u64> = (last.saturating_sub(KEPT) + 1..=last).collect();
    let found: Vec<u64> = rows.iter().map(|(n, _)| *n).collect();
    if found != expected {
        return Err(format!("worker {worker} after {last}: rows {found:?}"));
    }
    match rows.iter().find(|(n, text)| *text != body(worker, *n)) {
        Some((n, _)) => Err(format!("worker {worker} after {last}: row {n} is altered")),
        None => Ok(last),
    }
}
