//! Hashes that decide whether two databases are equal, and the integrity check.
//!
//! | hash | equal when |
//! |---|---|
//! | [`content_hash`] | schema and rows are equal, apart from the bookkeeping tables of the replicator |
//! | [`pages_hash`] | every page, with the WAL applied, is equal, bookkeeping tables included |

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

/// Tables that a replicator may add to the database of the user.
pub const BOOKKEEPING_TABLES: [&str; 2] = ["_litestream_seq", "_litestream_lock"];

/// Offset of the page that carries `SQLite`'s locks and never any content.
const LOCK_OFFSET: usize = 0x4000_0000;

/// How a database is opened for looking at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read-only through `SQLite`, beside whoever else uses it. The only right way for a
    /// database that an engine of *this* process has open. May leave `-wal` and `-shm` files.
    Live,
    /// A copy of the database and its WAL. The original is not locked, so nobody may write
    /// to it meanwhile, and this process must not have it open: closing the file that
    /// is copied drops all locks the process holds on it.
    Copy,
    /// The file alone, as nobody else's; touches nothing beside it. Fails when there is a
    /// WAL or journal with content, because the file is then not the whole database.
    Rest,
}

/// A database opened as an [`Access`] says.
#[derive(Debug)]
pub struct View {
    connection: Connection,
    _copy: Option<tempfile::TempDir>,
}

impl View {
    /// Opens `path`, which must exist.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let (connection, copy) = match access {
            Access::Live => (open_read_only(path, "")?, None),
            Access::Rest => {
                for suffix in ["-wal", "-journal"] {
                    let beside = with_suffix(path, suffix);
                    let length = std::fs::metadata(&beside).map_or(0, |metadata| metadata.len());
                    ensure!(
                        length == 0,
                        "{} has content: {length} bytes",
                        beside.display()
                    );
                }
                (open_read_only(path, "?immutable=1")?, None)
            }
            Access::Copy => {
                let (folder, copy) = copy_database(path)?;
                (open_read_only(&copy, "")?, Some(folder))
            }
        };
        Ok(Self {
            connection,
            _copy: copy,
        })
    }

    /// The read-only connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Hash of the logical content of the database at `path`; see [`content_hash_of`].
pub fn content_hash(path: &Path, access: Access) -> Result<String> {
    let view = View::open(path, access)?;
    content_hash_of(&view.connection).with_context(|| path.display().to_string())
}

