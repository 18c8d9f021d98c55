//! The database file of a copy, through SQLite's own file object.
//!
//! Writing through it, and not through a descriptor of our own, keeps the locks of everybody right:
//! closing any other descriptor would drop the POSIX locks that readers in this process hold.
//!
//! Invariant: nothing is written unless the caller holds the lock that SQLite asks for.
#![expect(unsafe_code, reason = "SQLite offers its file object in C only")]

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, ffi};

use crate::capture::shared::{self, error, main_file};
use crate::error::{Error, Result};

/// Pause between two tries for a lock.
const PAUSE: Duration = Duration::from_millis(2);

/// An open copy; see the module. Dropping it ends its transaction and lets go of its locks.
pub(super) struct CopyFile {
    connection: Connection,
    path: PathBuf,
}

impl CopyFile {
    /// Opens the copy, which must be there. `wait` is how long any lock is waited for.
    pub(super) fn open(path: &Path, wait: Duration) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |source| Error::sqlite("open copy", path, source);
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.busy_timeout(wait).map_err(fail)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// What SQLite calls the file: links are resolved, and the journal is beside it.
    pub(super) fn real_path(&self) -> &Path {
        self.connection.path().map_or(&*self.path, Path::new)
    }

    /// Runs statements without a result.
    pub(super) fn run(&self, what: &'static str, sql: &str) -> Result<()> {
        let done = match self.connection.query_row(sql, [], |_| Ok(())) {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
            other => other,
        };
        done.map_err(|source| Error::sqlite(what, &self.path, source))
    }

    /// Size of the file in bytes.
    pub(super) fn size(&self) -> Result<u64> {
        shared::database_size(&self.connection)
            .map_err(|source| Error::sqlite("size of copy", &self.path, source))
    }

    /// Fills the buffer; a file that ends before is an error.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let found = shared::read_database(&self.connection, buffer, offset)
            .map_err(|source| Error::sqlite("read copy", &self.path, source))?;
        if found == buffer.len() {
            return Ok(());
        }
        let source = std::io::Error::other(format!(
            "offset {offset}: expected {} bytes, found {found}",
            buffer.len()
        ));
        Err(Error::io("read copy", &self.path, source))
    }

    /// Makes the reserved lock that is held the exclusive one: waits for the readers that are in a
    /// transaction, and keeps new ones out meanwhile. `false` when they did not end in time.
    pub(super) fn lock_exclusive(&self, wait: Duration) -> Result<bool> {
        let begun = Instant::now();
        loop {
            let (file, methods) = self.file()?;
            let lock = self.method(methods.xLock)?;
            // SAFETY: `file` is open as long as the connection is, which `self` owns.
            let code = unsafe { lock(file, ffi::SQLITE_LOCK_EXCLUSIVE) };
            if code & 0xff != ffi::SQLITE_BUSY {
                return self.checked("lock copy", code).map(|()| true);
            }
            if begun.elapsed() >= wait {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Writes at an offset. The exclusive lock must be held.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let (file, methods) = self.file()?;
        let write = self.method(methods.xWrite)?;
        let length = c_int::try_from(bytes.len())
            .map_err(|_| Error::sqlite("write copy", &self.path, error(ffi::SQLITE_TOOBIG)))?;
        // SAFETY: `file` is open, and the buffer holds `length` bytes, which SQLite only reads.
        let code = unsafe {
            write(
                file,
                bytes.as_ptr().cast::<c_void>(),
                length,
                offset.cast_signed(),
            )
        };
        self.checked("write copy", code)
    }

    /// Cuts the file. The exclusive lock must be held.
    pub(super) fn truncate(&self, size: u64) -> Result<()> {
        let (file, methods) = self.file()?;
        let truncate = self.method(methods.xTruncate)?;
        // SAFETY: `file` is open as long as the connection is.
        let code = unsafe { truncate(file, size.cast_signed()) };
        self.checked("truncate copy", code)
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<()> {
        let (file, methods) = self.file()?;
        let sync = self.method(methods.xSync)?;
        // SAFETY: `file` is open as long as the connection is.
        let code = unsafe { sync(file, ffi::SQLITE_SYNC_FULL) };
        self.checked("fsync copy", code)
    }

    fn file(&self) -> Result<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods)> {
        main_file(&self.connection)
            .map_err(|source| Error::sqlite("file of copy", &self.path, source))
    }

    fn method<T>(&self, method: Option<T>) -> Result<T> {
        method.ok_or_else(|| Error::sqlite("file of copy", &self.path, error(ffi::SQLITE_MISUSE)))
    }

    fn checked(&self, what: &'static str, code: c_int) -> Result<()> {
        if code == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(Error::sqlite(what, &self.path, error(code)))
        }
    }
}
