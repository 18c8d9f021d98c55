//! The places where SQLite's C interface is called directly.
//!
//! Owns: reading the wal-index that SQLite has mapped, locks on its reader slots, reading the database
//! file through SQLite's own file object, and switching off the lookaside allocator. All of it is
//! reached through the documented file control `SQLITE_FCNTL_FILE_POINTER` and the
//! `sqlite3_io_methods` of that file.
//!
//! Invariant: nothing here opens or closes a descriptor, or waits for a lock. The one thing that is
//! written is that a reader slot which nobody uses has no mark, under the lock that guards it.
#![expect(
    unsafe_code,
    reason = "SQLite offers the wal-index and its file object in C only"
)]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use rusqlite::ffi;

/// SQLite maps the wal-index in regions of this size.
const REGION_SIZE: c_int = 32 * 1024;
/// Two header copies of 48 bytes and the checkpoint information of 40 bytes.
const HEADER_SIZE: usize = 136;
const WORDS: usize = HEADER_SIZE / 4;
/// Words of one header copy.
const COPY_WORDS: usize = 12;
/// Number of the lock of reader slot 0 among the locks of the wal-index.
const FIRST_READER: c_int = 3;
/// Words before the read marks: two header copies and how much is copied.
const READ_MARKS: usize = 2 * COPY_WORDS + 1;

const LOCK_SHARED: c_int = ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_SHARED;
const UNLOCK_SHARED: c_int = ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_SHARED;
const LOCK_EXCLUSIVE: c_int = ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE;
const UNLOCK_EXCLUSIVE: c_int = ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_EXCLUSIVE;

pub(crate) fn error(code: c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// The file object of the main database and its methods.
pub(crate) fn main_file(
    connection: &rusqlite::Connection,
) -> Result<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods), rusqlite::Error> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is valid as long as `connection` is borrowed; the file control writes
    // one pointer to the place given, whose type is the one the control documents.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast::<c_void>(),
        )
    };
    if code != ffi::SQLITE_OK {
        return Err(error(code));
    }
    if file.is_null() {
        return Err(error(ffi::SQLITE_CANTOPEN));
    }
    // SAFETY: a file object handed out by SQLite starts with its methods pointer, which is null
    // when the file is not open and otherwise points to a table that lives as long as the VFS.
    let methods = unsafe { (*file).pMethods.as_ref() };
    methods
        .map(|methods| (file, methods))
        .ok_or_else(|| error(ffi::SQLITE_CANTOPEN))
}

/// A copy of the first bytes of the wal-index. The copy may be torn when a writer publishes at the
/// same moment: the parser's checksum tells, and the caller reads again.
pub(super) fn wal_index_bytes(
    connection: &rusqlite::Connection,
) -> Result<[u8; HEADER_SIZE], rusqlite::Error> {
    let mut bytes = [0; HEADER_SIZE];
    let words = wal_index(connection)?.cast_const();
    if words.is_null() {
        return Ok(bytes);
    }
    // What was done before, such as taking a lock, is done before anything is read.
    fence(Ordering::SeqCst);
    for (index, chunk) in bytes.chunks_exact_mut(4).enumerate().take(WORDS) {
        // SAFETY: the region is REGION_SIZE bytes, page aligned, and the index stays below
        // HEADER_SIZE / 4. Other processes write it, hence the volatile reads.
        let word = unsafe { ptr::read_volatile(words.add(index)) };
        chunk.copy_from_slice(&word.to_ne_bytes());
        if (index + 1).is_multiple_of(COPY_WORDS) {
            // A writer publishes the second copy, a barrier, then the first: they are read the other
            // way round, and what a checkpoint publishes after both. Processors with a weak
            // order of loads (ARM) need to be told.
            fence(Ordering::Acquire);
        }
    }
    fence(Ordering::Acquire);
    Ok(bytes)
}

/// The first region of the wal-index; null when there is none. Valid while the connection is borrowed.
fn wal_index(connection: &rusqlite::Connection) -> Result<*mut u32, rusqlite::Error> {
    let (file, methods) = main_file(connection)?;
    let map = methods.xShmMap.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let mut region: *mut c_void = ptr::null_mut();
    // SAFETY: `file` is open; extend = 0 means that nothing is created, and the region stays
    // mapped until the connection closes, which the borrow of `connection` rules out.
    let code = unsafe { map(file, 0, REGION_SIZE, 0, &raw mut region) };
    if code == ffi::SQLITE_OK {
        Ok(region.cast())
    } else {
        Err(error(code))
    }
}