/// Hash of all pages of the database at `path` with the WAL applied, the lock page left out.
///
/// # Cost
/// Holds the whole database in memory.
pub fn pages_hash(path: &Path, access: Access) -> Result<String> {
    let image = image(path, access)?;
    let size = page_size(&image).with_context(|| path.display().to_string())?;
    let mut hash = Sha256::new();
    hash.update((image.len() as u64).to_be_bytes());
    for (number, page) in image.chunks(size).enumerate() {
        if number * size != LOCK_OFFSET {
            hash.update(page);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// All pages of the database at `path`, with the WAL applied.
pub fn image(path: &Path, access: Access) -> Result<Vec<u8>> {
    let mut view = View::open(path, access)?;
    let data = view
        .connection
        .serialize("main")
        .with_context(|| path.display().to_string())?;
    Ok(data.to_vec())
}

/// Hash of the bytes of one file, as it lies there.
pub fn file_hash(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = std::io::Read::read(&mut file, &mut buffer)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else {
            return Ok(hex(&hash.finalize()));
        };
        hash.update(read);
    }
}

/// Fails unless `PRAGMA integrity_check` says `ok`.
pub fn integrity_check(path: &Path, access: Access) -> Result<()> {
    let view = View::open(path, access)?;
    integrity_check_of(&view.connection).with_context(|| path.display().to_string())
}

/// [`integrity_check`] over an open connection.
pub fn integrity_check_of(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let found: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    ensure!(
        found == ["ok"],
        "integrity check failed: {}",
        found.join("; ")
    );
    Ok(())
}

/// SHA-256, in hexadecimal, over what a user of the database sees: encoding, user
/// version, application id, schema, and the typed values of all rows in key order.
///
/// Left out are the [`BOOKKEEPING_TABLES`] and what belongs to them, and the number of a
/// row where no column shows it, since `VACUUM` may change it.
pub fn content_hash_of(connection: &Connection) -> Result<String> {
    // One read transaction, or the parts could be of different times.
    let transaction = connection
        .is_autocommit()
        .then(|| connection.unchecked_transaction());
    let transaction = transaction.transpose()?;
    let mut hash = Sha256::new();
    for pragma in ["encoding", "user_version", "application_id"] {
        add_query(connection, &mut hash, pragma, &format!("PRAGMA {pragma}"))?;
    }
    add_query(
        connection,
        &mut hash,
        "schema",
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
         WHERE tbl_name NOT IN ('_litestream_seq', '_litestream_lock') ORDER BY type, name",
    )?;
    for (table, order) in tables(connection)? {
        let name = quote(&table);
        let query = format!("SELECT * FROM {name} ORDER BY {order}");
        add_query(connection, &mut hash, &table, &query)?;
    }
    drop(transaction);
    Ok(hex(&hash.finalize()))
}

/// The ordinary tables in order of their names, each with the terms that order its rows.
fn tables(connection: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(
        "SELECT name, wr FROM pragma_table_list
         WHERE schema = 'main' AND type IN ('table', 'shadow') AND name <> 'sqlite_schema'
         ORDER BY name",
    )?;
    let listed = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let listed: Vec<(String, bool)> = listed.collect::<Result<_, _>>()?;
    let mut tables = Vec::new();
    for (name, without_rowid) in listed {
        if BOOKKEEPING_TABLES.contains(&name.as_str()) {
            continue;
        }
        let order = row_order(connection, &name, without_rowid)?;
        tables.push((name, order));
    }
    Ok(tables)
}

fn row_order(connection: &Connection, table: &str, without_rowid: bool) -> Result<String> {
    let mut statement =
        connection.prepare("SELECT name, pk FROM pragma_table_xinfo(?1) ORDER BY pk, cid")?;
    let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let columns: Vec<(String, u32)> = columns.collect::<Result<_, _>>()?;
    if without_rowid {
        let key = columns
            .iter()
            .filter(|(_, pk)| *pk > 0)
            .map(|(name, _)| quote(name));
        return Ok(key.collect::<Vec<_>>().join(", "));
    }
    let taken = |alias: &&str| {
        columns
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(alias))
    };
    match ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|alias| !taken(alias))
    {
        Some(alias) => Ok(alias.to_owned()),
        None => bail!("table {table} hides all names of its row number"),
    }
}

/// Adds the result of `query`; every part carries its kind and length, so that no two
/// different results give the same bytes.
fn add_query(connection: &Connection, hash: &mut Sha256, name: &str, query: &str) -> Result<()> {
    let mut statement = connection.prepare(query)?;
    let columns = statement.column_count();
    add_value(hash, ValueRef::Text(name.as_bytes()));
    hash.update((columns as u64).to_be_bytes());
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        hash.update(b"r");
        for column in 0..columns {
            add_value(hash, row.get_ref(column)?);
        }
    }
    hash.update(b"e");
    Ok(())
}

fn add_value(hash: &mut Sha256, value: ValueRef<'_>) {
    let mut add = |kind: &[u8; 1], bytes: &[u8]| {
        hash.update(kind);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match value {
        ValueRef::Null => add(b"n", b""),
        ValueRef::Integer(number) => add(b"i", &number.to_be_bytes()),
        ValueRef::Real(number) => add(b"f", &number.to_bits().to_be_bytes()),
        ValueRef::Text(bytes) => add(b"t", bytes),
        ValueRef::Blob(bytes) => add(b"b", bytes),
    }
}

fn open_read_only(path: &Path, query: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let uri = format!("file:{}{query}", uri_path(path)?);
    let connection = Connection::open_with_flags(uri, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// The path with what has a meaning in a URI escaped.
fn uri_path(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23"))
}

fn copy_database(path: &Path) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    std::fs::copy(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
    for suffix in ["-wal", "-journal"] {
        let beside = with_suffix(path, suffix);
        if beside.try_exists()? {
            std::fs::copy(&beside, with_suffix(&copy, suffix))
                .with_context(|| format!("cannot copy {}", beside.display()))?;
        }
    }
    Ok((folder, copy))
}

/// The file that `SQLite` keeps beside a database: `path` followed by `suffix`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn page_size(image: &[u8]) -> Result<usize> {
    if image.is_empty() {
        return Ok(1); // no page at all; any size does
    }
    let field = image
        .get(16..18)
        .context("database is shorter than its header")?;
    let size = field
        .iter()
        .fold(0_usize, |size, byte| size << 8 | usize::from(*byte));
    Ok(if size == 1 { 65536 } else { size })
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(
        String::with_capacity(2 * bytes.len()),
        |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
            digits
        },
    )
}

#[cfg(test)]
mod tests;
