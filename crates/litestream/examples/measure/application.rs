//! The other process of a measurement: an application with one connection, asked line by line.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rusqlite::Connection;

use super::{milliseconds, unix_nanoseconds};

/// The other process: does what each line of its input asks for, and answers with a line.
///
/// `commit` answers with the Unix time in nanoseconds of its return, `checkpoint` and `load RATE
/// SECONDS` with milliseconds, `load` with several. `write BYTES RATE SECONDS`, `read HOLD SECONDS` and
/// `checkpoints PAUSE SECONDS` answer with the number of times that they saw `SQLITE_BUSY` or could not
/// do all, then milliseconds.
pub(crate) fn play(words: &[String]) -> Result<()> {
    let [_, path, autocheckpoint, synchronous] = words else {
        bail!("application PATH AUTOCHECKPOINT SYNCHRONOUS");
    };
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = {autocheckpoint};
         PRAGMA synchronous = {synchronous};
         CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body BLOB);"
    ))?;
    let commit = || connection.execute("INSERT INTO t(body) VALUES(randomblob(300))", []);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["commit"] => {
                commit()?;
                println!("{}", unix_nanoseconds()?);
            }
            ["checkpoint", mode] => {
                let began = Instant::now();
                let sql = format!("PRAGMA wal_checkpoint({mode})");
                let busy: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
                println!("{} {busy}", milliseconds(began.elapsed()));
            }
            ["load", rate, seconds] => {
                let times = load(rate.parse()?, seconds.parse()?, || commit().map(drop))?;
                println!(
                    "{}",
                    times
                        .iter()
                        .map(f64::to_string)
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
            ["patience", milliseconds] => {
                connection.busy_timeout(Duration::from_millis(milliseconds.parse()?))?;
                println!("0");
            }
            ["write", bytes, rate, seconds] => {
                let (bytes, rate) = (bytes.parse()?, rate.parse()?);
                println!("{}", write(&connection, bytes, rate, seconds.parse()?)?);
            }
            ["read", hold, seconds] => {
                let hold = Duration::from_millis(hold.parse()?);
                println!("{}", read(&connection, hold, seconds.parse()?)?);
            }
            ["checkpoints", pause, seconds] => {
                let pause = Duration::from_millis(pause.parse()?);
                println!("{}", run_checkpoints(&connection, pause, seconds.parse()?)?);
            }
            _ => bail!("unknown request {line:?}"),
        }
    }
    Ok(())
}

/// Commits at a rate (0: flat out) for some seconds; how long each took.
fn load(rate: f64, seconds: f64, commit: impl Fn() -> rusqlite::Result<()>) -> Result<Vec<f64>> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed().as_secs_f64() < seconds {
        if rate > 0.0 {
            let due = began + Duration::from_secs_f64(times.len() as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let started = Instant::now();
        commit()?;
        times.push(milliseconds(started.elapsed()));
    }
    Ok(times)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

fn tell(busy: usize, times: &[f64]) -> String {
    let times = times.iter().map(|time| format!(" {time:.3}"));
    format!("{busy}{}", times.collect::<String>())
}

/// Transactions of so many bytes, in rows of 4000 at most.
fn write(connection: &Connection, bytes: u32, rate: f64, seconds: f64) -> Result<String> {
    let busy = Cell::new(0);
    let commit = || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut left = bytes;
        while left > 0 {
            let row = left.min(4000);
            connection.execute("INSERT INTO t(body) VALUES(randomblob(?1))", [row])?;
            left -= row;
        }
        // The table stays as small as the last transactions are.
        connection.execute(
            "DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 2000",
            [],
        )?;
        connection.execute_batch("COMMIT")
    };
    let times = load(rate, seconds, || match commit() {
        Err(error) if is_busy(&error) => {
            busy.set(busy.get() + 1);
            if connection.is_autocommit() {
                Ok(())
            } else {
                connection.execute_batch("ROLLBACK")
            }
        }
        other => other,
    })?;
    Ok(tell(busy.get(), &times))
}

/// Reads that are held for a while, with pauses as long but for long ones.
fn read(connection: &Connection, hold: Duration, seconds: f64) -> Result<String> {
    let began = Instant::now();
    let (mut busy, mut times) = (0, Vec::new());
    while began.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        connection.execute_batch("BEGIN")?;
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
        times.push(milliseconds(started.elapsed()));
        match count {
            Ok(_) => std::thread::sleep(hold),
            Err(error) if is_busy(&error) => busy += 1,
            Err(error) => return Err(error.into()),
        }
        connection.execute_batch("COMMIT")?;
        std::thread::sleep(hold.min(Duration::from_millis(150)));
    }
    Ok(tell(busy, &times))
}

/// Checkpoints of all modes in turn; counts those that ended busy.
fn run_checkpoints(connection: &Connection, pause: Duration, seconds: f64) -> Result<String> {
    let began = Instant::now();
    let (mut busy, mut times) = (0, Vec::new());
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"].iter().cycle() {
        std::thread::sleep(pause);
        if began.elapsed().as_secs_f64() >= seconds {
            break;
        }
        let started = Instant::now();
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let incomplete: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        times.push(milliseconds(started.elapsed()));
        busy += usize::from(incomplete != 0);
    }
    Ok(tell(busy, &times))
}

/// One such process, seen from here.
pub(crate) struct Application {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Application {
    /// Starts it on a database; the journal mode becomes WAL.
    pub(crate) fn start(db: &Path, autocheckpoint: u32, synchronous: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("application")
            .arg(db)
            .args([autocheckpoint.to_string().as_str(), synchronous])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("input of a new child")?;
        let output = child.stdout.take().context("output of a new child")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").context("tell the application")
    }

    pub(crate) fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        self.say(line)?;
        self.hear()
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}
