//! An application to try the program with: it says how many notes its database holds, then writes
//! twenty more, each in a transaction of its own.
//!
//! ```text
//! demo FILE
//! ```

#![expect(clippy::print_stdout, reason = "it talks to whoever tries it")]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

/// Transactions of one run.
const NOTES: u32 = 20;
/// Time between two of them, so that there is something to watch.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: demo FILE")?;
    let path = PathBuf::from(path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let connection = Connection::open(&path)?;
    connection.execute_batch(
        "PRAGMA busy_timeout = 5000;
         PRAGMA journal_mode = wal;
         CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
    )?;
    println!(
        "demo: {} holds {} notes",
        path.display(),
        count(&connection)?
    );
    for _ in 0..NOTES {
        connection.execute(
            "INSERT INTO note (text) SELECT 'note ' || (count(*) + 1) FROM note",
            [],
        )?;
        std::thread::sleep(PAUSE);
    }
    println!("demo: now it holds {}", count(&connection)?);
    std::io::stdout().flush()?;
    Ok(())
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM note", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}
