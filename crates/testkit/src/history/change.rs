//! The transactions of a history.
//!
//! Tables: `person` (an index, text and numbers), `document` (blobs larger than a page),
//! `pair` (`WITHOUT ROWID`), `history` (the number of the last step), and `extra_N`, which
//! step N creates and a later one drops.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use super::options::Options;
use super::random::Random;

/// What a committed transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New rows in several tables.
    Insert,
    /// Changed rows, among them keys.
    Update,
    /// A range of rows goes.
    Delete,
    /// A blob larger than a page is written, changed or removed.
    Blob,
    /// Many pages at once.
    Grow,
    /// Most of the content goes.
    Shrink,
    /// A new table, of one of several kinds, with rows.
    CreateTable,
    /// A table goes.
    DropTable,
    /// A column more, another name, another user version.
    AlterTable,
    /// An index comes or goes.
    Index,
    /// Nested savepoints, some rolled back.
    Savepoints,
    /// `PRAGMA incremental_vacuum`.
    FreePages,
}

pub(super) fn create_tables(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TABLE history(step INTEGER NOT NULL);
         INSERT INTO history VALUES(0);
         CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, note TEXT);
         CREATE INDEX person_name ON person(name, score);
         CREATE TABLE document(id INTEGER PRIMARY KEY, data BLOB);
         CREATE TABLE pair(a TEXT, b INTEGER, c, PRIMARY KEY(a, b)) WITHOUT ROWID;
         COMMIT;",
    )?;
    Ok(())
}

/// Runs `change` and the note of the step's number as one transaction.
pub(super) fn commit(
    connection: &Connection,
    step: u64,
    change: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = change(connection).and_then(|()| {
        connection.execute("UPDATE history SET step = ?1", [step])?;
        Ok(connection.execute_batch("COMMIT")?)
    });
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    done
}

/// Changes a lot and rolls it back.
pub(super) fn roll_back(
    connection: &Connection,
    options: &Options,
    step: u64,
    random: &mut Random,
) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = [
        Change::Insert,
        Change::Grow,
        Change::CreateTable,
        Change::Update,
    ]
    .into_iter()
    .try_for_each(|change| apply(change, connection, options, step, random));
    connection.execute_batch("ROLLBACK")?;
    done
}

/// Does `change` inside the open transaction.
pub(super) fn apply(
    change: Change,
    connection: &Connection,
    options: &Options,
    step: u64,
    random: &mut Random,
) -> Result<()> {
    match change {
        Change::Insert => insert(connection, random),
        Change::Update => update(connection, random),
        Change::Delete => delete(connection, random),
        Change::Blob => write_blob(connection, options, random),
        Change::Grow => grow(connection, options, random),
        Change::Shrink => shrink(connection),
        Change::CreateTable => create_table(connection, step, random),
        Change::DropTable => drop_table(connection, random),
        Change::AlterTable => alter_table(connection, step, random),
        Change::Index => toggle_index(connection),
        Change::Savepoints => savepoints(connection, options, random),
        Change::FreePages => free_pages(connection, random),
    }
}

/// Bytes of blobs and text, roughly: what decides when a history must shrink.
pub(super) fn content_bytes(connection: &Connection) -> Result<u64> {
    Ok(connection.query_row(
        "SELECT (SELECT coalesce(sum(length(data)), 0) FROM document)
              + (SELECT coalesce(sum(length(name) + length(note)), 0) FROM person)
              + (SELECT 40 * count(*) FROM pair)",
        [],
        |row| row.get(0),
    )?)
}

fn insert(connection: &Connection, random: &mut Random) -> Result<()> {
    for _ in 0..random.between(1, 12) {
        let score = if random.one_in(8) {
            None
        } else {
            Some(random.below(1000) as f64 / 8.0)
        };
        let (name, words) = (random.text(2), random.between(0, 60));
        let note = random.text(words);
        connection.execute(
            "INSERT INTO person(name, score, note) VALUES(?1, ?2, ?3)",
            params![name, score, note],
        )?;
    }
    for _ in 0..random.below(6) {
        let (key, number) = (random.text(1), random.below(200));
        connection.execute(
            "INSERT OR REPLACE INTO pair VALUES(?1, ?2, ?3)",
            params![key, number, random.text(4)],
        )?;
    }
    Ok(())
}

fn update(connection: &Connection, random: &mut Random) -> Result<()> {
    for _ in 0..random.between(1, 6) {
        let Some(id) = some_id(connection, "person", random)? else {
            break;
        };
        let (name, words) = (random.text(2), random.between(0, 90));
        let note = random.text(words);
        connection.execute(
            "UPDATE person SET name = ?2, note = ?3, score = score + 0.5 WHERE id = ?1",
            params![id, name, note],
        )?;
    }
    let number = random.below(200);
    connection.execute("UPDATE pair SET c = c || 'x' WHERE b = ?1", [number])?;
    Ok(())
}

fn delete(connection: &Connection, random: &mut Random) -> Result<()> {
    if let Some(id) = some_id(connection, "person", random)? {
        let last = id + random.between(1, 20) as i64;
        connection.execute("DELETE FROM person WHERE id BETWEEN ?1 AND ?2", [id, last])?;
    }
    connection.execute("DELETE FROM pair WHERE b % 50 = ?1", [random.below(50)])?;
    Ok(())
}