/// Takes the mark of a reader slot (1 to 4) away; `false` when somebody uses the slot.
pub(super) fn clear_mark(
    connection: &rusqlite::Connection,
    slot: u8,
) -> Result<bool, rusqlite::Error> {
    let words = wal_index(connection)?;
    if words.is_null() || !(1..=4).contains(&slot) {
        return Err(error(ffi::SQLITE_MISUSE));
    }
    match change_slot(connection, slot, LOCK_EXCLUSIVE) {
        Ok(()) => {}
        Err(code) if code & 0xff == ffi::SQLITE_BUSY => return Ok(false),
        Err(code) => return Err(error(code)),
    }
    // SAFETY: the region is REGION_SIZE bytes and page aligned, the word is one of the five read marks, and
    // other processes access it atomically too. The exclusive lock of the slot, held here, is what
    // everybody who changes its mark must hold.
    let mark = unsafe { AtomicU32::from_ptr(words.add(READ_MARKS + usize::from(slot))) };
    mark.store(sqlite_wal::READ_MARK_UNUSED, Ordering::SeqCst);
    change_slot(connection, slot, UNLOCK_EXCLUSIVE)
        .map(|()| true)
        .map_err(error)
}

/// Takes a shared lock on a reader slot, without waiting and apart from any transaction; `false` when
/// somebody has it exclusively. The connection must have read from the database in WAL mode before.
pub(super) fn lock_slot(
    connection: &rusqlite::Connection,
    slot: u8,
) -> Result<bool, rusqlite::Error> {
    match change_slot(connection, slot, LOCK_SHARED) {
        Ok(()) => Ok(true),
        Err(code) if code & 0xff == ffi::SQLITE_BUSY => Ok(false),
        Err(code) => Err(error(code)),
    }
}

/// Lets go of what [`lock_slot`] took on this connection.
pub(super) fn unlock_slot(
    connection: &rusqlite::Connection,
    slot: u8,
) -> Result<(), rusqlite::Error> {
    change_slot(connection, slot, UNLOCK_SHARED).map_err(error)
}

fn change_slot(connection: &rusqlite::Connection, slot: u8, change: c_int) -> Result<(), c_int> {
    let (file, methods) = main_file(connection).map_err(|_| ffi::SQLITE_CANTOPEN)?;
    let lock = methods.xShmLock.ok_or(ffi::SQLITE_MISUSE)?;
    let number = FIRST_READER + c_int::from(slot);
    // SAFETY: `file` is open, and the arguments are ones that SQLite itself passes: one lock of the
    // wal-index, without waiting. Without a wal-index the method answers with an error.
    let code = unsafe { lock(file, number, 1, change) };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(code)
    }
}

/// Size in bytes of the database file.
pub(crate) fn database_size(connection: &rusqlite::Connection) -> Result<u64, rusqlite::Error> {
    let (file, methods) = main_file(connection)?;
    let size_of = methods.xFileSize.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let mut size: ffi::sqlite3_int64 = 0;
    // SAFETY: `file` is open and `size` outlives the call.
    let code = unsafe { size_of(file, &raw mut size) };
    if code == ffi::SQLITE_OK {
        Ok(size.cast_unsigned())
    } else {
        Err(error(code))
    }
}