fn write_blob(connection: &Connection, options: &Options, random: &mut Random) -> Result<()> {
    let page = u64::from(options.page_size);
    let length = random.between(page + 1, 4 * page) as usize;
    let data = random.blob(length);
    match (random.below(4), some_id(connection, "document", random)?) {
        (0, Some(id)) => connection.execute("DELETE FROM document WHERE id = ?1", [id])?,
        (1, Some(id)) => connection.execute(
            "UPDATE document SET data = ?2 WHERE id = ?1",
            params![id, data],
        )?,
        _ => connection.execute("INSERT INTO document(data) VALUES(?1)", [data])?,
    };
    Ok(())
}

fn grow(connection: &Connection, options: &Options, random: &mut Random) -> Result<()> {
    let length = u64::from(options.page_size) / 2;
    // At least so many pages that the cache overflows, in bounds for the largest page size.
    let rows = random
        .between(60, 120)
        .min(((1 << 20) / length).max(u64::from(options.cache_pages)));
    for _ in 0..rows {
        let length = random.between(length, 2 * length) as usize;
        let data = random.blob(length);
        connection.execute("INSERT INTO document(data) VALUES(?1)", [data])?;
    }
    Ok(())
}

fn shrink(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM document WHERE id % 8 <> 0;
         DELETE FROM person WHERE id % 4 <> 0;
         DELETE FROM pair WHERE b % 2 <> 0;",
    )?;
    Ok(())
}

fn create_table(connection: &Connection, step: u64, random: &mut Random) -> Result<()> {
    let name = format!("extra_{step}");
    let definition = match random.below(3) {
        0 => "(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT)",
        1 => "(id INTEGER PRIMARY KEY, v TEXT) STRICT",
        _ => "(id INTEGER, v TEXT, PRIMARY KEY(id DESC)) WITHOUT ROWID",
    };
    connection.execute_batch(&format!("CREATE TABLE {name}{definition}"))?;
    for id in 0..random.between(0, 40) {
        connection.execute(
            &format!("INSERT INTO {name}(id, v) VALUES(?1, ?2)"),
            params![id, random.text(5)],
        )?;
    }
    Ok(())
}

fn drop_table(connection: &Connection, random: &mut Random) -> Result<()> {
    if let Some(name) = some_extra_table(connection, random)? {
        connection.execute_batch(&format!("DROP TABLE {name}"))?;
    }
    Ok(())
}

fn alter_table(connection: &Connection, step: u64, random: &mut Random) -> Result<()> {
    connection.pragma_update(None, "user_version", step)?;
    let Some(name) = some_extra_table(connection, random)? else {
        return Ok(());
    };
    let alteration = match random.below(3) {
        0 => format!("RENAME TO extra_{step}"),
        _ => format!("ADD COLUMN c{step} INTEGER DEFAULT {}", random.below(100)),
    };
    connection.execute_batch(&format!("ALTER TABLE {name} {alteration}"))?;
    Ok(())
}

fn toggle_index(connection: &Connection) -> Result<()> {
    let there: bool = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'person_note'",
        [],
        |row| row.get(0),
    )?;
    connection.execute_batch(if there {
        "DROP INDEX person_note; DROP VIEW scored;"
    } else {
        "CREATE INDEX person_note ON person(substr(note, 1, 8)) WHERE score IS NOT NULL;
         CREATE VIEW scored AS SELECT name, score FROM person WHERE score IS NOT NULL;"
    })?;
    Ok(())
}

fn savepoints(connection: &Connection, options: &Options, random: &mut Random) -> Result<()> {
    connection.execute_batch("SAVEPOINT outer_one")?;
    insert(connection, random)?;
    connection.execute_batch("SAVEPOINT inner_one")?;
    write_blob(connection, options, random)?;
    delete(connection, random)?;
    if random.one_in(2) {
        connection.execute_batch("ROLLBACK TO inner_one")?;
    }
    connection.execute_batch("RELEASE inner_one")?;
    update(connection, random)?;
    if random.one_in(3) {
        connection.execute_batch("ROLLBACK TO outer_one")?;
    }
    connection.execute_batch("RELEASE outer_one")?;
    Ok(())
}

fn free_pages(connection: &Connection, random: &mut Random) -> Result<()> {
    let pages = random.between(1, 200);
    // One row per freed page, which must be stepped through to free them.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn some_id(connection: &Connection, table: &str, random: &mut Random) -> Result<Option<i64>> {
    let greatest: Option<i64> =
        connection.query_row(&format!("SELECT max(id) FROM {table}"), [], |row| {
            row.get(0)
        })?;
    let Some(greatest) = greatest else {
        return Ok(None);
    };
    let from = random.between(0, greatest.max(0) as u64);
    let query = format!("SELECT id FROM {table} WHERE id >= ?1 ORDER BY id LIMIT 1");
    Ok(connection
        .query_row(&query, [from], |row| row.get(0))
        .optional()?)
}

fn some_extra_table(connection: &Connection, random: &mut Random) -> Result<Option<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'extra_*' ORDER BY name",
    )?;
    let names: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(None);
    }
    let chosen = random.below(names.len() as u64) as usize;
    Ok(names.into_iter().nth(chosen))
}