/// Reads from the database file; fewer bytes than asked for mean its end.
pub(crate) fn read_database(
    connection: &rusqlite::Connection,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, rusqlite::Error> {
    let size = database_size(connection)?;
    let wanted = size.saturating_sub(offset).min(buffer.len() as u64) as usize;
    if wanted == 0 {
        return Ok(0);
    }
    let (file, methods) = main_file(connection)?;
    let read = methods.xRead.ok_or_else(|| error(ffi::SQLITE_MISUSE))?;
    let length = c_int::try_from(wanted).map_err(|_| error(ffi::SQLITE_TOOBIG))?;
    // SAFETY: `file` is open and the buffer holds at least `length` bytes.
    let code = unsafe {
        read(
            file,
            buffer.as_mut_ptr().cast::<c_void>(),
            length,
            offset.cast_signed(),
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(wanted)
    } else {
        Err(error(code))
    }
}

/// Frees the connection's private allocator (about 48 KiB): our statements are few and small.
pub(super) fn disable_lookaside(connection: &rusqlite::Connection) {
    // SAFETY: the documented arguments of SQLITE_DBCONFIG_LOOKASIDE: buffer, slot size, count.
    // A refusal (the allocator is in use) costs memory only.
    unsafe {
        ffi::sqlite3_db_config(
            connection.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            ptr::null_mut::<c_void>(),
            0 as c_int,
            0 as c_int,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_and_the_wal_index_of_a_live_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1);")
            .unwrap();
        let index = sqlite_wal::parse_wal_index(&wal_index_bytes(&connection).unwrap())
            .expect("nobody writes now");
        assert_eq!(index.header.max_frame, 3);
        assert_eq!(index.header.page_count, 2);
        let mut magic = [0; 16];
        assert_eq!(read_database(&connection, &mut magic, 0).unwrap(), 16);
        assert_eq!(&magic, b"SQLite format 3\0");
        let size = database_size(&connection).unwrap();
        assert_eq!(read_database(&connection, &mut magic, size - 4).unwrap(), 4);
        assert_eq!(read_database(&connection, &mut magic, size).unwrap(), 0);
        disable_lookaside(&connection);
        connection.execute_batch("INSERT INTO t VALUES(2)").unwrap();
    }

    #[test]
    fn a_lock_on_a_slot_keeps_the_wal_from_being_started_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let holder = rusqlite::Connection::open(&path).unwrap();
        holder
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1);")
            .unwrap();
        let writer = rusqlite::Connection::open(&path).unwrap();
        let checkpoint = |mode: &str| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            writer
                .query_row(&sql, [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        let frames = || {
            let bytes = wal_index_bytes(&holder).unwrap();
            let index = sqlite_wal::parse_wal_index(&bytes).unwrap();
            (index.header.max_frame, index.checkpoint.backfilled)
        };
        writer.busy_timeout(std::time::Duration::ZERO).unwrap();
        assert!(lock_slot(&holder, 4).unwrap());
        assert_eq!(
            checkpoint("FULL"),
            0,
            "it does not wait for a slot without a mark"
        );
        assert_eq!(checkpoint("TRUNCATE"), 1, "it waits for all slots");
        writer.execute_batch("INSERT INTO t VALUES(2)").unwrap();
        assert_eq!(frames(), (4, 3), "appended");
        assert_eq!(checkpoint("PASSIVE"), 0);
        unlock_slot(&holder, 4).unwrap();
        writer.execute_batch("INSERT INTO t VALUES(3)").unwrap();
        assert_eq!(frames(), (1, 0), "started anew");
        assert_eq!(checkpoint("TRUNCATE"), 0);
    }

    #[test]
    fn the_mark_of_a_slot_is_taken_away_only_if_nobody_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let writer = rusqlite::Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1);")
            .unwrap();
        let reader = rusqlite::Connection::open(&path).unwrap();
        let read = || {
            reader
                .query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        let marks = || {
            let bytes = wal_index_bytes(&writer).unwrap();
            sqlite_wal::parse_wal_index(&bytes)
                .unwrap()
                .checkpoint
                .read_marks
        };
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(read(), 1);
        assert_eq!(marks()[1], 3);
        assert!(!clear_mark(&writer, 1).unwrap(), "the reader is there");
        assert_eq!(marks()[1], 3);
        reader.execute_batch("COMMIT").unwrap();
        assert!(clear_mark(&writer, 1).unwrap());
        assert_eq!(marks()[1], sqlite_wal::READ_MARK_UNUSED);
        assert_eq!(marks()[2..], [sqlite_wal::READ_MARK_UNUSED; 3]);
        writer.execute_batch("INSERT INTO t VALUES(2)").unwrap();
        assert_eq!(read(), 2);
    }

    #[test]
    fn a_database_in_memory_has_no_wal_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        assert!(wal_index_bytes(&connection).is_err());
        assert!(lock_slot(&connection, 4).is_err());
        assert!(clear_mark(&connection, 4).is_err());
    }
}
